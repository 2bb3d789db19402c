//! Turns at computing, so that clients leave a core to the polls.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns at making answers: one at once for each core but one, and at least one. Answers that wait for
/// their reader have none.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// As many turns as this machine has cores to spare.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self::at_once(cores.saturating_sub(1).max(1))
    }

    /// So many turns at once.
    pub fn at_once(turns: usize) -> Self {
        Self(Arc::new(Semaphore::new(turns)))
    }

    /// Waits for a turn, in the order of those who wait. Blocks the thread, which must be one of a
    /// runtime where that is allowed.
    pub fn take(&self) -> Turn {
        let mut turn = Turn { turns: self.clone(), runtime: Handle::current(), permit: None };
        turn.begin();
        turn
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    runtime: Handle,
    /// `None` in a pause.
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Lets others compute while this thread waits for something.
    pub fn pause<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.permit = None;
        let waited = self.runtime.block_on(wait);
        self.begin();
        waited
    }

    fn begin(&mut self) {
        let turn = Arc::clone(&self.turns.0).acquire_owned();
        // The semaphore is never closed; if it were, there would be no order to keep.
        self.permit = self.runtime.block_on(turn).ok();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn others_compute_in_a_pause_only() {
        let turns = Turns::at_once(1);
        let (begin, has_begun) = oneshot::channel();
        let (go_on, wait) = oneshot::channel();
        let first = spawn_blocking({
            let turns = turns.clone();
            move || {
                let mut turn = turns.take();
                assert!(turns.0.try_acquire().is_err(), "there is one turn");
                begin.send(()).unwrap();
                turn.pause(async { wait.await.unwrap() });
                assert!(turns.0.try_acquire().is_err(), "it has its turn again");
            }
        });
        has_begun.await.unwrap();
        // The first thread pauses, and cannot go on before this one has had its turn.
        spawn_blocking(move || drop(turns.take())).await.unwrap();
        go_on.send(()).unwrap();
        first.await.unwrap();
    }
}
