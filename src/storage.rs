//! Persistence: the record of every task, and the totals of finished ones, in the directory of
//! `--storage.path`.
//!
//! One thread writes each change into the [`journal`]; the other, the [`compactor`], syncs the
//! journal and replaces it with a snapshot when it has become long. A finished task is shown once it
//! is durable: see [`ledger`]. A disk that is full, gone or hangs does not stop the exporter: it runs
//! on from memory, reports so, and writes everything again once it can.

pub(crate) mod files;
pub mod frame;
mod journal;
mod compactor;
mod ledger;
pub mod recovery;
pub(crate) mod queue;
pub mod log_record;
pub mod status;

use std::fs::File;
use std::io;
use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::store::{ListingChange, RecoveredTasks, Store};
use crate::telemetry::Telemetry;
use compactor::{Compactor, Heartbeat};
use files::{Contents, OpenJournal, StorageError, StorageFiles};
use journal::{Journal, JournalStart};
use ledger::Ledger;
use queue::{ChangeQueue, CompactorCommand, QueuedChange, WriteBarrier};
use recovery::Recovered;
use status::{StorageFailure, StorageStatus};

/// Time for which a start waits until the last changes of the run before are durable, so that the
/// first reader sees them. A disk that hangs must not keep tasks from being watched: then they are
/// shown once they are durable.
const FIRST_SYNC_TIMEOUT: Duration = Duration::from_secs(1);

/// Reason of the failure while the heartbeat is missing.
const HANGS: &str = "the disk does not respond";

/// Time between two checks of the heartbeat.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A handle to the threads.
#[derive(Debug)]
pub struct Storage {
    queue: Arc<ChangeQueue>,
    commands: SyncSender<CompactorCommand>,
    threads: Mutex<Option<Threads>>,
    heartbeat: Arc<Heartbeat>,
    status: Arc<StorageStatus>,
}

/// The state of the disk before changes that are to be in the journal.
#[derive(Clone, Copy, Debug)]
pub struct ChangesBegun {
    /// Number of failures before.
    failure_count: u64,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    compactor: JoinHandle<()>,
}

/// A directory that was read and locked, whose threads have not started.
#[derive(Debug)]
pub struct OpenedStorage {
    files: StorageFiles,
    journal: Option<OpenJournal>,
    next: u64,
    /// Files that have to be synced before all finished tasks can be shown.
    unproven: Vec<File>,
    ledger: Ledger,
    /// Size of the snapshot in bytes.
    size: u64,
    /// The tasks with their records, as earlier runs wrote them.
    pub tasks: RecoveredTasks,
    /// Damaged bytes, and at least one for each missing record.
    pub lost: usize,
}

/// Locks a directory and reads the intact part of its files.
///
/// # Errors
/// Fails when it cannot be used.
pub fn open(dir: &Path) -> Result<OpenedStorage, StorageError> {
    let fail = |error| StorageError::Io(dir.to_owned(), error);
    let files = StorageFiles::open(dir)?;
    let Contents { snapshot, journals } = files.read()?;
    let size = snapshot.as_ref().map_or(0, Vec::len);
    let left = Recovered::read(snapshot.as_deref(), &journals);
    let mut unproven = match left.known == left.shown {
        true => Vec::new(),
        false => files.handles().map_err(fail)?,
    };
    unproven.push(files.directory().map_err(fail)?);
    // Opened now, so that a directory that cannot be written is an error at the start. A full disk
    // may have room later, and is no reason to watch nothing.
    let begun = match left.unused_journal() {
        Some((number, size)) => files.reopen_journal(number, bytes(size)),
        None => files.begin_journal(left.next, left.next),
    };
    let journal = match begun {
        Ok(journal) => Some(journal),
        Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => None,
        Err(error) => return Err(fail(error)),
    };
    let Recovered { tasks, known, shown, next, lost, is_in_doubt, .. } = left;
    let ledger = Ledger::new(known, shown, journal.is_some() && !is_in_doubt);
    Ok(OpenedStorage { files, journal, next, unproven, ledger, size: bytes(size), tasks, lost })
}

impl OpenedStorage {
    /// Starts the threads that write the changes of `store`.
    ///
    /// # Errors
    /// Fails when the system refuses a thread.
    pub fn start(self, store: Arc<Store>, telemetry: &Arc<Telemetry>) -> io::Result<Storage> {
        telemetry.storage_opened(self.lost);
        telemetry.show_finished(self.ledger.shown().clone());
        let (is_full, is_behind) = (self.journal.is_none(), self.ledger.is_behind());
        let StorageParts { queue, journal, compactor, commands, status } =
            self.parts(store, telemetry);
        if is_full {
            status.fail(&"the disk is full");
            tracing::error!("the storage path is full: continuing in memory");
        }
        let heartbeat = Arc::clone(&compactor.heartbeat);
        let (synced, wait) = mpsc::sync_channel(1);
        let threads = Threads {
            writer: spawn("journal", move || journal.run())?,
            compactor: spawn("compactor", move || compactor.run(&synced))?,
        };
        if is_behind {
            // What is not durable by then is shown later.
            let _ = wait.recv_timeout(FIRST_SYNC_TIMEOUT);
        }
        let threads = Mutex::new(Some(threads));
        Ok(Storage { queue, commands, threads, heartbeat, status })
    }

    fn parts(self, store: Arc<Store>, telemetry: &Arc<Telemetry>) -> StorageParts {
        // One command may wait while another is carried out.
        let (commands, taken) = mpsc::sync_channel(1);
        let queue = Arc::new(ChangeQueue::new(commands.clone()));
        let start = JournalStart {
            journal: self.journal,
            next: self.next,
            former: self.unproven,
            ledger: self.ledger,
        };
        let status = Arc::new(StorageStatus::new(Arc::clone(telemetry)));
        let journal = Arc::new(Journal::new(
            start,
            Arc::clone(&queue),
            Arc::clone(telemetry),
            Arc::clone(&status),
        ));
        journal.set_compaction_threshold(self.size);
        let compactor = Compactor {
            files: self.files,
            store,
            journal: Arc::clone(&journal),
            heartbeat: Arc::new(Heartbeat::new()),
            commands: taken,
        };
        StorageParts { queue, journal, compactor, commands, status }
    }
}

/// The parts of the two threads.
struct StorageParts {
    queue: Arc<ChangeQueue>,
    journal: Arc<Journal>,
    compactor: Compactor,
    commands: SyncSender<CompactorCommand>,
    status: Arc<StorageStatus>,
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Storage {
    /// Queues a change for the journal, without waiting for the disk. To be called before the change
    /// is visible to others, or else a snapshot could have it without counting the finished task.
    pub fn save(&self, entry: QueuedChange) {
        // Changes without room are in the next snapshot.
        self.queue.push(entry);
    }

    /// Queues a change by a list, in the same way. Returns false if there is no room for it.
    pub fn save_listing(&self, change: ListingChange<'_>, store: &Store) -> bool {
        self.queue.push(QueuedChange::of_list(change, |tracked| store.stored_listing(tracked)))
    }

    /// Begins changes that are to be in the journal before they are acknowledged; `None` while the disk
    /// does not take what is written.
    pub fn begin_changes(&self) -> Option<ChangesBegun> {
        // In this order: a failure after the first line is noticed at the end of the changes.
        let failure_count = self.status.failure_count();
        self.status.failure().is_none().then_some(ChangesBegun { failure_count })
    }

    /// Ends changes, all of which were queued. Returns a receiver of true once they are in the journal,
    /// and of anything else if they may not be.
    pub fn end_changes(&self, begun: ChangesBegun) -> oneshot::Receiver<bool> {
        let (reply, receiver) = oneshot::channel();
        let barrier = WriteBarrier { failure_count: begun.failure_count, reply };
        self.queue.push(QueuedChange::Barrier(barrier));
        receiver
    }

    /// Asks for a compaction.
    pub fn compact(&self) {
        self.queue.compact();
    }

    /// Checks the heartbeat each second, and reports a disk that hangs. Never returns.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.heartbeat.is_overdue() && self.status.fail(&HANGS) {
                tracing::error!("the storage path hangs: continuing in memory");
            }
        }
    }

    /// Returns the failure, if the disk does not take what is written.
    pub fn failure(&self) -> Option<StorageFailure> {
        self.status.failure()
    }

    /// Writes the changes that wait, and ends the threads. Takes as long as the disk takes.
    pub fn end(&self) {
        self.queue.close();
        if let Some(Threads { writer, compactor }) = self.threads.lock().take() {
            // Threads that panicked have ended as well.
            let _ = writer.join();
            let _ = self.commands.send(CompactorCommand::End);
            let _ = compactor.join();
        }
    }
}

#[cfg(test)]
mod tests;
