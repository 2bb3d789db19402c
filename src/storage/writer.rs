//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::Files;
use super::{Entry, Message, saved};
use crate::store::{Store, TasksView};
use crate::telemetry::Telemetry;

/// Changes that are written at once.
const MAX_BATCH: usize = 1_000;
/// How much may be lost to a power cut; the end of the process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a failure to write.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// A journal may grow to this size, in bytes, or to twice the snapshot's.
pub const MAX_JOURNAL: u64 = 16 << 20;

/// The state of the thread.
pub struct Writer {
    pub files: Files,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
    /// The number of the next change.
    pub next: u64,
    /// `None` while the disk fails.
    pub journal: Option<File>,
    /// Of the journal, in bytes.
    pub size: u64,
    pub limit: u64,
    pub unsynced: bool,
    pub behind: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until nobody can send any more.
    pub fn run(mut self, messages: &Receiver<Message>) {
        let mut last = Instant::now();
        loop {
            match messages.recv_timeout(SYNC_EVERY) {
                Ok(Message::Change(first)) => self.write_waiting(first, messages),
                Ok(Message::Renew) => self.renew(messages),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let every = if self.journal.is_some() { SYNC_EVERY } else { RETRY_EVERY };
            if last.elapsed() >= every {
                last = Instant::now();
                match self.journal {
                    Some(_) => self.sync(),
                    None => self.renew(messages),
                }
            }
            if self.size > self.limit || self.behind.swap(false, Ordering::Relaxed) {
                self.renew(messages);
            }
        }
        self.sync();
    }

    /// Writes a change and those that wait behind it.
    fn write_waiting(&mut self, first: Entry, messages: &Receiver<Message>) {
        let mut entries = vec![first];
        let mut renew = false;
        while entries.len() < MAX_BATCH {
            match messages.try_recv() {
                Ok(Message::Change(entry)) => entries.push(entry),
                Ok(Message::Renew) => renew = true,
                Err(_) => break,
            }
        }
        self.write(&entries);
        if renew {
            self.renew(messages);
        }
    }

    /// Writes changes into the journal, and then counts what they let count.
    fn write(&mut self, entries: &[Entry]) {
        if let Some(journal) = &mut self.journal {
            let mut frames = Vec::new();
            for entry in entries {
                saved::push(self.next, &entry.task, &entry.known, &mut frames);
                self.next = self.next.saturating_add(1);
            }
            self.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
            self.unsynced = true;
            if let Err(error) = journal.write_all(&frames) {
                self.fail(&error);
            }
        }
        entries.iter().for_each(Entry::count);
    }

    fn sync(&mut self) {
        if !std::mem::take(&mut self.unsynced) {
            return;
        }
        if let Some(Err(error)) = self.journal.as_ref().map(File::sync_data) {
            self.fail(&error);
        }
    }

    /// Begins a new journal and writes all tasks anew, which makes the old journals needless.
    fn renew(&mut self, messages: &Receiver<Message>) {
        let (first, failed) = (self.next, self.journal.is_none());
        match self.files.begin_journal(first) {
            Ok(journal) => self.journal = Some(journal),
            Err(error) => return self.fail(&error),
        }
        self.size = 0;
        let (_, tasks) = self.store.tasks(None);
        let mut size = 0;
        let replaced = self.files.begin_snapshot().and_then(|snapshot| {
            let snapshot = write_all(snapshot, first, &tasks, &mut size)?;
            // What the snapshot has and was still waiting: written before the snapshot counts, so
            // that it is counted.
            while let Ok(message) = messages.try_recv() {
                match message {
                    Message::Change(entry) => self.write(&[entry]),
                    // It may be about what came after the snapshot.
                    Message::Renew => self.behind.store(true, Ordering::Relaxed),
                }
            }
            self.files.replace(snapshot, first)
        });
        match replaced {
            Err(error) => {
                self.files.give_up_snapshot();
                self.fail(&error);
            }
            Ok(()) => {
                self.limit = MAX_JOURNAL.max(2 * size);
                if failed && self.journal.is_some() {
                    tracing::info!("the storage path can be written again");
                    self.telemetry.storage_works(true);
                }
            }
        }
    }

    /// The disk does not take what is written.
    fn fail(&mut self, error: &io::Error) {
        if self.telemetry.storage_works(false) {
            tracing::error!(%error, "cannot write to the storage path: running on from memory");
        }
        self.journal = None;
        self.size = 0;
    }
}

fn write_all(
    snapshot: File,
    sequence: u64,
    tasks: &[TasksView],
    size: &mut u64,
) -> io::Result<File> {
    let mut out = io::BufWriter::with_capacity(1 << 18, snapshot);
    let mut frames = Vec::new();
    for block in tasks.iter().flat_map(|view| &view.blocks) {
        frames.clear();
        for record in block.records() {
            saved::push(sequence, &record.task, &record.known, &mut frames);
        }
        *size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        out.write_all(&frames)?;
    }
    out.into_inner().map_err(io::Error::from)
}
