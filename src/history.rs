//! The failed polls of late, for a person who looks at the pages.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::observation::Failure;

/// A ring of failed polls.
#[derive(Debug)]
pub struct History {
    limit: usize,
    entries: Mutex<VecDeque<Entry>>,
}

/// One failed poll.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it ended.
    pub at: Timestamp,
    /// The provider's name.
    pub provider: String,
    /// The task's ID.
    pub task_id: String,
    /// What went wrong.
    pub failure: Failure,
}

impl History {
    /// A history of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { limit, entries: Mutex::default() }
    }

    /// Adds an entry; the oldest gives way.
    pub fn push(&self, entry: Entry) {
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(self.limit);
    }

    /// The newest first.
    pub fn newest(&self) -> Vec<Entry> {
        self.entries.lock().iter().cloned().collect()
    }

    /// Those of one task, the newest first.
    pub fn of(&self, provider: &str, task_id: &str) -> Vec<Entry> {
        let is_it = |entry: &&Entry| entry.task_id == task_id && entry.provider == provider;
        let entries = self.entries.lock();
        entries.iter().filter(is_it).cloned().collect()
    }
}
