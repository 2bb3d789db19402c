//! The meaning of the end of a poll for the next one. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::cadence::Cadence;
use crate::observation::{Failure, Reason};
use crate::record::Transition;

/// The end of a poll, as far as the schedule depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// A usable answer; the task goes on.
    Open,
    /// The task is polled no more.
    Final,
    /// No usable answer, though the credentials were not what was wrong.
    Failed,
    /// The provider denied the task; one denial more ends it, if it comes after this time.
    Denied(Duration),
    /// The provider was not reached, so nothing is known of the credentials.
    Unreached,
    /// The provider refused the credentials.
    Refused,
}

impl PollOutcome {
    /// Returns the verdict on a poll that ended with this failure, if any, and with this change.
    pub fn of(failure: Option<&Failure>, change: Option<Transition>) -> Self {
        let denied = change.and_then(|change| change.final_not_found_in);
        match failure.map(|failure| failure.reason) {
            _ if change.is_some_and(|change| change.is_final) => Self::Final,
            None => Self::Open,
            Some(Reason::Auth) => Self::Refused,
            Some(Reason::Timeout | Reason::Tls | Reason::Connect) => Self::Unreached,
            Some(_) => denied.map_or(Self::Failed, Self::Denied),
        }
    }

    /// Reports whether the poll brought no usable answer.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Denied(_) | Self::Unreached | Self::Refused)
    }

    /// Returns the moment of a task's next poll after `failures` failed ones in a row: that of its
    /// back-off, or the one at which a denial ends it, if that is earlier and an interval away.
    pub fn retry(self, cadence: &Cadence, hash: u64, failures: u16, now: Instant) -> Instant {
        let backoff = cadence.backoff(hash, failures.into(), now);
        match self {
            Self::Denied(wait) => backoff.min(now + wait.max(cadence.interval())),
            _ => backoff,
        }
    }
}
