//! Lists of all tasks of a provider in its schedule: their turn among the polls, and the tasks that
//! they watch. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::admission::{Blocked, Requester};
use super::dispatch::ScheduleOutcome;
use super::{Phase, Schedule};
use crate::store::Slot;

impl Schedule {
    /// Admits a request for a list, which counts as started. Lists and polls that are due take turns:
    /// neither waits for more than one request of the other kind.
    ///
    /// # Errors
    /// Fails when it may not start yet, with the reason.
    pub fn start_list(&mut self, now: Instant) -> Result<(), Blocked> {
        self.mark_due(now);
        let are_due = self.ready_count > 0 || self.bisection.is_ready();
        if are_due && self.is_turn_of_polls {
            return Err(Blocked::Busy);
        }
        self.admission.admit(now)?;
        self.is_turn_of_polls = true;
        Ok(())
    }

    /// Completes a request for a list, with the pause that the provider asked for.
    pub fn complete_list(
        &mut self,
        outcome: ScheduleOutcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.complete_request(outcome, Requester::List, self.hash, retry_after, now);
    }

    /// Reports whether a poll of the task has started and not ended.
    pub fn is_in_flight(&mut self, slot: Slot) -> bool {
        let phase = self.entry(slot).map(|entry| entry.phase);
        matches!(phase, Some(Phase::InFlight | Phase::Divided))
    }

    /// Takes in that a list has shown these tasks, none of which is in flight: those that are open are
    /// next polled at their places after `watched_until`.
    pub fn observe(&mut self, outcomes: &[(Slot, ScheduleOutcome)], watched_until: Instant) {
        let cadence = self.cadence;
        for (slot, outcome) in outcomes {
            let Some(entry) = self.entry(*slot) else { continue };
            let was_ready = match entry.phase {
                Phase::Waiting => false,
                Phase::Ready => true,
                Phase::InFlight | Phase::Divided | Phase::Done => continue,
            };
            entry.failures = 0;
            if *outcome == ScheduleOutcome::Final {
                entry.phase = Phase::Done;
                self.open -= 1;
                self.batches.remove_task(*slot);
            } else {
                let due = cadence.next(entry.hash, watched_until);
                self.requeue(*slot, due);
            }
            self.ready_count -= usize::from(was_ready);
        }
    }

    /// Polls a task `delay` from now if it would have been polled later, or at its place if there is no
    /// delay.
    pub fn hasten(&mut self, slot: Slot, delay: Option<Duration>, now: Instant) {
        let cadence = self.cadence;
        let Some(entry) = self.entry(slot).filter(|entry| entry.phase == Phase::Waiting) else {
            return;
        };
        let place = cadence.next(entry.hash, now);
        let (before, due) = (entry.due, delay.map_or(place, |delay| place.min(now + delay)));
        if self.timers.queue_time(due) < before {
            self.requeue(slot, due);
        }
    }
}
