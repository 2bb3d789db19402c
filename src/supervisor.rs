//! Tasks of the runtime that must not end by a panic: they begin again, ever more rarely.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::Instant;

/// Time until a task begins again after its first panic, doubled for each further one up to the
/// longest: what panics at once and always must not fill a disk with its log.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// After so long without a panic the next one counts as the first.
const CALM: Duration = Duration::from_secs(600);

/// The panics of one task, as far as they decide when it begins again. Time is an argument.
#[derive(Debug)]
pub struct Restarts {
    panics: u32,
    begun: Instant,
}

impl Restarts {
    /// A task that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self { panics: 0, begun: now }
    }

    /// The task has panicked. Returns the moment at which it is to begin again.
    pub fn next(&mut self, now: Instant) -> Instant {
        if now.saturating_duration_since(self.begun) >= CALM {
            self.panics = 0;
        }
        let doublings = self.panics.min(20);
        self.panics = self.panics.saturating_add(1);
        self.begun = now + FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY);
        self.begun
    }
}

/// Runs what `make` makes to its end, and once more after each panic. `name` is for the log.
pub async fn restart_on_panic<F: Future<Output = ()>>(name: &str, mut make: impl FnMut() -> F) {
    let mut restarts = Restarts::new(Instant::now());
    while AssertUnwindSafe(async { make().await }).catch_unwind().await.is_err() {
        let until = restarts.next(Instant::now());
        tracing::error!(task = name, "panicked, and begins again after a while");
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_again_and_again_begins_ever_more_rarely() {
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
    async fn a_task_that_panics_begins_again_until_it_ends() {
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
