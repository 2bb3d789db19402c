//! What outlives the process: the history of every task, in the directory of `--storage.path`.
//!
//! A thread of its own writes what changes. A finish that is written is counted when a reader of
//! the counters comes, so that it is counted in one life only: see [`unseen`]. A disk that is full
//! or gone does not stop the exporter: it runs on from memory, says so, and writes all anew once it
//! can.

pub mod files;
pub mod frame;
pub mod left;
mod pulse;
pub mod saved;
pub mod unseen;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::record::{Change, Finished, Known, Record};
use crate::store::{Remembered, Store};
use crate::task::Task;
use crate::telemetry::Telemetry;
use files::Files;
use left::Left;
use pulse::Pulse;
use saved::Finish;
use unseen::Unseen;
use writer::{MAX_JOURNAL, Writer};

/// Changes that wait for the disk. More are not waited for: the next snapshot has them.
const MAX_WAITING: usize = 100_000;
/// How long a reader of the counters waits for the disk: a disk that hangs must not hide what else
/// there is to read.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Why a storage path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refuses.
    #[error("--storage.path: cannot use {0:?}: {1}; it has to be a directory that can be written")]
    Io(PathBuf, io::Error),
    /// Another exporter.
    #[error("--storage.path: another process uses {0:?}; every exporter needs its own")]
    InUse(PathBuf),
    /// A newer exporter.
    #[error(
        "--storage.path: {0:?} has the format {1}, which is newer than this exporter; it was left \
         as it is: use the newer exporter, or another directory"
    )]
    Newer(PathBuf, u32),
}

/// A handle on the thread that writes.
#[derive(Debug)]
pub struct Storage {
    sender: Mutex<Option<SyncSender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whether changes have been passed over, because too many waited.
    behind: Arc<AtomicBool>,
    unseen: Arc<Unseen>,
    pulse: Arc<Pulse>,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
enum Message {
    Change(Entry),
    /// So much has changed that all is to be written anew.
    Renew,
}

/// What a poll changed.
#[derive(Debug)]
pub struct Entry {
    task: Task,
    known: Known,
    finished: Option<Finished>,
}

impl Entry {
    /// The change that a record went through.
    pub fn new(record: &Record, change: &Change) -> Self {
        let (task, known) = (record.task.clone(), record.known.clone());
        Self { task, known, finished: change.finished }
    }

    /// What it lets count, as change number `sequence`.
    fn finish(&self, sequence: u64) -> Option<Finish> {
        Finish::of(sequence, &self.task.common.provider, &self.known, self.finished)
    }
}

/// A directory in use, whose thread has not begun.
#[derive(Debug)]
pub struct Opened {
    files: Files,
    journal: File,
    counted: (u64, File),
    next: u64,
    /// What an earlier life knew.
    pub remembered: Remembered,
    /// What it left to be counted.
    pub unseen: Vec<Finish>,
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
    let Left { remembered, finishes: mut unseen, mut next, mut lost } =
        Left::read(&snapshot, &journals);
    // Where nothing tells what was counted all was: a finish that is counted twice is worse.
    let (counted, damaged) = files.counted()?;
    let counted = counted.unwrap_or(next);
    lost += damaged;
    next = next.max(counted);
    unseen.retain(|finish| finish.sequence >= counted);
    // Begun at once, so that what cannot be written is told at the start.
    let begun =
        files.begin_counted(counted).and_then(|file| Ok((file, files.begin_journal(next)?)));
    let (file, journal) = begun.map_err(|error| StorageError::Io(dir.to_owned(), error))?;
    Ok(Opened { files, journal, counted: (counted, file), next, remembered, unseen, lost })
}

impl Opened {
    /// Begins to write what happens in `store`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(self, store: Arc<Store>, telemetry: Arc<Telemetry>) -> io::Result<Storage> {
        let (sender, messages) = sync_channel(MAX_WAITING);
        let behind = Arc::new(AtomicBool::new(false));
        telemetry.storage_opened(self.lost);
        let (counted, file) = self.counted;
        let unseen = Unseen::new(Arc::clone(&telemetry), counted, file, self.unseen);
        let unseen = Arc::new(unseen);
        let pulse = Arc::new(Pulse::new());
        let writer = Writer {
            files: self.files,
            store,
            telemetry: Arc::clone(&telemetry),
            next: self.next,
            journal: Some(self.journal),
            size: 0,
            limit: MAX_JOURNAL,
            unsynced: false,
            behind: Arc::clone(&behind),
            unseen: Arc::clone(&unseen),
            pulse: Arc::clone(&pulse),
        };
        let work = move || writer.run(&messages);
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(work)?;
        let (sender, thread) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Storage { sender, thread, behind, unseen, pulse, telemetry })
    }
}

impl Storage {
    /// Has a change written. Does not wait for the disk. To be called before anybody else can see
    /// the change, or else a snapshot could have it without what it lets count.
    pub fn save(&self, entry: Entry) {
        self.send(Message::Change(entry));
    }

    /// Has everything written anew.
    pub fn renew(&self) {
        self.send(Message::Renew);
    }

    fn send(&self, message: Message) {
        let sender = lock(&self.sender);
        let Some(sender) = &*sender else { return };
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            sender.try_send(message)
        {
            // The disk is far behind. All is written anew.
            self.behind.store(true, Ordering::Relaxed);
            if let Message::Change(entry) = message
                && let Some(finish) = entry.finish(0)
            {
                self.unseen.push_late(finish);
            }
        }
    }

    /// Counts the finishes that no reader has seen, for one who is about to read, and whom a disk
    /// that hangs is to be told.
    pub async fn count(&self) {
        if self.pulse.is_lost() && self.telemetry.storage_works(false) {
            tracing::error!("the storage path hangs: running on from memory");
        }
        if !self.unseen.any() {
            return;
        }
        let unseen = Arc::clone(&self.unseen);
        let counting = tokio::task::spawn_blocking(move || unseen.count());
        // What is not counted by then the next reader sees.
        let _ = tokio::time::timeout(READER_PATIENCE, counting).await;
    }

    /// Writes what still waits, and ends. Takes as long as the disk takes.
    pub fn end(&self) {
        lock(&self.sender).take();
        if let Some(thread) = lock(&self.thread).take() {
            // A writer that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
