//! The departure of tasks that no source names: when they are due to leave, and whether they then count
//! as lost.

use std::collections::BTreeSet;

use super::lists::ListContext;
use super::sources::SourceRegistry;
use super::table::{Partition, TaskTable};
use super::{ListingChange, TaskChanges};
use crate::clock::Timestamp;

/// Maximum number of lost tasks of a provider that are logged at once.
const MAX_LOGGED: usize = 100;

/// Rows by the time at which to look at them. A row whose task has come back, or has gone, may still
/// be in it: the look finds that out.
#[derive(Debug, Default)]
pub struct Expiry {
    rows: BTreeSet<(Timestamp, u32)>,
}

impl Expiry {
    /// Adds a row to look at `at` that time.
    pub fn insert(&mut self, at: Timestamp, row: u32) {
        self.rows.insert((at, row));
    }

    /// Removes a row that was to be looked at `at` that time.
    pub fn remove(&mut self, at: Timestamp, row: u32) {
        self.rows.remove(&(at, row));
    }

    /// Removes a row whose time has come, and returns it.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let (at, _) = self.rows.first()?;
        if *at > now {
            return None;
        }
        self.rows.pop_first().map(|(_, row)| row)
    }

    /// Returns all rows, those that are due first at the beginning.
    pub fn rows(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().map(|(_, row)| *row)
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

impl TaskTable {
    /// Removes a task that no source names if its time has come; else notes when it will.
    pub fn expire(&mut self, row: u32, context: &ListContext<'_>, changes: &mut TaskChanges) {
        let Some(partition) = self.partition(row) else { return };
        let Some((due, is_lost)) = self.departure(row, partition, context.registry) else { return };
        if due > context.monotonic {
            return self.expiry.insert(due, row);
        }
        if let Some((slot, tracked)) = self.remove(row) {
            (context.save)(ListingChange::Removed(&tracked.task));
            changes.lost += u64::from(is_lost);
            if is_lost && changes.first_lost.len() < MAX_LOGGED {
                changes.first_lost.push(tracked.task.id.clone());
            }
            changes.removed.push(slot);
        }
    }

    /// Returns when a task that no source names leaves, and whether it then counts as lost. `None`
    /// for a task that a source names.
    fn departure(
        &self,
        row: u32,
        partition: Partition,
        registry: &SourceRegistry,
    ) -> Option<(Timestamp, bool)> {
        let tracked = self.at(row)?;
        let since = tracked.listing.unlisted_since()?;
        let due = since + tracked.listing.longest(|source| registry.keep_unlisted(source));
        Some(match partition {
            Partition::Open if tracked.is_never_known() => (since, false),
            Partition::Open => (due, true),
            Partition::Retained => {
                (due.max(tracked.last_changed() + self.limits.retain_finished), false)
            }
            Partition::Retired | Partition::Dormant => (due, false),
        })
    }

    /// Ends the registrations whose time has come. Removes the tasks that no source names and whose
    /// time has come, and the oldest dormant ones if there are more than `max_dormant`.
    pub fn sweep(
        &mut self,
        max_dormant: usize,
        context: &ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        self.end_registrations(context, changes);
        while let Some(row) = self.expiry.pop_due(context.monotonic) {
            self.expire(row, context, changes);
        }
        let excess = self.dormant.count().saturating_sub(max_dormant);
        if excess > 0 {
            let is_dormant = |row: &u32| self.partition(*row) == Some(Partition::Dormant);
            let rows: Vec<_> = self.expiry.rows().filter(is_dormant).take(excess).collect();
            for row in rows {
                if let Some((_, tracked)) = self.remove(row) {
                    (context.save)(ListingChange::Removed(&tracked.task));
                }
            }
        }
    }

    /// Notes again when the tasks that no source names are due to leave, but not before `earliest`.
    pub fn reschedule_departures(&mut self, earliest: Timestamp, registry: &SourceRegistry) {
        let rows: Vec<_> = self.expiry.rows().collect();
        self.expiry.clear();
        for row in rows {
            let Some(partition) = self.partition(row) else { continue };
            if let Some((due, _)) = self.departure(row, partition, registry) {
                self.expiry.insert(due.max(earliest), row);
            }
        }
    }
}
