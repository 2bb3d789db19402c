//! What waits to be written. Nobody waits to get in: a poll must not wait for a disk.

use std::mem;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, PoisonError};

use super::entry::Entry;
use crate::lock::lock;

/// Changes that wait, some tens of megabytes of them. Further ones are passed over, since the next
/// snapshot has them.
const MAX_CHANGES: usize = 100_000;
/// With finishes, which no snapshot tells.
const MAX_FINISHES: usize = 2 * MAX_CHANGES;

/// What is asked of who waits for the disk.
#[derive(Debug)]
pub enum Errand {
    /// To write all anew.
    Renew,
    /// To force onto the disk what is written, and end.
    End,
}

/// A queue of changes.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    errands: SyncSender<Errand>,
}

/// What waits.
#[derive(Debug, Default)]
struct Waiting {
    /// Changes, in the order in which they happened.
    entries: Vec<Entry>,
    /// Whether nothing more comes.
    is_closed: bool,
}

impl Queue {
    /// An empty queue. Who takes the errands writes all anew when there was no room.
    pub fn new(errands: SyncSender<Errand>) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), errands }
    }

    /// Adds a change. Gives back a finish for which there is no room.
    pub fn push(&self, entry: Entry) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        let most = if entry.finished.is_some() { MAX_FINISHES } else { MAX_CHANGES };
        if waiting.is_closed || waiting.entries.len() >= most {
            self.renew();
            return Some(entry).filter(|entry| entry.finished.is_some());
        }
        waiting.entries.push(entry);
        self.changed.notify_one();
        None
    }

    /// Has all written anew.
    pub fn renew(&self) {
        // One errand that waits is enough, and who has ended takes none.
        let _ = self.errands.try_send(Errand::Renew);
    }

    /// Nothing more comes.
    pub fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.changed.notify_one();
    }

    /// Whether nothing more comes.
    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).is_closed
    }

    /// Takes the changes that wait.
    pub fn take(&self) -> Vec<Entry> {
        mem::take(&mut lock(&self.waiting).entries)
    }

    /// Waits for changes. Returns whether there may be some; `false` once nothing more comes.
    pub fn wait(&self) -> bool {
        let nothing = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_while(lock(&self.waiting), nothing);
        !waiting.unwrap_or_else(PoisonError::into_inner).entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_to_a_snapshot_and_no_finish_is_lost() {
        let (sender, errands) = mpsc::sync_channel(1);
        let queue = Queue::new(sender);
        for _ in 0..MAX_CHANGES {
            assert!(queue.push(Entry::example("t", false)).is_none());
        }
        assert!(errands.try_recv().is_err());
        assert!(queue.push(Entry::example("t", false)).is_none());
        for _ in MAX_CHANGES..MAX_FINISHES {
            assert!(queue.push(Entry::example("t", true)).is_none());
        }
        assert!(queue.push(Entry::example("t", true)).is_some());
        assert!(matches!(errands.try_recv(), Ok(Errand::Renew)));
        assert!(errands.try_recv().is_err(), "once is enough");
        assert!(queue.wait());
        let entries = queue.take();
        let finishes = entries.iter().filter(|entry| entry.finished.is_some()).count();
        assert_eq!((entries.len(), finishes), (MAX_FINISHES, MAX_FINISHES - MAX_CHANGES));

        assert!(queue.push(Entry::example("t", true)).is_none());
        queue.close();
        assert!(
            queue.push(Entry::example("t", true)).is_some()
                && queue.push(Entry::example("t", false)).is_none()
        );
        assert!(queue.wait());
        assert_eq!(queue.take().len(), 1);
        assert!(!queue.wait(), "nothing more comes");
    }
}
