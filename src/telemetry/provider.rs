//! The work of polling one provider, counted. Handles are made once, so counting is a few atomic
//! additions; only codes and HTTP statuses, which no table lists beforehand, are looked up.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::time::Instant;

use super::due::DueTelemetry;
use super::finishes::FinishTotals;
use super::open_set::OpenSet;
use crate::family;
use crate::label;
use crate::mapping::Mapping;
use crate::observation::{OddField, Reason, State};

/// The HTTP statuses with which APIs of this kind, their gateways and the networks in front of them
/// answer. Each has a series from the start.
const USUAL_STATUSES: [u16; 25] = [
    200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 422, 429, 500,
    502, 503, 504, 520, 522, 524,
];

/// The end of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// A usable answer.
    Success,
    /// No usable answer.
    Failure,
    /// Nothing was sent, since the provider was paused.
    Paused,
    /// It got no turn in time, or its client left before.
    Busy,
}

impl ProbeResult {
    /// All of them.
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

/// Counts what happens at one provider.
#[derive(Debug)]
pub struct ProviderTelemetry {
    polls: IntCounter,
    in_flight: IntGauge,
    /// Polls that are due.
    pub due: DueTelemetry,
    retries: IntCounter,
    lag: Histogram,
    duration: Histogram,
    up: IntGauge,
    failures: [(Reason, IntCounter); Reason::ALL.len()],
    unknown_statuses: IntCounter,
    probes: [(ProbeResult, IntCounter); ProbeResult::ALL.len()],
    odd_answers: [(OddField, IntCounter); OddField::ALL.len()],
    http_responses: OpenSet,
    codes: OpenSet,
    finished: Mutex<FinishTotals>,
}

impl ProviderTelemetry {
    /// Everything at 0, but for the tasks that have finished in an earlier life of the process.
    pub(super) fn new(provider: &str, finished: FinishTotals) -> Self {
        let labels = [("provider", provider)];
        let counter = |family| super::int_counter(family, &labels);
        let gauge = |family| super::int_gauge(family, &labels);
        let histogram = |family| super::histogram(family, &labels);
        let http_responses = OpenSet::new(&family::HTTP_RESPONSES, "status_code", provider);
        http_responses.expect(USUAL_STATUSES.map(|status| status.to_string()));
        Self {
            polls: counter(&family::POLLS),
            in_flight: gauge(&family::POLLS_IN_FLIGHT),
            due: DueTelemetry::new(provider),
            retries: counter(&family::POLL_RETRIES),
            lag: histogram(&family::POLL_LAG),
            duration: histogram(&family::POLL_DURATION),
            up: gauge(&family::PROVIDER_UP),
            failures: Reason::ALL.map(|reason| {
                let labels = [("provider", provider), ("reason", reason.as_str())];
                (reason, super::int_counter(&family::POLL_FAILURES, &labels))
            }),
            unknown_statuses: counter(&family::UNKNOWN_STATUSES),
            probes: ProbeResult::ALL.map(|result| {
                let labels = [("provider", provider), ("result", result.as_str())];
                (result, super::int_counter(&family::PROBES, &labels))
            }),
            odd_answers: OddField::ALL.map(|field| {
                let labels = [("provider", provider), ("field", field.as_str())];
                (field, super::int_counter(&family::ODD_ANSWERS, &labels))
            }),
            http_responses,
            codes: OpenSet::new(&family::RESPONSE_CODES, "code", provider),
            finished: Mutex::new(finished),
        }
    }

    /// Gives each code and each HTTP status that `mapping` names a series, at 0 where it is new.
    pub fn expect(&self, mapping: &Mapping) {
        self.codes.expect(mapping.named_codes().map(label::bounded));
        self.http_responses.expect(mapping.named_statuses().map(|status| status.to_string()));
    }

    /// A request starts, for the poll of one task or of several. It counts as under way until the
    /// returned guard is dropped.
    pub fn request_started(&self) -> RequestInFlight {
        self.in_flight.inc();
        RequestInFlight(self.in_flight.clone())
    }

    /// The poll of a task starts, `lag` after it was due; `retry` if the one before failed.
    pub fn poll_started(&self, lag: Duration, retry: bool) {
        self.lag.observe(lag.as_secs_f64());
        self.retries.inc_by(u64::from(retry));
    }

    /// The poll of a task ended, with a reason where it failed.
    pub fn polled(&self, took: Duration, failed: Option<Reason>) {
        self.polls.inc();
        self.duration.observe(took.as_secs_f64());
        let failure = self.failures.iter().find(|(known, _)| Some(*known) == failed);
        failure.inspect(|(_, total)| total.inc());
    }

    /// An answer came with the HTTP status `status`.
    pub fn answered(&self, status: u16) {
        self.http_responses.inc(itoa::Buffer::new().format(status), Instant::now());
    }

    /// An answer's body had the code `code`.
    pub fn code(&self, code: &str) {
        self.codes.inc(&label::bounded(code), Instant::now());
    }

    /// Whether the last answer told something usable of a task.
    pub fn provider_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// An answer's status is not in the mapping.
    pub fn unknown_status(&self) {
        self.unknown_statuses.inc();
    }

    /// A value of an answer was not believed.
    pub fn odd_answer(&self, field: OddField) {
        let odd = self.odd_answers.iter().find(|(known, _)| *known == field);
        odd.inspect(|(_, total)| total.inc());
    }

    /// A task was seen to end in `state`, `duration` after it was enqueued, where that is known.
    /// States that are not in [`State::FINAL`] do not count.
    pub fn finished(&self, state: State, duration: Option<Duration>) {
        self.finished.lock().add(state, duration);
    }

    /// Shows these finished tasks instead of those that were shown so far.
    pub(super) fn show_finished(&self, totals: FinishTotals) {
        *self.finished.lock() = totals;
    }

    /// A probe has ended, with this result.
    pub fn probed(&self, result: ProbeResult) {
        let probes = self.probes.iter().find(|(known, _)| *known == result);
        probes.inspect(|(_, total)| total.inc());
    }

    /// One family for each handle, as it is shown at `now`.
    pub(super) fn collect(&self, provider: &str, now: Instant) -> Vec<MetricFamily> {
        let single: [&dyn Collector; 7] = [
            &self.polls,
            &self.in_flight,
            &self.retries,
            &self.lag,
            &self.duration,
            &self.up,
            &self.unknown_statuses,
        ];
        let mut families: Vec<_> = single.into_iter().flat_map(Collector::collect).collect();
        families.extend(self.failures.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.probes.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.due.collect(now));
        families.extend(self.odd_answers.iter().flat_map(|(_, total)| total.collect()));
        families.extend(self.finished.lock().collect(provider));
        families.extend([self.http_responses.collect(now), self.codes.collect(now)]);
        families
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct RequestInFlight(IntGauge);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
