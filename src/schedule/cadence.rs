//! When a task is due: its place in the interval, and how far failures push it away. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::task::stable_hash;

/// No failing task is left alone for longer, unless its interval is longer still.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// The rhythm of a provider's polls. Every task has its own place in the interval, told by its
/// hash and counted from the Unix epoch, so that a restart neither moves nor bunches the polls.
/// The wall clock is looked at once; a step of the host's clock later moves nothing.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    interval: Duration,
    start: Instant,
    wall_at_start: Timestamp,
}

impl Cadence {
    /// A rhythm of one poll of each task in every `interval`, which is above zero.
    pub fn new(interval: Duration, start: Instant, wall_at_start: Timestamp) -> Self {
        Self { interval: interval.max(Duration::from_millis(1)), start, wall_at_start }
    }

    /// The same clock with another interval.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self::new(interval, self.start, self.wall_at_start)
    }

    /// The time between two polls of a task.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// From where time is counted.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The first moment after `now` that is the task's own.
    pub fn next(&self, hash: u64, now: Instant) -> Instant {
        let interval = micros(self.interval);
        let wall = self.wall_at_start + now.saturating_duration_since(self.start);
        let wall = u64::try_from(wall.micros()).unwrap_or(0);
        let place = hash % interval;
        let since_last = (wall % interval + interval - place) % interval;
        now + Duration::from_micros(interval - since_last)
    }

    /// When to try again after `failures` (at least one) failed polls in a row: the interval
    /// doubled for each failure after the first, up to five minutes, and up to a quarter less, so
    /// that tasks which failed together do not come back together.
    pub fn backoff(&self, hash: u64, failures: u32, now: Instant) -> Instant {
        let doublings = failures.saturating_sub(1).min(20);
        let delay =
            self.interval.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(self.interval));
        let random = stable_hash([hash.to_le_bytes().as_slice(), &failures.to_le_bytes()]);
        let spread = micros(delay) / 4;
        now + delay - Duration::from_micros(random % spread.max(1))
    }
}

/// A part of `range` that is the same for the same hash: what failed together does not come back
/// together.
pub fn spread(hash: u64, range: Duration) -> Duration {
    let random = stable_hash([hash.to_le_bytes().as_slice()]);
    Duration::from_micros(random % micros(range).max(1))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cadence(interval: Duration, wall_micros: i64) -> (Cadence, Instant) {
        let start = Instant::now();
        (Cadence::new(interval, start, Timestamp::from_micros(wall_micros)), start)
    }

    #[test]
    fn a_task_keeps_its_place_across_restarts() {
        let second = Duration::from_secs(1);
        for hash in [0, 1, 14_999_999, u64::MAX] {
            // Two lives of the process, the second begun 4.2 s of wall time after the first.
            let (first, start) = cadence(15 * second, 1_750_402_472_303_527);
            let (later, restart) = cadence(15 * second, 1_750_402_476_503_527);
            let mut due = first.next(hash, start) - start;
            if due <= Duration::from_millis(4_200) {
                due += 15 * second;
            }
            assert_eq!(
                later.next(hash, restart) - restart,
                due.checked_sub(Duration::from_millis(4_200)).unwrap()
            );
        }
    }

    #[test]
    fn the_next_moment_is_always_later_and_at_most_an_interval_away() {
        let interval = Duration::from_millis(7);
        let (cadence, start) = cadence(interval, 1_750_402_472_303_527);
        let mut now = start;
        for hash in 0..1000 {
            let due = cadence.next(hash, now);
            assert!(due > now && due <= now + interval);
            assert_eq!(cadence.next(hash, due), due + interval);
            now = due;
        }
    }

    #[test]
    fn failures_push_away_up_to_five_minutes() {
        let second = Duration::from_secs(1);
        let (cadence, now) = cadence(15 * second, 0);
        for (failures, longest) in [(1, 15), (2, 30), (3, 60), (5, 240), (6, 300), (4_000, 300)] {
            let delay = cadence.backoff(42, failures, now) - now;
            let longest = longest * second;
            assert!(delay <= longest && delay >= longest * 3 / 4, "{failures}: {delay:?}");
        }
        let slow = cadence.with_interval(3_600 * second);
        assert!(slow.backoff(42, 9, now) - now >= 2_700 * second);
    }
}
