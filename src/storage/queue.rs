//! What waits for the thread that writes. Nobody waits to get in: a poll must not wait for a disk.

use std::mem;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::entry::Entry;
use crate::lock::lock;

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::store::record::{Finished, Known};
    use crate::task::{Common, Task};

    fn entry(finished: bool) -> Entry {
        let common = Common { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: "t".into(), common: Arc::new(common) };
        let known = Known::new(Timestamp::from_micros(0));
        Entry { task, known, finished: finished.then_some(Finished { duration: None }) }
    }

    #[test]
    fn what_does_not_fit_is_left_to_a_snapshot_and_no_finish_is_lost() {
        let queue = Queue::default();
        for _ in 0..MAX_CHANGES + 9 {
            assert!(queue.push(entry(false)).is_none());
        }
        for _ in MAX_CHANGES..MAX_FINISHES {
            assert!(queue.push(entry(true)).is_none());
        }
        assert!(queue.push(entry(true)).is_some());
        let Waiting { entries, renew, is_closed } = queue.wait(Duration::ZERO);
        assert_eq!((entries.len(), renew, is_closed), (MAX_FINISHES, true, false));
        let finishes = entries.iter().filter(|entry| entry.finished.is_some()).count();
        assert_eq!(finishes, MAX_FINISHES - MAX_CHANGES);

        // After a while without anything there is nothing.
        let Waiting { entries, renew, .. } = queue.wait(Duration::ZERO);
        assert_eq!((entries.len(), renew), (0, false));
        assert!(queue.push(entry(true)).is_none());
        queue.close();
        assert!(queue.push(entry(true)).is_some() && queue.push(entry(false)).is_none());
        let Waiting { entries, is_closed, .. } = queue.wait(Duration::MAX);
        assert_eq!((entries.len(), is_closed), (1, true));
    }
}
