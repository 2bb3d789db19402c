//! The status of the storage path: whether it takes what is written, and if not, why and since when.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::telemetry::Telemetry;

/// A storage path that does not take what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageFailure {
    /// Time of the first failure since the last write that succeeded.
    pub since: Timestamp,
    /// Reason of the last failure, in words.
    pub reason: String,
}

/// The status of the storage path, for the metric, the log and the pages.
#[derive(Debug)]
pub struct StorageStatus {
    clock: Clock,
    telemetry: Arc<Telemetry>,
    failure: Mutex<Option<StorageFailure>>,
    failure_count: AtomicU64,
}

impl StorageStatus {
    /// Creates the status of a storage path that works.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        let (failure, failure_count) = Default::default();
        Self { clock: Clock::system(), telemetry, failure, failure_count }
    }

    /// Records that a write has failed. Returns true if the one before had not.
    pub fn fail(&self, reason: &impl Display) -> bool {
        let mut failure = self.failure.lock();
        self.failure_count.fetch_add(1, Ordering::Relaxed);
        let since = failure.as_ref().map(|failure| failure.since);
        let reason = reason.to_string();
        *failure = Some(StorageFailure { since: since.unwrap_or(self.clock.now()), reason });
        self.telemetry.set_storage_works(false);
        since.is_none()
    }

    /// Records that the storage path works. Returns true if it did not before.
    pub fn recover(&self) -> bool {
        let mut failure = self.failure.lock();
        self.telemetry.set_storage_works(true);
        failure.take().is_some()
    }

    /// Returns the number of failures so far.
    pub fn failure_count(&self) -> u64 {
        // Ordered by the lock of the failure, or by that of the journal.
        self.failure_count.load(Ordering::Relaxed)
    }

    /// Returns the failure, if the storage path does not work.
    pub fn failure(&self) -> Option<StorageFailure> {
        self.failure.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_from_the_first_to_a_recovery() {
        let telemetry = Arc::new(Telemetry::new());
        telemetry.storage_opened(0);
        let status = StorageStatus::new(telemetry);
        assert_eq!((status.failure(), status.recover()), (None, false));
        assert!(status.fail(&"No space left on device"));
        let first = status.failure().unwrap();
        assert!(!status.fail(&"it hangs"));
        let second = status.failure().unwrap();
        assert_eq!((second.since, &*second.reason), (first.since, "it hangs"));
        assert!(status.recover() && !status.recover());
        assert_eq!(status.failure(), None);
    }
}
