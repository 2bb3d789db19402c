//! The end of a request: counters, records, log and schedule hear of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Polled;
use super::batch::Assessment;
use super::polling::Polling;
use crate::observation::{Failure, Observation, State};
use crate::record::Transition;
use crate::schedule::bisection::Abandoned;
use crate::schedule::dispatch::Dispatch;
use crate::schedule::division::{BatchReply, Consequences};
use crate::schedule::outcome::PollOutcome;
use crate::storage::queue::QueuedChange;
use crate::store::Slot;
use crate::task::Task;
use crate::task::TaskGroup;

impl Polling<'_> {
    /// Takes in what a request brought.
    pub(super) fn finish(&mut self, dispatch: &Dispatch, tasks: &TaskGroup, polled: &Polled) {
        if let Some(response) = &polled.response {
            self.telemetry.answered(response.status);
        }
        if let Some(code) = &polled.code {
            self.telemetry.code(&self.seat.shard.limit_code(code));
        }
        let now = Instant::now();
        let assessment = Assessment::of(polled, dispatch.is_batch);
        let consequences = self.learn(dispatch, &assessment, polled, now);
        let mut verdicts = Vec::with_capacity(tasks.count());
        let polls = dispatch.slots().zip(tasks.iter()).zip(&polled.outcomes);
        for (index, ((slot, task), outcome)) in polls.enumerate() {
            // A poll that goes on with another request has not ended.
            if consequences.are_asked_again && assessment.is_unread(index) {
                continue;
            }
            let message = polled.message.as_deref();
            verdicts.push(self.take_in(slot, task, outcome, polled.took, message));
        }
        if !verdicts.is_empty() {
            self.telemetry.provider_up(polled.outcomes.iter().any(Result::is_ok));
        }
        self.schedule.finish(&verdicts, polled.pause(), now);
        for abandoned in consequences.abandoned {
            self.abandon(abandoned, now);
        }
    }

    /// Lets the schedule choose what is asked for next, and logs what it has changed.
    fn learn(
        &mut self,
        dispatch: &Dispatch,
        assessment: &Assessment,
        polled: &Polled,
        now: Instant,
    ) -> Consequences {
        let unread = polled.outcomes.iter().zip(0..).find_map(|(outcome, index)| {
            let failure = outcome.as_ref().err()?;
            assessment.is_unread(index).then_some(failure)
        });
        let reply = match (assessment, unread) {
            (Assessment::Unread(_), Some(failure)) => {
                let slots = dispatch.slots().zip(0..);
                let slots = slots.filter(|(_, index)| assessment.is_unread(*index));
                let slots = slots.map(|(slot, _)| slot).collect();
                BatchReply::Unread { slots, failure, took: polled.took }
            }
            (Assessment::NoSuchQuery, _) => BatchReply::NoSuchQuery,
            (Assessment::Trouble, _) => BatchReply::Trouble,
            (Assessment::Read | Assessment::Unread(_), _) => BatchReply::Read,
        };
        let is_unread = matches!(reply, BatchReply::Unread { .. });
        let consequences = self.schedule.receive(dispatch, reply, now);
        let provider = &self.seat.upstream.provider.name;
        if let Some(failure) = unread.filter(|_| is_unread && consequences.are_asked_again) {
            self.journal.batch_unread(provider, dispatch.starts.len(), failure);
        }
        for change in &consequences.changes {
            let task = |slot| self.seat.shard.task(slot);
            self.journal.batches_changed(provider, change, task);
        }
        consequences
    }

    /// Ends polls that were to go on with another request, with the failure of the first.
    fn abandon(&mut self, abandoned: Abandoned, now: Instant) {
        let Abandoned { slots, failure, took } = abandoned;
        let outcome = Err(failure);
        let mut verdicts = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(task) = self.seat.shard.task(slot) {
                verdicts.push(self.take_in(slot, &task, &outcome, took, None));
            }
        }
        self.schedule.fail(&verdicts, now);
    }

    /// Takes in how the poll of one task ended.
    fn take_in(
        &mut self,
        slot: Slot,
        task: &Task,
        outcome: &Result<Observation, Failure>,
        took: Duration,
        message: Option<&str>,
    ) -> (Slot, PollOutcome) {
        let failure = outcome.as_ref().err();
        self.telemetry.polled(took, failure.map(|failure| failure.reason));
        if outcome.as_ref().is_ok_and(|observation| observation.state == State::Unknown) {
            self.telemetry.unknown_status();
        }
        for oddity in outcome.iter().flat_map(|observation| &observation.odd) {
            self.telemetry.odd_answer(oddity.field);
        }
        let change = self.record(slot, outcome);
        self.journal.tell(task, outcome, message, change);
        (slot, PollOutcome::of(failure, change))
    }

    fn record(&mut self, slot: Slot, outcome: &Result<Observation, Failure>) -> Option<Transition> {
        let storage = self.seat.context.storage.as_deref();
        let change = self.seat.shard.record_poll(slot, outcome, |record, change| {
            if let Some(storage) = storage.filter(|_| change.should_persist) {
                storage.save(QueuedChange::new(record, change));
            }
        })?;
        // With a storage path a finish is shown once the disk has it for good.
        if let (None, Some(finished)) = (storage, change.finished) {
            self.telemetry.finished(change.to, finished.duration);
        }
        Some(change)
    }
}
