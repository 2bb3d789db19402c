//! What outlives the process: the history of every task, in the directory of `--storage.path`.
//!
//! A thread of its own writes what changes. A finish that is written is counted when a reader of
//! the counters comes, so that it is counted in one life only: see [`uncounted`]. A disk that is
//! full, gone or hangs does not stop the exporter: it runs on from memory, says so, and writes all
//! anew once it can.

pub mod entry;
pub mod files;
pub mod frame;
pub mod left;
pub mod mark;
mod pulse;
mod queue;
pub mod saved;
mod uncounted;
mod writer;

use std::fs::File;
use std::io;
use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lock::lock;
use crate::store::{Remembered, Store};
use crate::telemetry::Telemetry;
use entry::Entry;
use files::{Files, StorageError};
use left::Left;
use mark::Mark;
use pulse::Pulse;
use queue::Queue;
use saved::Finish;
use uncounted::Uncounted;
use writer::{MAX_JOURNAL, Writer};

/// How long a reader of the counters waits for the disk: a disk that hangs must not hide what else
/// there is to read.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// A handle on the thread that writes.
#[derive(Debug)]
pub struct Storage {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    uncounted: Arc<Uncounted>,
    pulse: Arc<Pulse>,
    telemetry: Arc<Telemetry>,
}

/// A directory in use, whose thread has not begun.
#[derive(Debug)]
pub struct Opened {
    files: Files,
    journal: Option<File>,
    mark: Mark,
    next: u64,
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
    let (counted, damaged) = files.counted()?;
    let Left { remembered, finishes: mut uncounted, next, lost, .. } =
        Left::read(&snapshot, &journals);
    // Where nothing tells what was counted all was: a finish that is counted twice is worse.
    let counted = counted.unwrap_or(next);
    uncounted.retain(|finish| finish.sequence >= counted);
    let (next, lost) = (next.max(counted), lost + damaged);
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
    Ok(Opened { files, journal, mark, next, remembered, uncounted, lost })
}

impl Opened {
    /// Begins to write what happens in `store`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(self, store: Arc<Store>, telemetry: Arc<Telemetry>) -> io::Result<Storage> {
        telemetry.storage_opened(self.lost);
        if self.journal.is_none() {
            telemetry.storage_works(false);
            tracing::error!("the storage path is full: running on from memory");
        }
        let is_first = self.next == 0;
        let uncounted = Uncounted::new(Arc::clone(&telemetry), self.mark, self.uncounted, is_first);
        let storage = Storage {
            queue: Arc::default(),
            thread: Mutex::default(),
            uncounted: Arc::new(uncounted),
            pulse: Arc::new(Pulse::new()),
            telemetry: Arc::clone(&telemetry),
        };
        let writer = Writer {
            files: self.files,
            store,
            telemetry,
            next: self.next,
            journal: self.journal,
            size: 0,
            limit: MAX_JOURNAL,
            unsynced: false,
            queue: Arc::clone(&storage.queue),
            uncounted: Arc::clone(&storage.uncounted),
            pulse: Arc::clone(&storage.pulse),
        };
        let thread = std::thread::Builder::new().name("storage".to_owned());
        *lock(&storage.thread) = Some(thread.spawn(move || writer.run())?);
        Ok(storage)
    }
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

    /// Writes what still waits, and ends. Takes as long as the disk takes.
    pub fn end(&self) {
        self.queue.close();
        if let Some(thread) = lock(&self.thread).take() {
            // A writer that panicked has ended as well.
            let _ = thread.join();
        }
    }
}
