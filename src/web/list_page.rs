//! Pages of a list of tasks: the tasks that match a filter, in an order, from a place on.
//!
//! Each page is found in one pass over the tasks with a heap of the size of the page. A fleet of a
//! million tasks is neither sorted nor copied.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::query::TaskQuery;
use super::query::cursor::{Cursor, Side};
use super::query::order::{SortKey, TaskOrder, TaskRow};
use crate::clock::Timestamp;
use crate::store::TaskList;

/// A page of a list.
#[derive(Debug)]
pub struct ListPage<'a> {
    /// Rows in the order of the list.
    pub rows: Vec<TaskRow<'a>>,
    /// Number of tasks that match the filter.
    pub total: u64,
    /// Number of those that come before the page.
    pub before: u64,
    /// Cursor of the page before; `None` on the first page.
    pub previous: Option<Cursor>,
    /// Cursor of the page after; `None` on the last page.
    pub next: Option<Cursor>,
}

/// Returns the page of `tasks` that the query selects, with at most `most` rows.
pub fn select_page<'a>(
    tasks: &'a [TaskList],
    query: &TaskQuery,
    now: Timestamp,
    most: usize,
) -> ListPage<'a> {
    let order = query.order();
    let mut total = 0;
    let mut candidates = Candidates::new(order, query.cursor.as_ref(), most);
    for list in tasks {
        for tracked in list.tasks() {
            if query.filter.matches(tracked, list.stuck_after, now) {
                total += 1;
                candidates.add(TaskRow::new(tracked, list.stuck_after, now));
            }
        }
    }
    candidates.into_page(total)
}

/// The tasks on the right side of a cursor, of which the nearest are kept.
struct Candidates<'a, 'c> {
    order: TaskOrder,
    cursor: Option<&'c Cursor>,
    most: usize,
    count: u64,
    /// The top of the heap is the row that is farthest from the cursor.
    nearest: BinaryHeap<Candidate<'a>>,
}

impl<'a, 'c> Candidates<'a, 'c> {
    fn new(order: TaskOrder, cursor: Option<&'c Cursor>, most: usize) -> Self {
        Self { order, cursor, most, count: 0, nearest: BinaryHeap::with_capacity(most + 1) }
    }

    fn side(&self) -> Side {
        self.cursor.map_or(Side::After, |cursor| cursor.side)
    }

    fn add(&mut self, row: TaskRow<'a>) {
        let (order, side) = (self.order, self.side());
        let key = order.key(row);
        let beside = self.cursor.map(|cursor| order.compare(&key, &cursor.key));
        let is_candidate = match side {
            Side::After => beside.is_none_or(Ordering::is_gt),
            Side::Before => beside.is_none_or(Ordering::is_lt),
        };
        if !is_candidate {
            return;
        }
        self.count += 1;
        let candidate = Candidate { order, side, key, row };
        if self.nearest.len() < self.most {
            self.nearest.push(candidate);
        } else if let Some(mut farthest) = self.nearest.peek_mut()
            && candidate < *farthest
        {
            *farthest = candidate;
        }
    }

    fn into_page(self, total: u64) -> ListPage<'a> {
        let (order, side, others) = (self.order, self.side(), total - self.count);
        let mut found = self.nearest.into_sorted_vec();
        let shown = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let (before, after) = match side {
            Side::After => (others, self.count - shown),
            Side::Before => {
                found.reverse();
                (self.count - shown, others)
            }
        };
        let cursor = |candidate: Option<&Candidate<'_>>, side| {
            let key = candidate?.key.clone().into_owned();
            Some(Cursor { order, side, key })
        };
        ListPage {
            previous: cursor(found.first().filter(|_| before > 0), Side::Before),
            next: cursor(found.last().filter(|_| after > 0), Side::After),
            rows: found.into_iter().map(|candidate| candidate.row).collect(),
            total,
            before,
        }
    }
}

/// A row that is compared by its distance from the cursor.
struct Candidate<'a> {
    order: TaskOrder,
    side: Side,
    key: SortKey<'a>,
    row: TaskRow<'a>,
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_place = self.order.compare(&self.key, &other.key);
        match self.side {
            Side::After => by_place,
            Side::Before => by_place.reverse(),
        }
    }
}

#[cfg(test)]
mod tests;
