//! The moment at which a poll ended.

use crate::clock::Timestamp;

/// The moment at which a poll ended, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct PollTime {
    /// By the wall clock, which its host may set forward and back.
    pub now: Timestamp,
    /// By the steady clock, which never steps: the time between two polls is measured by it.
    pub steady: Timestamp,
}

impl From<Timestamp> for PollTime {
    /// A moment at which the clocks agree.
    fn from(now: Timestamp) -> Self {
        Self { now, steady: now }
    }
}
