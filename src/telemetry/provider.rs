//! The work of polling one provider, counted. Handles are made once, so counting is a few atomic
//! additions; only codes and HTTP statuses, which no table lists beforehand, are looked up.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use crate::family::{self, Family};
use crate::label;
use crate::lock::lock;
use crate::observation::{Reason, State};

/// How many label values a provider's answers can add to a family; further ones count as
/// [`OTHER`]. More than any API documents, few enough for an API that numbers its answers.
const MAX_VALUES: usize = 64;

const OTHER: &str = "other";

/// Counts what happens at one provider.
#[derive(Debug)]
pub struct ProviderTelemetry {
    polls: IntCounter,
    in_flight: IntGauge,
    queue_length: IntGauge,
    retries: IntCounter,
    throttled: Counter,
    lag: Histogram,
    duration: Histogram,
    up: IntGauge,
    failures: [(Reason, IntCounter); Reason::ALL.len()],
    unknown_statuses: IntCounter,
    http_responses: OpenSet,
    codes: OpenSet,
    finished: [(State, IntCounter, Histogram); State::FINAL.len()],
}

impl ProviderTelemetry {
    /// Everything at 0.
    pub(super) fn new(provider: &str) -> Self {
        let labels = [("provider", provider)];
        let counter = |family| super::int_counter(family, &labels);
        let gauge = |family| super::int_gauge(family, &labels);
        let histogram = |family| super::histogram(family, &labels);
        Self {
            polls: counter(&family::POLLS),
            in_flight: gauge(&family::POLLS_IN_FLIGHT),
            queue_length: gauge(&family::POLL_QUEUE_LENGTH),
            retries: counter(&family::POLL_RETRIES),
            throttled: super::counter(&family::THROTTLED, &labels),
            lag: histogram(&family::POLL_LAG),
            duration: histogram(&family::POLL_DURATION),
            up: gauge(&family::PROVIDER_UP),
            failures: Reason::ALL.map(|reason| {
                let labels = [("provider", provider), ("reason", reason.as_str())];
                (reason, super::int_counter(&family::POLL_FAILURES, &labels))
            }),
            unknown_statuses: counter(&family::UNKNOWN_STATUSES),
            http_responses: OpenSet::new(&family::HTTP_RESPONSES, "status_code", provider),
            codes: OpenSet::new(&family::RESPONSE_CODES, "code", provider),
            finished: State::FINAL.map(|state| {
                let labels = [("provider", provider), ("state", state.as_str())];
                let total = super::int_counter(&family::FINISHED, &labels);
                (state, total, super::histogram(&family::TASK_DURATION, &labels))
            }),
        }
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
        self.http_responses.inc(itoa::Buffer::new().format(status));
    }

    /// An answer's body had the code `code`.
    pub fn code(&self, code: &str) {
        self.codes.inc(&label::bounded(code));
    }

    /// Whether the last answer told something usable of a task.
    pub fn provider_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// An answer's status is not in the mapping.
    pub fn unknown_status(&self) {
        self.unknown_statuses.inc();
    }

    /// A task was seen to end in `state`, `duration` after it was enqueued, where that is known.
    /// States that are not in [`State::FINAL`] do not count.
    pub fn finished(&self, state: State, duration: Option<Duration>) {
        for (_, total, durations) in self.finished.iter().filter(|(known, ..)| *known == state) {
            total.inc();
            duration.inspect(|duration| durations.observe(duration.as_secs_f64()));
        }
    }

    /// A due poll was held back for `time`.
    pub fn throttled(&self, time: Duration) {
        self.throttled.inc_by(time.as_secs_f64());
    }

    /// `length` polls are due and have not started.
    pub fn queue_length(&self, length: usize) {
        self.queue_length.set(i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// One family for each handle.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let single: [&dyn Collector; 9] = [
            &self.polls,
            &self.in_flight,
            &self.queue_length,
            &self.retries,
            &self.throttled,
            &self.lag,
            &self.duration,
            &self.up,
            &self.unknown_statuses,
        ];
        let mut families: Vec<_> = single.into_iter().flat_map(Collector::collect).collect();
        families.extend(self.failures.iter().flat_map(|(_, total)| total.collect()));
        for (_, total, durations) in &self.finished {
            families.extend(total.collect());
            families.extend(durations.collect());
        }
        families.extend(self.http_responses.collect());
        families.extend(self.codes.collect());
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

/// Counters by a label whose values the provider chooses.
#[derive(Debug)]
struct OpenSet {
    family: &'static Family,
    label: &'static str,
    provider: Box<str>,
    counters: Mutex<BTreeMap<Box<str>, IntCounter>>,
}

impl OpenSet {
    fn new(family: &'static Family, label: &'static str, provider: &str) -> Self {
        Self { family, label, provider: provider.into(), counters: Mutex::default() }
    }

    fn inc(&self, value: &str) {
        let mut counters = lock(&self.counters);
        if let Some(counter) = counters.get(value) {
            return counter.inc();
        }
        let value = if counters.len() < MAX_VALUES { value } else { OTHER };
        let new = || {
            let labels = [("provider", &*self.provider), (self.label, value)];
            super::int_counter(self.family, &labels)
        };
        counters.entry(value.into()).or_insert_with(new).inc();
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counters = lock(&self.counters);
        counters.values().flat_map(Collector::collect).collect()
    }
}
