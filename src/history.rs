//! The latest failed polls of all tasks, and the history of one task, for the pages.

pub mod task_history;

use std::collections::VecDeque;

use crate::clock::Timestamp;
use crate::observation::Failure;
use parking_lot::Mutex;

/// The latest failed polls, up to a limit.
#[derive(Debug)]
pub struct FailureHistory {
    limit: usize,
    entries: Mutex<VecDeque<FailureEntry>>,
}

/// A failed poll.
#[derive(Clone, Debug)]
pub struct FailureEntry {
    /// Time at which the poll ended.
    pub at: Timestamp,
    /// Name of the provider.
    pub provider: String,
    /// ID of the task.
    pub task_id: String,
    /// The failure.
    pub failure: Failure,
}

impl FailureHistory {
    /// Creates a history of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { limit, entries: Mutex::default() }
    }

    /// Adds an entry, and removes the oldest one if the history is full.
    pub fn push(&self, entry: FailureEntry) {
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(self.limit);
    }

    /// Returns all entries, the newest first.
    pub(crate) fn newest(&self) -> Vec<FailureEntry> {
        self.entries.lock().iter().cloned().collect()
    }

    /// Returns the entries of one task, the newest first.
    pub fn of(&self, provider: &str, task_id: &str) -> Vec<FailureEntry> {
        let is_it = |entry: &&FailureEntry| entry.task_id == task_id && entry.provider == provider;
        let entries = self.entries.lock();
        entries.iter().filter(is_it).cloned().collect()
    }
}
