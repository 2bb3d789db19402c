//! A failed poll as a row of a table.

use super::format::{self, FormattedTime};
use super::link;
use crate::clock::Timestamp;
use crate::history::FailureEntry;

/// The row.
#[derive(Clone, Debug)]
pub struct FailedPoll {
    /// When it ended.
    pub at: FormattedTime,
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

impl FailedPoll {
    /// What is remembered, seen from `now`.
    pub fn new(entry: &FailureEntry, now: Timestamp) -> Self {
        Self {
            at: FormattedTime::new(entry.at, now),
            provider: format::short(&entry.provider),
            task_id: format::short(&entry.task_id),
            link: link::task(&entry.provider, &entry.task_id),
            reason: entry.failure.reason.as_str(),
            code: format::short(&entry.failure.code),
            detail: format::whole(&entry.failure.detail),
        }
    }
}
