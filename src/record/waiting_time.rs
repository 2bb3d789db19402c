//! The time that a task spent in `waiting`, as far as polls saw it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PollTime;
use crate::clock::Timestamp;

/// The time that one task spent in `waiting`: from the poll that first saw it wait to the poll that
/// saw another state.
///
/// Within one process the monotonic clock measures it, so that a step of the wall clock does not
/// change it. Across a restart only the wall clock can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingTime {
    /// Time so far; while the task waits, up to `until`.
    total: Duration,
    /// Wall-clock time of the last poll that saw the task wait; `None` while it does not wait.
    until: Option<Timestamp>,
    /// The same time by the monotonic clock, which starts with the process.
    #[serde(skip)]
    monotonic_until: Option<Timestamp>,
    /// Time of the first usable answer, if the task waited then: the time from enqueueing to the
    /// first usable answer counts too.
    first_seen: Option<Timestamp>,
}

impl WaitingTime {
    /// Starts with a poll that saw the task wait. If that was the first usable answer, the task is
    /// taken to have waited since it was enqueued.
    pub fn begin(is_first_answer: bool, PollTime { wall: now, monotonic }: PollTime) -> Self {
        Self {
            total: Duration::ZERO,
            until: Some(now),
            monotonic_until: Some(monotonic),
            first_seen: is_first_answer.then_some(now),
        }
    }

    /// Adds the time up to a poll with a usable answer, which saw whether the task still waits.
    pub(crate) fn add_poll(
        &mut self,
        is_waiting: bool,
        PollTime { wall: now, monotonic }: PollTime,
    ) {
        if let Some(until) = self.until {
            let passed = match self.monotonic_until {
                Some(monotonic_until) => monotonic.since(monotonic_until),
                None => now.since(until),
            };
            self.total = self.total.saturating_add(passed);
        }
        self.until = is_waiting.then_some(now);
        self.monotonic_until = is_waiting.then_some(monotonic);
    }

    /// Returns the timestamps in it, all of the wall clock.
    pub(crate) fn timestamps(&self) -> impl Iterator<Item = Timestamp> + use<> {
        self.until.into_iter().chain(self.first_seen)
    }

    /// Returns the time up to `now` of a task that was enqueued at `enqueued`, at most its age.
    pub(crate) fn total(&self, enqueued: Timestamp, now: Timestamp) -> Duration {
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

    /// The time of a poll, in seconds after the start.
    fn poll(wall: u64, monotonic: u64) -> PollTime {
        PollTime { wall: at(wall), monotonic: at(monotonic) }
    }

    /// The total in seconds, of a task that was enqueued at 0.
    fn total(waiting_time: &WaitingTime, now: u64) -> u64 {
        waiting_time.total(at(0), at(now)).as_secs()
    }

    #[test]
    fn every_wait_counts_and_nothing_between_them() {
        let mut waiting_time = WaitingTime::begin(false, poll(10, 10));
        assert_eq!(total(&waiting_time, 40), 30, "up to now, while it waits");
        waiting_time.add_poll(true, poll(50, 50));
        assert_eq!(total(&waiting_time, 60), 50);
        waiting_time.add_poll(false, poll(70, 70));
        assert_eq!(total(&waiting_time, 900), 60);
        waiting_time.add_poll(false, poll(900, 900));
        waiting_time.add_poll(true, poll(1_000, 1_000));
        waiting_time.add_poll(false, poll(1_005, 1_005));
        assert_eq!(total(&waiting_time, 2_000), 65);
    }

    #[test]
    fn no_step_of_the_clock_adds_to_it_or_takes_from_it() {
        for wall in [0, 90_000] {
            let mut waiting_time = WaitingTime::begin(false, poll(1_000, 1_000));
            waiting_time.add_poll(true, poll(wall, 1_030));
            waiting_time.add_poll(false, poll(1_100, 1_060));
            assert_eq!(total(&waiting_time, 1_100), 60);
        }
        // Never negative and never above the age, even if the clock was set meanwhile.
        let waiting_time = WaitingTime::begin(true, poll(1_000, 1_000));
        assert_eq!(total(&waiting_time, 900), 900);
        assert_eq!(waiting_time.total(at(5_000), at(900)), Duration::ZERO);
    }

    #[test]
    fn waiting_time_continues_after_a_restart() {
        let mut first = WaitingTime::begin(true, poll(100, 100));
        first.add_poll(true, poll(130, 130));
        let kept = postcard::to_allocvec(&first).unwrap();
        let mut second: WaitingTime = postcard::from_bytes(&kept).unwrap();
        // The monotonic clock of another process shows another time.
        second.add_poll(true, poll(700, 3));
        assert_eq!(total(&second, 700), 700);
        second.add_poll(false, poll(9, 13));
        assert_eq!(total(&second, 800), 710);
        // The clock was set back while the exporter was down: the unknown time is left out.
        let mut behind: WaitingTime = postcard::from_bytes(&kept).unwrap();
        behind.add_poll(false, poll(60, 3));
        assert_eq!(total(&behind, 800), 130);
    }

    #[test]
    fn a_task_first_seen_waiting_has_waited_since_its_enqueueing_as_it_is_known_now() {
        let mut waiting_time = WaitingTime::begin(true, poll(510, 510));
        waiting_time.add_poll(false, poll(520, 520));
        for (enqueued, expected) in [(500, 20), (100, 420), (505, 15), (900, 10), (100, 420)] {
            let total = waiting_time.total(at(enqueued), at(2_000));
            assert_eq!(total.as_secs(), expected, "enqueued at {enqueued}");
        }
        let later = WaitingTime::begin(false, poll(510, 510));
        assert_eq!(later.total(at(100), at(520)).as_secs(), 10);
    }
}
