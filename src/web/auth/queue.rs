//! A fair queue. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A queue of items that belong to flows.
///
/// In each round, every flow that has items gets one of them out. An item thus waits for the
/// earlier items of its own flow, and meanwhile for one item per round of each other flow.
#[derive(Debug)]
pub struct FairQueue<F, T> {
    items: BTreeMap<QueuePosition, T>,
    /// Round of the last item of each flow that has an item in the current round or a later one.
    last: HashMap<F, u64>,
    round: u64,
    next: u64,
}

/// The position of an item. Items are taken in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition {
    round: u64,
    number: u64,
}

impl<F, T> Default for FairQueue<F, T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), last: HashMap::new(), round: 0, next: 0 }
    }
}

impl<F: Eq + Hash, T> FairQueue<F, T> {
    /// Appends an item to its flow.
    pub fn push(&mut self, flow: F, item: T) -> QueuePosition {
        let round = self.last.get(&flow).map_or(self.round, |last| last + 1);
        let position = QueuePosition { round, number: self.next };
        self.next += 1;
        self.last.insert(flow, round);
        self.items.insert(position, item);
        position
    }

    /// Takes the item with the lowest position.
    pub fn pop(&mut self) -> Option<(QueuePosition, T)> {
        let (position, item) = self.items.pop_first()?;
        self.round = position.round;
        self.last.retain(|_, last| *last >= position.round);
        Some((position, item))
    }

    /// Returns the item at a position, unless it was taken or removed.
    pub fn get_mut(&mut self, position: QueuePosition) -> Option<&mut T> {
        self.items.get_mut(&position)
    }

    /// Removes the last matching item if more than `most` items match: an item of a flow with many.
    pub fn remove_last_beyond(&mut self, most: usize, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut fitting = self.items.iter().rev().filter(|(_, item)| fits(item));
        let (last, _) = fitting.next()?;
        let (last, more) = (*last, fitting.count());
        if more < most { None } else { self.items.remove(&last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect()
    }

    #[test]
    fn flows_take_turns() {
        let mut queue = FairQueue::default();
        for item in 1..=4 {
            queue.push('a', item);
        }
        queue.push('b', 10);
        assert_eq!(queue.pop().unwrap().1, 1);
        // A flow that comes in a round has a position in it; one that already had one waits for the
        // next.
        queue.push('c', 20);
        queue.push('a', 5);
        queue.push('b', 11);
        assert_eq!(drain(&mut queue), [10, 20, 2, 11, 3, 4, 5]);
        assert_eq!(queue.last.len(), 1, "what is over is forgotten");
        queue.push('b', 12);
        queue.push('a', 6);
        assert_eq!(drain(&mut queue), [12, 6]);
    }

    #[test]
    fn the_last_of_the_longest_flow_is_removed_first() {
        let mut queue = FairQueue::default();
        for item in 1..=3 {
            queue.push('a', item);
        }
        let position = queue.push('b', 10);
        queue.push('a', 7);
        let small = |item: &u32| *item != 7;
        assert_eq!(queue.remove_last_beyond(4, small), None);
        assert_eq!(queue.remove_last_beyond(3, small), Some(3));
        assert_eq!(queue.remove_last_beyond(2, small), Some(2));
        assert_eq!(queue.get_mut(position), Some(&mut 10));
        assert_eq!(drain(&mut queue), [1, 10, 7]);
        assert_eq!(queue.get_mut(position), None);
        assert_eq!(queue.remove_last_beyond(0, small), None);
    }
}
