//! The requests that a schedule hands out, and the effect of their outcomes on it. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::admission::Requester;
use super::bisection::PartId;
use super::cadence::Cadence;
use super::{Phase, Schedule};
use crate::observation::{Failure, Reason};
use crate::record::Transition;
use crate::store::Slot;

/// Next step of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Send this request.
    Poll(Dispatch),
    /// Send the next probe.
    Probe,
    /// Do nothing before this time.
    Wait(Instant),
    /// Do nothing before a poll ends or the tasks change.
    Idle,
}

/// A request to send: for one task, or for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Polls that start with it. The sender removes those whose task has been removed meanwhile.
    pub starts: Vec<PollStart>,
    /// True if the tasks are requested with the batch query.
    pub is_batch: bool,
    pub(super) planned: usize,
    pub(super) group: u64,
    pub(super) part: Option<PartId>,
}

impl Dispatch {
    /// Reports whether it repeats a part of a batch whose response could not be read, so that no new polls
    /// start with it.
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// Iterates over the slots of its tasks.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.starts.iter().map(|start| start.slot)
    }
}

/// A poll that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollStart {
    /// Slot of the task.
    pub slot: Slot,
    /// Time since the poll was due.
    pub lag: Duration,
    /// True if the task's last poll failed.
    pub retry: bool,
}

/// Outcome of a poll, as far as the schedule depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleOutcome {
    /// A usable response; the task is still open.
    Open,
    /// The task is final, and polled no more.
    Final,
    /// No usable response, for another reason than the credentials.
    Failed,
    /// The provider does not know the task; one more such response after this time ends the task.
    Denied(Duration),
    /// The provider was not reached, so that the credentials were not tested.
    Unreached,
    /// The provider refused the credentials.
    Refused,
}

impl ScheduleOutcome {
    /// Returns the outcome of a poll with this failure, if any, and this change of the record.
    pub fn of(failure: Option<&Failure>, change: Option<Transition>) -> Self {
        let denied = change.and_then(|change| change.final_not_found_in);
        match failure.map(|failure| failure.reason) {
            _ if change.is_some_and(|change| change.is_final) => Self::Final,
            None => Self::Open,
            Some(Reason::Auth) => Self::Refused,
            Some(Reason::Timeout | Reason::Tls | Reason::Connect) => Self::Unreached,
            Some(_) => denied.map_or(Self::Failed, Self::Denied),
        }
    }

    /// Reports whether the poll had no usable response.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Denied(_) | Self::Unreached | Self::Refused)
    }

    /// Returns the time of a task's next poll after `failures` consecutive failures: after the back-off, or
    /// when one more denial ends the task, if that is earlier and at least an interval away.
    pub fn retry(self, cadence: &Cadence, hash: u64, failures: u16, now: Instant) -> Instant {
        let backoff = cadence.backoff(hash, failures.into(), now);
        match self {
            Self::Denied(wait) => backoff.min(now + wait.max(cadence.interval())),
            _ => backoff,
        }
    }
}

impl Schedule {
    /// Completes a request for tasks, with the outcomes of the polls that have ended with it, and the pause
    /// that the provider asked for.
    pub fn complete(
        &mut self,
        outcomes: &[(Slot, ScheduleOutcome)],
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let (hash, outcome) = match outcomes.first() {
            Some((first, outcome)) => (self.entry(*first).map_or(0, |entry| entry.hash), *outcome),
            // A response arrived, but could not be read.
            None => (self.hash, ScheduleOutcome::Failed),
        };
        self.complete_request(outcome, Requester::Poll, hash, retry_after, now);
        self.reschedule(outcomes, now);
    }

    /// Completes a probe that took `took`. Pauses and refused credentials have the same effect as after a
    /// poll.
    pub fn complete_probe(
        &mut self,
        outcome: ScheduleOutcome,
        retry_after: Option<Duration>,
        took: Duration,
        now: Instant,
    ) {
        let has_held_polls = self.admission.is_full() && self.ready_count > 0;
        self.probe_share.probe_ended(took, has_held_polls, now);
        self.complete_request(outcome, Requester::Probe, self.hash, retry_after, now);
    }

    /// Updates the admission after a request.
    pub(super) fn complete_request(
        &mut self,
        outcome: ScheduleOutcome,
        requester: Requester,
        hash: u64,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.admission.complete();
        if let Some(delay) = retry_after {
            self.admission.retry_after(delay, now);
        }
        self.admission.observe_auth(outcome, requester, &self.cadence, hash, now);
    }

    /// Schedules the next polls of tasks whose polls have ended with these outcomes.
    pub fn reschedule(&mut self, outcomes: &[(Slot, ScheduleOutcome)], now: Instant) {
        let cadence = self.cadence;
        let failed = |(_, outcome): &(Slot, ScheduleOutcome)| outcome.is_failure();
        if outcomes.len() > 1 && outcomes.iter().all(failed) {
            return self.back_off_as_one(outcomes, now);
        }
        for (slot, outcome) in outcomes {
            let Some(entry) = self.entry(*slot) else { continue };
            if *outcome == ScheduleOutcome::Final {
                entry.phase = Phase::Done;
                self.open -= 1;
                self.batches.remove_task(*slot);
                continue;
            }
            let due = if outcome.is_failure() {
                entry.failures = entry.failures.saturating_add(1);
                outcome.retry(&cadence, entry.hash, entry.failures, now)
            } else {
                entry.failures = 0;
                // The task's own time may be a moment away, too early for anything new.
                let pause = if entry.is_late { cadence.interval() / 2 } else { Duration::ZERO };
                cadence.next(entry.hash, now + pause)
            };
            self.requeue(*slot, due);
        }
    }

    /// Schedules the tasks of a failed batch for the same time, so that they can be a batch again.
    fn back_off_as_one(&mut self, outcomes: &[(Slot, ScheduleOutcome)], now: Instant) {
        let entries = outcomes.iter().filter_map(|(slot, _)| self.entry(*slot).copied());
        let (hash, failures) = entries
            .map(|entry| (entry.hash, entry.failures.saturating_add(1)))
            .reduce(|(hash, most), (_, failures)| (hash, most.max(failures)))
            .unwrap_or((0, 1));
        let retry = |(_, outcome): &(Slot, ScheduleOutcome)| {
            outcome.retry(&self.cadence, hash, failures, now)
        };
        let due = outcomes.iter().map(retry).min().unwrap_or(now);
        for (slot, _) in outcomes {
            if let Some(entry) = self.entry(*slot) {
                entry.failures = failures;
                self.requeue(*slot, due);
            }
        }
    }
}
