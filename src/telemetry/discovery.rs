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
use crate::family;
use crate::observation::Reason;

/// The reason why a list could not be read: the values of the label `reason`. Those of a request
/// mean what they mean for a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshReason {
    /// The timeout expired, at any stage.
    Timeout,
    /// The TLS handshake or a certificate failed.
    Tls,
    /// No connection could be made, or it broke before the list was complete.
    Connect,
    /// The credentials were rejected.
    Auth,
    /// The source asks for fewer requests.
    RateLimited,
    /// There is nothing at the address.
    NotFound,
    /// Any other HTTP status, redirects included.
    Http,
    /// The list has too many bytes, elements or pages.
    TooLarge,
    /// The response has no body.
    Empty,
    /// The text is not what the type of the list says, or has another content type.
    Decode,
    /// The list says itself that it is an error.
    Api,
    /// The text lacks what the configuration says it has.
    Mapping,
    /// A file cannot be read: a list, or one that holds credentials.
    Read,
    /// A database refused the query.
    Query,
}

impl RefreshReason {
    /// All reasons.
    pub const ALL: [Self; 14] = [
        Self::Timeout,
        Self::Tls,
        Self::Connect,
        Self::Auth,
        Self::RateLimited,
        Self::NotFound,
        Self::Http,
        Self::TooLarge,
        Self::Empty,
        Self::Decode,
        Self::Api,
        Self::Mapping,
        Self::Read,
        Self::Query,
    ];

    /// Returns the value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => Reason::Timeout.as_str(),
            Self::Tls => Reason::Tls.as_str(),
            Self::Connect => Reason::Connect.as_str(),
            Self::Auth => Reason::Auth.as_str(),
            Self::RateLimited => Reason::RateLimited.as_str(),
            Self::NotFound => Reason::NotFound.as_str(),
            Self::Http => Reason::Http.as_str(),
            Self::TooLarge => Reason::TooLarge.as_str(),
            Self::Empty => Reason::Empty.as_str(),
            Self::Decode => Reason::Decode.as_str(),
            Self::Api => Reason::Api.as_str(),
            Self::Mapping => Reason::Mapping.as_str(),
            Self::Read => "read",
            Self::Query => "query",
        }
    }
}

impl fmt::Display for RefreshReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for RefreshReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Timeout => Self::Timeout,
            Reason::Tls => Self::Tls,
            Reason::Connect => Self::Connect,
            Reason::Auth => Self::Auth,
            Reason::RateLimited => Self::RateLimited,
            Reason::NotFound => Self::NotFound,
            Reason::Http => Self::Http,
            Reason::TooLarge => Self::TooLarge,
            Reason::Empty => Self::Empty,
            Reason::Decode => Self::Decode,
            Reason::Api => Self::Api,
            Reason::Mapping => Self::Mapping,
        }
    }
}

/// The reason why an element of a list is no usable task: the values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// No ID, or one that no request can carry.
    Id,
    /// No provider, or one that is not configured.
    Provider,
    /// A param is missing or cannot be used.
    Params,
    /// A label has a name or a value that cannot be used.
    Labels,
    /// The enqueue time cannot be read, or is implausible.
    Time,
    /// The element is beyond the `limit` of the source.
    Limit,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::Id, Self::Provider, Self::Params, Self::Labels, Self::Time, Self::Limit];

    /// Returns the value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Provider => "provider",
            Self::Params => "params",
            Self::Labels => "labels",
            Self::Time => "time",
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
    rejected: [(RejectReason, IntGauge); RejectReason::ALL.len()],
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
            rejected: RejectReason::ALL.map(|reason| {
                (reason, int_gauge(&family::SD_REJECTED_TASKS, &with(reason.as_str())))
            }),
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
            ("rejected_tasks", RejectReason::ALL.map(RejectReason::as_str).to_vec()),
        ];
        for (name, reasons) in with_reasons {
            let line = |reason| format!("aitask_sd_{name}{{{labels},reason=\"{reason}\"}} 0");
            expected.extend(reasons.into_iter().map(line));
        }
        assert_eq!(samples(&telemetry), expected);
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
