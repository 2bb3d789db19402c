//! What outlives the process: the history of every task, in the directory of `--storage.path`.
//!
//! A thread of its own writes: first a change, then it counts what the change lets count, so that
//! nothing is counted which a next life would count again. A disk that is full or gone does not
//! stop the exporter: it runs on from memory, says so, and writes all anew once it can.

pub mod files;
pub mod frame;
pub mod saved;
mod writer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::store::record::{Finished, Known};
use crate::store::{Remembered, Store};
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::telemetry::provider::ProviderTelemetry;
use files::Files;
use writer::{MAX_JOURNAL, Writer};

/// Changes that wait for the disk. More are not waited for: the next snapshot has them.
const MAX_WAITING: usize = 100_000;

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
}

#[derive(Debug)]
enum Message {
    Change(Entry),
    /// So much has changed that all is to be written anew.
    Renew,
}

/// A change, and what it lets count.
#[derive(Debug)]
pub struct Entry {
    /// The task.
    pub task: Task,
    /// What is known of it now.
    pub known: Known,
    /// That it came to its end, for the counters of its provider.
    pub finished: Option<(Arc<ProviderTelemetry>, Finished)>,
}

impl Entry {
    /// Counts the end of the task, if this was it.
    pub fn count(&self) {
        if let Some((telemetry, finished)) = &self.finished {
            let (provider, task_id) = (&*self.task.common.provider, &*self.task.id);
            let state = self.known.state();
            telemetry.finished(state, finished.duration);
            tracing::debug!(provider, task_id, %state, "task finished");
        }
    }
}

/// A directory in use, whose thread has not begun.
#[derive(Debug)]
pub struct Opened {
    files: Files,
    journal: File,
    next: u64,
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
    let files = Files::open(dir)?;
    let (snapshot, journals) = files.read()?;
    let (mut remembered, mut next, mut lost) = (Remembered::new(), 0, 0);
    // A journal can begin before the snapshot that has taken over its beginning.
    let mut in_snapshot = 0;
    for (number, content) in std::iter::once(snapshot).chain(journals).enumerate() {
        let (payloads, damaged) = frame::read(&content);
        lost += damaged;
        for payload in payloads {
            let Some(saved) = saved::read(payload) else {
                lost += payload.len();
                continue;
            };
            if number == 0 {
                in_snapshot = in_snapshot.max(saved.sequence);
            } else if saved.sequence < in_snapshot {
                continue;
            }
            next = next.max(saved.sequence.saturating_add(1));
            remembered.entry(saved.provider).or_default().insert(saved.id, saved.known);
        }
    }
    // Begun at once, so that what cannot be written is told at the start.
    let journal = files.begin_journal(next);
    let journal = journal.map_err(|error| StorageError::Io(dir.to_owned(), error))?;
    Ok(Opened { files, journal, next, remembered, lost })
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
        let writer = Writer {
            files: self.files,
            store,
            telemetry,
            next: self.next,
            journal: Some(self.journal),
            size: 0,
            limit: MAX_JOURNAL,
            unsynced: false,
            behind: Arc::clone(&behind),
        };
        let work = move || writer.run(&messages);
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(work)?;
        Ok(Storage { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), behind })
    }
}

impl Storage {
    /// Has a change written, and then counted.
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
            // The disk is far behind. All is written anew, and what this counts is counted now.
            self.behind.store(true, Ordering::Relaxed);
            if let Message::Change(entry) = message {
                entry.count();
            }
        }
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
