//! When tasks that no source names are due to leave.

use std::collections::BTreeSet;

use crate::clock::Timestamp;

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
