//! Whether the threads get on: a disk that hangs reports no error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nothing that is written at once takes so long, not even on a poor disk.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// When the [`keeper`](super::keeper) was last seen to get on, which waits for whoever writes.
#[derive(Debug)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Pulse {
    /// Now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    /// It gets on.
    pub fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Whether it has not for too long.
    pub fn is_lost(&self) -> bool {
        let since = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(since) > HANGS_AFTER
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
