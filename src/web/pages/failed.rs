//! A failed poll as a row of a table.

use super::link;
use super::shown::{self, Moment};
use crate::clock::Timestamp;
use crate::history::Entry;

/// The row.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When it ended.
    pub at: Moment,
    /// The provider's name.
    pub provider: String,
    /// The task's ID.
    pub task_id: String,
    /// The page of the task.
    pub link: String,
    /// Why it failed.
    pub reason: &'static str,
    /// The code, if there was one.
    pub code: String,
    /// What else is known.
    pub detail: String,
}

impl Failed {
    /// What is remembered, seen from `now`.
    pub fn new(entry: &Entry, now: Timestamp) -> Self {
        Self {
            at: Moment::new(entry.at, now),
            provider: shown::short(&entry.provider),
            task_id: shown::short(&entry.task_id),
            link: link::task(&entry.provider, &entry.task_id),
            reason: entry.failure.reason.as_str(),
            code: shown::short(&entry.failure.code),
            detail: shown::whole(&entry.failure.detail),
        }
    }
}
