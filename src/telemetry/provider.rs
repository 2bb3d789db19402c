//! Metrics of polling one provider. Handles are made once, so that counting is a few atomic additions;
//! only response codes and HTTP statuses, which are not known beforehand, are looked up.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};
use tokio::time::Instant;

use super::dynamic_counters::DynamicCounters;
use super::finishes::FinishTotals;
use super::{counter, gauge, histogram, int_counter, int_gauge};
use crate::family;
use crate::label;
use crate::mapping::Mapping;
use crate::observation::{OddField, Reason, State};

/// HTTP statuses that APIs of this kind, their gateways and the networks in front of them return.
/// Each has a series from the start.
const USUAL_STATUSES: [u16; 25] = [
    200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 422, 429, 500,
    502, 503, 504, 520, 522, 524,
];

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// A usable answer.
    Success,
    /// No usable answer.
    Failure,
    /// Nothing was sent, because the provider was paused.
    Paused,
    /// The probe got no turn in time, or its client left before.
    Busy,
}

impl ProbeResult {
    /// All results.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Paused, Self::Busy];

    /// Returns the value of the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Paused => "paused",
            Self::Busy => "busy",
        }
    }
}

/// Metrics of one provider.
#[derive(Debug)]
pub struct ProviderTelemetry {
    polls: IntCounter,
    in_flight: IntGauge,
    /// Metrics of due polls.
    pub due: DuePollMetrics,
    without_credentials: IntGauge,
    retries: IntCounter,
    lag: Histogram,
    duration: Histogram,
    up: IntGauge,
    failures: [(Reason, IntCounter); Reason::ALL.len()],
    unknown_statuses: IntCounter,
    probes: [(ProbeResult, IntCounter); ProbeResult::ALL.len()],
    odd_values: [(OddField, IntCounter); OddField::ALL.len()],
    http_responses: DynamicCounters,
    codes: DynamicCounters,
    finished: Mutex<FinishTotals>,
    lost: IntCounter,
}

impl ProviderTelemetry {
    /// Creates metrics at 0, except for the tasks that finished in an earlier process.
    pub(super) fn new(provider: &str, finished: FinishTotals) -> Self {
        let labels = [("provider", provider)];
        let counter = |family| int_counter(family, &labels);
        let gauge = |family| int_gauge(family, &labels);
        let histogram = |family| histogram(family, &labels);
        let http_responses = DynamicCounters::new(&family::HTTP_RESPONSES, "status_code", provider);
        http_responses.declare(USUAL_STATUSES.map(|status| status.to_string()));
        Self {
            polls: counter(&family::POLLS),
            in_flight: gauge(&family::POLLS_IN_FLIGHT),
            due: DuePollMetrics::new(provider),
            without_credentials: gauge(&family::WITHOUT_CREDENTIALS),
            retries: counter(&family::POLL_RETRIES),
            lag: histogram(&family::POLL_LAG),
            duration: histogram(&family::POLL_DURATION),
            up: gauge(&family::PROVIDER_UP),
            failures: Reason::ALL.map(|reason| {
                let labels = [("provider", provider), ("reason", reason.as_str())];
                (reason, int_counter(&family::POLL_FAILURES, &labels))
            }),
            unknown_statuses: counter(&family::UNKNOWN_STATUSES),
            probes: ProbeResult::ALL.map(|result| {
                let labels = [("provider", provider), ("result", result.as_str())];
                (result, int_counter(&family::PROBES, &labels))
            }),
            odd_values: OddField::ALL.map(|field| {
                let labels = [("provider", provider), ("field", field.as_str())];
                (field, int_counter(&family::ODD_ANSWERS, &labels))
            }),
            http_responses,
            codes: DynamicCounters::new(&family::RESPONSE_CODES, "code", provider),
            finished: Mutex::new(finished),
            lost: counter(&family::LOST_TASKS),
        }
    }

    /// Creates a series, at 0, for each code and each HTTP status that `mapping` names.
    pub(crate) fn declare(&self, mapping: &Mapping) {
        self.codes.declare(mapping.named_codes().map(label::bounded));
        self.http_responses.declare(mapping.named_statuses().map(|status| status.to_string()));
    }

    /// Counts a request for one task or several as in flight until the returned guard is dropped.
    pub(crate) fn request_started(&self) -> RequestInFlight {
        self.in_flight.inc();
        RequestInFlight(self.in_flight.clone())
    }

    /// Counts the start of a task's poll, `lag` after it was due; `retry` if the last one failed.
    pub(crate) fn poll_started(&self, lag: Duration, retry: bool) {
        self.lag.observe(lag.as_secs_f64());
        self.retries.inc_by(u64::from(retry));
    }

    /// Counts the end of a task's poll, with the reason if it failed.
    pub fn count_poll(&self, took: Duration, failed: Option<Reason>) {
        self.polls.inc();
        self.duration.observe(took.as_secs_f64());
        let failure = self.failures.iter().find(|(known, _)| Some(*known) == failed);
        failure.inspect(|(_, total)| total.inc());
    }

    /// Counts a response with the HTTP status `status`.
    pub fn count_response(&self, status: u16) {
        self.http_responses.inc(itoa::Buffer::new().format(status), Instant::now());
    }

    /// Counts a response whose body had the code `code`.
    pub fn count_code(&self, code: &str) {
        self.codes.inc(&label::bounded(code), Instant::now());
    }

    /// Sets whether the last response had a usable answer for any task.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// Sets the number of tasks that are not polled because the credentials cannot be read.
    pub(crate) fn set_without_credentials(&self, tasks: usize) {
        self.without_credentials.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    /// Counts an observation whose status is not in the mapping.
    pub(crate) fn count_unknown_status(&self) {
        self.unknown_statuses.inc();
    }

    /// Counts an implausible value of an observation.
    pub(crate) fn count_odd_value(&self, field: OddField) {
        let odd = self.odd_values.iter().find(|(known, _)| *known == field);
        odd.inspect(|(_, total)| total.inc());
    }

    /// Counts a task that ended in `state`, `duration` after it was enqueued, if that is known. States
    /// that are not in [`State::FINAL`] are ignored.
    pub fn count_finished(&self, state: State, duration: Option<Duration>) {
        self.finished.lock().add(state, duration);
    }

    /// Counts open tasks that were dropped because no source had listed them for long enough.
    pub fn count_lost(&self, tasks: u64) {
        self.lost.inc_by(tasks);
    }

    /// Replaces the finished tasks that are shown.
    pub(super) fn show_finished(&self, totals: FinishTotals) {
        *self.finished.lock() = totals;
    }

    /// Counts a probe with this result.
    pub fn count_probe(&self, result: ProbeResult) {
        let probes = self.probes.iter().find(|(known, _)| *known == result);
        probes.inspect(|(_, total)| total.inc());
    }

    /// Returns one family for each handle, as of `now`.
    pub(super) fn collect(&self, provider: &str, now: Instant) -> Vec<MetricFamily> {
        let single: [&dyn Collector; 9] = [
            &self.polls,
            &self.in_flight,
            &self.without_credentials,
            &self.retries,
            &self.lag,
            &self.duration,
            &self.up,
            &self.unknown_statuses,
            &self.lost,
        ];
        let mut families: Vec<_> = single.into_iter().flat_map(Collector::collect).collect();
        families.extend(self.failures.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.probes.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.due.collect(now));
        families.extend(self.odd_values.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.finished.lock().collect(provider));
        families.extend([self.http_responses.collect(now), self.codes.collect(now)]);
        families
    }
}

/// A guard that counts a request as in flight.
#[derive(Debug)]
pub struct RequestInFlight(IntGauge);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The due polls of a provider at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuePolls {
    /// Number of polls that are due and have not started.
    pub count: usize,
    /// Time since which the first of them has been waiting.
    pub oldest: Option<Instant>,
    /// True while they wait for the rate limit or for the end of a pause that the provider asked for.
    pub is_throttled: bool,
}

/// Delay of the first due poll from which the polls of a provider count as late for people. Below it,
/// a few requests that wait for one another are nothing unusual.
const LATE_AFTER: Duration = Duration::from_secs(10);

/// The delay of late polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Time for which the first due poll has been waiting.
    pub delay: Duration,
    /// Time for which some poll has been late.
    pub lasts: Duration,
}

/// The metrics of due polls.
#[derive(Debug)]
pub struct DuePollMetrics {
    queue_length: IntGauge,
    overdue: Gauge,
    throttled: Counter,
    latest: Mutex<LatestDuePolls>,
}

/// The due polls as the schedule last reported them.
#[derive(Debug, Default)]
struct LatestDuePolls {
    oldest: Option<Instant>,
    /// Time since which some poll has been late.
    late_since: Option<Instant>,
    /// Time up to which throttled time is counted; `None` while polls are not throttled.
    throttled_until: Option<Instant>,
}

impl DuePollMetrics {
    /// Creates metrics without due polls.
    pub fn new(provider: &str) -> Self {
        let labels = [("provider", provider)];
        Self {
            queue_length: int_gauge(&family::POLL_QUEUE_LENGTH, &labels),
            overdue: gauge(&family::POLL_OVERDUE, &labels),
            throttled: counter(&family::THROTTLED, &labels),
            latest: Mutex::default(),
        }
    }

    /// Sets the due polls at `now`, which are valid until the next call.
    pub fn set(&self, due: DuePolls, now: Instant) {
        self.queue_length.set(i64::try_from(due.count).unwrap_or(i64::MAX));
        let mut latest = self.latest.lock();
        self.count_throttled(&mut latest, now);
        // Up to now the polls of the report before were due.
        latest.late_since = latest.late_since(now).filter(|_| is_late(due.oldest, now));
        latest.oldest = due.oldest;
        latest.throttled_until = due.is_throttled.then_some(now);
    }

    /// Returns how late polls are at `now`, if they are. Changes nothing.
    pub fn lateness(&self, now: Instant) -> Option<Lateness> {
        let latest = self.latest.lock();
        let since = latest.late_since(now)?;
        let delay = now.saturating_duration_since(latest.oldest?);
        Some(Lateness { delay, lasts: now.saturating_duration_since(since) })
    }

    /// Returns a family for each handle, as of `now`.
    pub fn collect(&self, now: Instant) -> Vec<MetricFamily> {
        let mut latest = self.latest.lock();
        self.count_throttled(&mut latest, now);
        let overdue = latest.oldest.map_or(0.0, |due| now.duration_since(due).as_secs_f64());
        self.overdue.set(overdue);
        let handles: [&dyn Collector; 3] = [&self.queue_length, &self.overdue, &self.throttled];
        handles.into_iter().flat_map(Collector::collect).collect()
    }

    fn count_throttled(&self, latest: &mut LatestDuePolls, now: Instant) {
        if let Some(until) = &mut latest.throttled_until {
            self.throttled.inc_by(now.duration_since(*until).as_secs_f64());
            *until = now.max(*until);
        }
    }
}

impl LatestDuePolls {
    /// Returns the time since which some poll has been late, if one is at `now`.
    fn late_since(&self, now: Instant) -> Option<Instant> {
        let from = self.oldest.filter(|_| is_late(self.oldest, now))? + LATE_AFTER;
        Some(self.late_since.map_or(from, |since| since.min(from)))
    }
}

/// Reports whether a poll that has been due since `oldest` is late at `now`.
fn is_late(oldest: Option<Instant>, now: Instant) -> bool {
    oldest.is_some_and(|due| now.saturating_duration_since(due) >= LATE_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shown(due: &DuePollMetrics, now: Instant) -> [f64; 3] {
        let families = due.collect(now);
        let value = |index: usize| {
            let metric = &families[index].get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        [value(0), value(1), value(2)]
    }

    #[test]
    fn due_polls_age_between_two_reports() {
        let (due, start) = (DuePollMetrics::new("p"), Instant::now());
        assert_eq!(shown(&due, start), [0.0, 0.0, 0.0]);
        due.set(DuePolls { count: 3, oldest: Some(start), is_throttled: true }, start + SECOND);
        assert_eq!(shown(&due, start + 2 * SECOND), [3.0, 2.0, 1.0]);
        assert_eq!(shown(&due, start + 5 * SECOND), [3.0, 5.0, 4.0]);
        // A scrape that read the clock before another one.
        assert_eq!(shown(&due, start + 4 * SECOND), [3.0, 4.0, 4.0]);
        due.set(
            DuePolls { count: 2, oldest: Some(start), is_throttled: false },
            start + 6 * SECOND,
        );
        assert_eq!(shown(&due, start + 9 * SECOND), [2.0, 9.0, 5.0]);
        due.set(DuePolls::default(), start + 10 * SECOND);
        assert_eq!(shown(&due, start + 11 * SECOND), [0.0, 0.0, 5.0]);
    }

    #[test]
    fn polls_are_late_from_a_delay_on_and_until_none_is() {
        let (due, start) = (DuePollMetrics::new("p"), Instant::now());
        let at = |seconds: u32| start + seconds * SECOND;
        let report = |oldest: Option<u32>, now| {
            due.set(DuePolls { count: 1, oldest: oldest.map(at), is_throttled: false }, at(now));
        };
        let late = |now| due.lateness(at(now)).map(|late| (late.delay, late.lasts));
        assert_eq!(late(100), None);
        report(Some(0), 1);
        assert_eq!((late(9), late(10)), (None, Some((10 * SECOND, Duration::ZERO))));
        assert_eq!(late(15), Some((15 * SECOND, 5 * SECOND)), "nothing was reported since");
        // Another poll is the first in the queue, and late as well.
        report(Some(4), 16);
        assert_eq!(late(17), Some((13 * SECOND, 7 * SECOND)));
        report(Some(15), 18);
        assert_eq!(late(18), None);
        assert_eq!(late(26), Some((11 * SECOND, SECOND)));
        report(None, 30);
        assert_eq!(late(60), None);
    }
}
