//! What a task shows of itself: one facet for each family of the tasks.

use crate::record::Record;

/// What one family of the tasks shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// The kind of job.
    JobType,
    /// State and status.
    Status,
    /// How long ago the task was enqueued.
    QueueAge,
    /// When it was enqueued, and who says so.
    Enqueued,
    /// Since when it has been in its state.
    StateSince,
    /// How far it is.
    Progress,
    /// How long it took.
    Duration,
    /// Whether it is stuck.
    Stuck,
    /// Whether the last poll got a usable answer.
    Up,
    /// What is wrong with it.
    Error,
    /// The last attempt.
    LastPoll,
    /// The last usable answer.
    LastSuccess,
}

impl Facet {
    /// Every facet, in the order in which the exposition writes their families.
    pub const ALL: [Self; 12] = [
        Self::JobType,
        Self::Status,
        Self::QueueAge,
        Self::Enqueued,
        Self::StateSince,
        Self::Progress,
        Self::Duration,
        Self::Stuck,
        Self::Up,
        Self::Error,
        Self::LastPoll,
        Self::LastSuccess,
    ];
}

/// Whether each facet, in the order of [`Facet::ALL`], shows something else after a poll. What
/// time alone changes, queue age and being stuck, is not told here.
pub fn changed(before: &Record, after: &Record) -> [bool; Facet::ALL.len()] {
    let ended = before.is_final() != after.is_final();
    let enqueued = (before.enqueued(), before.enqueued_since());
    Facet::ALL.map(|facet| match facet {
        Facet::JobType => before.job_type() != after.job_type(),
        Facet::Status => (before.state(), before.status()) != (after.state(), after.status()),
        Facet::QueueAge | Facet::Stuck => ended,
        Facet::Enqueued => enqueued != (after.enqueued(), after.enqueued_since()),
        Facet::StateSince => before.state_since() != after.state_since(),
        Facet::Progress => before.progress() != after.progress(),
        Facet::Duration => before.duration() != after.duration(),
        Facet::Up => before.up() != after.up(),
        Facet::Error => before.error() != after.error(),
        Facet::LastPoll => before.last_poll() != after.last_poll(),
        Facet::LastSuccess => before.last_success() != after.last_success(),
    })
}
