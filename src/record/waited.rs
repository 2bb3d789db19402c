//! The time that a task has spent waiting for its user, as far as polls saw it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PollTime;
use crate::clock::Timestamp;

/// The time that one task has spent in `waiting`: from the poll that saw it begin to wait to the
/// poll that saw it do something else.
///
/// Within a life of the exporter it is measured by the steady clock, so that no step of the wall
/// clock adds to it or takes from it. Over a restart only the wall clock can measure it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// The time so far; while the task waits, up to `until`.
    total: Duration,
    /// The last poll that saw it wait, by the wall clock; `None` while it does not wait.
    until: Option<Timestamp>,
    /// The same moment by the steady clock, which is another one in another life.
    #[serde(skip)]
    steady_until: Option<Timestamp>,
    /// Moment of the first usable answer, if the task waited then: the time from its enqueueing to
    /// that moment counts too.
    first_seen: Option<Timestamp>,
}

impl Waited {
    /// Begins with a poll that saw the task wait. If it is the first usable answer, the task has
    /// waited since its enqueueing.
    pub fn begin(is_first_answer: bool, PollTime { now, steady }: PollTime) -> Self {
        Self {
            total: Duration::ZERO,
            until: Some(now),
            steady_until: Some(steady),
            first_seen: is_first_answer.then_some(now),
        }
    }

    /// Counts the time up to a poll with a usable answer, which says whether the task still waits.
    pub fn observe(&mut self, is_waiting: bool, PollTime { now, steady }: PollTime) {
        if let Some(until) = self.until {
            let passed = match self.steady_until {
                Some(steady_until) => steady.since(steady_until),
                None => now.since(until),
            };
            self.total = self.total.saturating_add(passed);
        }
        self.until = is_waiting.then_some(now);
        self.steady_until = is_waiting.then_some(steady);
    }

    /// Returns the moments that it remembers, by the wall clock.
    pub fn moments(&self) -> impl Iterator<Item = Timestamp> + use<> {
        self.until.into_iter().chain(self.first_seen)
    }

    /// Returns the time up to `now` of a task that was enqueued at `enqueued`; at most its age.
    pub fn total(&self, enqueued: Timestamp, now: Timestamp) -> Duration {
        let before = self.first_seen.map_or(Duration::ZERO, |seen| seen.since(enqueued));
        let running = self.until.map_or(Duration::ZERO, |until| now.since(until));
        before.saturating_add(self.total).saturating_add(running).min(now.since(enqueued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
    }

    /// A poll that ended so many seconds after the start, by the wall clock and by the steady one.
    fn poll(now: u64, steady: u64) -> PollTime {
        PollTime { now: at(now), steady: at(steady) }
    }

    /// Of a task that was enqueued at 0.
    fn total(waited: &Waited, now: u64) -> u64 {
        waited.total(at(0), at(now)).as_secs()
    }

    #[test]
    fn every_wait_counts_and_nothing_between_them() {
        let mut waited = Waited::begin(false, poll(10, 10));
        assert_eq!(total(&waited, 40), 30, "up to now, while it waits");
        waited.observe(true, poll(50, 50));
        assert_eq!(total(&waited, 60), 50);
        waited.observe(false, poll(70, 70));
        assert_eq!(total(&waited, 900), 60);
        waited.observe(false, poll(900, 900));
        waited.observe(true, poll(1_000, 1_000));
        waited.observe(false, poll(1_005, 1_005));
        assert_eq!(total(&waited, 2_000), 65);
    }

    #[test]
    fn no_step_of_the_clock_adds_to_it_or_takes_from_it() {
        for wall in [0, 90_000] {
            let mut waited = Waited::begin(false, poll(1_000, 1_000));
            waited.observe(true, poll(wall, 1_030));
            waited.observe(false, poll(1_100, 1_060));
            assert_eq!(total(&waited, 1_100), 60);
        }
        // Never negative and never above the age, whatever the clock says meanwhile.
        let waited = Waited::begin(true, poll(1_000, 1_000));
        assert_eq!(total(&waited, 900), 900);
        assert_eq!(waited.total(at(5_000), at(900)), Duration::ZERO);
    }

    #[test]
    fn it_goes_on_over_a_restart_by_the_wall_clock() {
        let mut first = Waited::begin(true, poll(100, 100));
        first.observe(true, poll(130, 130));
        let kept = postcard::to_allocvec(&first).unwrap();
        let mut second: Waited = postcard::from_bytes(&kept).unwrap();
        // The steady clock of another life says something else.
        second.observe(true, poll(700, 3));
        assert_eq!(total(&second, 700), 700);
        second.observe(false, poll(9, 13));
        assert_eq!(total(&second, 800), 710);
        // Set back while the exporter was away: what cannot be known is left out.
        let mut behind: Waited = postcard::from_bytes(&kept).unwrap();
        behind.observe(false, poll(60, 3));
        assert_eq!(total(&behind, 800), 130);
    }

    #[test]
    fn a_task_first_seen_waiting_has_waited_since_its_enqueueing_as_it_is_known_now() {
        let mut waited = Waited::begin(true, poll(510, 510));
        waited.observe(false, poll(520, 520));
        for (enqueued, expected) in [(500, 20), (100, 420), (505, 15), (900, 10), (100, 420)] {
            let total = waited.total(at(enqueued), at(2_000));
            assert_eq!(total.as_secs(), expected, "enqueued at {enqueued}");
        }
        let later = Waited::begin(false, poll(510, 510));
        assert_eq!(later.total(at(100), at(520)).as_secs(), 10);
    }
}
