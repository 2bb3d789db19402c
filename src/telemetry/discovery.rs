//! Metrics of the sources of tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::{gauge, histogram, int_counter, int_gauge};
use crate::clock::Timestamp;
use crate::config::discovery::Mechanism;
use crate::family;
use crate::observation::Reason;

/// The reason why a refresh failed: the values of the `reason` label of failed refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshReason {
    /// A reason that polls have, too.
    Poll(Reason),
    /// A file cannot be read: of the list, or of a secret.
    Read,
    /// A query cannot be answered.
    Query,
}

impl RefreshReason {
    /// Every reason: those of polls, then the others.
    pub const ALL: [Self; 14] = [
        Self::Poll(Reason::Timeout),
        Self::Poll(Reason::Tls),
        Self::Poll(Reason::Connect),
        Self::Poll(Reason::Auth),
        Self::Poll(Reason::RateLimited),
        Self::Poll(Reason::NotFound),
        Self::Poll(Reason::Http),
        Self::Poll(Reason::TooLarge),
        Self::Poll(Reason::Empty),
        Self::Poll(Reason::Decode),
        Self::Poll(Reason::Api),
        Self::Poll(Reason::Mapping),
        Self::Read,
        Self::Query,
    ];

    /// Returns the value of the `reason` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poll(reason) => reason.as_str(),
            Self::Read => "read",
            Self::Query => "query",
        }
    }
}

impl From<Reason> for RefreshReason {
    fn from(reason: Reason) -> Self {
        Self::Poll(reason)
    }
}

impl fmt::Display for RefreshReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why an element of a list is no task: the values of the `reason` label of rejected
/// tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// It has no ID, or one that no task can have.
    Id,
    /// It names no provider of the configuration.
    Provider,
    /// A param that the provider needs is missing or cannot be sent.
    Params,
    /// A label cannot be one.
    Labels,
    /// The enqueue time is none.
    Time,
    /// The list of a provider does not say how the task is.
    Status,
    /// The list has more tasks than the source may have.
    Limit,
}

impl RejectReason {
    /// Every reason, in the order of its declaration.
    pub const ALL: [Self; 7] = [
        Self::Id,
        Self::Provider,
        Self::Params,
        Self::Labels,
        Self::Time,
        Self::Status,
        Self::Limit,
    ];

    /// Returns the reasons that sources of a mechanism can have.
    fn of(mechanism: &str) -> impl Iterator<Item = Self> {
        let is_provider = mechanism == Mechanism::List.as_str();
        Self::ALL.into_iter().filter(move |reason| is_provider || *reason != Self::Status)
    }

    /// Returns the value of the `reason` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Provider => "provider",
            Self::Params => "params",
            Self::Labels => "labels",
            Self::Time => "time",
            Self::Status => "status",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Metrics of one source.
#[derive(Debug)]
pub struct SourceTelemetry {
    discovered: IntGauge,
    refreshes: IntCounter,
    failures: [(RefreshReason, IntCounter); RefreshReason::ALL.len()],
    duration: Histogram,
    last_success: Gauge,
    rejected: Vec<(RejectReason, IntGauge)>,
}

impl SourceTelemetry {
    /// Creates metrics at 0.
    fn new(mechanism: &str, config: &str) -> Self {
        let labels = [("config", config), ("mechanism", mechanism)];
        let with = |reason| [labels[0], labels[1], ("reason", reason)];
        Self {
            discovered: int_gauge(&family::SD_DISCOVERED_TASKS, &labels),
            refreshes: int_counter(&family::SD_REFRESHES, &labels),
            failures: RefreshReason::ALL.map(|reason| {
                (reason, int_counter(&family::SD_REFRESH_FAILURES, &with(reason.as_str())))
            }),
            duration: histogram(&family::SD_REFRESH_DURATION, &labels),
            last_success: gauge(&family::SD_LAST_SUCCESS, &labels),
            rejected: RejectReason::of(mechanism)
                .map(|reason| {
                    (reason, int_gauge(&family::SD_REJECTED_TASKS, &with(reason.as_str())))
                })
                .collect(),
        }
    }

    /// Counts a refresh, with the reason if it failed.
    pub fn count_refresh(&self, took: Duration, failed: Option<RefreshReason>) {
        self.refreshes.inc();
        self.duration.observe(took.as_secs_f64());
        let failure = self.failures.iter().find(|(known, _)| Some(*known) == failed);
        failure.inspect(|(_, total)| total.inc());
    }

    /// Sets the time at which the list was last read or found unchanged.
    pub fn set_last_success(&self, at: Timestamp) {
        self.last_success.set(at.since(Timestamp::from_micros(0)).as_secs_f64());
    }

    /// Sets the numbers of the last good list: its usable tasks, and its other elements by reason.
    pub fn set_list(&self, discovered: usize, rejected: impl Fn(RejectReason) -> usize) {
        let set = |gauge: &IntGauge, count| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.discovered, discovered);
        for (reason, gauge) in &self.rejected {
            set(gauge, rejected(*reason));
        }
    }

    /// Returns one family for each handle.
    fn collect(&self) -> Vec<MetricFamily> {
        let single: [&dyn Collector; 4] =
            [&self.discovered, &self.refreshes, &self.duration, &self.last_success];
        let mut families: Vec<_> = single.into_iter().flat_map(Collector::collect).collect();
        families.extend(self.failures.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.rejected.iter().flat_map(|(_, gauge)| gauge.collect()));
        families
    }
}

/// The mechanism and the name of a source.
type SourceKey = (&'static str, Box<str>);

/// The metrics of the sources of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct SourceHandles(BTreeMap<SourceKey, Arc<SourceTelemetry>>);

impl SourceHandles {
    /// Returns the metrics of a source, which exist from the first call on.
    pub(super) fn source(&mut self, mechanism: &'static str, config: &str) -> Arc<SourceTelemetry> {
        let new = || Arc::new(SourceTelemetry::new(mechanism, config));
        Arc::clone(self.0.entry((mechanism, config.into())).or_insert_with(new))
    }

    /// Removes the metrics of a source.
    pub(super) fn remove(&mut self, mechanism: &'static str, config: &str) {
        self.0.remove(&(mechanism, config.into()));
    }

    /// Returns one family for each handle; the registry merges those with the same name.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        self.0.values().flat_map(|source| source.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::TextEncoder;

    use super::*;
    use crate::telemetry::Telemetry;

    /// Returns the lines of the sources' samples, without buckets.
    fn samples(telemetry: &Telemetry) -> BTreeSet<String> {
        let text = TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap();
        let of_sources = |line: &&str| line.starts_with("aitask_sd_") && !line.contains("_bucket");
        text.lines().filter(of_sources).map(str::to_owned).collect()
    }

    #[test]
    fn a_source_has_every_series_from_the_start() {
        let telemetry = Telemetry::new();
        assert_eq!(samples(&telemetry), BTreeSet::new());
        telemetry.source("http", "orders");
        let labels = r#"config="orders",mechanism="http""#;
        let mut expected: BTreeSet<_> = [
            "discovered_tasks",
            "refreshes_total",
            "refresh_duration_seconds_sum",
            "refresh_duration_seconds_count",
            "last_success_timestamp_seconds",
        ]
        .map(|name| format!("aitask_sd_{name}{{{labels}}} 0"))
        .into();
        let with_reasons = [
            ("refresh_failures_total", RefreshReason::ALL.map(RefreshReason::as_str).to_vec()),
            ("rejected_tasks", vec!["id", "provider", "params", "labels", "time", "limit"]),
        ];
        for (name, reasons) in with_reasons {
            let line = |reason| format!("aitask_sd_{name}{{{labels},reason=\"{reason}\"}} 0");
            expected.extend(reasons.into_iter().map(line));
        }
        assert_eq!(samples(&telemetry), expected);
        telemetry.source("list", "mj");
        let of_status =
            "aitask_sd_rejected_tasks{config=\"mj\",mechanism=\"list\",reason=\"status\"} 0";
        assert!(samples(&telemetry).contains(of_status));
    }

    #[test]
    fn refreshes_are_counted_and_the_series_end_with_the_source() {
        let telemetry = Telemetry::new();
        let source = telemetry.source("file", "cron");
        let file_of_the_same_name = telemetry.source("http", "cron");
        source.count_refresh(Duration::from_millis(1_500), None);
        source.set_last_success(Timestamp::from_micros(1_750_000_000_250_000));
        source.set_list(7, |reason| if reason == RejectReason::Labels { 3 } else { 0 });
        telemetry.source("file", "cron").count_refresh(Duration::ZERO, Some(RefreshReason::Read));
        let found = samples(&telemetry);
        let labels = r#"config="cron",mechanism="file""#;
        for line in [
            format!("aitask_sd_discovered_tasks{{{labels}}} 7"),
            format!("aitask_sd_refreshes_total{{{labels}}} 2"),
            format!("aitask_sd_refresh_duration_seconds_sum{{{labels}}} 1.5"),
            format!("aitask_sd_last_success_timestamp_seconds{{{labels}}} 1750000000.25"),
            format!("aitask_sd_refresh_failures_total{{{labels},reason=\"read\"}} 1"),
            format!("aitask_sd_refresh_failures_total{{{labels},reason=\"decode\"}} 0"),
            format!("aitask_sd_rejected_tasks{{{labels},reason=\"labels\"}} 3"),
            format!("aitask_sd_rejected_tasks{{{labels},reason=\"id\"}} 0"),
            r#"aitask_sd_refreshes_total{config="cron",mechanism="http"} 0"#.to_owned(),
        ] {
            assert!(found.contains(&line), "{line} is not in {found:#?}");
        }
        telemetry.remove_source("file", "cron");
        source.count_refresh(Duration::ZERO, None);
        let found = samples(&telemetry);
        assert!(!found.is_empty() && found.iter().all(|line| line.contains("\"http\"")));
        drop(file_of_the_same_name);
        telemetry.source("file", "cron");
        let again = format!("aitask_sd_refreshes_total{{{labels}}} 0");
        assert!(samples(&telemetry).contains(&again));
    }
}
