//! Finishes that are written and stand in no counter yet.
//!
//! A counter begins at 0 in each life, so a finish that was counted just before a kill would be
//! lost to every reader. Therefore it is counted when a reader comes: first the file `counted`
//! says up to where, then the counters do. A life that ends before leaves it to the next one; one
//! that ends later leaves nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::saved::Finish;
use super::{frame, lock};
use crate::telemetry::Telemetry;

/// Finishes that wait for a reader, a few megabytes of them. Where none comes for so long, more
/// are counted without one.
const MAX_UNSEEN: usize = 100_000;

/// Finishes that no reader has seen.
#[derive(Debug)]
pub struct Unseen {
    telemetry: Arc<Telemetry>,
    written: Mutex<Written>,
    /// How many wait, to be looked at without waiting for the disk.
    count: AtomicUsize,
    /// Not on the disk, which is too far behind: the next snapshot has them.
    late: Mutex<Vec<Finish>>,
    unsynced: AtomicBool,
}

/// Those that are on the disk.
#[derive(Debug)]
struct Written {
    waiting: Vec<Finish>,
    /// All before this sequence are counted.
    counted: u64,
    /// Where that stands.
    file: Arc<File>,
}

impl Unseen {
    /// Those of earlier lives, that `file` says were not counted.
    pub fn new(telemetry: Arc<Telemetry>, counted: u64, file: File, waiting: Vec<Finish>) -> Self {
        Self {
            telemetry,
            count: AtomicUsize::new(waiting.len()),
            written: Mutex::new(Written { waiting, counted, file: Arc::new(file) }),
            late: Mutex::default(),
            unsynced: AtomicBool::new(false),
        }
    }

    /// Takes in finishes that have been written.
    pub fn push(&self, finishes: Vec<Finish>) {
        let mut written = lock(&self.written);
        written.waiting.extend(finishes);
        self.count.store(written.waiting.len(), Ordering::Relaxed);
        if written.waiting.len() > MAX_UNSEEN {
            self.count_all(&mut written);
        }
    }

    /// Takes in a finish that could not be handed to the writer.
    pub fn push_late(&self, finish: Finish) {
        let mut late = lock(&self.late);
        match late.len() < MAX_UNSEEN {
            true => late.push(finish),
            false => self.count_now(&[finish]),
        }
    }

    /// Those that are not on the disk, to be written.
    pub fn take_late(&self) -> Vec<Finish> {
        std::mem::take(&mut lock(&self.late))
    }

    /// Those that are on the disk.
    pub fn written(&self) -> Vec<Finish> {
        lock(&self.written).waiting.clone()
    }

    /// Counts some that cannot be written, as a life does that keeps nothing.
    pub fn count_now(&self, finishes: &[Finish]) {
        for finish in finishes {
            self.telemetry.finished(&finish.provider, finish.state, finish.duration);
        }
    }

    /// Whether a reader would not see all.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Counts what is written, for a reader who comes. Waits for the disk, though not for another
    /// reader who does.
    pub fn count(&self) {
        if let Ok(mut written) = self.written.try_lock() {
            self.count_all(&mut written);
        }
    }

    fn count_all(&self, written: &mut Written) {
        let Some(last) = written.waiting.iter().map(|finish| finish.sequence).max() else { return };
        written.counted = written.counted.max(last.saturating_add(1));
        // Where the disk refuses, `aitask_exporter_storage_up` tells: a restart would forget.
        let _ = written.file.write_all_at(&content(written.counted), 0);
        self.unsynced.store(true, Ordering::Relaxed);
        self.count_now(&written.waiting);
        written.waiting.clear();
        self.count.store(0, Ordering::Relaxed);
    }

    /// Begins the file anew: somebody may have removed it.
    ///
    /// # Errors
    /// Those of `begin`.
    pub fn renew(&self, begin: impl FnOnce(u64) -> io::Result<File>) -> io::Result<()> {
        let mut written = lock(&self.written);
        written.file = Arc::new(begin(written.counted)?);
        Ok(())
    }

    /// Forces onto the disk how far is counted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sync(&self) -> io::Result<()> {
        if !self.unsynced.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let file = Arc::clone(&lock(&self.written).file);
        file.sync_data()
    }
}

/// What the file `counted` has: the sequence before which all is counted.
pub fn content(before: u64) -> Vec<u8> {
    let mut content = frame::header();
    frame::push(&before.to_le_bytes(), &mut content);
    content
}

/// Reads it again; `None` where it is damaged.
pub fn read(content: &[u8]) -> Option<u64> {
    let (payloads, _) = frame::read(content);
    let before = payloads.first()?.first_chunk()?;
    Some(u64::from_le_bytes(*before))
}
