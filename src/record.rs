//! The record of one task: its state and history as far as polls have shown them. Pure.

mod transition;
mod waiting_time;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::transition::NotFoundRun;
pub use self::transition::{Finished, PollTime, Transition};
use self::waiting_time::WaitingTime;
use crate::clock::Timestamp;
use crate::listing::{Listing, SourceId};
use crate::observation::{Reason, State};
use crate::task::Task;

/// Limits of plausible timestamps: the mapping reads none before 1970 and none after the year 9999.
const EARLIEST: Timestamp = Timestamp::from_micros(0);
const LATEST: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

/// The failure of a task in words: of the reason, APIs give at most a code.
const TASK_FAILED: &str = "the provider reports that the task failed";

/// The reasons why a task counts as stuck: at least one of `age` and `unchanged_for`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckReason {
    /// Queue age, if it exceeds `stuck_after` after the time in `waiting` is subtracted.
    pub age: Option<Duration>,
    /// Part of the queue age that the task spent in `waiting`.
    pub waited: Duration,
    /// Time since the last change of state or progress, if it exceeds `stuck_after`.
    pub unchanged_for: Option<Duration>,
}

/// A task and its record.
#[derive(Clone, Debug)]
pub struct TrackedTask {
    /// The task.
    pub task: Task,
    /// Its record.
    pub record: TaskRecord,
    /// The sources that name it.
    pub listing: Listing,
}

/// The state and history of a task.
///
/// Kept small, since a million of them are in memory: fields that few tasks need are in
/// [`Anomalies`], and no timestamp is stored twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Time of enqueueing: from the API, else when the exporter first knew of the task.
    enqueued: Timestamp,
    state_since: Timestamp,
    /// Time at which state or progress last changed, by the exporter's clock; of a final task, when
    /// the exporter saw its end.
    last_changed: Timestamp,
    last_poll: Option<Timestamp>,
    status: Arc<str>,
    job_type: Option<Arc<str>>,
    progress: Option<f64>,
    anomalies: Option<Box<Anomalies>>,
    state: State,
    enqueue_source: EnqueueSource,
    /// True if a poll saw the task before its end.
    was_seen_open: bool,
    is_final: bool,
    /// True if `state_since` is when the task ended, and not just when the exporter first saw that it had.
    has_end: bool,
}

/// Source of the enqueue time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum EnqueueSource {
    Api,
    Source,
    FirstSeen,
}

/// The knowledge that a task is new, so that its end counts even if the first poll finds it final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newness {
    /// Earliest time of enqueueing and of the end that a new task can have.
    pub since: Timestamp,
    /// True if at least one of both times has to be known.
    pub needs_time: bool,
}

/// Fields of the few records whose task waits or whose last polls went wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Anomalies {
    /// Reason and code of the last poll, if it failed.
    failure: Option<(Reason, Arc<str>)>,
    /// Details of that failure for people. Not persisted: the next poll brings its own.
    #[serde(skip)]
    failure_detail: Option<Arc<str>>,
    /// Time of the last usable answer before that failure.
    last_success: Option<Timestamp>,
    /// The provider's code for why the task itself failed.
    failure_code: Option<Arc<str>>,
    /// Consecutive polls that found no such task. They are not persisted, since the monotonic clock
    /// that measures them starts with the process.
    #[serde(skip)]
    not_found_run: Option<NotFoundRun>,
    /// Set if the task is known to be new, until the first usable answer.
    newness: Option<Newness>,
    /// Time in `waiting`, of a task that is not final. Boxed, since few tasks ever wait, while an
    /// outage gives all of them the other fields.
    waiting_time: Option<Box<WaitingTime>>,
}

/// The provider's words in a record that become label values.
#[derive(Debug)]
pub struct RecordWordsMut<'r> {
    /// The provider's word for the state.
    pub status: &'r mut Arc<str>,
    /// The job type.
    pub job_type: Option<&'r mut Arc<str>>,
    /// Code of the last poll, if it failed, and code of the task, if it failed.
    pub codes: [Option<&'r mut Arc<str>>; 2],
}

impl TrackedTask {
    /// Creates a configured task with an empty record that was never polled.
    pub fn new(task: Task, now: Timestamp) -> Self {
        let listing = Listing::One(SourceId::CONFIG);
        Self { task, record: TaskRecord::new(now), listing }
    }
}

impl Deref for TrackedTask {
    type Target = TaskRecord;

    fn deref(&self) -> &TaskRecord {
        &self.record
    }
}

impl DerefMut for TrackedTask {
    fn deref_mut(&mut self) -> &mut TaskRecord {
        &mut self.record
    }
}

impl TaskRecord {
    /// Creates the record of a task that was never polled and first known at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            enqueued: now,
            state_since: now,
            last_changed: now,
            last_poll: None,
            status: Arc::default(),
            job_type: None,
            progress: None,
            anomalies: None,
            state: State::Unpolled,
            enqueue_source: EnqueueSource::FirstSeen,
            was_seen_open: false,
            is_final: false,
            has_end: false,
        }
    }

    /// Sets the enqueue time that a source gives, which counts unless the API gives one. `None` leaves
    /// what is known.
    pub fn set_source_time(&mut self, time: Option<Timestamp>) {
        if let Some(time) = time.filter(|time| self.lacks_source_time(Some(*time))) {
            self.enqueued = time;
            self.enqueue_source = EnqueueSource::Source;
        }
    }

    /// Reports whether [`Self::set_source_time`] would change the record.
    pub fn lacks_source_time(&self, time: Option<Timestamp>) -> bool {
        let counts = self.enqueue_source != EnqueueSource::Api && !self.is_final;
        let is_known = self.enqueue_source == EnqueueSource::Source;
        time.is_some_and(|time| counts && !(is_known && time == self.enqueued))
    }

    /// Sets that the task is known to be new. Has no effect after the first usable answer.
    pub fn set_newness(&mut self, newness: Newness) {
        if self.job_type.is_none() {
            self.anomalies.get_or_insert_default().newness = Some(newness);
        }
    }

    /// Reports whether the provider has answered that it does not know the task, and never answered
    /// anything else.
    pub fn is_never_known(&self) -> bool {
        self.state == State::NotFound && self.job_type.is_none()
    }

    /// Returns the current state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the time since which the task has been in its state.
    pub(crate) fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// Returns the provider's own word for the state; empty before the first usable answer.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Returns the same word, shared.
    pub(crate) fn status_text(&self) -> &Arc<str> {
        &self.status
    }

    /// Returns the job type: `None` before the first usable answer, empty if the API does not report it.
    pub fn job_type(&self) -> Option<&str> {
        self.job_type.as_deref()
    }

    /// Reports whether the task has ended and is no longer polled.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Returns the enqueue time: from the API, else when the exporter first knew of the task.
    pub fn enqueued(&self) -> Timestamp {
        self.enqueued
    }

    /// Returns the source of [`Self::enqueued`] as the value of the label `since`.
    pub(crate) fn enqueued_since(&self) -> &'static str {
        match self.enqueue_source {
            EnqueueSource::Api => "api",
            EnqueueSource::Source => "source",
            EnqueueSource::FirstSeen => "first_seen",
        }
    }

    /// Returns the time since enqueueing; `None` once final.
    pub fn queue_age(&self, now: Timestamp) -> Option<Duration> {
        (!self.is_final).then(|| now.since(self.enqueued))
    }

    /// Returns the part of the queue age that the task spent in `waiting`, as far as polls saw it.
    pub fn waited(&self, now: Timestamp) -> Duration {
        let waited = self.anomalies.as_ref().and_then(|anomalies| anomalies.waiting_time.as_ref());
        waited.map_or(Duration::ZERO, |waited| waited.total(self.enqueued, now))
    }

    /// Returns the queue age minus the time in `waiting`; `None` once final.
    pub(crate) fn net_queue_age(&self, now: Timestamp) -> Option<Duration> {
        self.queue_age(now).map(|age| age.saturating_sub(self.waited(now)))
    }

    /// Returns the progress from 0 to 1, if the API reports it.
    pub fn progress(&self) -> Option<f64> {
        self.progress
    }

    /// Returns the time from enqueueing to the end, of a final task of which both are known.
    ///
    /// If the API reports no enqueue time, the exporter's first sight of the task is used, provided
    /// that a poll saw the task before its end.
    pub fn duration(&self) -> Option<Duration> {
        let is_known =
            self.has_end && (self.enqueue_source == EnqueueSource::Api || self.was_seen_open);
        (is_known && self.state_since >= self.enqueued)
            .then(|| self.state_since.since(self.enqueued))
    }

    /// Reports whether the last poll got a usable answer; `None` before the first poll has ended.
    pub fn up(&self) -> Option<bool> {
        self.last_poll.map(|_| self.failure().is_none())
    }

    /// Returns the time of the last poll, successful or not.
    pub(crate) fn last_poll(&self) -> Option<Timestamp> {
        self.last_poll
    }

    /// Returns the time of the last poll with a usable answer.
    pub(crate) fn last_success(&self) -> Option<Timestamp> {
        match &self.anomalies {
            Some(anomalies) if anomalies.failure.is_some() => anomalies.last_success,
            _ => self.last_poll,
        }
    }

    /// Returns the labels `reason` and `code` of the last poll, if it failed, or of the failed task.
    pub fn error(&self) -> Option<(&'static str, &str)> {
        if let Some((reason, code)) = self.failure() {
            return Some((reason.as_str(), code));
        }
        let code = || self.anomalies.as_ref()?.failure_code.as_deref();
        (self.state == State::Failed).then(|| ("task", code().unwrap_or_default()))
    }

    /// Returns the failure of the last poll in words, if it failed, or that of the failed task.
    pub fn error_detail(&self) -> Option<&str> {
        let Some((reason, _)) = self.failure() else {
            return (self.state == State::Failed).then_some(TASK_FAILED);
        };
        let detail = self.anomalies.as_ref().and_then(|known| known.failure_detail.as_deref());
        Some(detail.filter(|detail| !detail.is_empty()).unwrap_or(reason.in_words()))
    }

    fn failure(&self) -> Option<&(Reason, Arc<str>)> {
        self.anomalies.as_ref()?.failure.as_ref()
    }

    /// Reports whether the task is stuck.
    pub fn is_stuck(&self, stuck_after: Duration, now: Timestamp) -> bool {
        self.stuck(stuck_after, now).is_some()
    }

    /// Returns why the task is stuck, if it is: it is older than `stuck_after`, or its state and
    /// progress have not changed for that long. A task in `waiting` and a final task never are.
    pub fn stuck(&self, stuck_after: Duration, now: Timestamp) -> Option<StuckReason> {
        if self.state == State::Waiting {
            return None;
        }
        let net_age = self.net_queue_age(now)?;
        let age = (net_age > stuck_after).then(|| now.since(self.enqueued));
        let unchanged_for = Some(now.since(self.last_changed));
        let unchanged_for = unchanged_for.filter(|time| *time > stuck_after);
        let is_stuck = age.is_some() || unchanged_for.is_some();
        is_stuck.then(|| StuckReason { age, waited: self.waited(now), unchanged_for })
    }

    /// Returns the number of consecutive responses that the provider does not know the task, since the
    /// exporter started.
    pub(crate) fn consecutive_not_found(&self) -> Option<u32> {
        self.anomalies.as_ref()?.not_found_run.map(|run| run.count)
    }

    /// Returns the time at which state or progress last changed, by the exporter's clock; of a final
    /// task, when the exporter saw its end.
    pub(crate) fn last_changed(&self) -> Timestamp {
        self.last_changed
    }

    /// Returns the provider's words in the record.
    pub(crate) fn words_mut(&mut self) -> RecordWordsMut<'_> {
        let codes = match self.anomalies.as_deref_mut() {
            Some(Anomalies { failure, failure_code, .. }) => {
                [failure.as_mut().map(|(_, code)| code), failure_code.as_mut()]
            }
            None => [None, None],
        };
        RecordWordsMut { status: &mut self.status, job_type: self.job_type.as_mut(), codes }
    }

    /// Reports whether polls can have produced this record, which a valid checksum does not prove.
    pub fn is_plausible(&self) -> bool {
        self.times_are_plausible()
            && self.progress.is_none_or(|progress| (0.0..=1.0).contains(&progress))
            && self.flags_fit_state()
    }

    fn times_are_plausible(&self) -> bool {
        let anomalies = self.anomalies.as_deref();
        let last_success = anomalies.and_then(|anomalies| anomalies.last_success);
        let waited = anomalies.and_then(|anomalies| anomalies.waiting_time.as_deref());
        let waited = waited.into_iter().flat_map(WaitingTime::timestamps);
        let known = [self.enqueued, self.state_since, self.last_changed];
        let mut times = known.into_iter().chain(self.last_poll).chain(last_success).chain(waited);
        times.all(|time| (EARLIEST..=LATEST).contains(&time))
    }

    fn flags_fit_state(&self) -> bool {
        let is_final = match self.state {
            State::Succeeded | State::Failed | State::Cancelled => self.is_final,
            State::NotFound => true,
            State::Queued | State::Running | State::Waiting | State::Unknown => !self.is_final,
            State::Unpolled => !self.is_final && !self.was_seen_open && self.status.is_empty(),
        };
        is_final && (self.is_final || !self.has_end)
    }
}

#[cfg(test)]
pub(crate) mod tests;
