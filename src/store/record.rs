//! One task's history, as far as it matters: from an observation to what changed. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::TaskView;
use crate::clock::Timestamp;
use crate::observation::{Failure, Observation, Reason, State};
use crate::task::Task;

/// How often in a row, and over how long, a provider must deny a task that it once knew before we
/// believe it: several APIs answer 404 for a while.
const NOT_FOUND_ANSWERS: u32 = 3;
const NOT_FOUND_SPAN: Duration = Duration::from_secs(60);

/// What a poll changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The state before and after.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Whether the task is polled no more.
    pub is_final: bool,
    /// That the task came to its end while it was watched: what the finished counters count,
    /// once in a task's life.
    pub finished: Option<Finished>,
}

/// The end of a task that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How long the task took, where that is known.
    pub duration: Option<Duration>,
}

/// What is known of a task.
#[derive(Debug)]
pub struct Record {
    /// The task.
    pub task: Arc<Task>,
    first_seen: Timestamp,
    state: State,
    state_since: Timestamp,
    /// When state or progress last changed.
    moved: Timestamp,
    status: Arc<str>,
    job_type: Option<Arc<str>>,
    enqueued: Option<Timestamp>,
    progress: Option<f64>,
    failure_code: Option<Arc<str>>,
    /// Whether a poll saw the task before its end.
    seen_open: bool,
    ended: Option<Timestamp>,
    duration: Option<Duration>,
    last_poll: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_failure: Option<(Reason, Arc<str>)>,
    /// Not-found answers in a row, and when the first of them came.
    not_found: Option<(u32, Timestamp)>,
}

impl Record {
    /// A task of which nothing is known but that it is there.
    pub fn new(task: Arc<Task>, now: Timestamp) -> Self {
        Self {
            task,
            first_seen: now,
            state: State::Unpolled,
            state_since: now,
            moved: now,
            status: Arc::default(),
            job_type: None,
            enqueued: None,
            progress: None,
            failure_code: None,
            seen_open: false,
            ended: None,
            duration: None,
            last_poll: None,
            last_success: None,
            last_failure: None,
            not_found: None,
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the task is polled no more.
    pub fn is_final(&self) -> bool {
        self.ended.is_some()
    }

    /// When the task was enqueued: the API's word, else our first sight of it.
    pub fn enqueued(&self) -> Timestamp {
        self.enqueued.unwrap_or(self.first_seen)
    }

    /// Whether the task needs a person.
    pub fn is_stuck(&self, stuck_after: Duration, now: Timestamp) -> bool {
        !self.is_final()
            && self.state != State::Waiting
            && (now.since(self.enqueued()) > stuck_after || now.since(self.moved) > stuck_after)
    }

    /// Whether the task's series are still shown.
    pub fn is_retained(&self, retain_finished: Duration, now: Timestamp) -> bool {
        self.ended.is_none_or(|ended| now.since(ended) <= retain_finished)
    }

    /// Takes in how a poll ended.
    pub fn take_in(&mut self, outcome: &Result<Observation, Failure>, now: Timestamp) -> Change {
        match outcome {
            Ok(observation) => self.observe(observation, now),
            Err(failure) => self.fail(failure, now),
        }
    }

    /// Takes in a usable answer.
    pub fn observe(&mut self, observation: &Observation, now: Timestamp) -> Change {
        self.last_poll = Some(now);
        self.last_success = Some(now);
        self.last_failure = None;
        self.not_found = None;
        let from = self.state;
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
        self.enqueued = observation.enqueue_time.or(self.enqueued);
        self.progress = observation.progress;
        self.failure_code.clone_from(&observation.failure_code);
        if !observation.state.is_final() {
            self.seen_open = true;
            return self.change(from, None);
        }
        if let Some(finish) = observation.finish_time {
            self.state_since = finish;
        }
        self.end(from, observation.finish_time, now)
    }

    /// Takes in a failed poll. What was known stays known.
    pub fn fail(&mut self, failure: &Failure, now: Timestamp) -> Change {
        self.last_poll = Some(now);
        self.last_failure = Some((failure.reason, Arc::clone(&failure.code)));
        let from = self.state;
        match failure.reason {
            Reason::NotFound => {}
            // Nothing was said, so nothing was contradicted.
            Reason::Timeout | Reason::Tls | Reason::Connect | Reason::Empty => {
                return self.change(from, None);
            }
            _ => {
                self.not_found = None;
                return self.change(from, None);
            }
        }
        let (answers, since) = self.not_found.unwrap_or((0, now));
        let answers = answers.saturating_add(1);
        self.not_found = Some((answers, since));
        if matches!(from, State::Unpolled | State::NotFound) {
            if from == State::Unpolled {
                self.enter(State::NotFound, now);
            }
            self.seen_open = true;
            return self.change(from, None);
        }
        if answers < NOT_FOUND_ANSWERS || now.since(since) < NOT_FOUND_SPAN {
            return self.change(from, None);
        }
        self.enter(State::NotFound, now);
        self.end(from, None, now)
    }

    /// The record as the exposition writes it.
    pub fn view(&self, stuck: bool) -> TaskView {
        let failed_poll = self.last_failure.as_ref();
        let failed_poll = failed_poll.map(|(reason, code)| (reason.as_str(), Arc::clone(code)));
        let failed_task = (self.state == State::Failed)
            .then(|| ("task", self.failure_code.clone().unwrap_or_default()));
        TaskView {
            task: Arc::clone(&self.task),
            state: self.state,
            is_final: self.is_final(),
            status: Arc::clone(&self.status),
            state_since: self.state_since,
            job_type: self.job_type.clone(),
            enqueued: self.enqueued(),
            enqueued_by_api: self.enqueued.is_some(),
            progress: self.progress,
            duration: self.duration,
            stuck,
            up: self.last_poll.map(|_| self.last_failure.is_none()),
            error: failed_poll.or(failed_task),
            last_poll: self.last_poll,
            last_success: self.last_success,
        }
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.state_since = now;
        self.moved = now;
        self.status = Arc::default();
    }

    /// The task has come to its end. The moment is the API's word, else now, though only where a
    /// poll saw it before: otherwise it may have ended long ago.
    fn end(&mut self, from: State, finish: Option<Timestamp>, now: Timestamp) -> Change {
        self.ended = Some(now);
        let seen_end = self.seen_open.then_some(now);
        // Without a word of the API our first sight stands for the beginning, which serves only
        // where we saw the task before its end.
        let begun = self.enqueued.or(self.seen_open.then_some(self.first_seen));
        self.duration = match (begun, finish.or(seen_end)) {
            (Some(begun), Some(end)) if end >= begun => Some(end.since(begun)),
            _ => None,
        };
        let finished = self.seen_open.then_some(Finished { duration: self.duration });
        self.change(from, finished)
    }

    fn change(&self, from: State, finished: Option<Finished>) -> Change {
        Change { from, to: self.state, is_final: self.is_final(), finished }
    }
}
