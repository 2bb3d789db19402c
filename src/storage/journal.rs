//! The journal: all changes since the snapshot, written as they happen. The thread that writes does
//! not sync: that is the task of the [`compactor`](super::compactor), and a kill of the process alone
//! loses nothing that was written.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::{self, OpenJournal, StorageFiles};
use super::ledger::{Ledger, PendingTotals};
use super::log_record::{self, ChangedTask};
use super::queue::{ChangeBatch, ChangeQueue, QueuedChange, WriteBarrier};
use super::status::StorageStatus;
use crate::telemetry::Telemetry;
use crate::telemetry::finishes::Finishes;

/// Changes in one write.
const MAX_BATCH: usize = 1_000;
/// Size in bytes at which a compaction is requested, unless twice the snapshot's is more. At twice
/// that size the disk does not keep up, and the journal is disabled.
const COMPACTION_THRESHOLD: u64 = 16 << 20;

/// The journal and the queue before it.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<ChangeQueue>,
    telemetry: Arc<Telemetry>,
    status: Arc<StorageStatus>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The open file; `None` while the disk fails.
    file: Option<Arc<File>>,
    /// Number in the name of the file.
    number: u64,
    /// Sequence number of the next change.
    next: u64,
    /// Sequence number after the last change that is in a file.
    follows: u64,
    /// Size of the file in bytes.
    size: u64,
    /// Size in bytes above which a compaction is requested.
    compaction_threshold: u64,
    unsynced: bool,
    /// Journals before this one, and the directory, which have to be synced first.
    former: Vec<Arc<File>>,
    ledger: Ledger,
}

/// The state with which a journal starts.
#[derive(Debug)]
pub struct JournalStart {
    /// The open file; `None` if the disk is full.
    pub journal: Option<OpenJournal>,
    /// Sequence number of the next change.
    pub next: u64,
    /// Files that have to be synced before anything is shown.
    pub former: Vec<File>,
    /// The totals of finished tasks.
    pub ledger: Ledger,
}

/// The state at the start of a snapshot.
#[derive(Debug)]
pub struct SnapshotStart {
    /// Sequence number of the first change that is in journals.
    pub first: u64,
    /// True if a journal was begun for the snapshot.
    pub is_new: bool,
    /// Sequence number after the last change that was in a file before.
    follows: u64,
    /// Totals of the finished tasks that the snapshot has.
    pub covered: PendingTotals,
    /// The part of them that is shown.
    pub shown: Finishes,
}

/// Closes the queue when the thread ends, also by a panic, so that nothing waits for it.
struct CloseOnDrop<'a>(&'a Journal);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        if std::thread::panicking() {
            self.0.fail(&io::Error::other("the exporter panicked: please report"));
        }
    }
}

impl Journal {
    /// Creates a journal that continues from `start`.
    pub fn new(
        start: JournalStart,
        queue: Arc<ChangeQueue>,
        telemetry: Arc<Telemetry>,
        status: Arc<StorageStatus>,
    ) -> Self {
        let JournalStart { journal, next, former, ledger } = start;
        let former = former.into_iter().map(Arc::new).collect();
        let mut inner = Inner {
            file: None,
            number: next,
            next,
            follows: next,
            size: 0,
            compaction_threshold: COMPACTION_THRESHOLD,
            unsynced: false,
            former,
            ledger,
        };
        if let Some(journal) = journal {
            inner.continue_in(journal);
        }
        Self { queue, telemetry, status, inner: Mutex::new(inner) }
    }

    /// Writes changes until the queue is closed.
    pub fn run(&self) {
        let guard = CloseOnDrop(self);
        while guard.0.queue.wait() {
            self.write_waiting();
        }
    }

    /// Writes all changes that wait.
    pub fn write_waiting(&self) {
        self.write(&mut self.inner.lock());
    }

    /// Takes changes from the queue while it holds the lock, so that they are written in order.
    fn write(&self, inner: &mut Inner) {
        let ChangeBatch { entries, without_room } = self.queue.take();
        let mut entries = entries.into_iter();
        while entries.len() > 0 {
            let (mut frames, mut barriers) = (Vec::new(), Vec::new());
            for entry in entries.by_ref().take(MAX_BATCH) {
                let sequence = inner.next;
                match &entry {
                    QueuedChange::Changed { task, record, finished, listing } => {
                        let change = ChangedTask { task, record, listing: listing.as_ref() };
                        log_record::encode_change(sequence, change, *finished, &mut frames);
                    }
                    QueuedChange::Removed(task) => {
                        log_record::encode_removal(sequence, task, &mut frames);
                    }
                    QueuedChange::Barrier(_) => {}
                }
                if let QueuedChange::Barrier(barrier) = entry {
                    barriers.push(barrier);
                    continue;
                }
                inner.next = inner.next.saturating_add(1);
                if let Some((provider, state, duration)) = entry.finish() {
                    inner.ledger.add(provider, state, duration);
                }
            }
            let is_written = match inner.append(&frames) {
                Some(Ok(())) => {
                    inner.follows = inner.next;
                    inner.unsynced = true;
                    self.check_size(inner);
                    true
                }
                Some(Err(error)) => {
                    self.disable(inner, &error);
                    false
                }
                None => {
                    inner.ledger.miss();
                    false
                }
            };
            for WriteBarrier { failure_count, reply } in barriers {
                // After a failure another file may have taken the place of that of earlier changes.
                let had_no_failure = self.status.failure_count() == failure_count;
                // The receiver may have stopped waiting.
                let _ = reply.send(is_written && had_no_failure);
            }
        }
        if let Some(finishes) = without_room {
            inner.ledger.add_unwritten(&finishes);
        }
    }

    fn check_size(&self, inner: &mut Inner) {
        if inner.size > inner.compaction_threshold {
            self.queue.compact();
        }
        if inner.size > 2 * inner.compaction_threshold {
            self.disable(inner, &io::Error::other("the disk cannot keep up"));
        }
    }

    /// Begins the journal that follows a new snapshot. `is_configured` is that of
    /// [`Ledger::begin_snapshot`].
    ///
    /// # Errors
    /// Fails when the disk fails; the journal then keeps its file.
    pub fn begin(
        &self,
        files: &StorageFiles,
        is_configured: impl Fn(&str) -> bool,
    ) -> io::Result<SnapshotStart> {
        let mut inner = self.inner.lock();
        // For a later change of the same task there may have been no room: it is in the snapshot,
        // over which nothing older may be read.
        self.write(&mut inner);
        let follows = inner.follows;
        let is_unused = inner.file.is_some() && inner.number == inner.next;
        if !is_unused {
            let directory = files.directory()?;
            let journal = files.begin_journal(inner.next, follows)?;
            inner.continue_in(journal);
            inner.former.push(Arc::new(directory));
        }
        let covered = inner.ledger.begin_snapshot(is_configured);
        let shown = inner.ledger.shown().clone();
        Ok(SnapshotStart { first: inner.number, is_new: !is_unused, follows, covered, shown })
    }

    /// Reports whether the snapshot that was begun last may replace the files before it.
    pub fn may_replace(&self) -> bool {
        self.inner.lock().ledger.may_replace()
    }

    /// Notes that the snapshot that was begun last is durable.
    ///
    /// # Errors
    /// Fails when the disk fails and the journal cannot record it.
    pub fn replaced(&self, begun: SnapshotStart) -> io::Result<()> {
        let is_behind = {
            let mut inner = self.inner.lock();
            inner.ledger.replaced();
            inner.ledger.is_behind()
        };
        if is_behind { self.show(begun.covered, begun.first) } else { Ok(()) }
    }

    /// Notes that the snapshot that was begun last has failed, and that its journal was removed.
    pub fn removed(&self, begun: &SnapshotStart) {
        self.inner.lock().follows = begun.follows;
    }

    /// Sets the size at which a compaction is requested, after a snapshot of `size` bytes.
    pub fn set_compaction_threshold(&self, size: u64) {
        self.inner.lock().compaction_threshold = COMPACTION_THRESHOLD.max(2 * size);
    }

    /// Reports whether the queue is closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Reports whether the disk takes what is written, and updates the status.
    pub fn is_working(&self) -> bool {
        let inner = self.inner.lock();
        if inner.file.is_some() && self.status.recover() {
            tracing::info!("the storage path can be written again");
        }
        inner.file.is_some()
    }

    /// Syncs the journal, and then shows the finished tasks in it.
    ///
    /// # Errors
    /// Fails when the disk fails, or the journal was removed or truncated.
    pub fn sync(&self) -> io::Result<()> {
        let (file, size, due, covered) = {
            let mut inner = self.inner.lock();
            let Some(file) = inner.file.clone() else { return Ok(()) };
            let due = (mem::take(&mut inner.former), mem::take(&mut inner.unsynced));
            let covered = inner.ledger.covered().map(|covered| (covered, inner.next));
            (file, inner.size, due, covered)
        };
        files::check_intact(&file, size, "the journal")
            .inspect_err(|_| self.note_truncation(&file))?;
        let (former, is_due) = due;
        let former = former.iter().try_for_each(|file| file.sync_all());
        let synced = former.and_then(|()| if is_due { file.sync_data() } else { Ok(()) });
        synced.inspect_err(|_| note_failure(&file))?;
        match covered {
            Some((covered, before)) => self.show(covered, before),
            None => Ok(()),
        }
    }

    /// Shows finished tasks that are durable, as are all changes before sequence number `before`.
    /// First that is itself recorded and synced: the next run must not show less, even if its disk
    /// hangs at the start.
    fn show(&self, covered: PendingTotals, before: u64) -> io::Result<()> {
        let file = {
            let mut inner = self.inner.lock();
            let Some(file) = inner.file.clone().filter(|_| inner.ledger.may_show()) else {
                return Ok(());
            };
            let mut frame = Vec::new();
            log_record::encode_synced(inner.next, before, &mut frame);
            inner.next = inner.next.saturating_add(1);
            inner.append(&frame).transpose()?;
            inner.follows = inner.next;
            file
        };
        file.sync_data().inspect_err(|_| note_failure(&file))?;
        let mut inner = self.inner.lock();
        if inner.ledger.may_show() {
            self.telemetry.show_finished(inner.ledger.show(covered).clone());
        }
        Ok(())
    }

    /// Records that changes are missing, in case the next run starts before a compaction.
    fn note_truncation(&self, mut file: &File) {
        let mut frame = Vec::new();
        log_record::encode_follows(self.inner.lock().follows, &mut frame);
        // A disk that refuses this too has nothing to add.
        let _ = file.write_all(&frame);
    }

    /// Disables the journal after an error of the disk.
    pub fn fail(&self, error: &io::Error) {
        self.disable(&mut self.inner.lock(), error);
    }

    fn disable(&self, inner: &mut Inner, error: &io::Error) {
        if self.status.fail(error) {
            tracing::error!(%error, "cannot write to the storage path: continuing in memory");
        }
        inner.file = None;
        inner.size = 0;
        inner.former.clear();
        inner.ledger.miss();
    }
}

/// Records that a sync has failed: the system may have dropped what the journal seems to hold.
fn note_failure(mut file: &File) {
    let mut frame = Vec::new();
    log_record::encode_sync_failed(&mut frame);
    // A disk that refuses this too has nothing to add.
    let _ = file.write_all(&frame);
}

impl Inner {
    /// Appends to the file; `None` while the disk fails.
    fn append(&mut self, frames: &[u8]) -> Option<io::Result<()>> {
        let mut file = self.file.as_deref()?;
        self.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        Some(file.write_all(frames))
    }

    fn continue_in(&mut self, journal: OpenJournal) {
        let OpenJournal { file, number, size, .. } = journal;
        let before = self.file.replace(Arc::new(file));
        self.former.extend(before.filter(|_| self.unsynced));
        (self.number, self.next, self.follows) = (number, number, number);
        (self.size, self.unsynced) = (size, true);
    }
}

#[cfg(test)]
mod tests;
