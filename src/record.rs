//! One task's history, as far as it matters: from an observation to what changed. Pure.

pub mod denials;
mod plausible;
pub mod poll_time;
pub mod waited;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::denials::{Denials, Weight};
use self::poll_time::PollTime;
use self::waited::Waited;
use crate::clock::Timestamp;
use crate::observation::{Failure, Observation, Reason, State};
use crate::task::Task;

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

/// Why a task counts as stuck: what of it is above `stuck_after`, one of them at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The queue age, where it is above the limit without the time that the task waited.
    pub age: Option<Duration>,
    /// The part of the queue age in which the task waited for the user.
    pub waited: Duration,
    /// For how long neither state nor progress has changed.
    pub still: Option<Duration>,
}

/// A task, and what is known of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The task.
    pub task: Task,
    /// What is known of it.
    pub known: Known,
}

/// What is known of a task. A million of them fit into memory: what only troubled tasks have
/// stands aside, and no moment stands twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The API's word, else our first sight.
    enqueued: Timestamp,
    state_since: Timestamp,
    /// When state or progress last changed, by our clock; of a final task, when we saw its end.
    moved: Timestamp,
    last_poll: Option<Timestamp>,
    status: Arc<str>,
    job_type: Option<Arc<str>>,
    progress: Option<f64>,
    trouble: Option<Box<Trouble>>,
    state: State,
    enqueued_since: Since,
    /// Whether a poll saw the task before its end.
    seen_open: bool,
    is_final: bool,
    /// Whether `state_since` is when the task ended, and not just when we first saw that it had.
    has_end: bool,
}

/// Whose word it is when a task was enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Since {
    Api,
    FirstSeen,
}

/// What is known of a task with which something is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trouble {
    /// Of the last poll.
    failure: Option<(Reason, Arc<str>)>,
    /// The last usable answer before that failure.
    last_success: Option<Timestamp>,
    /// Why the task itself failed.
    failure_code: Option<Arc<str>>,
    /// The denials in a row. They are counted from 0 in each life, which has a steady clock of its own.
    #[serde(skip)]
    denials: Option<Denials>,
    /// The time in `waiting`, of a task that is not final. In a box of its own, since hardly any
    /// task has it, and an outage gives all of them the rest.
    waited: Option<Box<Waited>>,
}

/// The words of a provider in what is known of a task.
#[derive(Debug)]
pub struct WordsMut<'k> {
    /// The provider's word for the state.
    pub status: &'k mut Arc<str>,
    /// The kind of job.
    pub job_type: Option<&'k mut Arc<str>>,
    /// The code of the last poll, if that failed, and that of the task, if that failed.
    pub codes: [Option<&'k mut Arc<str>>; 2],
}

impl Record {
    /// A task of which nothing is known but that it is there.
    pub fn new(task: Task, now: Timestamp) -> Self {
        Self { task, known: Known::new(now) }
    }
}

impl Deref for Record {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut Known {
        &mut self.known
    }
}

impl Known {
    /// Nothing but that the task is there.
    pub fn new(now: Timestamp) -> Self {
        Self {
            enqueued: now,
            state_since: now,
            moved: now,
            last_poll: None,
            status: Arc::default(),
            job_type: None,
            progress: None,
            trouble: None,
            state: State::Unpolled,
            enqueued_since: Since::FirstSeen,
            seen_open: false,
            is_final: false,
            has_end: false,
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it has been in its state.
    pub fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// The provider's own word; empty before the first answer.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// The kind of job; `None` until an answer told, or until the first answer of an API that
    /// does not tell made it empty.
    pub fn job_type(&self) -> Option<&str> {
        self.job_type.as_deref()
    }

    /// Whether the task is polled no more.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// When the task was enqueued: the API's word, else our first sight of it.
    pub fn enqueued(&self) -> Timestamp {
        self.enqueued
    }

    /// Whose word [`Record::enqueued`] is: the label `since`.
    pub fn enqueued_since(&self) -> &'static str {
        match self.enqueued_since {
            Since::Api => "api",
            Since::FirstSeen => "first_seen",
        }
    }

    /// How long ago it was enqueued; `None` once final.
    pub fn queue_age(&self, now: Timestamp) -> Option<Duration> {
        (!self.is_final).then(|| now.since(self.enqueued))
    }

    /// Returns the part of the queue age in which the task waited for the user, as far as polls saw.
    pub fn waited(&self, now: Timestamp) -> Duration {
        let waited = self.trouble.as_ref().and_then(|trouble| trouble.waited.as_ref());
        waited.map_or(Duration::ZERO, |waited| waited.total(self.enqueued, now))
    }

    /// Returns the queue age without the time that the task waited for the user; `None` once final.
    pub fn net_queue_age(&self, now: Timestamp) -> Option<Duration> {
        self.queue_age(now).map(|age| age.saturating_sub(self.waited(now)))
    }

    /// From 0 to 1, where the API tells.
    pub fn progress(&self) -> Option<f64> {
        self.progress
    }

    /// From the enqueueing to the end, of a final task of which both are known. Without a word of
    /// the API our first sight stands for the beginning, which serves only where we saw the task
    /// before its end.
    pub fn duration(&self) -> Option<Duration> {
        let known = self.has_end && (self.enqueued_since == Since::Api || self.seen_open);
        (known && self.state_since >= self.enqueued).then(|| self.state_since.since(self.enqueued))
    }

    /// Whether the last poll got a usable answer; `None` before the first poll ended.
    pub fn up(&self) -> Option<bool> {
        self.last_poll.map(|_| self.failure().is_none())
    }

    /// The last attempt.
    pub fn last_poll(&self) -> Option<Timestamp> {
        self.last_poll
    }

    /// The last usable answer.
    pub fn last_success(&self) -> Option<Timestamp> {
        match &self.trouble {
            Some(trouble) if trouble.failure.is_some() => trouble.last_success,
            _ => self.last_poll,
        }
    }

    /// The labels `reason` and `code` of the last failed poll, or of a failed task.
    pub fn error(&self) -> Option<(&'static str, &str)> {
        if let Some((reason, code)) = self.failure() {
            return Some((reason.as_str(), code));
        }
        let code = || self.trouble.as_ref()?.failure_code.as_deref();
        (self.state == State::Failed).then(|| ("task", code().unwrap_or_default()))
    }

    fn failure(&self) -> Option<&(Reason, Arc<str>)> {
        self.trouble.as_ref()?.failure.as_ref()
    }

    /// Whether the task needs a person.
    pub fn is_stuck(&self, stuck_after: Duration, now: Timestamp) -> bool {
        self.stuck(stuck_after, now).is_some()
    }

    /// Why the task needs a person, if it does.
    pub fn stuck(&self, stuck_after: Duration, now: Timestamp) -> Option<Stuck> {
        if self.state == State::Waiting {
            return None;
        }
        let net_age = self.net_queue_age(now)?;
        let age = (net_age > stuck_after).then(|| now.since(self.enqueued));
        let still = Some(now.since(self.moved)).filter(|still| *still > stuck_after);
        let is_stuck = age.is_some() || still.is_some();
        is_stuck.then(|| Stuck { age, waited: self.waited(now), still })
    }

    /// How often in a row the provider has said that it does not know the task, in this life of
    /// the exporter.
    pub fn denied(&self) -> Option<u32> {
        self.trouble.as_ref()?.denials.map(|denials| denials.count)
    }

    /// When state or progress last changed, by our clock; of a final task, when we saw its end.
    pub fn moved(&self) -> Timestamp {
        self.moved
    }

    /// Returns the words of the provider in it.
    pub fn words_mut(&mut self) -> WordsMut<'_> {
        let codes = match self.trouble.as_deref_mut() {
            Some(Trouble { failure, failure_code, .. }) => {
                [failure.as_mut().map(|(_, code)| code), failure_code.as_mut()]
            }
            None => [None, None],
        };
        WordsMut { status: &mut self.status, job_type: self.job_type.as_mut(), codes }
    }

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
