//! What the exporter knows of its own work: the families that the `prometheus` crate's registry
//! holds. What it knows of the tasks is in the store.

pub mod due;
pub mod finishes;
mod open_set;
mod process;
pub mod provider;
mod sample;
pub mod web;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::family::{self, Family};
use finishes::Finishes;
use process::Process;
use provider::ProviderTelemetry;
use web::WebTelemetry;

/// What `/probe` says of the probe itself.
pub fn probe_families(success: bool, took: Duration) -> Vec<MetricFamily> {
    let (succeeded, duration) =
        (gauge(&family::PROBE_SUCCESS, &[]), gauge(&family::PROBE_DURATION, &[]));
    succeeded.set(if success { 1.0 } else { 0.0 });
    duration.set(took.as_secs_f64());
    [succeeded.collect(), duration.collect()].concat()
}

/// The registry, and handles on what is in it.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    providers: Providers,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    config_hash: IntGauge,
    over_limit: IntGauge,
    without_credentials: IntGauge,
    scrape_duration: Histogram,
    panics: IntCounter,
    storage_up: IntGauge,
    storage_lost: IntGauge,
    /// Counters of the web side.
    pub web: WebTelemetry,
}

impl Telemetry {
    /// A registry without providers, in which no configuration was applied yet.
    pub fn new() -> Self {
        let telemetry = Self {
            registry: Registry::new(),
            providers: Providers::default(),
            reload_successful: int_gauge(&family::RELOAD_SUCCESSFUL, &[]),
            reload_timestamp: gauge(&family::RELOAD_TIMESTAMP, &[]),
            config_hash: int_gauge(&family::CONFIG_HASH, &[]),
            over_limit: int_gauge(&family::DROPPED_TASKS, &[("reason", "max_tasks")]),
            without_credentials: int_gauge(&family::DROPPED_TASKS, &[("reason", "credentials")]),
            scrape_duration: histogram(&family::SCRAPE_DURATION, &[]),
            panics: int_counter(&family::PANICS, &[]),
            storage_up: int_gauge(&family::STORAGE_UP, &[]),
            storage_lost: int_gauge(&family::STORAGE_LOST, &[]),
            web: WebTelemetry::new(),
        };
        let build_info = int_gauge(&family::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]);
        build_info.set(1);
        telemetry.register(build_info);
        telemetry.register(telemetry.reload_successful.clone());
        telemetry.register(telemetry.reload_timestamp.clone());
        telemetry.register(telemetry.config_hash.clone());
        telemetry.register(telemetry.over_limit.clone());
        telemetry.register(telemetry.without_credentials.clone());
        telemetry.register(telemetry.scrape_duration.clone());
        telemetry.register(telemetry.panics.clone());
        telemetry.register(telemetry.providers.clone());
        telemetry.web.register(&telemetry);
        telemetry.register(Process::new());
        telemetry
    }

    fn register(&self, collector: impl Collector + 'static) {
        valid(self.registry.register(Box::new(collector)));
    }

    /// The handle of the provider called `name`; its series exist from the first call on.
    pub fn provider(&self, name: &str) -> Arc<ProviderTelemetry> {
        let mut providers = self.providers.0.lock();
        let Known { handles, finishes } = &mut *providers;
        let handle = handles.entry(name.into()).or_insert_with_key(|name| {
            let finished = finishes.get(name).cloned().unwrap_or_default();
            Arc::new(ProviderTelemetry::new(name, finished))
        });
        Arc::clone(handle)
    }

    /// Ends the series of the provider called `name`; what its old handles still count is not
    /// shown.
    pub fn remove_provider(&self, name: &str) {
        self.providers.0.lock().handles.remove(name);
    }

    /// Shows these finished tasks instead of those that were shown so far, also of providers that
    /// come later.
    pub fn show_finished(&self, finishes: Finishes) {
        let mut providers = self.providers.0.lock();
        for (name, handle) in &providers.handles {
            handle.show_finished(finishes.get(name).cloned().unwrap_or_default());
        }
        providers.finishes = finishes;
    }

    /// The families that have samples, by name, and their samples by label values.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// A configuration, of which `hash` is the hash of the content, was applied at `now`.
    pub fn reload_succeeded(&self, now: Timestamp, hash: u64) {
        // A sample is a float and exact up to 53 bits; 48 leave no doubt.
        let hash = hash & ((1 << 48) - 1);
        self.config_hash.set(i64::try_from(hash).unwrap_or_default());
        let since_epoch = now.since(Timestamp::from_micros(0));
        self.reload_timestamp.set(since_epoch.as_secs_f64());
        self.reload_successful.set(1);
    }

    /// A configuration was refused.
    pub fn reload_failed(&self) {
        self.reload_successful.set(0);
    }

    /// `max_tasks` leaves this many tasks unpolled.
    pub fn tasks_over_limit(&self, count: usize) {
        self.over_limit.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Of a provider's tasks `now` are held back because its credentials cannot be read, and
    /// `before` were until now.
    pub fn tasks_without_credentials(&self, before: usize, now: usize) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.without_credentials.add(signed(now).saturating_sub(signed(before)));
    }

    /// The exporter's own code has panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// There is a storage path, of which so many bytes were damaged. Once in a process.
    pub fn storage_opened(&self, lost: usize) {
        self.storage_up.set(1);
        self.storage_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
        self.register(self.storage_up.clone());
        self.register(self.storage_lost.clone());
    }

    /// Whether the storage path can be written. Returns whether it could until now.
    pub fn storage_works(&self, works: bool) -> bool {
        let before = self.storage_up.get();
        self.storage_up.set(i64::from(works));
        before != 0
    }

    /// An exposition was written, or given up by its reader, in `took`.
    pub fn scrape_finished(&self, took: Duration) {
        self.scrape_duration.observe(took.as_secs_f64());
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// The providers as one collector of the registry: providers come and go with the configuration,
/// and the series of one that has gone must go at once.
#[derive(Clone, Debug, Default)]
struct Providers(Arc<Mutex<Known>>);

/// What is known of the providers.
#[derive(Debug, Default)]
struct Known {
    /// Of the configuration in force.
    handles: BTreeMap<Box<str>, Arc<ProviderTelemetry>>,
    /// What a storage path has of them, and of others that have been in the configuration.
    finishes: Finishes,
}

impl Collector for Providers {
    /// None: the registry takes a collector without descriptions as one that changes.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    /// One family for each handle; the registry joins those of one name.
    fn collect(&self) -> Vec<MetricFamily> {
        let now = Instant::now();
        let known = self.0.lock();
        let handles = known.handles.iter();
        handles.flat_map(|(name, handle)| handle.collect(name, now)).collect()
    }
}

type LabelPairs<'a> = &'a [(&'a str, &'a str)];

fn opts(family: &Family, labels: LabelPairs<'_>) -> Opts {
    let labels: HashMap<_, _> =
        labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Opts::new(family.name, family.help).const_labels(labels)
}

fn counter(family: &Family, labels: LabelPairs<'_>) -> Counter {
    valid(Counter::with_opts(opts(family, labels)))
}

fn int_counter(family: &Family, labels: LabelPairs<'_>) -> IntCounter {
    valid(IntCounter::with_opts(opts(family, labels)))
}

fn gauge(family: &Family, labels: LabelPairs<'_>) -> Gauge {
    valid(Gauge::with_opts(opts(family, labels)))
}

fn int_gauge(family: &Family, labels: LabelPairs<'_>) -> IntGauge {
    valid(IntGauge::with_opts(opts(family, labels)))
}

fn histogram(family: &Family, labels: LabelPairs<'_>) -> Histogram {
    let opts = HistogramOpts::from(opts(family, labels)).buckets(family.buckets.to_vec());
    valid(Histogram::with_opts(opts))
}

/// Names, helps and buckets come from our own table and any text is a valid label value, so
/// only a mistake in that table can make this fail, and then every test does.
#[expect(clippy::expect_used, reason = "a constant of ours, which every test reads")]
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("the table of families is valid")
}

#[cfg(test)]
mod tests;
