//! What outlives the process: the history of every task, in the directory of `--storage.path`.
//!
//! Two threads do it: one writes what changes, as it comes, into the [`journal`]; the [`keeper`]
//! waits for the disk. A finish that is written is counted when a reader of the counters comes, so
//! that it is counted in one life only: see [`uncounted`]. A disk that is full, gone or hangs does
//! not stop the exporter: it runs on from memory, says so, and writes all anew once it can.

pub mod entry;
pub mod files;
pub mod frame;
mod journal;
mod keeper;
pub mod left;
pub mod mark;
mod pulse;
mod queue;
pub mod saved;
mod uncounted;

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
use files::{Files, StorageError};
use journal::Journal;
use keeper::Keeper;
use left::Left;
use mark::Mark;
use pulse::Pulse;
use queue::{Errand, Queue};
use saved::Finish;
use uncounted::Uncounted;

/// How long a reader of the counters waits for the disk: a disk that hangs must not hide what else
/// there is to read.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// A handle on the threads.
#[derive(Debug)]
pub struct Storage {
    queue: Arc<Queue>,
    errands: SyncSender<Errand>,
    threads: Mutex<Option<Threads>>,
    uncounted: Arc<Uncounted>,
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
    journal: Option<File>,
    mark: Mark,
    next: u64,
    /// Of the snapshot, in bytes.
    size: u64,
    /// What an earlier life knew.
    pub remembered: Remembered,
    /// What it left to be counted.
    pub uncounted: Vec<Finish>,
    /// Bytes that were damaged.
    pub lost: usize,
}

/// Takes a directory into use and reads what is intact of it.
///
/// # Errors
/// When it cannot be used.
pub fn open(dir: &Path) -> Result<Opened, StorageError> {
    let files = Files::open(dir)?;
    let (snapshot, journals) = files.read()?;
    let size = u64::try_from(snapshot.len()).unwrap_or(u64::MAX);
    let (counted, damaged) = files.counted()?;
    let Left { remembered, finishes: mut uncounted, next, lost, .. } =
        Left::read(&snapshot, &journals);
    // Where nothing tells what was counted all was: a finish that is counted twice is worse.
    let missing = match counted {
        // Changes that were counted and are in no file.
        Some(counted) => usize::try_from(counted.saturating_sub(next)).unwrap_or(usize::MAX),
        None => usize::from(next > 0),
    };
    let counted = counted.unwrap_or(next);
    uncounted.retain(|finish| finish.sequence >= counted);
    let (next, lost) = (next.max(counted), lost.saturating_add(damaged).saturating_add(missing));
    // Begun at once, so that what cannot be written is told at the start. A disk that is full may
    // have room later, and is no reason to watch nothing.
    let begun = files.begin_mark(counted).and_then(|mark| Ok((mark, files.begin_journal(next)?)));
    let (mark, journal) = match begun {
        Ok((mark, journal)) => (mark, Some(journal)),
        Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => {
            (Mark::nowhere(counted), None)
        }
        Err(error) => return Err(StorageError::Io(dir.to_owned(), error)),
    };
    Ok(Opened { files, journal, mark, next, size, remembered, uncounted, lost })
}

impl Opened {
    /// Begins to write what happens in `store`.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn start(self, store: Arc<Store>, telemetry: Arc<Telemetry>) -> io::Result<Storage> {
        telemetry.storage_opened(self.lost);
        if self.journal.is_none() {
            telemetry.storage_works(false);
            tracing::error!("the storage path is full: running on from memory");
        }
        let is_first = self.next == 0;
        // One errand may wait while another is done.
        let (errands, taken) = mpsc::sync_channel(1);
        let queue = Arc::new(Queue::new(errands.clone()));
        let uncounted =
            Arc::new(Uncounted::new(Arc::clone(&telemetry), self.mark, self.uncounted, is_first));
        let journal = Arc::new(Journal::new(
            self.journal,
            self.next,
            Arc::clone(&queue),
            Arc::clone(&uncounted),
            Arc::clone(&telemetry),
        ));
        journal.allow(self.size);
        let pulse = Arc::new(Pulse::new());
        let keeper = Keeper {
            files: self.files,
            store,
            journal: Arc::clone(&journal),
            uncounted: Arc::clone(&uncounted),
            pulse: Arc::clone(&pulse),
            errands: taken,
        };
        let threads = Threads {
            writer: spawn("journal", move || journal.run())?,
            keeper: spawn("keeper", move || keeper.run())?,
        };
        let threads = Mutex::new(Some(threads));
        Ok(Storage { queue, errands, threads, uncounted, pulse, telemetry })
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

impl Storage {
    /// Has a change written. Does not wait for the disk. To be called before anybody else can see
    /// the change, or else a snapshot could have it without what it lets count.
    pub fn save(&self, entry: Entry) {
        if let Some(entry) = self.queue.push(entry)
            && let Some(finish) = entry.finish(0)
        {
            self.uncounted.count_now(&[finish]);
        }
    }

    /// Has everything written anew.
    pub fn renew(&self) {
        self.queue.renew();
    }

    /// Counts the finishes that no reader has seen, for one who is about to read, and whom a disk
    /// that hangs is to be told.
    pub async fn count(&self) {
        if self.pulse.is_lost() && self.telemetry.storage_works(false) {
            tracing::error!("the storage path hangs: running on from memory");
        }
        if !self.uncounted.any() {
            return;
        }
        let uncounted = Arc::clone(&self.uncounted);
        let counting = tokio::task::spawn_blocking(move || uncounted.count());
        // What is not counted by then the next reader sees.
        let _ = tokio::time::timeout(READER_PATIENCE, counting).await;
    }

    /// The counters have been read, and a reader gets them.
    pub fn shown(&self) {
        self.uncounted.shown();
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
