//! What waits to be written. Nobody waits to get in: a poll must not wait for a disk.

use std::mem;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, PoisonError};

use super::entry::Entry;
use crate::lock::lock;
use crate::telemetry::finishes::Finishes;

/// Changes that wait, some tens of megabytes of them. Of further ones only the finished tasks are
/// counted: the next snapshot has the rest.
const MAX_CHANGES: usize = 100_000;

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
    taken: Taken,
    /// Whether nothing more comes.
    is_closed: bool,
}

/// What has happened.
#[derive(Debug, Default)]
pub struct Taken {
    /// Changes, in the order in which they happened.
    pub entries: Vec<Entry>,
    /// Finished tasks of changes for which there was no room, where there were such changes.
    pub without_room: Option<Finishes>,
}

impl Queue {
    /// An empty queue. Who takes the errands writes all anew when there was no room.
    pub fn new(errands: SyncSender<Errand>) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), errands }
    }

    /// Adds a change.
    pub fn push(&self, entry: Entry) {
        let mut waiting = lock(&self.waiting);
        if !waiting.is_closed && waiting.taken.entries.len() < MAX_CHANGES {
            waiting.taken.entries.push(entry);
            self.changed.notify_one();
            return;
        }
        let finishes = waiting.taken.without_room.get_or_insert_default();
        if let Some(finished) = entry.finished {
            let provider = &entry.task.common.provider;
            finishes.add(provider, entry.known.state(), finished.duration);
        }
        self.renew();
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

    /// Takes what waits.
    pub fn take(&self) -> Taken {
        mem::take(&mut lock(&self.waiting).taken)
    }

    /// Waits for changes. Returns whether there may be some; `false` once nothing more comes.
    pub fn wait(&self) -> bool {
        let nothing =
            |waiting: &mut Waiting| waiting.taken.entries.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_while(lock(&self.waiting), nothing);
        !waiting.unwrap_or_else(PoisonError::into_inner).taken.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::observation::State;

    #[test]
    fn of_what_does_not_fit_the_finished_tasks_are_counted() {
        let (sender, errands) = mpsc::sync_channel(1);
        let queue = Queue::new(sender);
        for _ in 0..MAX_CHANGES {
            queue.push(Entry::example("t", false));
        }
        assert!(errands.try_recv().is_err());
        queue.push(Entry::example("t", false));
        queue.push(Entry::example("t", true));
        queue.push(Entry::example("t", true));
        assert!(matches!(errands.try_recv(), Ok(Errand::Renew)));
        assert!(errands.try_recv().is_err(), "once is enough");
        assert!(queue.wait());
        let taken = queue.take();
        let mut finishes = Finishes::default();
        (0..2).for_each(|_| finishes.add(&"p".into(), State::Succeeded, None));
        assert_eq!((taken.entries.len(), taken.without_room), (MAX_CHANGES, Some(finishes)));

        queue.push(Entry::example("t", false));
        queue.close();
        queue.push(Entry::example("t", false));
        assert!(queue.wait());
        let taken = queue.take();
        assert_eq!((taken.entries.len(), taken.without_room), (1, Some(Finishes::default())));
        assert!(!queue.wait(), "nothing more comes");
    }
}
