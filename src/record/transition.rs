//! Changes of a record by the outcome of a poll. Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::waiting_time::WaitingTime;
use super::{Anomalies, EnqueueSource, Newness, TaskRecord};
use crate::clock::Timestamp;
use crate::observation::{Failure, Observation, PollOutcome, Reason, State};

/// Consecutive responses of "not found" that end a task: several APIs return 404 for a while.
const MIN_NOT_FOUND: u32 = 3;
/// Minimum time from the first of them to the last, if the provider once knew the task. If it never
/// did, the minimum is `stuck_after`: the gateway may learn of a new task as late as that.
const MIN_NOT_FOUND_SPAN: Duration = Duration::from_secs(60);

/// The time at which a poll ended, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct PollTime {
    /// Wall-clock time, which the host may set forward and back.
    pub wall: Timestamp,
    /// Monotonic time, which measures the time between two polls.
    pub monotonic: Timestamp,
}

impl From<Timestamp> for PollTime {
    /// Uses the same time for both clocks.
    fn from(now: Timestamp) -> Self {
        Self { wall: now, monotonic: now }
    }
}

/// The change of a record by a poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// State before the poll.
    pub from: State,
    /// State after it.
    pub to: State,
    /// True if the task has ended and is no longer polled.
    pub is_final: bool,
    /// True if the poll changed something that should survive a restart.
    pub should_persist: bool,
    /// Time after which one more response of "not found" ends the task; `None` if this response was
    /// another one, or if one more is not enough.
    pub final_not_found_in: Option<Duration>,
    /// The end of the task, if polls saw the task before: the finished counters count it once.
    pub finished: Option<Finished>,
}

/// The end of a task that polls saw before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Time from enqueueing to the end, if it is known.
    pub duration: Option<Duration>,
}

impl TaskRecord {
    /// Applies the outcome of a poll. `stuck_after` is the setting of the provider.
    pub fn apply(
        &mut self,
        outcome: &PollOutcome,
        at: impl Into<PollTime>,
        stuck_after: Duration,
    ) -> Transition {
        let at = at.into();
        let before = self.persistent_part();
        let (status, job_type) = (Arc::clone(&self.status), self.job_type.clone());
        let transition = match outcome {
            Ok(observation) => self.observe(observation, at),
            Err(failure) => self.fail(failure, at, stuck_after),
        };
        let should_persist =
            before != self.persistent_part() || status != self.status || job_type != self.job_type;
        Transition { should_persist, ..transition }
    }

    /// Applies a usable answer.
    pub fn observe(&mut self, observation: &Observation, at: impl Into<PollTime>) -> Transition {
        let at = at.into();
        let now = at.wall;
        self.last_poll = Some(now);
        let from = self.state;
        let waiting_time = self.waiting_time_after(observation.state, at);
        if self.state != observation.state || self.progress != observation.progress {
            self.last_changed = now;
        }
        if self.state != observation.state {
            self.state = observation.state;
            self.state_since = now;
        }
        if *self.status != *observation.status {
            self.status = Arc::clone(&observation.status);
        }
        // Kept for life once it is known: a label that comes and goes would break the series.
        if self.job_type.as_deref().is_none_or(str::is_empty) {
            self.job_type = Some(observation.job_type.clone().unwrap_or_default());
        }
        if let Some(enqueued) = observation.enqueue_time {
            self.enqueued = enqueued;
            self.enqueue_source = EnqueueSource::Api;
        }
        self.progress = observation.progress;
        let is_new = self.is_new(observation.enqueue_time, observation.finish_time);
        let failure_code = observation.failure_code.clone();
        let is_needed = failure_code.is_some() || waiting_time.is_some();
        self.anomalies = is_needed
            .then(|| Box::new(Anomalies { failure_code, waiting_time, ..Anomalies::default() }));
        if !observation.state.is_final() {
            self.was_seen_open = true;
            return self.transition(from, false);
        }
        if let Some(finish) = observation.finish_time {
            self.state_since = finish;
        }
        let mut transition = self.end(from, observation.finish_time.is_some(), now);
        if is_new && transition.finished.is_none() {
            transition.finished = Some(Finished { duration: self.duration() });
        }
        transition
    }

    /// Reports whether the task is known to be new and nothing contradicts that: neither its enqueue
    /// time nor its end lies before it can have come.
    fn is_new(&self, enqueued: Option<Timestamp>, ended: Option<Timestamp>) -> bool {
        let newness = self.anomalies.as_ref().and_then(|anomalies| anomalies.newness);
        let Some(Newness { since, needs_time }) = newness else { return false };
        let is_given = self.enqueue_source == EnqueueSource::Source;
        let enqueued = enqueued.or(is_given.then_some(self.enqueued));
        let mut times = enqueued.into_iter().chain(ended);
        let has_time = enqueued.or(ended).is_some();
        (has_time || !needs_time) && times.all(|time| time >= since)
    }

    /// Returns the time in `waiting` after a poll that saw the task in `state`, if it ever waited.
    fn waiting_time_after(&mut self, state: State, at: PollTime) -> Option<Box<WaitingTime>> {
        let (is_first_answer, is_waiting) = (self.job_type.is_none(), state == State::Waiting);
        let known = self.anomalies.as_mut().and_then(|anomalies| anomalies.waiting_time.take());
        match known.filter(|_| !state.is_final()) {
            Some(mut waiting_time) => {
                waiting_time.add_poll(is_waiting, at);
                Some(waiting_time)
            }
            None => is_waiting.then(|| Box::new(WaitingTime::begin(is_first_answer, at))),
        }
    }

    /// Applies a failed poll, which changes nothing that earlier polls have shown.
    pub fn fail(
        &mut self,
        failure: &Failure,
        at: impl Into<PollTime>,
        stuck_after: Duration,
    ) -> Transition {
        let at = at.into();
        let last_success = self.last_success();
        let anomalies = self.anomalies.get_or_insert_default();
        anomalies.last_success = last_success;
        anomalies.failure = Some((failure.reason, Arc::clone(&failure.code)));
        anomalies.failure_detail = Some(Arc::clone(&failure.detail));
        self.last_poll = Some(at.wall);
        match failure.reason {
            Reason::NotFound if !self.is_final => self.apply_not_found(at, stuck_after),
            // Not a response about the task, so the run of "not found" continues.
            Reason::Timeout | Reason::Tls | Reason::Connect | Reason::Empty => {
                self.transition(self.state, false)
            }
            _ => {
                anomalies.not_found_run = None;
                self.transition(self.state, false)
            }
        }
    }

    /// Applies a response that the provider does not know the task.
    fn apply_not_found(
        &mut self,
        PollTime { wall: now, monotonic }: PollTime,
        stuck_after: Duration,
    ) -> Transition {
        let from = self.state;
        let anomalies = self.anomalies.get_or_insert_default();
        let run = NotFoundRun::extend(anomalies.not_found_run, monotonic);
        anomalies.not_found_run = Some(run);
        let was_known = !matches!(from, State::Unpolled | State::NotFound);
        let verdict = run.assess(was_known, stuck_after, monotonic);
        if verdict == NotFoundVerdict::Final {
            anomalies.waiting_time = None;
        }
        if verdict == NotFoundVerdict::Final || from == State::Unpolled {
            self.enter(State::NotFound, now);
        }
        self.was_seen_open = true;
        match verdict {
            NotFoundVerdict::Final => self.end(from, false, now),
            NotFoundVerdict::FinalIn(wait) => {
                Transition { final_not_found_in: Some(wait), ..self.transition(from, false) }
            }
            NotFoundVerdict::Open => self.transition(from, false),
        }
    }

    /// Returns what should survive a restart, apart from words. The last poll is not part of it,
    /// since the next one supersedes it.
    fn persistent_part(&self) -> (State, Timestamp, Timestamp, EnqueueSource, [bool; 2]) {
        let seen = [self.was_seen_open, self.is_final];
        (self.state, self.last_changed, self.enqueued, self.enqueue_source, seen)
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.state_since = now;
        self.last_changed = now;
        self.status = Arc::default();
    }

    /// Ends the task.
    ///
    /// The time of the end comes from the API. Otherwise it is now, provided that a poll saw the task
    /// before: a task that is final at first sight may have ended long ago.
    fn end(&mut self, from: State, has_finish_time: bool, now: Timestamp) -> Transition {
        self.is_final = true;
        self.last_changed = now;
        self.has_end = has_finish_time || self.was_seen_open;
        self.transition(from, self.was_seen_open)
    }

    fn transition(&self, from: State, finished: bool) -> Transition {
        let finished = finished.then(|| Finished { duration: self.duration() });
        let (to, is_final) = (self.state, self.is_final);
        Transition { from, to, is_final, should_persist: false, final_not_found_in: None, finished }
    }
}

/// Consecutive responses that a provider does not know a task, since the exporter started.
///
/// They are measured by the monotonic clock: a step of the wall clock must not end a task that is
/// missing for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotFoundRun {
    /// Number of responses.
    pub count: u32,
    /// Monotonic time of the first.
    first: Timestamp,
}

/// The consequence of such a response for the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotFoundVerdict {
    /// The task has ended.
    Final,
    /// One more response ends the task, if it comes after at least this time.
    FinalIn(Duration),
    /// One more response is not enough.
    Open,
}

impl NotFoundRun {
    /// Returns the run with one more response at `monotonic`; `before` is `None` if it is the first.
    fn extend(before: Option<Self>, monotonic: Timestamp) -> Self {
        let Self { count, first } = before.unwrap_or(Self { count: 0, first: monotonic });
        Self { count: count.saturating_add(1), first }
    }

    /// Returns the consequence of the last response, which came at `monotonic`. `stuck_after` is the
    /// setting of the provider.
    fn assess(
        self,
        was_known: bool,
        stuck_after: Duration,
        monotonic: Timestamp,
    ) -> NotFoundVerdict {
        let span = if was_known { MIN_NOT_FOUND_SPAN } else { stuck_after };
        let left = span.saturating_sub(monotonic.since(self.first));
        if self.count >= MIN_NOT_FOUND && left.is_zero() {
            NotFoundVerdict::Final
        } else if self.count.saturating_add(1) >= MIN_NOT_FOUND {
            NotFoundVerdict::FinalIn(left)
        } else {
            NotFoundVerdict::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_responses_over_the_minimum_span_end_a_task() {
        let at = |second| Timestamp::from_micros(0) + Duration::from_secs(second);
        let verdicts = |was_known: bool, seconds: &[u64]| {
            let mut run = None;
            let assess = |second: &u64| {
                let extended = NotFoundRun::extend(run, at(*second));
                run = Some(extended);
                extended.assess(was_known, Duration::from_secs(600), at(*second))
            };
            seconds.iter().map(assess).collect::<Vec<_>>()
        };
        let left = |seconds| NotFoundVerdict::FinalIn(Duration::from_secs(seconds));
        let known = [NotFoundVerdict::Open, left(30), left(1), NotFoundVerdict::Final];
        assert_eq!(verdicts(true, &[10, 40, 69, 70]), known);
        let unknown = [NotFoundVerdict::Open, left(540), left(1), NotFoundVerdict::Final];
        assert_eq!(verdicts(false, &[10, 70, 609, 610]), unknown);
        // A third response is needed, no matter how late the second is.
        for was_known in [true, false] {
            let late = [NotFoundVerdict::Open, left(0), NotFoundVerdict::Final];
            assert_eq!(verdicts(was_known, &[10, 9_000, 9_001]), late);
        }
    }
}
