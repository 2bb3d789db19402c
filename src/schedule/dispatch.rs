//! The next step that a schedule asks for. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::bisection::PartId;
use crate::store::Slot;

/// The next step of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this request.
    Poll(Dispatch),
    /// Send the probe that waits.
    Probe,
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing before a poll ends or the tasks change.
    Idle,
}

/// A request that is to be sent: for one task, or for as many as a batch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The polls that it starts. The sender takes out those whose task has left meanwhile.
    pub starts: Vec<Start>,
    /// True where the batch query asks for the tasks.
    pub is_batch: bool,
    pub(super) planned: usize,
    pub(super) group: u64,
    pub(super) part: Option<PartId>,
}

impl Dispatch {
    /// Reports whether it asks once more for tasks of a batch that could not be read, and so starts
    /// no new polls.
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// The tasks that it asks for.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.starts.iter().map(|start| start.slot)
    }
}

/// A poll that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The task.
    pub slot: Slot,
    /// Time since it was due.
    pub lag: Duration,
    /// True if the task's last poll failed.
    pub retry: bool,
}
