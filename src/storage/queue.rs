//! What waits for the thread that writes. Nobody waits to get in: a poll must not wait for a disk.

use std::mem;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Entry, lock};

/// Changes that wait, some tens of megabytes of them. Further ones are passed over, since the next
/// snapshot has them.
const MAX_CHANGES: usize = 100_000;
/// With finishes, which no snapshot tells.
const MAX_FINISHES: usize = 2 * MAX_CHANGES;

/// A queue of changes.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Changes, in the order in which they happened.
    pub entries: Vec<Entry>,
    /// Whether all is to be written anew.
    pub renew: bool,
    /// Whether nothing more comes.
    pub is_closed: bool,
}

impl Queue {
    /// Adds a change. Gives back a finish for which there is no room.
    pub fn push(&self, entry: Entry) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        let most = if entry.finished.is_some() { MAX_FINISHES } else { MAX_CHANGES };
        if waiting.is_closed || waiting.entries.len() >= most {
            waiting.renew = true;
            return Some(entry).filter(|entry| entry.finished.is_some());
        }
        waiting.entries.push(entry);
        self.changed.notify_one();
        None
    }

    /// Has all written anew.
    pub fn renew(&self) {
        lock(&self.waiting).renew = true;
        self.changed.notify_one();
    }

    /// Nothing more comes.
    pub fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.changed.notify_one();
    }

    /// Takes the changes that wait.
    pub fn take(&self) -> Vec<Entry> {
        mem::take(&mut lock(&self.waiting).entries)
    }

    /// Takes all that waits; waits for something, though not for longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Waiting {
        let nothing = |waiting: &mut Waiting| {
            waiting.entries.is_empty() && !waiting.renew && !waiting.is_closed
        };
        let (mut waiting, _) = self
            .changed
            .wait_timeout_while(lock(&self.waiting), patience, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let is_closed = waiting.is_closed;
        mem::replace(&mut *waiting, Waiting { is_closed, ..Waiting::default() })
    }
}
