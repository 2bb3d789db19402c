//! Timing of polls: the cadence of a provider's tasks, back-off after failures, and the timer queue. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::store::Slot;
use crate::task::stable_hash;

/// Maximum back-off, unless the interval is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// Length of a span of the timer queue, in microseconds. Timers within a span are sorted only when it is
/// the earliest. It is short enough for its timers to fit the processor's cache even at 20,000 polls a
/// second.
const SPAN: u64 = 50_000;

/// Cadence of a provider's polls. Every task has its own offset in the interval, derived from its hash and
/// counted from the Unix epoch, so that a restart neither moves nor bunches the polls. The wall clock is
/// read once; later steps of the host's clock have no effect.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    interval: Duration,
    start: Instant,
    wall_at_start: Timestamp,
}

impl Cadence {
    /// Returns a cadence of one poll of each task per `interval`, which is above zero.
    pub fn new(interval: Duration, start: Instant, wall_at_start: Timestamp) -> Self {
        Self { interval: interval.max(Duration::from_millis(1)), start, wall_at_start }
    }

    /// Returns the cadence with another interval.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self::new(interval, self.start, self.wall_at_start)
    }

    /// Returns the time between two polls of a task.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the time of the start.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Returns the first time after `now` at which a task with this hash is due.
    pub fn next(&self, hash: u64, now: Instant) -> Instant {
        let interval = micros(self.interval);
        let wall = self.wall_at_start + now.saturating_duration_since(self.start);
        let wall = u64::try_from(wall.micros()).unwrap_or(0);
        let place = hash % interval;
        let since_last = (wall % interval + interval - place) % interval;
        now + Duration::from_micros(interval - since_last)
    }

    /// Returns the time of the next attempt after `failures` (at least one) consecutive failures: the
    /// interval, doubled for each failure after the first, up to five minutes, minus up to a quarter, so
    /// that tasks that failed together are not retried together.
    pub fn backoff(&self, hash: u64, failures: u32, now: Instant) -> Instant {
        let doublings = failures.saturating_sub(1).min(20);
        let delay =
            self.interval.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(self.interval));
        let random = stable_hash([hash.to_le_bytes().as_slice(), &failures.to_le_bytes()]);
        let spread = micros(delay) / 4;
        now + delay - Duration::from_micros(random % spread.max(1))
    }
}

/// Returns a part of `range` that depends on the hash, so that events that happened together are not
/// repeated together.
pub fn spread(hash: u64, range: Duration) -> Duration {
    let random = stable_hash([hash.to_le_bytes().as_slice()]);
    Duration::from_micros(random % micros(range).max(1))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Time in microseconds since the start of a timer queue: half as large as an `Instant`, and a million
/// tasks have two each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueTime(u64);

/// Timer queue: spans of time with the slots that become due in them, unsorted, and the earliest span as a
/// heap. A slot of a removed task stays in the queue: its generation shows that it is outdated when it is
/// popped.
#[derive(Debug)]
pub struct TimerQueue {
    start: Instant,
    /// Slots of the span `earliest`; empty only if the queue is empty.
    next: BinaryHeap<Reverse<(QueueTime, Slot)>>,
    earliest: u64,
    /// Slots of all later spans.
    later: BTreeMap<u64, Vec<(QueueTime, Slot)>>,
}

impl TimerQueue {
    /// Returns an empty queue whose times count from `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, next: BinaryHeap::new(), earliest: 0, later: BTreeMap::new() }
    }

    /// Converts an instant to queue time, rounded up to a microsecond.
    pub fn queue_time(&self, instant: Instant) -> QueueTime {
        let nanos = instant.saturating_duration_since(self.start).as_nanos();
        QueueTime(u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// Converts queue time to an instant.
    pub fn instant(&self, QueueTime(micros): QueueTime) -> Instant {
        self.start + Duration::from_micros(micros)
    }

    /// Adds a slot.
    pub fn push(&mut self, due: QueueTime, slot: Slot) {
        let span = due.0 / SPAN;
        if self.next.is_empty() {
            self.earliest = span;
        } else if span > self.earliest {
            return self.later.entry(span).or_default().push((due, slot));
        } else if span < self.earliest {
            let waits = std::mem::take(&mut self.next).into_iter().map(|Reverse(entry)| entry);
            self.later.insert(self.earliest, waits.collect());
            self.earliest = span;
        }
        self.next.push(Reverse((due, slot)));
    }

    /// Pops the earliest slot that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<Slot> {
        if self.next_due()? > now {
            return None;
        }
        let popped = self.next.pop().map(|Reverse((_, slot))| slot);
        if self.next.is_empty()
            && let Some((span, slots)) = self.later.pop_first()
        {
            self.earliest = span;
            self.next = slots.into_iter().map(Reverse).collect();
        }
        popped
    }

    /// Returns the time at which the earliest slot is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.next.peek().map(|Reverse((due, _))| self.instant(*due))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn cadence(interval: Duration, wall_micros: i64) -> (Cadence, Instant) {
        let start = Instant::now();
        (Cadence::new(interval, start, Timestamp::from_micros(wall_micros)), start)
    }

    #[test]
    fn a_task_keeps_its_offset_across_restarts() {
        let second = Duration::from_secs(1);
        for hash in [0, 1, 14_999_999, u64::MAX] {
            // Two runs of the process, the second one started 4.2 s of wall time after the first.
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
    fn the_next_time_is_always_later_and_at_most_an_interval_away() {
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
    fn back_off_is_at_most_five_minutes() {
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

    proptest! {
        /// For any pushes and pops, the earliest slot comes first, none before it is due, and none is lost.
        #[test]
        fn slots_are_popped_in_the_order_of_their_times(
            steps in prop::collection::vec((any::<bool>(), 0_u64..400_000), 1..400),
        ) {
            let start = Instant::now();
            let (mut queue, mut model, mut now) = (TimerQueue::new(start), BTreeSet::new(), start);
            for (row, (push, micros)) in (0..).zip(steps) {
                if push {
                    let due = now + Duration::from_micros(micros);
                    let slot = Slot { row, generation: 0 };
                    queue.push(queue.queue_time(due), slot);
                    model.insert((due, slot));
                } else {
                    now += Duration::from_micros(micros);
                    let first = model.first().copied().filter(|(due, _)| *due <= now);
                    prop_assert_eq!(queue.pop_due(now), first.map(|(_, slot)| slot));
                    model.remove(&first.unwrap_or((start, Slot { row: 0, generation: 1 })));
                }
                prop_assert_eq!(queue.next_due(), model.first().map(|(due, _)| *due));
            }
        }
    }

    #[test]
    fn a_slot_before_the_first_is_the_first() {
        let now = Instant::now();
        let later = now + Duration::from_micros(SPAN);
        let [early, late] = [0, 1].map(|row| Slot { row, generation: 0 });
        let mut queue = TimerQueue::new(now);
        queue.push(queue.queue_time(later), late);
        queue.push(queue.queue_time(now), early);
        assert_eq!((queue.next.len(), queue.later.len()), (1, 1), "each in a span of its own");
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop_due(now), Some(early));
        assert_eq!(queue.pop_due(now), None);
        assert_eq!(queue.pop_due(later), Some(late));
        assert_eq!(queue.next_due(), None);
    }
}
