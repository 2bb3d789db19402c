//! The thread that waits for the disk: it forces what is written onto it, and writes all tasks anew
//! when the journal has become long. While it waits the journal is written on.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::Files;
use super::journal::Journal;
use super::pulse::Pulse;
use super::saved;
use super::uncounted::Uncounted;
use crate::store::Store;

/// How much may be lost to a power cut; the end of the process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a failure to write.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// So much of a snapshot, in bytes, is forced onto the disk at once, so that it does not fill the
/// memory of the system first.
const PIECE: usize = 4 << 20;

/// What is asked of the thread.
#[derive(Debug)]
pub enum Errand {
    /// To write all anew.
    Renew,
    /// To force onto the disk what is written, and end.
    End,
}

/// The state of the thread.
pub struct Keeper {
    pub files: Files,
    pub store: Arc<Store>,
    pub journal: Arc<Journal>,
    pub uncounted: Arc<Uncounted>,
    pub pulse: Arc<Pulse>,
    pub errands: Receiver<Errand>,
}

impl Keeper {
    /// Keeps until it is told to end.
    pub fn run(mut self) {
        let mut tried = Instant::now();
        loop {
            match self.errands.recv_timeout(SYNC_EVERY) {
                Ok(Errand::Renew) => self.renew(),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Errand::End) | Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            self.sync();
            self.pulse.beat();
            if self.journal.works() {
                tried = Instant::now();
            } else if tried.elapsed() >= RETRY_EVERY {
                tried = Instant::now();
                self.renew();
            }
        }
    }

    fn sync(&self) {
        if let Err(error) = self.uncounted.sync().and_then(|()| self.journal.sync()) {
            self.journal.fail(&error);
        }
    }

    /// Begins a new journal and writes all tasks anew, which makes the old journals needless.
    fn renew(&mut self) {
        match self.replace() {
            Ok(size) => self.journal.allow(size),
            Err(error) => {
                self.journal.fail(&error);
                self.files.give_up();
            }
        }
    }

    /// Returns the size of the new snapshot, in bytes.
    fn replace(&mut self) -> io::Result<u64> {
        self.files.keep().map_err(io::Error::other)?;
        let first = self.journal.begin(&self.files)?;
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
            self.pulse.beat();
        }
        saved::push_end(first, &mut frames);
        snapshot.write_all(&frames)?;
        // What the snapshot has and was still waiting: written before the snapshot counts, so that
        // it is counted; and what is counted is said on the disk by then.
        self.journal.write_waiting();
        self.uncounted.sync()?;
        self.files.replace(snapshot, first)?;
        Ok(u64::try_from(size + frames.len()).unwrap_or(u64::MAX))
    }
}
