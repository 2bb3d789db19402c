//! The thread that waits for the disk: it syncs the journal each second, and replaces it with a
//! snapshot of all tasks when it has become long. Meanwhile the other thread goes on writing.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::files::StorageFiles;
use super::journal::{Journal, SnapshotStart};
use super::log_record::{self, ChangedTask};
use super::queue::CompactorCommand;
use crate::listing::{Listing, SourceId};
use crate::store::Store;
use crate::telemetry::finishes::FinishTotals;

/// Time between two syncs: how much a power cut may lose, and how late finished tasks are shown. The
/// end of the process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Time between two attempts to write after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a snapshot between two syncs, so that it does not fill the page cache first.
const PIECE: usize = 4 << 20;
/// Time without an iteration after which the disk counts as hanging: no single write takes as long, not
/// even on a slow disk.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// State of the thread.
pub struct Compactor {
    pub files: StorageFiles,
    pub store: Arc<Store>,
    pub journal: Arc<Journal>,
    pub heartbeat: Arc<Heartbeat>,
    pub commands: Receiver<CompactorCommand>,
}

impl Compactor {
    /// Runs until it is asked to end. Sends to `synced` once the changes of earlier runs are durable,
    /// or cannot be.
    pub fn run(mut self, synced: &SyncSender<()>) {
        self.sync();
        // The receiver may have timed out.
        let _ = synced.try_send(());
        // Until the first command the store is empty, and a snapshot of it would forget everything.
        let mut may_retry = false;
        let mut tried = Instant::now();
        loop {
            match self.commands.recv_timeout(SYNC_EVERY) {
                Ok(CompactorCommand::Compact) => {
                    may_retry = true;
                    self.compact();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(CompactorCommand::End) | Err(RecvTimeoutError::Disconnected) => {
                    return self.sync();
                }
            }
            self.sync();
            self.heartbeat.record();
            if self.journal.is_working() {
                tried = Instant::now();
            } else if may_retry && tried.elapsed() >= RETRY_EVERY {
                tried = Instant::now();
                self.compact();
            }
        }
    }

    /// Syncs the journal.
    pub fn sync(&self) {
        let synced = self.files.check_in_place().and_then(|()| self.journal.sync());
        if let Err(error) = synced {
            self.journal.fail(&error);
        }
    }

    /// Begins a journal and writes a snapshot, which replaces the journals before. At the end of the
    /// process everything is in the journals, and the time is better spent on syncing them.
    pub fn compact(&mut self) {
        if self.journal.is_closed() {
            return;
        }
        self.sync();
        let works = self.journal.is_working();
        // Another exporter's files are left alone.
        if let Err(error) = self.files.relock() {
            return self.journal.fail(&error);
        }
        match self.journal.begin(&self.files, |provider| self.store.has_provider(provider)) {
            Ok(begun) => self.replace(begun, works),
            Err(error) => {
                self.journal.fail(&error);
                self.files.discard_snapshot(None);
            }
        }
    }

    /// Writes the snapshot and removes the journals that it replaces. If that fails, a journal that
    /// was begun while the disk still `works` is kept; those of retries would pile up.
    fn replace(&mut self, begun: SnapshotStart, works: bool) {
        let first = begun.first;
        match self.write(&begun) {
            Ok(size) => self.journal.set_compaction_threshold(size),
            Err(_) if self.journal.is_closed() => return self.files.discard_snapshot(None),
            Err(error) => {
                self.journal.fail(&error);
                let removed = (!works && begun.is_new).then_some(first);
                self.files.discard_snapshot(removed);
                if removed.is_some() {
                    self.journal.removed(&begun);
                }
                return;
            }
        }
        // From here on recovery may read the new snapshot, which needs its journal.
        let synced = self.files.sync_names();
        let replaced = synced.and_then(|()| self.journal.replaced(begun));
        if let Err(error) = replaced.and_then(|()| self.files.remove_journals(first)) {
            self.journal.fail(&error);
        }
    }

    /// Writes a snapshot. Returns its size in bytes.
    fn write(&mut self, begun: &SnapshotStart) -> io::Result<u64> {
        let (first, mut count) = (begun.first, 0);
        let mut frames = Vec::new();
        log_record::encode_begin(first, &mut frames);
        for (provider, known) in begun.covered.finishes.iter() {
            let none = FinishTotals::default();
            let shown = begun.shown.get(provider).unwrap_or(&none);
            log_record::encode_finishes(provider, known, shown, &mut frames);
            count += 1;
        }
        let blocks = self.store.all_records();
        let mut snapshot = self.files.begin_snapshot()?;
        let (mut size, mut unsynced) = (0, 0);
        for block in &blocks {
            for tracked in block.tasks() {
                let is_plain = tracked.listing == Listing::One(SourceId::CONFIG);
                let listing = (!is_plain).then(|| self.store.stored_listing(tracked));
                let listing = listing.as_ref();
                let (task, record) = (&tracked.task, &tracked.record);
                let changed = ChangedTask { task, record, listing };
                log_record::encode_change(first, changed, None, &mut frames);
                count += 1;
            }
            snapshot.write_all(&frames)?;
            (size, unsynced) = (size + frames.len(), unsynced + frames.len());
            frames.clear();
            if unsynced >= PIECE {
                unsynced = 0;
                snapshot.sync_data()?;
                self.journal.sync()?;
            }
            self.heartbeat.record();
            if self.journal.is_closed() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        log_record::encode_end(first, count, &mut frames);
        snapshot.write_all(&frames)?;
        // Changes in the snapshot that still wait in the queue are made durable before the snapshot
        // is, so that each finished task is counted, and once.
        self.journal.write_waiting();
        self.journal.sync()?;
        if self.journal.is_closed() {
            // Changes after that were not queued.
            return Err(io::ErrorKind::Interrupted.into());
        }
        if !self.journal.may_replace() {
            return Err(io::Error::other("the disk cannot keep up"));
        }
        self.files.publish_snapshot(snapshot)?;
        Ok(u64::try_from(size + frames.len()).unwrap_or(u64::MAX))
    }
}

/// Time of the compactor's last iteration, since a disk that hangs reports no error. The compactor waits
/// for the writer as well, so that it covers both threads.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds since `started`.
    last: AtomicU64,
}

impl Heartbeat {
    /// Returns a heartbeat that was recorded now.
    pub fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Records that the compactor has completed an iteration.
    pub fn record(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Reports whether the last iteration is more than 10 seconds ago.
    pub fn is_overdue(&self) -> bool {
        let since = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(since) > HANGS_AFTER
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
