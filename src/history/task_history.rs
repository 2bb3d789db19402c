//! The history of one task: its last states and polls.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::observation::{Failure, PollOutcome, Reason, State};
use crate::record::TaskRecord;

/// Maximum number of states and of runs of polls in a history: some hours of a task that is well, the
/// last polls of one whose provider answers now this and now that.
pub const MAX_ENTRIES: usize = 8;

/// The last states and polls of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskHistory {
    states: Recent<StateSpan>,
    polls: Recent<PollRun>,
}

/// The last entries of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Recent<T> {
    entries: VecDeque<T>,
    is_cut: bool,
}

/// A period during which a task was in one state with one status. It ends where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSpan {
    /// Time of the poll that saw the state first; of the first span of a history, the time since which
    /// the record has the state.
    pub since: Timestamp,
    /// The state.
    pub state: State,
    /// The provider's word for it; empty before the first usable answer.
    pub status: Arc<str>,
}

/// Consecutive polls with the same result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollRun {
    /// Time of the first poll.
    pub first: Timestamp,
    /// Time of the last poll.
    pub last: Timestamp,
    /// Number of polls.
    pub count: u32,
    /// Their result.
    pub result: PollSummary,
}

/// The result of a poll in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollSummary {
    /// A usable answer: the state, and the provider's word for it.
    Answered(State, Arc<str>),
    /// No usable answer: the reason, the code, and the details for people.
    Failed(Reason, Arc<str>, Arc<str>),
}

impl TaskHistory {
    /// Creates the history of a task that has been in a state until now.
    pub fn new(state: StateSpan) -> Self {
        let mut states = Recent::new();
        states.push(state);
        Self { states, polls: Recent::new() }
    }

    /// Adds a poll, since which the task is in a state.
    pub fn add_poll(&mut self, outcome: &PollOutcome, state: StateSpan) {
        let at = state.since;
        let is_same = |last: &StateSpan| last.state == state.state && last.status == state.status;
        if !self.states.last().is_some_and(is_same) {
            self.states.push(state);
        }
        match self.polls.entries.back_mut().filter(|last| last.result.is_of(outcome)) {
            Some(run) => {
                run.last = at;
                run.count = run.count.saturating_add(1);
            }
            None => {
                let result = PollSummary::of(outcome);
                self.polls.push(PollRun { first: at, last: at, count: 1, result });
            }
        }
    }

    /// Returns the states in the order of time.
    pub fn states(&self) -> &Recent<StateSpan> {
        &self.states
    }

    /// Returns the polls in the order of time.
    pub fn polls(&self) -> &Recent<PollRun> {
        &self.polls
    }
}

impl StateSpan {
    /// Returns the state of a record, which it has had since a time.
    pub fn of(record: &TaskRecord, since: Timestamp) -> Self {
        Self { since, state: record.state(), status: Arc::clone(record.status_text()) }
    }
}

impl<T> Recent<T> {
    fn new() -> Self {
        Self { entries: VecDeque::new(), is_cut: false }
    }

    fn push(&mut self, entry: T) {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
            self.is_cut = true;
        }
        self.entries.push_back(entry);
    }

    /// Returns the entries, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.entries.iter()
    }

    /// Returns the newest entry.
    pub fn last(&self) -> Option<&T> {
        self.entries.back()
    }

    /// Reports whether there were earlier entries.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl PollSummary {
    fn of(outcome: &PollOutcome) -> Self {
        match outcome {
            Ok(observation) => Self::Answered(observation.state, Arc::clone(&observation.status)),
            Err(Failure { reason, code, detail }) => {
                Self::Failed(*reason, Arc::clone(code), Arc::clone(detail))
            }
        }
    }

    /// Reports whether `outcome` has this result.
    fn is_of(&self, outcome: &PollOutcome) -> bool {
        match (self, outcome) {
            (Self::Answered(state, status), Ok(observation)) => {
                *state == observation.state && **status == *observation.status
            }
            (Self::Failed(reason, code, detail), Err(failure)) => {
                *reason == failure.reason && **code == *failure.code && **detail == *failure.detail
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Observation;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn span(seconds: i64, state: State, status: &str) -> StateSpan {
        StateSpan { since: at(seconds), state, status: status.into() }
    }

    fn history() -> TaskHistory {
        TaskHistory::new(span(0, State::Unpolled, ""))
    }

    /// Adds a poll with a usable answer.
    fn answer(history: &mut TaskHistory, seconds: i64, state: State, status: &str) {
        let outcome = Ok(Observation::new(state, status));
        history.add_poll(&outcome, span(seconds, state, status));
    }

    #[test]
    fn equal_polls_are_one_entry_and_a_failure_changes_no_state() {
        let mut history = history();
        for seconds in [1, 2, 3] {
            answer(&mut history, seconds, State::Queued, "WAIT");
        }
        let failure = Err(Failure::new(Reason::Http, "HTTP status 502"));
        for seconds in [4, 5] {
            history.add_poll(&failure, span(seconds, State::Queued, "WAIT"));
        }
        answer(&mut history, 6, State::Queued, "WAIT");
        answer(&mut history, 7, State::Queued, "SOON");
        let states: Vec<_> =
            history.states().iter().map(|span| (span.since, span.state, &*span.status)).collect();
        let expected = [
            (at(0), State::Unpolled, ""),
            (at(1), State::Queued, "WAIT"),
            (at(7), State::Queued, "SOON"),
        ];
        assert_eq!(states, expected);
        let polls: Vec<_> =
            history.polls().iter().map(|run| (run.first, run.last, run.count)).collect();
        assert_eq!(
            polls,
            [(at(1), at(3), 3), (at(4), at(5), 2), (at(6), at(6), 1), (at(7), at(7), 1)]
        );
        let failed = history.polls().iter().nth(1).unwrap();
        assert!(
            failed.result.is_of(&failure)
                && !failed.result.is_of(&Err(Failure::new(Reason::Http, "HTTP status 503")))
        );
    }

    #[test]
    fn the_newest_entries_stay() {
        let mut history = history();
        for seconds in 1..=8 {
            assert!(!history.states().is_cut());
            let status = format!("{seconds}");
            answer(&mut history, seconds, State::Running, &status);
        }
        assert!(history.states().is_cut() && !history.polls().is_cut());
        answer(&mut history, 9, State::Running, "9");
        assert!(history.polls().is_cut());
        let last =
            |entries: usize| -> Vec<_> { (10 - entries..10).map(|n| n.to_string()).collect() };
        let states: Vec<_> = history.states().iter().map(|span| span.status.to_string()).collect();
        assert_eq!(states, last(MAX_ENTRIES));
        assert_eq!(history.polls().iter().count(), MAX_ENTRIES);
        assert_eq!(history.states().last().unwrap().since, at(9));
    }

    /// [`crate::store`] has many of them.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<StateSpan>() <= 32 && size_of::<PollRun>() <= 64);
        assert!(size_of::<TaskHistory>() <= 80, "{}", size_of::<TaskHistory>());
    }
}
