//! Polls that are due and have not started, as they grow older between two looks of the schedule.

use parking_lot::Mutex;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge};
use tokio::time::Instant;

use crate::family;

/// The due polls of a provider, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Their number.
    pub count: usize,
    /// Since when the first of them has waited.
    pub oldest: Option<Instant>,
    /// True while they wait for the rate limit or the end of a pause that the provider asked for.
    pub is_throttled: bool,
}

/// The metrics of due polls.
#[derive(Debug)]
pub struct DueTelemetry {
    queue_length: IntGauge,
    overdue: Gauge,
    throttled: Counter,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    oldest: Option<Instant>,
    /// Up to when throttled time is counted.
    throttled_until: Option<Instant>,
}

impl DueTelemetry {
    /// Nothing is due.
    pub fn new(provider: &str) -> Self {
        let labels = [("provider", provider)];
        Self {
            queue_length: super::int_gauge(&family::POLL_QUEUE_LENGTH, &labels),
            overdue: super::gauge(&family::POLL_OVERDUE, &labels),
            throttled: super::counter(&family::THROTTLED, &labels),
            latest: Mutex::default(),
        }
    }

    /// Takes in the state at `now`, which lasts until the next call.
    pub fn set(&self, due: Due, now: Instant) {
        self.queue_length.set(i64::try_from(due.count).unwrap_or(i64::MAX));
        let mut latest = self.latest.lock();
        self.count_throttled(&mut latest, now);
        latest.oldest = due.oldest;
        latest.throttled_until = due.is_throttled.then_some(now);
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

    fn count_throttled(&self, latest: &mut Latest, now: Instant) {
        if let Some(until) = &mut latest.throttled_until {
            self.throttled.inc_by(now.duration_since(*until).as_secs_f64());
            *until = now.max(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shown(due: &DueTelemetry, now: Instant) -> [f64; 3] {
        let families = due.collect(now);
        let value = |index: usize| {
            let metric = &families[index].get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        [value(0), value(1), value(2)]
    }

    #[test]
    fn what_is_due_grows_older_without_a_look() {
        let (due, start) = (DueTelemetry::new("p"), Instant::now());
        assert_eq!(shown(&due, start), [0.0, 0.0, 0.0]);
        due.set(Due { count: 3, oldest: Some(start), is_throttled: true }, start + SECOND);
        assert_eq!(shown(&due, start + 2 * SECOND), [3.0, 2.0, 1.0]);
        assert_eq!(shown(&due, start + 5 * SECOND), [3.0, 5.0, 4.0]);
        // A reader whose clock was read before that of another one.
        assert_eq!(shown(&due, start + 4 * SECOND), [3.0, 4.0, 4.0]);
        due.set(Due { count: 2, oldest: Some(start), is_throttled: false }, start + 6 * SECOND);
        assert_eq!(shown(&due, start + 9 * SECOND), [2.0, 9.0, 5.0]);
        due.set(Due::default(), start + 10 * SECOND);
        assert_eq!(shown(&due, start + 11 * SECOND), [0.0, 0.0, 5.0]);
    }
}
