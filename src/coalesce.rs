//! Coalescing of calls for the same work: one run at a time, and one pending run that later callers
//! share.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Work with coalesced calls. A caller gets the outcome of a run that began after the call, so that the run
/// has seen the reason for the call. All calls during a run share the next one. A run completes even if
/// its callers stop waiting.
pub struct Coalesced<T> {
    work: Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>,
    state: Mutex<RunState<T>>,
}

/// State of the runs.
struct RunState<T> {
    is_running: bool,
    /// Sender of the outcome of the next run.
    next: Option<watch::Sender<Option<T>>>,
}

/// Error of a run that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exporter panicked: please report")]
pub struct Panicked;

impl<T> fmt::Debug for Coalesced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesced").finish_non_exhaustive()
    }
}

impl<T: Clone + Send + Sync + 'static> Coalesced<T> {
    /// Returns work that has not run yet.
    pub fn new(work: impl Fn() -> BoxFuture<'static, T> + Send + Sync + 'static) -> Arc<Self> {
        let state = RunState { is_running: false, next: None };
        Arc::new(Self { work: Box::new(work), state: Mutex::new(state) })
    }

    /// Runs the work once more. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// Fails when the run panics.
    pub async fn run(self: &Arc<Self>) -> Result<T, Panicked> {
        let mut outcome = self.join_next();
        let outcome = outcome.wait_for(Option::is_some).await.map_err(|_| Panicked)?;
        outcome.clone().ok_or(Panicked)
    }

    /// Joins the next run, and starts it if none is running.
    fn join_next(self: &Arc<Self>) -> watch::Receiver<Option<T>> {
        let mut state = self.state.lock();
        let next = state.next.get_or_insert_with(|| watch::channel(None).0);
        let outcome = next.subscribe();
        if !std::mem::replace(&mut state.is_running, true) {
            tokio::spawn(Arc::clone(self).run_all());
        }
        outcome
    }

    /// Runs the work as long as callers wait for the next run.
    async fn run_all(self: Arc<Self>) {
        while let Some(callers) = self.take_next() {
            // After a panic the callers notice that the sender was dropped.
            if let Ok(outcome) = AssertUnwindSafe((self.work)()).catch_unwind().await {
                callers.send_replace(Some(outcome));
            }
        }
    }

    fn take_next(&self) -> Option<watch::Sender<Option<T>>> {
        let mut state = self.state.lock();
        let next = state.next.take();
        state.is_running = next.is_some();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    use super::*;

    const RUN: Duration = Duration::from_secs(10);

    /// Work that takes [`RUN`] and returns its number; the first is 1. The third panics.
    fn counted() -> Arc<Coalesced<usize>> {
        let runs = Arc::new(AtomicUsize::new(0));
        Coalesced::new(move || {
            let number = runs.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                sleep(RUN).await;
                assert_ne!(number, 3, "on purpose");
                number
            }
            .boxed()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn callers_during_a_run_share_the_next_one() {
        let (work, start) = (counted(), Instant::now());
        let mut callers = JoinSet::new();
        for second in 0..750 {
            let work = Arc::clone(&work);
            callers.spawn(async move {
                // All but the first call during the first run.
                sleep(RUN * second / 750).await;
                work.run().await
            });
        }
        let mut outcomes: Vec<_> = callers.join_all().await;
        outcomes.sort_by_key(|outcome| outcome.unwrap());
        assert_eq!(outcomes[0], Ok(1));
        assert!(outcomes[1..].iter().all(|outcome| *outcome == Ok(2)));
        assert_eq!(start.elapsed(), 2 * RUN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_completes_without_its_callers_and_delays_the_next_one() {
        let (work, start) = (counted(), Instant::now());
        for _ in 0..100 {
            let caller = tokio::time::timeout(Duration::from_millis(1), work.run());
            assert!(caller.await.is_err());
        }
        assert_eq!(work.run().await, Ok(2));
        assert_eq!(start.elapsed(), 2 * RUN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_panics_has_no_outcome_and_stops_nothing() {
        let work = counted();
        assert_eq!(work.run().await, Ok(1));
        assert_eq!(work.run().await, Ok(2));
        assert_eq!(work.run().await, Err(Panicked));
        assert_eq!(work.run().await, Ok(4));
    }
}
