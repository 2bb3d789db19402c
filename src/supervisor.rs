//! Restarts of runtime tasks after a panic, with increasing delays.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::Instant;

/// Delay before the first restart of a task. It doubles with each further panic, so that a task that
/// always panics does not fill a disk with its log.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Maximum delay before a restart.
const MAX_DELAY: Duration = Duration::from_secs(300);
/// Time without a panic after which the next one counts as the first.
const CALM: Duration = Duration::from_secs(600);

/// Restarts of one task. Time is an argument.
#[derive(Debug)]
pub struct Restarts {
    panics: u32,
    started: Instant,
}

impl Restarts {
    /// Returns the state of a task that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { panics: 0, started: now }
    }

    /// Counts a panic. Returns the time of the restart.
    pub fn next(&mut self, now: Instant) -> Instant {
        if now.saturating_duration_since(self.started) >= CALM {
            self.panics = 0;
        }
        let doublings = self.panics.min(20);
        self.panics = self.panics.saturating_add(1);
        self.started = now + FIRST_DELAY.saturating_mul(1 << doublings).min(MAX_DELAY);
        self.started
    }
}

/// Runs the future that `make` returns to its end, and a new one after each panic. `name` is for the log.
pub async fn restart_on_panic<F: Future<Output = ()>>(name: &str, mut make: impl FnMut() -> F) {
    let mut restarts = Restarts::new(Instant::now());
    while AssertUnwindSafe(async { make().await }).catch_unwind().await.is_err() {
        let until = restarts.next(Instant::now());
        tracing::error!(task = name, "panicked; restarting after a delay");
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_between_restarts_increase() {
        let start = Instant::now();
        let (mut restarts, mut now) = (Restarts::new(start), start);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let next = restarts.next(now);
            assert_eq!(next - now, Duration::from_secs(expected));
            now = next + Duration::from_secs(5);
        }
        assert_eq!(restarts.next(now + CALM) - (now + CALM), FIRST_DELAY, "after a calm time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_restarted_until_it_ends() {
        let start = Instant::now();
        let mut rounds = 0;
        let task = restart_on_panic("a test", || {
            rounds += 1;
            let is_wrong = rounds < 3;
            async move { assert!(!is_wrong, "on purpose") }
        });
        task.await;
        assert_eq!((rounds, start.elapsed()), (3, Duration::from_secs(3)));
    }
}
