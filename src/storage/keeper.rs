//! The thread that waits for the disk: it forces what is written onto it, and writes all tasks again
//! when the journal has become long. While it waits the journal is written on.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::files::Files;
use super::journal::{Begun, Journal};
use super::pulse::Pulse;
use super::queue::Errand;
use super::saved;
use crate::store::Store;
use crate::telemetry::finishes::FinishTotals;

/// How much may be lost to a power cut, and how late finished tasks are shown; the end of the
/// process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a failure to write.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// So much of a snapshot, in bytes, is forced onto the disk at once, so that it does not fill the
/// memory of the system first.
const PIECE: usize = 4 << 20;

/// The state of the thread.
pub struct Keeper {
    pub files: Files,
    pub store: Arc<Store>,
    pub journal: Arc<Journal>,
    pub pulse: Arc<Pulse>,
    pub errands: Receiver<Errand>,
}

impl Keeper {
    /// Keeps until it is asked to end. `synced` is sent to once what earlier lives have left is on
    /// the disk, or cannot be.
    pub fn run(mut self, synced: &SyncSender<()>) {
        self.sync();
        // Who waited may have lost patience.
        let _ = synced.try_send(());
        // Until the first errand the store is empty, and would leave nothing of what there was.
        let mut may_retry = false;
        let mut tried = Instant::now();
        loop {
            match self.errands.recv_timeout(SYNC_EVERY) {
                Ok(Errand::Renew) => {
                    may_retry = true;
                    self.renew();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Errand::End) | Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            self.sync();
            self.pulse.beat();
            if self.journal.works() {
                tried = Instant::now();
            } else if may_retry && tried.elapsed() >= RETRY_EVERY {
                tried = Instant::now();
                self.renew();
            }
        }
    }

    /// Forces onto the disk what is written.
    pub fn sync(&self) {
        let synced = self.files.check_ours().and_then(|()| self.journal.sync());
        if let Err(error) = synced {
            self.journal.fail(&error);
        }
    }

    /// Begins a new journal and writes a new snapshot, which makes the old journals needless. At the
    /// end all is in the journals, and the time is better used to force them onto the disk.
    pub fn renew(&mut self) {
        if self.journal.is_closed() {
            return;
        }
        self.sync();
        let works = self.journal.works();
        // Another exporter's files are left alone.
        if let Err(error) = self.files.keep() {
            return self.journal.fail(&error);
        }
        match self.journal.begin(&self.files, |provider| self.store.has_provider(provider)) {
            Ok(begun) => self.replace(begun, works),
            Err(error) => {
                self.journal.fail(&error);
                self.files.give_up(None);
            }
        }
    }

    /// Where it `works` so far, what a failure has begun is kept; what retries begin would pile up.
    fn replace(&mut self, begun: Begun, works: bool) {
        let first = begun.first;
        match self.write(&begun) {
            Ok(size) => self.journal.allow(size),
            Err(_) if self.journal.is_closed() => return self.files.give_up(None),
            Err(error) => {
                self.journal.fail(&error);
                let removed = (!works && begun.is_new).then_some(first);
                self.files.give_up(removed);
                if removed.is_some() {
                    self.journal.removed(&begun);
                }
                return;
            }
        }
        // From here on the new snapshot may be the one that is read next, which needs its journal.
        let synced = self.files.sync_names();
        let replaced = synced.and_then(|()| self.journal.replaced(begun));
        if let Err(error) = replaced.and_then(|()| self.files.remove_journals(first)) {
            self.journal.fail(&error);
        }
    }

    /// Returns the size of the new snapshot, in bytes.
    fn write(&mut self, begun: &Begun) -> io::Result<u64> {
        let (first, mut count) = (begun.first, 0);
        let mut frames = Vec::new();
        saved::push_begin(first, &mut frames);
        for (provider, known) in begun.covered.finishes.iter() {
            let none = FinishTotals::default();
            let shown = begun.shown.get(provider).unwrap_or(&none);
            saved::push_finishes(provider, known, shown, &mut frames);
            count += 1;
        }
        let (_, tasks) = self.store.tasks(None);
        let mut snapshot = self.files.begin_snapshot()?;
        let (mut size, mut unsynced) = (0, 0);
        for block in tasks.iter().flat_map(|view| &view.blocks) {
            for record in block.records() {
                saved::push(first, &record.task, &record.known, None, &mut frames);
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
            self.pulse.beat();
            if self.journal.is_closed() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        saved::push_end(first, count, &mut frames);
        snapshot.write_all(&frames)?;
        // What the snapshot has and was still waiting: on the disk before the snapshot is, so that
        // a finished task is counted, and once.
        self.journal.write_waiting();
        self.journal.sync()?;
        if self.journal.is_closed() {
            // What came since was not taken any more.
            return Err(io::ErrorKind::Interrupted.into());
        }
        if !self.journal.may_replace() {
            return Err(io::Error::other("the disk does not keep up"));
        }
        self.files.replace(snapshot)?;
        Ok(u64::try_from(size + frames.len()).unwrap_or(u64::MAX))
    }
}
