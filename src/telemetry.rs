//! Metrics of the exporter's own work and of finished tasks, in a registry of the `prometheus` crate.
//! The metrics of tasks come from the store.

pub mod discovery;
pub mod finishes;
mod dynamic_counters;
pub mod provider;
pub mod registrations;
pub mod web;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::family::{self, Family, MetricKind};
use discovery::{SourceHandles, SourceTelemetry};
use finishes::Finishes;
use provider::ProviderTelemetry;
use registrations::RegistrationTelemetry;
use web::WebTelemetry;

/// Returns the families in which `/probe` shows the probe itself.
pub(crate) fn probe_families(success: bool, took: Duration) -> Vec<MetricFamily> {
    let (succeeded, duration) =
        (gauge(&family::PROBE_SUCCESS, &[]), gauge(&family::PROBE_DURATION, &[]));
    succeeded.set(if success { 1.0 } else { 0.0 });
    duration.set(took.as_secs_f64());
    [succeeded.collect(), duration.collect()].concat()
}

/// The registry, and handles of the metrics in it.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    configured: ConfiguredMetrics,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    config_hash: IntGauge,
    over_limit: IntGauge,
    without_credentials: IntGauge,
    scrape_duration: Histogram,
    panics: IntCounter,
    storage_up: IntGauge,
    storage_lost: IntGauge,
    /// Metrics of registrations by applications.
    pub registrations: RegistrationTelemetry,
    /// Metrics of the web server.
    pub web: WebTelemetry,
}

impl Telemetry {
    /// Creates a registry without providers, before a configuration is applied.
    pub fn new() -> Self {
        let telemetry = Self {
            registry: Registry::new(),
            configured: ConfiguredMetrics::default(),
            reload_successful: int_gauge(&family::RELOAD_SUCCESSFUL, &[]),
            reload_timestamp: gauge(&family::RELOAD_TIMESTAMP, &[]),
            config_hash: int_gauge(&family::CONFIG_HASH, &[]),
            over_limit: int_gauge(&family::DROPPED_TASKS, &[("reason", "max_tasks")]),
            without_credentials: int_gauge(&family::DROPPED_TASKS, &[("reason", "credentials")]),
            scrape_duration: histogram(&family::SCRAPE_DURATION, &[]),
            panics: int_counter(&family::PANICS, &[]),
            storage_up: int_gauge(&family::STORAGE_UP, &[]),
            storage_lost: int_gauge(&family::STORAGE_LOST, &[]),
            registrations: RegistrationTelemetry::new(),
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
        telemetry.register(telemetry.configured.clone());
        telemetry.registrations.register(&telemetry);
        telemetry.web.register(&telemetry);
        telemetry.register(ProcessMetrics::new());
        telemetry
    }

    fn register(&self, collector: impl Collector + 'static) {
        valid(self.registry.register(Box::new(collector)));
    }

    /// Returns the metrics of a provider. Their series exist from the first call on.
    pub fn provider(&self, name: &str) -> Arc<ProviderTelemetry> {
        let mut providers = self.configured.providers.lock();
        let ProviderHandles { handles, finishes } = &mut *providers;
        let handle = handles.entry(name.into()).or_insert_with_key(|name| {
            let finished = finishes.get(name).cloned().unwrap_or_default();
            Arc::new(ProviderTelemetry::new(name, finished))
        });
        Arc::clone(handle)
    }

    /// Removes the series of a provider. What its metrics still count is not shown.
    pub(crate) fn remove_provider(&self, name: &str) {
        self.configured.providers.lock().handles.remove(name);
    }

    /// Returns the metrics of a source of tasks. Their series exist from the first call on.
    pub fn source(&self, mechanism: &'static str, config: &str) -> Arc<SourceTelemetry> {
        self.configured.sources.lock().source(mechanism, config)
    }

    /// Removes the series of a source. What its metrics still count is not shown.
    pub fn remove_source(&self, mechanism: &'static str, config: &str) {
        self.configured.sources.lock().remove(mechanism, config);
    }

    /// Replaces the finished tasks that are shown, also of providers that are added later.
    pub fn show_finished(&self, finishes: Finishes) {
        let mut providers = self.configured.providers.lock();
        for (name, handle) in &providers.handles {
            handle.show_finished(finishes.get(name).cloned().unwrap_or_default());
        }
        providers.finishes = finishes;
    }

    /// Returns the families that have samples, ordered by name and label values.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Records that a configuration with the content hash `hash` was applied at `now`.
    pub(crate) fn reload_succeeded(&self, now: Timestamp, hash: u64) {
        // A sample is a float and exact up to 53 bits; 48 leave no doubt.
        let hash = hash & ((1 << 48) - 1);
        self.config_hash.set(i64::try_from(hash).unwrap_or_default());
        let since_epoch = now.since(Timestamp::from_micros(0));
        self.reload_timestamp.set(since_epoch.as_secs_f64());
        self.reload_successful.set(1);
    }

    /// Records that a configuration was refused.
    pub(crate) fn reload_failed(&self) {
        self.reload_successful.set(0);
    }

    /// Sets the number of tasks that are not polled because of `max_tasks`.
    pub(crate) fn tasks_over_limit(&self, count: usize) {
        self.over_limit.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Changes the number of a provider's tasks that are not polled because its credentials cannot be
    /// read, from `before` to `now`.
    pub(crate) fn tasks_without_credentials(&self, before: usize, now: usize) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.without_credentials.add(signed(now).saturating_sub(signed(before)));
    }

    /// Counts a panic of the exporter's own code.
    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// Registers the metrics of the storage path, of which `lost` bytes were damaged. Called once at most.
    pub(crate) fn storage_opened(&self, lost: usize) {
        self.storage_up.set(1);
        self.storage_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
        self.register(self.storage_up.clone());
        self.register(self.storage_lost.clone());
    }

    /// Sets whether the storage path can be written.
    pub(crate) fn set_storage_works(&self, works: bool) {
        self.storage_up.set(i64::from(works));
    }

    /// Counts a scrape that ended after `took`, completely written or not.
    pub(crate) fn scrape_finished(&self, took: Duration) {
        self.scrape_duration.observe(took.as_secs_f64());
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// A collector of the metrics of all providers and sources, so that their series disappear as soon as
/// they are removed from the configuration. A registry takes only one collector of this kind.
#[derive(Clone, Debug, Default)]
struct ConfiguredMetrics {
    providers: Arc<Mutex<ProviderHandles>>,
    sources: Arc<Mutex<SourceHandles>>,
}

/// The metrics of the providers.
#[derive(Debug, Default)]
struct ProviderHandles {
    /// Metrics by provider, of the current configuration.
    handles: BTreeMap<Box<str>, Arc<ProviderTelemetry>>,
    /// Finished tasks from the storage path, also of removed providers.
    finishes: Finishes,
}

impl Collector for ConfiguredMetrics {
    /// Returns no descriptions, which makes the registry treat the collector as one that changes.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    /// Returns one family for each handle; the registry merges those with the same name.
    fn collect(&self) -> Vec<MetricFamily> {
        let now = Instant::now();
        let mut families = self.sources.lock().collect();
        let providers = self.providers.lock();
        let handles = providers.handles.iter();
        families.extend(handles.flat_map(|(name, handle)| handle.collect(name, now)));
        families
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

/// Unwraps a metric. Names, help texts and buckets come from the tables of families, and any text is a
/// valid label value, so this can fail only by an error in those tables, which every test would find.
#[expect(clippy::expect_used, reason = "a constant that every test reads")]
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("the tables of families are valid")
}

/// Returns a family of these samples, which the metrics of the `prometheus` crate cannot have.
fn family_of_samples(family: &Family, metrics: Vec<Metric>) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(match family.kind {
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Histogram => MetricType::HISTOGRAM,
    });
    out.set_metric(metrics);
    out
}

/// Returns a sample of a counter.
fn counter_sample(labels: LabelPairs<'_>, value: u64) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(float(value));
    let mut metric = labelled_sample(labels);
    metric.set_counter(counter);
    metric
}

/// Returns a sample without a value. The labels have to be in the order of their names.
fn labelled_sample(labels: LabelPairs<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "exact up to 2^53, as every sample of Prometheus is"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// The family whose value the `prometheus` crate rounds down to whole seconds.
const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// The process collector of the `prometheus` crate, with the CPU time in the resolution of the kernel.
#[derive(Debug)]
struct ProcessMetrics(ProcessCollector);

impl ProcessMetrics {
    /// Creates a collector for this process.
    fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for family in families.iter_mut().filter(|family| family.name() == CPU_SECONDS) {
            for metric in family.mut_metric() {
                let mut counter = proto::Counter::default();
                counter.set_value(cpu_time().as_secs_f64());
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// Returns the CPU time that all threads of the process have used, of the kernel and of the
/// program.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests;
