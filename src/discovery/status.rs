//! The status of the sources: their last refresh, for pages and metrics.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::list::{RefreshError, RefreshReason, Rejections};
use crate::clock::Timestamp;
use crate::config::discovery::{Mechanism, SourceConfig};
use crate::telemetry::Telemetry;
use crate::telemetry::discovery::SourceTelemetry;

/// The error of a source whose last refresh failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentError {
    /// The `reason` label.
    pub reason: RefreshReason,
    /// Details for people, without secrets.
    pub message: String,
    /// Time of the first failure since the last success.
    pub since: Timestamp,
}

/// The refreshes of a source so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshHistory {
    /// End of the last refresh, successful or not.
    pub last_try: Option<Timestamp>,
    /// End of the last refresh that succeeded.
    pub last_success: Option<Timestamp>,
    /// Duration of the last refresh.
    pub duration: Option<Duration>,
    /// The error, if the last refresh failed.
    pub error: Option<CurrentError>,
    /// Number of tasks in the last good list.
    pub discovered: usize,
    /// The other elements of the last good list.
    pub rejected: Arc<Rejections>,
    /// Time since which every good list has had such elements.
    pub rejected_since: Option<Timestamp>,
    /// Start of the next refresh.
    pub next_try: Option<Timestamp>,
}

/// The numbers of a list that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListSummary {
    /// Number of tasks.
    pub discovered: usize,
    /// The other elements.
    pub rejected: Rejections,
}

/// The status of one source.
#[derive(Debug)]
pub struct SourceStatus {
    mechanism: Mechanism,
    name: Arc<str>,
    telemetry: Arc<SourceTelemetry>,
    history: RwLock<RefreshHistory>,
}

impl SourceStatus {
    /// Creates the status of a source before its first refresh, and its series.
    pub fn new(mechanism: Mechanism, name: &str, telemetry: &Telemetry) -> Self {
        let (name, telemetry) = (name.into(), telemetry.source(mechanism.as_str(), name));
        Self { mechanism, name, telemetry, history: RwLock::default() }
    }

    /// Returns the mechanism of the source.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Returns the name of the source, unique for its mechanism.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the refreshes so far.
    pub fn history(&self) -> RefreshHistory {
        self.history.read().clone()
    }

    /// Records a refresh that ended at `now` and took `took`, and counts it. `list` is a new list,
    /// which may come with an error about a part of it.
    pub fn record_refresh(
        &self,
        list: Option<ListSummary>,
        error: Option<&RefreshError>,
        now: Timestamp,
        took: Duration,
    ) {
        self.telemetry.count_refresh(took, error.map(|error| error.reason));
        let mut history = self.history.write();
        (history.last_try, history.duration) = (Some(now), Some(took));
        if let Some(list) = list {
            self.record_list(list, now, &mut history);
        }
        match error {
            Some(error) => {
                let since = history.error.as_ref().map_or(now, |earlier| earlier.since);
                let (reason, message) = (error.reason, error.message.clone());
                history.error = Some(CurrentError { reason, message, since });
            }
            None => {
                (history.last_success, history.error) = (Some(now), None);
                self.telemetry.set_last_success(now);
            }
        }
    }

    fn record_list(&self, list: ListSummary, now: Timestamp, history: &mut RefreshHistory) {
        let ListSummary { discovered, rejected } = list;
        let count = |reason| {
            let mut counts = rejected.counts();
            counts.find(|(known, _)| *known == reason).map_or(0, |(_, count)| count)
        };
        self.telemetry.set_list(discovered, count);
        let since = history.rejected_since.unwrap_or(now);
        history.rejected_since = (rejected.total() > 0).then_some(since);
        (history.discovered, history.rejected) = (discovered, Arc::new(rejected));
    }

    /// Sets the time at which the next refresh starts.
    pub fn set_next_try(&self, at: Timestamp) {
        self.history.write().next_try = Some(at);
    }

    /// Reports whether this is the status of a source.
    pub fn is_of(&self, source: &SourceConfig) -> bool {
        self.mechanism == source.mechanism() && *self.name == *source.name
    }
}

/// The status of each source of the configuration in force.
#[derive(Debug, Default)]
pub struct SourceStatuses(RwLock<Vec<Arc<SourceStatus>>>);

impl SourceStatuses {
    /// Applies the sources of a configuration. Those that it had before keep their status; the series
    /// of those that it no longer has end. Returns the status of each, in the order of `sources`.
    pub fn apply(
        &self,
        sources: &[Arc<SourceConfig>],
        telemetry: &Telemetry,
    ) -> Vec<Arc<SourceStatus>> {
        let mut statuses = self.0.write();
        let before = std::mem::take(&mut *statuses);
        for gone in
            before.iter().filter(|status| !sources.iter().any(|source| status.is_of(source)))
        {
            telemetry.remove_source(gone.mechanism.as_str(), &gone.name);
        }
        let status = |source: &Arc<SourceConfig>| match before.iter().find(|old| old.is_of(source))
        {
            Some(status) => Arc::clone(status),
            None => Arc::new(SourceStatus::new(source.mechanism(), &source.name, telemetry)),
        };
        *statuses = sources.iter().map(status).collect();
        statuses.clone()
    }

    /// Returns the status of each source, in the order of the configuration.
    pub fn all(&self) -> Vec<Arc<SourceStatus>> {
        self.0.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prometheus::TextEncoder;

    use super::*;
    use crate::config;
    use crate::discovery::list::{RejectReason, RejectedElement};
    use crate::observation::Reason;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
    }

    /// Returns sources of files with these names.
    fn sources(names: &[&str]) -> Vec<Arc<SourceConfig>> {
        let source = |name: &&str| format!("- {{ name: {name}, files: [nothing.json] }}\n");
        let text = format!(
            "providers: [{{ name: p, preset: mjdjourney }}]\nfile_sd_configs:\n{}",
            names.iter().map(source).collect::<String>()
        );
        config::load_text("c.yml", &text, Path::new(".")).unwrap().config.discovery
    }

    /// Returns a list of so many tasks and one rejected element.
    fn list(discovered: usize) -> ListSummary {
        let mut rejected = Rejections::default();
        let (element, message) = ("x".to_owned(), "it has no ID".to_owned());
        let reason = RejectReason::Id;
        rejected.add(reason, || RejectedElement { element, reason, message });
        ListSummary { discovered, rejected }
    }

    /// Returns the value of a series of the source `a`.
    fn value(telemetry: &Telemetry, name: &str, more: &str) -> Option<f64> {
        let text = TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap();
        let series = format!("aitask_sd_{name}{{config=\"a\",mechanism=\"file\"{more}}} ");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(&series));
        values.next().map(|value| value.parse().unwrap())
    }

    #[test]
    fn a_failure_keeps_the_last_good_list_and_lasts_until_a_success() {
        let (telemetry, statuses) = (Telemetry::new(), SourceStatuses::default());
        let status = &statuses.apply(&sources(&["a"]), &telemetry)[0];
        assert_eq!(status.history(), RefreshHistory::default());
        assert_eq!(value(&telemetry, "last_success_timestamp_seconds", ""), Some(0.0));

        status.record_refresh(Some(list(2)), None, at(1), SECOND);
        let good = status.history();
        assert_eq!(
            (good.last_try, good.last_success, &good.error),
            (Some(at(1)), Some(at(1)), &None)
        );
        assert_eq!((good.discovered, good.rejected.total()), (2, 1));
        assert_eq!(good.rejected_since, Some(at(1)));

        let late = RefreshError::new(Reason::Timeout, "no response in 10s");
        status.record_refresh(None, Some(&late), at(5), 10 * SECOND);
        let gone = RefreshError::new(RefreshReason::Read, "gone");
        status.record_refresh(None, Some(&gone), at(9), SECOND);
        status.set_next_try(at(11));
        let error =
            CurrentError { reason: RefreshReason::Read, message: "gone".into(), since: at(5) };
        let (last_try, next_try) = (Some(at(9)), Some(at(11)));
        let expected = RefreshHistory { last_try, error: Some(error), next_try, ..good.clone() };
        assert_eq!(status.history(), expected);
        let failures =
            |reason| value(&telemetry, "refresh_failures_total", &format!(",reason=\"{reason}\""));
        assert_eq!((failures("timeout"), failures("read")), (Some(1.0), Some(1.0)));
        assert_eq!(value(&telemetry, "discovered_tasks", ""), Some(2.0));
        assert_eq!(value(&telemetry, "rejected_tasks", ",reason=\"id\""), Some(1.0));

        status.record_refresh(None, None, at(12), SECOND);
        let (last_try, last_success) = (Some(at(12)), Some(at(12)));
        let unchanged = RefreshHistory { last_try, last_success, next_try, ..good };
        assert_eq!(status.history(), unchanged);
        assert_eq!(value(&telemetry, "refreshes_total", ""), Some(4.0));
        let success = value(&telemetry, "last_success_timestamp_seconds", "");
        assert_eq!(success, Some(1_750_000_012.0));

        status.record_refresh(Some(list(3)), None, at(20), SECOND);
        assert_eq!(status.history().rejected_since, Some(at(1)));
        status.record_refresh(Some(ListSummary::default()), None, at(30), SECOND);
        assert_eq!(status.history().rejected_since, None);
    }

    #[test]
    fn a_list_of_which_a_part_cannot_be_read_counts_and_is_a_failure() {
        let telemetry = Telemetry::new();
        let status = SourceStatus::new(Mechanism::File, "a", &telemetry);
        let error = RefreshError::new(Reason::Decode, "b.json is cut off");
        status.record_refresh(Some(list(1)), Some(&error), at(3), SECOND);
        let history = status.history();
        assert_eq!((history.discovered, history.last_success), (1, None));
        assert_eq!(history.error.map(|error| error.since), Some(at(3)));
        assert_eq!(value(&telemetry, "refresh_failures_total", ",reason=\"decode\""), Some(1.0));
        assert_eq!(value(&telemetry, "discovered_tasks", ""), Some(1.0));
        assert_eq!(value(&telemetry, "last_success_timestamp_seconds", ""), Some(0.0));
    }

    #[test]
    fn a_source_that_stays_keeps_its_status() {
        let (telemetry, statuses) = (Telemetry::new(), SourceStatuses::default());
        let first = statuses.apply(&sources(&["a", "b"]), &telemetry);
        first[0].record_refresh(None, None, at(1), SECOND);
        let second = statuses.apply(&sources(&["c", "a"]), &telemetry);
        let names: Vec<_> = second.iter().map(|status| status.name()).collect();
        assert_eq!((names, statuses.all().len()), (vec!["c", "a"], 2));
        assert!(Arc::ptr_eq(&first[0], &second[1]));
        let text = TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap();
        assert!(!text.contains("config=\"b\"") && text.contains("config=\"c\""));
        assert_eq!(value(&telemetry, "refreshes_total", ""), Some(1.0));
        assert_eq!(statuses.apply(&[], &telemetry).len(), 0);
        assert_eq!(value(&telemetry, "refreshes_total", ""), None);
    }
}
