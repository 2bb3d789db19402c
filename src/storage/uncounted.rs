//! Finishes that are written and stand in no counter yet.
//!
//! A counter begins at 0 in each life, so a finish that was counted just before a kill would be
//! lost to every reader. Therefore it is counted when a reader comes: first the file `counted`
//! says up to where, then the counters do. What no reader came for is left to the next life.
//!
//! In a life that follows another the first reader sees zeros: from them Prometheus knows that the
//! counters have begun anew, which a value not below the last one would hide.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
    /// How many wait, to be looked at without waiting for the disk.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    waiting: Vec<Finish>,
    mark: Mark,
    /// Whether the next reader is to see zeros.
    is_held: bool,
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
        let count = AtomicUsize::new(waiting.len() + usize::from(!is_first));
        let inner = Inner { waiting, mark, is_held: !is_first, unsynced: true, failed: None };
        Self { telemetry, inner: Mutex::new(inner), reader: Mutex::default(), count }
    }

    /// Takes in finishes that have been written.
    pub fn push(&self, finishes: Vec<Finish>) {
        let mut inner = lock(&self.inner);
        inner.waiting.extend(finishes);
        if inner.waiting.len() > MAX_WAITING {
            self.count_all(&mut inner);
        }
        self.count.store(inner.waiting.len() + usize::from(inner.is_held), Ordering::Relaxed);
    }

    /// Those that wait.
    pub fn waiting(&self) -> Vec<Finish> {
        lock(&self.inner).waiting.clone()
    }

    /// Counts some that cannot be written, as a life does that keeps nothing.
    pub fn count_now(&self, finishes: &[Finish]) {
        for finish in finishes {
            self.telemetry.finished(&finish.provider, finish.state, finish.duration);
        }
    }

    /// Whether there is something to do for a reader.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Counts for a reader who comes. Waits while the disk takes what is written, though not for
    /// another reader who does: where it hangs one thread is enough.
    pub fn count(&self) {
        let Some(_reader) = try_lock(&self.reader) else { return };
        let mut inner = lock(&self.inner);
        if !std::mem::take(&mut inner.is_held) {
            self.count_all(&mut inner);
        }
        self.count.store(inner.waiting.len(), Ordering::Relaxed);
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
    /// Those of the disk, now or when the mark was written.
    pub fn sync(&self) -> io::Result<()> {
        let file = {
            let mut inner = lock(&self.inner);
            if let Some(error) = inner.failed.take() {
                return Err(error);
            }
            if !std::mem::take(&mut inner.unsynced) {
                return Ok(());
            }
            inner.mark.file()
        };
        file.map_or(Ok(()), |file| file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::observation::State;

    #[test]
    fn a_reader_waits_for_the_writer_and_not_for_another_reader() {
        let provider: Arc<str> = "p".into();
        let telemetry = Arc::new(Telemetry::new());
        let _provider = telemetry.provider(&provider);
        let finish = Finish { sequence: 0, provider, state: State::Failed, duration: None };
        let mark = Mark::nowhere(0);
        let uncounted = Uncounted::new(Arc::clone(&telemetry), mark, vec![finish], true);
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
