//! What outlives the process: the history of every task, and how many have finished, in the
//! directory of `--storage.path`.
//!
//! Two threads do it: one writes what changes, as it comes, into the [`journal`]; the [`keeper`]
//! waits for the disk. A finished task is shown once the disk has it for good: see [`ledger`]. A disk
//! that is full, gone or hangs does not stop the exporter: it runs on from memory, says so, and
//! writes everything again once it can.

pub mod entry;
pub mod files;
pub mod frame;
mod journal;
mod keeper;
mod ledger;
pub mod left;
mod pulse;
mod queue;
pub mod saved;

use std::fs::File;
use std::io;
use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::lock::lock;
use crate::store::{Remembered, Store};
use crate::telemetry::Telemetry;
use entry::Entry;
use files::{Contents, Files, OpenJournal, StorageError};
use journal::{Journal, Start};
use keeper::Keeper;
use ledger::Ledger;
use left::Left;
use pulse::Pulse;
use queue::{Errand, Queue};

/// How long a start waits for the disk to have what the life before has written last, so that the
/// first reader sees it. A disk that hangs must not keep tasks from being watched: then it is shown
/// once the disk has it.
const PROOF_PATIENCE: Duration = Duration::from_secs(1);

/// The time between two looks at whether the disk hangs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A handle on the threads.
#[derive(Debug)]
pub struct Storage {
    queue: Arc<Queue>,
    errands: SyncSender<Errand>,
    threads: Mutex<Option<Threads>>,
    pulse: Arc<Pulse>,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

/// A directory in use, whose threads have not begun.
#[derive(Debug)]
pub struct Opened {
    files: Files,
    journal: Option<OpenJournal>,
    next: u64,
    /// What has to be on the disk before all finished tasks can be shown.
    unproven: Vec<File>,
    ledger: Ledger,
    /// Of the snapshot, in bytes.
    size: u64,
    /// What an earlier life knew.
    pub remembered: Remembered,
    /// Bytes that were damaged.
    pub lost: usize,
}

/// Takes a directory into use and reads what is intact of it.
///
/// # Errors
/// When it cannot be used.
pub fn open(dir: &Path) -> Result<Opened, StorageError> {
    let fail = |error| StorageError::Io(dir.to_owned(), error);
    let files = Files::open(dir)?;
    let Contents { snapshot, journals } = files.read()?;
    let size = snapshot.as_ref().map_or(0, Vec::len);
    let left = Left::read(snapshot.as_deref(), &journals);
    let mut unproven = match left.known == left.shown {
        true => Vec::new(),
        false => files.handles().map_err(fail)?,
    };
    unproven.push(files.directory().map_err(fail)?);
    // Begun at once, so that what cannot be written is told at the start. A disk that is full may
    // have room later, and is no reason to watch nothing.
    let begun = match left.unused_journal() {
        Some((number, size)) => files.reopen_journal(number, bytes(size)),
        None => files.begin_journal(left.next, left.next),
    };
    let journal = match begun {
        Ok(journal) => Some(journal),
        Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => None,
        Err(error) => return Err(fail(error)),
    };
    let Left { remembered, known, shown, next, lost, is_in_doubt, .. } = left;
    let ledger = Ledger::new(known, shown, journal.is_some() && !is_in_doubt);
    Ok(Opened { files, journal, next, unproven, ledger, size: bytes(size), remembered, lost })
}

impl Opened {
    /// Begins to write what happens in `store`.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn start(self, store: Arc<Store>, telemetry: Arc<Telemetry>) -> io::Result<Storage> {
        telemetry.storage_opened(self.lost);
        telemetry.show_finished(self.ledger.shown().clone());
        if self.journal.is_none() {
            telemetry.storage_works(false);
            tracing::error!("the storage path is full: running on from memory");
        }
        let is_behind = self.ledger.is_behind();
        let Parts { queue, journal, keeper, errands } = self.parts(store, &telemetry);
        let pulse = Arc::clone(&keeper.pulse);
        let (synced, wait) = mpsc::sync_channel(1);
        let threads = Threads {
            writer: spawn("journal", move || journal.run())?,
            keeper: spawn("keeper", move || keeper.run(&synced))?,
        };
        if is_behind {
            // What is not on the disk by then is shown later.
            let _ = wait.recv_timeout(PROOF_PATIENCE);
        }
        let threads = Mutex::new(Some(threads));
        Ok(Storage { queue, errands, threads, pulse, telemetry })
    }

    fn parts(self, store: Arc<Store>, telemetry: &Arc<Telemetry>) -> Parts {
        // One errand may wait while another is done.
        let (errands, taken) = mpsc::sync_channel(1);
        let queue = Arc::new(Queue::new(errands.clone()));
        let start = Start {
            journal: self.journal,
            next: self.next,
            former: self.unproven,
            ledger: self.ledger,
        };
        let journal = Arc::new(Journal::new(start, Arc::clone(&queue), Arc::clone(telemetry)));
        journal.allow(self.size);
        let keeper = Keeper {
            files: self.files,
            store,
            journal: Arc::clone(&journal),
            pulse: Arc::new(Pulse::new()),
            errands: taken,
        };
        Parts { queue, journal, keeper, errands }
    }
}

/// What the threads run.
struct Parts {
    queue: Arc<Queue>,
    journal: Arc<Journal>,
    keeper: Keeper,
    errands: SyncSender<Errand>,
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Storage {
    /// Has a change written. Does not wait for the disk. To be called before anybody else can see
    /// the change, or else a snapshot could have it without counting that it has finished.
    pub fn save(&self, entry: Entry) {
        self.queue.push(entry);
    }

    /// Has everything written again.
    pub fn renew(&self) {
        self.queue.renew();
    }

    /// Looks at whether the disk hangs, and says so, for ever.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.pulse.is_lost() && self.telemetry.storage_works(false) {
                tracing::error!("the storage path hangs: running on from memory");
            }
        }
    }

    /// Writes what still waits, and ends. Takes as long as the disk takes.
    pub fn end(&self) {
        self.queue.close();
        if let Some(Threads { writer, keeper }) = lock(&self.threads).take() {
            // Threads that panicked have ended as well.
            let _ = writer.join();
            let _ = self.errands.send(Errand::End);
            let _ = keeper.join();
        }
    }
}

#[cfg(test)]
mod tests;
