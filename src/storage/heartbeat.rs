//! Heartbeat of the storage threads: a disk that hangs reports no error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No single write takes as long, not even on a poor disk.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Time of the last iteration of the [`compactor`](super::compactor), which waits for the writer
/// too.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds since `started`.
    last: AtomicU64,
}

impl Heartbeat {
    /// A heartbeat that was recorded now.
    pub fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Records that the compactor has completed an iteration.
    pub fn record(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Reports whether the last iteration is more than 10 seconds ago.
    pub fn is_overdue(&self) -> bool {
        let since = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(since) > HANGS_AFTER
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
