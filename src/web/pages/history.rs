//! The history of one task as tables for people.

use super::format::{self, FormattedTime};
use crate::clock::Timestamp;
use crate::history::task_history::{PollRun, PollSummary, StateSpan, TaskHistory};
use crate::record::TrackedTask;
use crate::store::MAX_HISTORIES;

/// The history of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryTables {
    /// States, the newest first.
    pub states: Vec<StateRow>,
    /// Runs of polls with the same result, the newest first.
    pub polls: Vec<PollRow>,
    /// Time since which the exporter keeps histories.
    pub started: FormattedTime,
    /// True if there were earlier states or polls.
    pub is_cut: bool,
    /// Maximum number of tasks with a history.
    pub most: String,
}

/// A state of the task as a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// Time since which the task was in the state.
    pub from: FormattedTime,
    /// Time until which it was; `None` if it still is.
    pub to: Option<FormattedTime>,
    /// Time in the state.
    pub duration: String,
    /// The state.
    pub state: &'static str,
    /// The provider's word for it.
    pub status: String,
}

/// Polls with the same result as a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRow {
    /// Time of the first poll.
    pub first: FormattedTime,
    /// Time of the last poll; `None` if there was only one.
    pub last: Option<FormattedTime>,
    /// Number of polls.
    pub count: String,
    /// True if the polls failed.
    pub has_failed: bool,
    /// The result in words.
    pub result: String,
}

impl HistoryTables {
    /// Formats the history of a task at the time `now`. Without a history, the tables are empty.
    pub fn new(
        tracked: &TrackedTask,
        history: Option<&TaskHistory>,
        started: Timestamp,
        now: Timestamp,
    ) -> Self {
        let (mut states, mut polls) = (Vec::new(), Vec::new());
        let is_cut = history.is_some_and(|known| known.states().is_cut() || known.polls().is_cut());
        if let Some(history) = history {
            let mut until = None;
            for span in history.states().iter().rev() {
                states.push(state_row(span, until, now));
                until = Some(span.since);
            }
            states.extend(enqueued(tracked, history, now));
            polls.extend(history.polls().iter().rev().map(|run| poll_row(run, now)));
        }
        Self {
            states,
            polls,
            started: FormattedTime::new(started, now),
            is_cut,
            most: format::count(MAX_HISTORIES),
        }
    }
}

fn state_row(span: &StateSpan, until: Option<Timestamp>, now: Timestamp) -> StateRow {
    StateRow {
        from: FormattedTime::new(span.since, now),
        to: until.map(|until| FormattedTime::new(until, now)),
        duration: format::rough(until.unwrap_or(now).since(span.since)),
        // A history begins with a poll, so a task without an answer has been polled.
        state: format::state(span.state, true),
        status: format::escape(&span.status),
    }
}

/// Returns the time before the first known state, if the enqueue time is known and the history goes
/// back to the beginning.
fn enqueued(tracked: &TrackedTask, history: &TaskHistory, now: Timestamp) -> Option<StateRow> {
    let first = history.states().iter().next()?;
    let (enqueued, is_known) = (tracked.enqueued(), tracked.enqueued_since() != "first_seen");
    let is_before = is_known && !history.states().is_cut() && enqueued < first.since;
    is_before.then(|| StateRow {
        from: FormattedTime::new(enqueued, now),
        to: Some(FormattedTime::new(first.since, now)),
        duration: format::rough(first.since.since(enqueued)),
        state: "not known since it was enqueued",
        status: String::new(),
    })
}

fn poll_row(run: &PollRun, now: Timestamp) -> PollRow {
    let result = match &run.result {
        PollSummary::Answered(state, status) if status.is_empty() => state.to_string(),
        PollSummary::Answered(state, status) => format!("{state}, “{}”", format::escape(status)),
        PollSummary::Failed(reason, _, detail) => {
            format!("failed, {reason}: {}", format::escape(detail))
        }
    };
    PollRow {
        first: FormattedTime::new(run.first, now),
        last: (run.count > 1).then(|| FormattedTime::new(run.last, now)),
        count: format::count(run.count),
        has_failed: matches!(run.result, PollSummary::Failed(..)),
        result,
    }
}
