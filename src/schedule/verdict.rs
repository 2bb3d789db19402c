//! The meaning of the end of a poll for the next one. Pure.

use crate::observation::{Failure, Reason};
use crate::store::record::Change;

/// The end of a poll, as far as the schedule depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A usable answer; the task goes on.
    Open,
    /// The task is polled no more.
    Final,
    /// No usable answer, though the credentials were not what was wrong.
    Failed,
    /// The provider was not reached, so nothing is known of the credentials.
    Unreached,
    /// The provider refused the credentials.
    Refused,
}

impl Verdict {
    /// Returns the verdict on a poll that ended with this failure, if any, and with this change.
    pub fn of(failure: Option<&Failure>, change: Option<Change>) -> Self {
        match failure.map(|failure| failure.reason) {
            _ if change.is_some_and(|change| change.is_final) => Self::Final,
            None => Self::Open,
            Some(Reason::Auth) => Self::Refused,
            Some(Reason::Timeout | Reason::Tls | Reason::Connect) => Self::Unreached,
            Some(_) => Self::Failed,
        }
    }

    /// Reports whether the poll brought no usable answer.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unreached | Self::Refused)
    }
}
