//! Slots in the order in which they come due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Slot;

/// What is due within one such span, in microseconds, is sorted only when its turn comes. Short
/// enough that what is sorted at once fits the processor's cache, at 20,000 polls a second as well.
const SPAN: u64 = 50_000;

/// A moment in microseconds since the start of a queue: half as large as an `Instant`, of which
/// a million tasks have two each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueTime(u64);

/// A timer queue: spans of time with the slots that come due in them, unsorted, and the earliest
/// span as a heap. A slot that is no longer wanted is not searched for: whoever pops it sees that
/// its generation has passed.
#[derive(Debug)]
pub struct TimerQueue {
    start: Instant,
    /// The slots of the span `earliest`; empty only while there is none at all.
    next: BinaryHeap<Reverse<(QueueTime, Slot)>>,
    earliest: u64,
    /// The slots of all spans after it.
    later: BTreeMap<u64, Vec<(QueueTime, Slot)>>,
}

impl TimerQueue {
    /// An empty queue, whose moments count from `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, next: BinaryHeap::new(), earliest: 0, later: BTreeMap::new() }
    }

    /// An instant as a moment, less than a microsecond later.
    pub fn moment(&self, instant: Instant) -> QueueTime {
        let nanos = instant.saturating_duration_since(self.start).as_nanos();
        QueueTime(u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// A moment as an instant.
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

    /// Takes the earliest slot that is due at `now`.
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

    /// When the earliest slot is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.next.peek().map(|Reverse((due, _))| self.instant(*due))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is pushed and popped in whatever order: the earliest comes first, none before
        /// it is due, and none is lost.
        #[test]
        fn slots_come_in_the_order_in_which_they_are_due(
            steps in prop::collection::vec((any::<bool>(), 0_u64..400_000), 1..400),
        ) {
            let start = Instant::now();
            let (mut queue, mut model, mut now) = (TimerQueue::new(start), BTreeSet::new(), start);
            for (index, (push, micros)) in (0..).zip(steps) {
                if push {
                    let due = now + Duration::from_micros(micros);
                    let slot = Slot { index, generation: 0 };
                    queue.push(queue.moment(due), slot);
                    model.insert((due, slot));
                } else {
                    now += Duration::from_micros(micros);
                    let first = model.first().copied().filter(|(due, _)| *due <= now);
                    prop_assert_eq!(queue.pop_due(now), first.map(|(_, slot)| slot));
                    model.remove(&first.unwrap_or((start, Slot { index: 0, generation: 1 })));
                }
                prop_assert_eq!(queue.next_due(), model.first().map(|(due, _)| *due));
            }
        }
    }

    #[test]
    fn a_slot_before_the_first_is_the_first() {
        let now = Instant::now();
        let later = now + Duration::from_micros(SPAN);
        let [early, late] = [0, 1].map(|index| Slot { index, generation: 0 });
        let mut queue = TimerQueue::new(now);
        queue.push(queue.moment(later), late);
        queue.push(queue.moment(now), early);
        assert_eq!((queue.next.len(), queue.later.len()), (1, 1), "each in a span of its own");
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop_due(now), Some(early));
        assert_eq!(queue.pop_due(now), None);
        assert_eq!(queue.pop_due(later), Some(late));
        assert_eq!(queue.next_due(), None);
    }
}
