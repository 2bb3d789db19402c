//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::files::Files;
use super::pulse::Pulse;
use super::queue::{Queue, Waiting};
use super::saved;
use super::uncounted::Uncounted;
use crate::store::Store;
use crate::telemetry::Telemetry;

/// Changes that are written at once.
const MAX_BATCH: usize = 1_000;
/// How much may be lost to a power cut; the end of the process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a failure to write.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// A journal may grow to this size, in bytes, or to twice the snapshot's.
pub const MAX_JOURNAL: u64 = 16 << 20;
/// So much of a snapshot, in bytes, is forced onto the disk at once: between them the journal has
/// its turn.
const PIECE: usize = 4 << 20;

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
    pub queue: Arc<Queue>,
    pub uncounted: Arc<Uncounted>,
    pub pulse: Arc<Pulse>,
}

/// Closes the queue also when the thread panics, so that nothing waits for it any more.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Writer {
    /// Writes until the queue is closed.
    pub fn run(mut self) {
        let closing = Closing(Arc::clone(&self.queue));
        let mut last = Instant::now();
        loop {
            let Waiting { entries, renew, is_closed } = closing.0.wait(SYNC_EVERY);
            self.write(&entries);
            if renew || self.size > self.limit {
                self.renew();
            }
            if is_closed {
                return self.sync();
            }
            let every = if self.journal.is_some() { SYNC_EVERY } else { RETRY_EVERY };
            if last.elapsed() >= every {
                last = Instant::now();
                match self.journal {
                    Some(_) => self.sync(),
                    None => self.renew(),
                }
            }
            self.pulse.beat();
            if self.journal.is_some() && !self.telemetry.storage_works(true) {
                tracing::info!("the storage path can be written again");
            }
        }
    }

    /// Writes changes into the journal. What they let count is counted when a reader comes.
    fn write(&mut self, entries: &[Entry]) {
        for entries in entries.chunks(MAX_BATCH) {
            let (mut frames, mut finishes) = (Vec::new(), Vec::new());
            for entry in entries {
                saved::push(self.next, &entry.task, &entry.known, entry.finished, &mut frames);
                finishes.extend(entry.finish(self.next));
                self.next = self.next.saturating_add(1);
            }
            let written = self.journal.as_mut().map(|journal| journal.write_all(&frames));
            match written {
                Some(Ok(())) => {
                    self.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
                    self.unsynced = true;
                    self.uncounted.push(finishes);
                    continue;
                }
                Some(Err(error)) => self.fail(&error),
                None => {}
            }
            self.uncounted.count_now(&finishes);
        }
    }

    fn sync(&mut self) {
        let Some(journal) = &self.journal else { return };
        let is_due = std::mem::take(&mut self.unsynced);
        let synced = self.uncounted.sync().and_then(|()| match journal.metadata()?.nlink() {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed the journal")),
            _ if is_due => journal.sync_data(),
            _ => Ok(()),
        });
        if let Err(error) = synced {
            self.fail(&error);
        }
    }

    /// Begins a new journal and writes all tasks anew, which makes the old journals needless.
    fn renew(&mut self) {
        let first = self.next;
        match self.replace(first) {
            Ok(size) => self.limit = MAX_JOURNAL.max(2 * size),
            Err(error) => {
                self.files.give_up(first);
                self.fail(&error);
            }
        }
    }

    /// Returns the size of the new snapshot, in bytes.
    fn replace(&mut self, first: u64) -> io::Result<u64> {
        self.files.keep().map_err(io::Error::other)?;
        self.journal = Some(self.files.begin_journal(first)?);
        self.size = 0;
        self.uncounted.renew(|before| self.files.begin_mark(before))?;
        let mut frames = Vec::new();
        saved::push_end(first, &mut frames);
        for finish in self.uncounted.waiting() {
            saved::push_finish(&finish, &mut frames);
        }
        let (_, tasks) = self.store.tasks(None);
        let mut snapshot = self.files.begin_snapshot()?;
        let (mut size, mut unsynced) = (0, 0);
        for block in tasks.iter().flat_map(|view| &view.blocks) {
            for record in block.records() {
                saved::push(first, &record.task, &record.known, None, &mut frames);
            }
            snapshot.write_all(&frames)?;
            (size, unsynced) = (size + frames.len(), unsynced + frames.len());
            frames.clear();
            if unsynced >= PIECE {
                unsynced = 0;
                snapshot.sync_data()?;
            }
            self.write_waiting();
        }
        saved::push_end(first, &mut frames);
        snapshot.write_all(&frames)?;
        // What the snapshot has and was still waiting: written before the snapshot counts, so that
        // it is counted.
        self.write_waiting();
        self.files.replace(snapshot, first)?;
        Ok(u64::try_from(size + frames.len()).unwrap_or(u64::MAX))
    }

    fn write_waiting(&mut self) {
        let entries = self.queue.take();
        self.write(&entries);
        self.pulse.beat();
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
