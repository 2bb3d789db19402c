//! One task's record: what is known of the task from its polls. Pure.

mod transition;
mod waited;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::transition::Denials;
pub use self::transition::{Change, Finished, PollTime};
use self::waited::Waited;
use crate::clock::Timestamp;
use crate::observation::{Reason, State};
use crate::task::Task;

/// No clock and no API gives a moment outside of these: the mapping reads none before 1970
/// and none after the year 9999.
const EARLIEST: Timestamp = Timestamp::from_micros(0);
const LATEST: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

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

    /// Reports whether polls can have led to this. A checksum that is right does not say so.
    pub fn is_plausible(&self) -> bool {
        self.times_are_plausible()
            && self.progress.is_none_or(|progress| (0.0..=1.0).contains(&progress))
            && self.flags_fit_state()
    }

    fn times_are_plausible(&self) -> bool {
        let trouble = self.trouble.as_deref();
        let last_success = trouble.and_then(|trouble| trouble.last_success);
        let waited = trouble.and_then(|trouble| trouble.waited.as_deref());
        let waited = waited.into_iter().flat_map(Waited::moments);
        let known = [self.enqueued, self.state_since, self.moved];
        let mut times = known.into_iter().chain(self.last_poll).chain(last_success).chain(waited);
        times.all(|moment| (EARLIEST..=LATEST).contains(&moment))
    }

    fn flags_fit_state(&self) -> bool {
        let is_final = match self.state {
            State::Succeeded | State::Failed | State::Cancelled => self.is_final,
            State::NotFound => true,
            State::Queued | State::Running | State::Waiting | State::Unknown => !self.is_final,
            State::Unpolled => !self.is_final && !self.seen_open && self.status.is_empty(),
        };
        is_final && (self.is_final || !self.has_end)
    }
}

#[cfg(test)]
mod tests;
