//! How the outcome of a poll changes a record. Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::waited::Waited;
use super::{Known, Since, Trouble};
use crate::clock::Timestamp;
use crate::observation::{Failure, Observation, Reason, State};

/// Denials in a row that are believed: several APIs answer 404 for a while.
const ENOUGH: u32 = 3;
/// Time from the first of them to the last, at least, where the provider once knew the task. Where
/// it never did, it is `stuck_after`: the gateway may learn of a new task as late as that.
const SPAN_ONCE_KNOWN: Duration = Duration::from_secs(60);

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

/// What a poll changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The state before and after.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Whether the task is polled no more.
    pub is_final: bool,
    /// Whether it is something that a restart should not undo.
    pub is_lasting: bool,
    /// Time after which one denial more ends the task; `None` if the poll was no denial, or if one
    /// more does not suffice.
    pub final_denial_in: Option<Duration>,
    /// Present if the task ended while it was watched, which the finished counters count once.
    pub finished: Option<Finished>,
}

/// The end of a task that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How long the task took, where that is known.
    pub duration: Option<Duration>,
}

impl Known {
    /// Takes in how a poll ended. `stuck_after` is the provider's.
    pub fn take_in(
        &mut self,
        outcome: &Result<Observation, Failure>,
        at: impl Into<PollTime>,
        stuck_after: Duration,
    ) -> Change {
        let at = at.into();
        let before = self.lasting();
        let (status, job_type) = (Arc::clone(&self.status), self.job_type.clone());
        let change = match outcome {
            Ok(observation) => self.observe(observation, at),
            Err(failure) => self.fail(failure, at, stuck_after),
        };
        let is_lasting =
            before != self.lasting() || status != self.status || job_type != self.job_type;
        Change { is_lasting, ..change }
    }

    /// Takes in a usable answer.
    pub fn observe(&mut self, observation: &Observation, at: impl Into<PollTime>) -> Change {
        let at = at.into();
        let now = at.now;
        self.last_poll = Some(now);
        let from = self.state;
        let waited = self.waited_after(observation.state, at);
        if self.state != observation.state || self.progress != observation.progress {
            self.moved = now;
        }
        if self.state != observation.state {
            self.state = observation.state;
            self.state_since = now;
        }
        if *self.status != *observation.status {
            self.status = Arc::clone(&observation.status);
        }
        // Known once, known for life: a label that came and went would tear the series.
        if self.job_type.as_deref().is_none_or(str::is_empty) {
            self.job_type = Some(observation.job_type.clone().unwrap_or_default());
        }
        if let Some(enqueued) = observation.enqueue_time {
            self.enqueued = enqueued;
            self.enqueued_since = Since::Api;
        }
        self.progress = observation.progress;
        let failure_code = observation.failure_code.clone();
        let is_needed = failure_code.is_some() || waited.is_some();
        self.trouble =
            is_needed.then(|| Box::new(Trouble { failure_code, waited, ..Trouble::default() }));
        if !observation.state.is_final() {
            self.seen_open = true;
            return self.change(from, false);
        }
        if let Some(finish) = observation.finish_time {
            self.state_since = finish;
        }
        self.end(from, observation.finish_time.is_some(), now)
    }

    /// Returns the time in `waiting` after a poll that saw the task in `state`, if it ever waited.
    fn waited_after(&mut self, state: State, at: PollTime) -> Option<Box<Waited>> {
        let (is_first_answer, is_waiting) = (self.job_type.is_none(), state == State::Waiting);
        let known = self.trouble.as_mut().and_then(|trouble| trouble.waited.take());
        match known.filter(|_| !state.is_final()) {
            Some(mut waited) => {
                waited.observe(is_waiting, at);
                Some(waited)
            }
            None => is_waiting.then(|| Box::new(Waited::begin(is_first_answer, at))),
        }
    }

    /// Takes in a failed poll. What was known stays known.
    pub fn fail(
        &mut self,
        failure: &Failure,
        at: impl Into<PollTime>,
        stuck_after: Duration,
    ) -> Change {
        let at = at.into();
        let last_success = self.last_success();
        let trouble = self.trouble.get_or_insert_default();
        trouble.last_success = last_success;
        trouble.failure = Some((failure.reason, Arc::clone(&failure.code)));
        self.last_poll = Some(at.now);
        match failure.reason {
            Reason::NotFound if !self.is_final => self.deny(at, stuck_after),
            // Nothing was said, so nothing was contradicted.
            Reason::Timeout | Reason::Tls | Reason::Connect | Reason::Empty => {
                self.change(self.state, false)
            }
            _ => {
                trouble.denials = None;
                self.change(self.state, false)
            }
        }
    }

    /// Takes in that the provider does not know the task.
    fn deny(&mut self, PollTime { now, steady }: PollTime, stuck_after: Duration) -> Change {
        let from = self.state;
        let trouble = self.trouble.get_or_insert_default();
        let denials = Denials::one_more(trouble.denials, steady);
        trouble.denials = Some(denials);
        let was_known = !matches!(from, State::Unpolled | State::NotFound);
        let weight = denials.weigh(was_known, stuck_after, steady);
        if weight == Weight::Final {
            trouble.waited = None;
        }
        if weight == Weight::Final || from == State::Unpolled {
            self.enter(State::NotFound, now);
        }
        self.seen_open = true;
        match weight {
            Weight::Final => self.end(from, false, now),
            Weight::FinalIn(wait) => {
                Change { final_denial_in: Some(wait), ..self.change(from, false) }
            }
            Weight::Open => self.change(from, false),
        }
    }

    /// What a restart should not undo, words not included. When the last poll was, and whether it
    /// failed, the next poll tells.
    fn lasting(&self) -> (State, Timestamp, Timestamp, Since, [bool; 2]) {
        let seen = [self.seen_open, self.is_final];
        (self.state, self.moved, self.enqueued, self.enqueued_since, seen)
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.state_since = now;
        self.moved = now;
        self.status = Arc::default();
    }

    /// The task has come to its end. The moment is the API's word, else now, though only where a
    /// poll saw it before: otherwise it may have ended long ago.
    fn end(&mut self, from: State, api_told: bool, now: Timestamp) -> Change {
        self.is_final = true;
        self.moved = now;
        self.has_end = api_told || self.seen_open;
        self.change(from, self.seen_open)
    }

    fn change(&self, from: State, finished: bool) -> Change {
        let finished = finished.then(|| Finished { duration: self.duration() });
        let (to, is_final) = (self.state, self.is_final);
        Change { from, to, is_final, is_lasting: false, final_denial_in: None, finished }
    }
}

/// Denials of one task in a row, in one life of the exporter. Measured by the steady clock: a step
/// of the wall clock must not end a task that is missing for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denials {
    /// Number of denials.
    pub count: u32,
    /// The first of them, by the steady clock.
    first: Timestamp,
}

/// Consequence of a denial for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The task is lost.
    Final,
    /// One more makes the task final, if it comes after at least this time.
    FinalIn(Duration),
    /// One more does not suffice.
    Open,
}

impl Denials {
    /// Returns the run with one denial more; `before` is `None` where there was none.
    pub fn one_more(before: Option<Self>, steady: Timestamp) -> Self {
        let Self { count, first } = before.unwrap_or(Self { count: 0, first: steady });
        Self { count: count.saturating_add(1), first }
    }

    /// Returns the consequence of the last of them, which came at `steady`. `stuck_after` is the
    /// provider's.
    pub fn weigh(self, was_known: bool, stuck_after: Duration, steady: Timestamp) -> Weight {
        let span = if was_known { SPAN_ONCE_KNOWN } else { stuck_after };
        let left = span.saturating_sub(steady.since(self.first));
        if self.count >= ENOUGH && left.is_zero() {
            Weight::Final
        } else if self.count.saturating_add(1) >= ENOUGH {
            Weight::FinalIn(left)
        } else {
            Weight::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_three_of_them_and_a_while() {
        let at = |second| Timestamp::from_micros(0) + Duration::from_secs(second);
        let weights = |was_known: bool, seconds: &[u64]| {
            let mut denials = None;
            let weigh = |second: &u64| {
                let denied = Denials::one_more(denials, at(*second));
                denials = Some(denied);
                denied.weigh(was_known, Duration::from_secs(600), at(*second))
            };
            seconds.iter().map(weigh).collect::<Vec<_>>()
        };
        let left = |seconds| Weight::FinalIn(Duration::from_secs(seconds));
        let known = [Weight::Open, left(30), left(1), Weight::Final];
        assert_eq!(weights(true, &[10, 40, 69, 70]), known);
        let unknown = [Weight::Open, left(540), left(1), Weight::Final];
        assert_eq!(weights(false, &[10, 70, 609, 610]), unknown);
        // However late the second is, it takes a third.
        for was_known in [true, false] {
            let late = [Weight::Open, left(0), Weight::Final];
            assert_eq!(weights(was_known, &[10, 9_000, 9_001]), late);
        }
    }
}
