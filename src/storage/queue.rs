//! The queue of changes that wait to be written. Adding to it never blocks: a poll must not wait
//! for a disk.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::observation::State;
use crate::record::{Finished, TaskRecord, TrackedTask, Transition};
use crate::store::{ListingChange, StoredListing};
use crate::task::Task;
use crate::telemetry::finishes::Finishes;

/// Capacity of the queue; some tens of megabytes. Of further changes only the finished tasks are
/// counted: the next snapshot has the rest.
const MAX_CHANGES: usize = 100_000;

/// A command to the compactor.
#[derive(Debug)]
pub enum CompactorCommand {
    /// Write a new snapshot.
    Compact,
    /// Sync the journal, and end.
    End,
}

/// A change of a task.
#[derive(Debug)]
pub enum QueuedChange {
    /// The record has changed, or the listing has.
    Changed {
        /// The task.
        task: Task,
        /// Its record, with the change.
        record: TaskRecord,
        /// Present if the task has just finished.
        finished: Option<Finished>,
        /// Its listing; `None` if that is as before.
        listing: Option<StoredListing>,
    },
    /// The task and its record have gone.
    Removed(Task),
    /// No change: a request for a reply once all changes before are in the journal.
    Barrier(WriteBarrier),
}

/// A request for a reply once all changes before it are in the journal. Dropped without a reply where
/// that will not be.
#[derive(Debug)]
pub struct WriteBarrier {
    /// Number of failures of the disk before the changes.
    pub failure_count: u64,
    /// Receives true if the changes are in the journal.
    pub reply: oneshot::Sender<bool>,
}

impl QueuedChange {
    /// Creates a queued change from a task after `change`.
    pub fn of_poll(tracked: &TrackedTask, change: &Transition) -> Self {
        let (task, record) = (tracked.task.clone(), tracked.record.clone());
        Self::Changed { task, record, finished: change.finished, listing: None }
    }

    /// Creates a queued change from a change by a list. `listing` is that of the task.
    pub fn of_list(
        change: ListingChange<'_>,
        listing: impl FnOnce(&TrackedTask) -> StoredListing,
    ) -> Self {
        match change {
            ListingChange::Saved(tracked) => {
                let (task, record) = (tracked.task.clone(), tracked.record.clone());
                Self::Changed { task, record, finished: None, listing: Some(listing(tracked)) }
            }
            ListingChange::Removed(task) => Self::Removed(task.clone()),
        }
    }

    /// Returns provider, state and duration of the task, if it has just finished.
    pub fn finish(&self) -> Option<(&Arc<str>, State, Option<Duration>)> {
        match self {
            Self::Changed { task, record, finished: Some(finished), .. } => {
                Some((&task.common.provider, record.state(), finished.duration))
            }
            _ => None,
        }
    }

    /// Creates a change of the task with this ID, for tests.
    #[cfg(test)]
    pub fn example(id: &str, is_finish: bool) -> Self {
        use crate::clock::Timestamp;
        use crate::observation::Observation;
        use crate::task::TaskCommon;

        let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: id.into(), common: Arc::new(common) };
        let now = Timestamp::from_micros(0);
        let mut record = TaskRecord::new(now);
        if is_finish {
            record.observe(&Observation::new(State::Running, ""), now);
            record.observe(&Observation::new(State::Succeeded, ""), now);
        }
        let finished = is_finish.then_some(Finished { duration: None });
        Self::Changed { task, record, finished, listing: None }
    }
}

/// A queue of changes.
#[derive(Debug)]
pub struct ChangeQueue {
    waiting: Mutex<QueueState>,
    changed: Condvar,
    commands: SyncSender<CompactorCommand>,
}

/// State of the queue.
#[derive(Debug, Default)]
struct QueueState {
    batch: ChangeBatch,
    is_closed: bool,
}

/// The changes that waited.
#[derive(Debug, Default)]
pub struct ChangeBatch {
    /// Changes, in the order in which they happened.
    pub entries: Vec<QueuedChange>,
    /// Finished tasks of changes for which there was no room, where there were such changes.
    pub without_room: Option<Finishes>,
}

impl ChangeQueue {
    /// An empty queue, which sends [`CompactorCommand::Compact`] when it has no room.
    pub fn new(commands: SyncSender<CompactorCommand>) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), commands }
    }

    /// Adds a change. Returns false if there is no room for it.
    pub fn push(&self, entry: QueuedChange) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.is_closed && waiting.batch.entries.len() < MAX_CHANGES {
            waiting.batch.entries.push(entry);
            self.changed.notify_one();
            return true;
        }
        let finishes = waiting.batch.without_room.get_or_insert_default();
        if let Some((provider, state, duration)) = entry.finish() {
            finishes.add(provider, state, duration);
        }
        self.compact();
        false
    }

    /// Asks for a compaction.
    pub fn compact(&self) {
        // One pending command is enough, and a compactor that has ended takes none.
        let _ = self.commands.try_send(CompactorCommand::Compact);
    }

    /// Closes the queue: further changes are not written.
    pub fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Reports whether the queue is closed.
    pub fn is_closed(&self) -> bool {
        self.waiting.lock().is_closed
    }

    /// Takes all changes that wait.
    pub fn take(&self) -> ChangeBatch {
        mem::take(&mut self.waiting.lock().batch)
    }

    /// Waits for changes. Returns false once the queue is closed and empty.
    pub fn wait(&self) -> bool {
        let nothing =
            |waiting: &mut QueueState| waiting.batch.entries.is_empty() && !waiting.is_closed;
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, nothing);
        !waiting.batch.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn of_what_does_not_fit_the_finished_tasks_are_counted() {
        let (sender, commands) = mpsc::sync_channel(1);
        let queue = ChangeQueue::new(sender);
        for _ in 0..MAX_CHANGES {
            queue.push(QueuedChange::example("t", false));
        }
        assert!(commands.try_recv().is_err());
        queue.push(QueuedChange::example("t", false));
        queue.push(QueuedChange::example("t", true));
        queue.push(QueuedChange::example("t", true));
        assert!(matches!(commands.try_recv(), Ok(CompactorCommand::Compact)));
        assert!(commands.try_recv().is_err(), "once is enough");
        assert!(queue.wait());
        let batch = queue.take();
        let mut finishes = Finishes::default();
        (0..2).for_each(|_| finishes.add(&"p".into(), State::Succeeded, None));
        assert_eq!((batch.entries.len(), batch.without_room), (MAX_CHANGES, Some(finishes)));

        queue.push(QueuedChange::example("t", false));
        queue.close();
        queue.push(QueuedChange::example("t", false));
        assert!(queue.wait());
        let batch = queue.take();
        assert_eq!((batch.entries.len(), batch.without_room), (1, Some(Finishes::default())));
        assert!(!queue.wait(), "nothing more comes");
    }
}
