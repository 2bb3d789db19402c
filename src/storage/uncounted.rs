//! Finishes that are written and stand in no counter yet.
//!
//! A counter begins at 0 in each life, so a finish that was counted just before a kill would be
//! lost to every reader. Therefore it is counted when a reader comes: first the file `counted`
//! says up to where, then the counters do. What no reader came for is left to the next life.
//!
//! In a life that follows another the first reader sees zeros: from them Prometheus knows that the
//! counters have begun anew, which a value not below the last one would hide.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::files;
use super::mark::Mark;
use super::saved::Finish;
use crate::lock::{lock, try_lock};
use crate::telemetry::Telemetry;

/// Finishes that wait for a reader, a few megabytes of them. Where none comes for so long, more
/// are counted without one.
const MAX_WAITING: usize = 100_000;

/// Finishes that are in no counter.
#[derive(Debug)]
pub struct Uncounted {
    telemetry: Arc<Telemetry>,
    inner: Mutex<Inner>,
    /// Held by a reader who counts.
    reader: Mutex<()>,
    /// Whether no reader has seen the zeros that are to be seen.
    is_held: AtomicBool,
    /// How many wait, to be looked at without waiting for the disk.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    waiting: Vec<Finish>,
    mark: Mark,
    unsynced: bool,
    /// Why the mark could not be written.
    failed: Option<io::Error>,
}

impl Uncounted {
    /// Those of earlier lives, if there were any.
    pub fn new(
        telemetry: Arc<Telemetry>,
        mark: Mark,
        waiting: Vec<Finish>,
        is_first: bool,
    ) -> Self {
        Self {
            telemetry,
            is_held: AtomicBool::new(!is_first),
            count: AtomicUsize::new(waiting.len()),
            inner: Mutex::new(Inner { waiting, mark, unsynced: true, failed: None }),
            reader: Mutex::default(),
        }
    }

    /// Takes in finishes that have been written.
    pub fn push(&self, finishes: Vec<Finish>) {
        let mut inner = lock(&self.inner);
        inner.waiting.extend(finishes);
        if inner.waiting.len() > MAX_WAITING {
            self.count_all(&mut inner);
        }
        self.count.store(inner.waiting.len(), Ordering::Relaxed);
    }

    /// Those that wait.
    pub fn waiting(&self) -> Vec<Finish> {
        lock(&self.inner).waiting.clone()
    }

    /// Counts some without a mark: as a life does that keeps nothing.
    pub fn count_now(&self, finishes: &[Finish]) {
        for finish in finishes {
            self.telemetry.finished(&finish.provider, finish.state, finish.duration);
        }
    }

    /// Whether there is something to count for a reader.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && !self.is_held.load(Ordering::Relaxed)
    }

    /// A reader has what there was to see.
    pub fn shown(&self) {
        self.is_held.store(false, Ordering::Relaxed);
    }

    /// Counts for a reader who comes. Waits while the disk takes what is written, though not for
    /// another reader who does: where it hangs one thread is enough.
    pub fn count(&self) {
        let Some(_reader) = try_lock(&self.reader).filter(|_| self.any()) else { return };
        let mut inner = lock(&self.inner);
        self.count_all(&mut inner);
        self.count.store(0, Ordering::Relaxed);
    }

    fn count_all(&self, inner: &mut Inner) {
        let Some(last) = inner.waiting.iter().map(|finish| finish.sequence).max() else { return };
        if let Err(error) = inner.mark.advance(last.saturating_add(1)) {
            inner.failed = Some(error);
        }
        inner.unsynced = true;
        self.count_now(&inner.waiting);
        inner.waiting.clear();
    }

    /// Begins the mark anew: somebody may have removed its file, or the disk was full.
    ///
    /// # Errors
    /// Those of `begin`.
    pub fn renew(&self, begin: impl FnOnce(u64) -> io::Result<Mark>) -> io::Result<()> {
        let mut inner = lock(&self.inner);
        inner.mark = begin(inner.mark.before())?;
        inner.unsynced = true;
        Ok(())
    }

    /// Forces the mark onto the disk.
    ///
    /// # Errors
    /// Those of the disk, now or when the mark was written, and when somebody has removed it.
    pub fn sync(&self) -> io::Result<()> {
        let file = {
            let mut inner = lock(&self.inner);
            if let Some(error) = inner.failed.take() {
                return Err(error);
            }
            let Some(file) = inner.mark.file() else { return Ok(()) };
            files::check_kept(&file, "the file `counted`")?;
            if !std::mem::take(&mut inner.unsynced) {
                return Ok(());
            }
            file
        };
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::observation::State;

    fn one(telemetry: &Arc<Telemetry>, is_first: bool) -> Uncounted {
        let provider: Arc<str> = "p".into();
        let finish = Finish { sequence: 0, provider, state: State::Failed, duration: None };
        Uncounted::new(Arc::clone(telemetry), Mark::nowhere(0), vec![finish], is_first)
    }

    #[test]
    fn in_a_later_life_nothing_is_counted_before_a_reader_has_read() {
        let uncounted = one(&Arc::default(), false);
        // Two who have come at once.
        uncounted.count();
        uncounted.count();
        assert!(!uncounted.any() && !uncounted.waiting().is_empty());
        uncounted.shown();
        assert!(uncounted.any());
        uncounted.count();
        assert!(!uncounted.any() && uncounted.waiting().is_empty());
    }

    #[test]
    fn a_reader_waits_for_the_writer_and_not_for_another_reader() {
        let uncounted = one(&Arc::default(), true);
        thread::scope(|scope| {
            let renewed = uncounted.renew(|before| {
                let another = lock(&uncounted.reader);
                uncounted.count();
                drop(another);
                scope.spawn(|| uncounted.count());
                // Time enough for it to go without what it came for, if it would.
                (0..100).for_each(|_| thread::yield_now());
                Ok(Mark::nowhere(before))
            });
            assert!(renewed.is_ok());
        });
        assert!(uncounted.waiting().is_empty() && !uncounted.any());
        assert!(uncounted.sync().is_err(), "the mark could not be written");
    }
}
