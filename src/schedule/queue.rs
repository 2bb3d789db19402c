//! Slots in the order in which they come due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

use crate::store::Slot;

/// A timer queue. A slot that is no longer wanted is not searched for: whoever pops it sees that
/// its generation has passed.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<(Instant, Slot)>>,
}

impl Queue {
    /// Adds a slot.
    pub fn push(&mut self, due: Instant, slot: Slot) {
        self.heap.push(Reverse((due, slot)));
    }

    /// Takes the earliest slot that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<Slot> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, slot))| slot)
    }

    /// When the earliest slot is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }
}
