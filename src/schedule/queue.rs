//! Slots in the order in which they come due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Slot;

/// What is due within one such span is sorted only when its turn comes. Short enough that what is
/// sorted at once fits the processor's cache, at 20,000 polls a second as well.
const SPAN: Duration = Duration::from_millis(50);

/// A timer queue: spans of time with the slots that come due in them, unsorted, and the earliest
/// span as a heap. A slot that is no longer wanted is not searched for: whoever pops it sees that
/// its generation has passed.
#[derive(Debug, Default)]
pub struct Queue {
    /// From where spans are counted: the first moment that was pushed.
    start: Option<Instant>,
    /// The slots of the span `earliest`; empty only while there is none at all.
    next: BinaryHeap<Reverse<(Instant, Slot)>>,
    earliest: i64,
    /// The slots of all spans after it.
    later: BTreeMap<i64, Vec<(Instant, Slot)>>,
}

impl Queue {
    /// Adds a slot.
    pub fn push(&mut self, due: Instant, slot: Slot) {
        let span = self.span(due);
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
        self.next.peek().map(|Reverse((due, _))| *due)
    }

    /// The span of a moment; negative before the first that was pushed.
    fn span(&mut self, due: Instant) -> i64 {
        let start = *self.start.get_or_insert(due);
        let spans = |time: Duration| {
            i64::try_from(time.as_millis() / SPAN.as_millis()).unwrap_or(i64::MAX - 1)
        };
        match due.checked_duration_since(start) {
            Some(after) => spans(after),
            None => -1 - spans(start.saturating_duration_since(due)),
        }
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
            let (mut queue, mut model, mut now) = (Queue::default(), BTreeSet::new(), start);
            for (index, (push, micros)) in (0..).zip(steps) {
                if push {
                    let due = now + Duration::from_micros(micros);
                    let slot = Slot { index, generation: 0 };
                    queue.push(due, slot);
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
        let [early, late] = [0, 1].map(|index| Slot { index, generation: 0 });
        let mut queue = Queue::default();
        queue.push(now + SPAN, late);
        queue.push(now, early);
        assert_eq!((queue.next.len(), queue.later.len()), (1, 1), "each in a span of its own");
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop_due(now), Some(early));
        assert_eq!(queue.pop_due(now), None);
        assert_eq!(queue.pop_due(now + SPAN), Some(late));
        assert_eq!(queue.next_due(), None);
    }
}
