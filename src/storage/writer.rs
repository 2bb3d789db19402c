//! The thread that writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::Files;
use super::pulse::Pulse;
use super::saved::{self, Finish};
use super::unseen::Unseen;
use super::{Entry, Message};
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
    pub unseen: Arc<Unseen>,
    pub pulse: Arc<Pulse>,
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
            self.pulse.beat();
            if self.journal.is_some() && !self.telemetry.storage_works(true) {
                tracing::info!("the storage path can be written again");
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

    /// Writes changes into the journal. What they let count is counted when a reader comes.
    fn write(&mut self, entries: &[Entry]) {
        let (mut frames, mut finishes) = (Vec::new(), Vec::new());
        for entry in entries {
            saved::push(self.next, &entry.task, &entry.known, entry.finished, &mut frames);
            finishes.extend(entry.finish(self.next));
            self.next = self.next.saturating_add(1);
        }
        self.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        self.unsynced = true;
        match self.journal.as_mut().map(|journal| journal.write_all(&frames)) {
            Some(Ok(())) => return self.unseen.push(finishes),
            Some(Err(error)) => self.fail(&error),
            None => {}
        }
        self.unseen.count_now(&finishes);
    }

    fn sync(&mut self) {
        let Some(journal) = &self.journal else { return };
        let is_due = std::mem::take(&mut self.unsynced);
        let synced = self.unseen.sync().and_then(|()| match journal.metadata()?.nlink() {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed the journal")),
            _ if is_due => journal.sync_data(),
            _ => Ok(()),
        });
        if let Err(error) = synced {
            self.fail(&error);
        }
    }

    /// Begins a new journal and writes all tasks anew, which makes the old journals needless.
    fn renew(&mut self, messages: &Receiver<Message>) {
        let mut late = self.unseen.take_late();
        for finish in &mut late {
            finish.sequence = self.next;
            self.next = self.next.saturating_add(1);
        }
        match self.replace(&late, messages) {
            Ok(size) => {
                self.unseen.push(late);
                self.limit = MAX_JOURNAL.max(2 * size);
            }
            Err(error) => {
                self.files.give_up_snapshot();
                self.unseen.count_now(&late);
                self.fail(&error);
            }
        }
    }

    /// Returns the size of the new snapshot, in bytes.
    fn replace(&mut self, late: &[Finish], messages: &Receiver<Message>) -> io::Result<u64> {
        let first = self.next;
        self.journal = Some(self.files.begin_journal(first)?);
        self.size = 0;
        self.unseen.renew(|counted| self.files.begin_counted(counted))?;
        let finishes = [&self.unseen.written(), late].concat();
        let (_, tasks) = self.store.tasks(None);
        let snapshot = self.files.begin_snapshot()?;
        let (snapshot, size) = write_all(snapshot, first, &tasks, &finishes, &self.pulse)?;
        // What the snapshot has and was still waiting: written before the snapshot counts, so that
        // it is counted.
        while let Ok(message) = messages.try_recv() {
            match message {
                Message::Change(entry) => self.write(&[entry]),
                // It may be about what came after the snapshot.
                Message::Renew => self.behind.store(true, Ordering::Relaxed),
            }
        }
        self.files.replace(snapshot, first)?;
        Ok(size)
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

/// Returns how many bytes were written, too.
fn write_all(
    snapshot: File,
    sequence: u64,
    tasks: &[TasksView],
    finishes: &[Finish],
    pulse: &Pulse,
) -> io::Result<(File, u64)> {
    let mut out = io::BufWriter::with_capacity(1 << 18, snapshot);
    let (mut frames, mut size) = (Vec::new(), 0);
    for block in tasks.iter().flat_map(|view| &view.blocks) {
        frames.clear();
        for record in block.records() {
            saved::push(sequence, &record.task, &record.known, None, &mut frames);
        }
        size += frames.len();
        out.write_all(&frames)?;
        pulse.beat();
    }
    for finish in finishes {
        frames.clear();
        saved::push_finish(finish, &mut frames);
        size += frames.len();
        out.write_all(&frames)?;
    }
    let snapshot = out.into_inner().map_err(io::Error::from)?;
    Ok((snapshot, u64::try_from(size).unwrap_or(u64::MAX)))
}
