//! Adaptation of batches to the responses of a provider: tasks that are requested again at once, in
//! smaller parts, and the size of batches. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::batches::BatchChange;
use super::bisection::{Abandoned, Findings, Unread, UnreadableTogether};
use super::dispatch::{Dispatch, NextStep};
use super::{Phase, Schedule, ScheduledTask};
use crate::observation::Failure;
use crate::store::Slot;

/// Assessment of the result of a request: whether its response could be read for each task, or whether a
/// request for fewer tasks may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment<'a> {
    /// The response covers every task, even if it says that a task is unknown.
    Read,
    /// The provider has no batch query.
    NoSuchQuery,
    /// A response arrived, but says nothing about some tasks: the response to a smaller request may be
    /// readable.
    Unread {
        /// True for each task that the response says nothing about, in the order of the request; at
        /// least one.
        tasks: Vec<bool>,
        /// Failure of the first of them.
        failure: &'a Failure,
        /// Duration of the request.
        took: Duration,
    },
    /// The provider was not reached, refused the credentials, or fails.
    ProviderFailed,
}

impl Assessment<'_> {
    /// Reports whether the response says nothing about the task at `index`.
    pub fn is_unread(&self, index: usize) -> bool {
        match self {
            Self::NoSuchQuery => true,
            Self::Unread { tasks, .. } => tasks.get(index).copied().unwrap_or_default(),
            Self::Read | Self::ProviderFailed => false,
        }
    }
}

/// Consequences of a result.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// True if the unread tasks are requested again at once, so that their polls have not ended. Without a
    /// batch query these are all tasks.
    pub are_retried: bool,
    /// Tasks that were to be requested again, and fail instead.
    pub abandoned: Vec<Abandoned>,
    /// Changes of the batches, for the log.
    pub changes: Vec<BatchChange>,
}

impl Schedule {
    /// Starts the next part of a divided batch, if there is one, before tasks that have become due since: its
    /// own tasks have been due for longer.
    pub(super) fn next_part(&mut self, now: Instant) -> Option<NextStep> {
        while self.bisection.is_ready() {
            if let Err(blocked) = self.admission.admit(now) {
                return Some(self.wait_for(blocked, true));
            }
            let (id, group, slots) = self.bisection.start()?;
            let slots = self.keep_group(slots, group, now);
            let starts = self.start(slots, Phase::Divided, now);
            if starts.is_empty() {
                self.admission.cancel();
                self.bisection.part_vanished(id);
                continue;
            }
            let is_batch = starts.len() > 1;
            return Some(NextStep::Poll(self.dispatch(starts, is_batch, group, Some(id))));
        }
        None
    }

    /// Removes the tasks that a reload has moved to another group, and makes them due with that group.
    fn keep_group(&mut self, slots: Vec<Slot>, group: u64, now: Instant) -> Vec<Slot> {
        let has_moved =
            |entry: &mut ScheduledTask| entry.phase == Phase::Divided && entry.group != group;
        let (moved, kept): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|slot| self.entry(*slot).is_some_and(has_moved));
        for slot in moved {
            self.requeue(slot, now);
        }
        kept
    }

    /// Cancels a request whose tasks have all been removed.
    pub fn withdraw(&mut self, dispatch: &Dispatch) {
        self.admission.cancel();
        if dispatch.is_batch {
            self.batches.ended(dispatch.planned);
        }
        if let Some(part) = dispatch.part {
            self.bisection.part_vanished(part);
        }
    }

    /// Adapts the batches to the result of a request. Must be called before [`Schedule::complete`].
    pub fn adapt_batches(
        &mut self,
        dispatch: &Dispatch,
        assessment: &Assessment<'_>,
        now: Instant,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        if !self.batches.has_query() {
            return consequences;
        }
        let tasks = dispatch.starts.len();
        if dispatch.is_batch {
            self.batches.ended(dispatch.planned);
        }
        match assessment {
            Assessment::Read => {
                if dispatch.is_batch {
                    consequences.changes.extend(self.batches.read(tasks, now));
                }
                if let Some(part) = dispatch.part {
                    self.bisection.part_read(part);
                }
                self.bisection.group_read(dispatch.group);
            }
            Assessment::NoSuchQuery => {
                consequences.changes.push(self.batches.disable(now));
                consequences.are_retried = true;
                let waiting = self.bisection.clear();
                for slot in dispatch.slots().chain(waiting) {
                    self.requeue(slot, now);
                }
            }
            Assessment::Unread { failure, took, .. } => {
                let unread =
                    (0..).zip(dispatch.slots()).filter(|(index, _)| assessment.is_unread(*index));
                let slots = unread.map(|(_, slot)| slot).collect();
                let unread = Unread { slots, asked: tasks, failure, took: *took };
                self.unread(dispatch, unread, &mut consequences, now);
            }
            Assessment::ProviderFailed => {
                if let Some(part) = dispatch.part {
                    self.bisection.part_failed(part);
                    consequences.abandoned = self.bisection.abandon_unproven(dispatch.group);
                }
            }
        }
        self.conclude(&mut consequences, now);
        consequences
    }

    fn unread(
        &mut self,
        dispatch: &Dispatch,
        unread: Unread<'_>,
        consequences: &mut Consequences,
        now: Instant,
    ) {
        let tasks = unread.asked;
        if unread.slots.len() < tasks {
            self.bisection.group_read(dispatch.group);
            self.batches.read_in_part(tasks - unread.slots.len(), now);
        }
        if !dispatch.is_batch && dispatch.part.is_none() {
            return;
        }
        let reason = unread.failure.reason;
        let is_limited =
            dispatch.is_batch.then(|| self.batches.unread(tasks, reason, now)).flatten();
        // A batch that was sent before batches became smaller is not divided, only requested again.
        if is_limited.is_some() || dispatch.is_batch && tasks > self.batches.size(now) {
            if let Some(part) = dispatch.part {
                self.bisection.part_vanished(part);
            }
            consequences.changes.extend(is_limited);
            consequences.are_retried = true;
            return unread.slots.into_iter().for_each(|slot| self.requeue(slot, now));
        }
        let (slots, open) = (unread.slots.clone(), self.open);
        consequences.are_retried = match dispatch.part {
            Some(part) => self.bisection.part_unread(part, unread, dispatch.is_batch, open, now),
            None => self.bisection.begin(dispatch.group, unread, open, now),
        };
        if consequences.are_retried {
            for slot in slots {
                if let Some(entry) = self.entry(slot) {
                    entry.phase = Phase::Divided;
                }
            }
        }
    }

    /// Applies the findings of divided batches.
    fn conclude(&mut self, consequences: &mut Consequences, now: Instant) {
        let findings = self.bisection.conclude(self.open, self.hash, now);
        let Findings { broken, together, abandoned, gave_up } = findings;
        consequences.abandoned.extend(abandoned);
        consequences.changes.extend(gave_up.then_some(BatchChange::GaveUp));
        let mut isolated: Vec<_> =
            broken.into_iter().filter(|slot| self.isolate(*slot, 0, now)).collect();
        // If others as large are read, these tasks are the problem; otherwise the size is.
        let largest_read = self.batches.largest_read(now);
        let (by_size, by_tasks): (Vec<_>, Vec<_>) =
            together.into_iter().partition(|together| together.asked > largest_read);
        for UnreadableTogether { slots, asked, .. } in by_tasks {
            isolated.extend(slots.into_iter().filter(|slot| self.isolate(*slot, asked / 2, now)));
        }
        if let Some(smallest) = by_size.iter().min_by_key(|together| together.asked) {
            let (asked, reason) = (smallest.asked, smallest.reason);
            consequences.changes.extend(self.batches.suspect(asked, by_size.len(), reason, now));
        }
        if !isolated.is_empty() {
            consequences.changes.push(BatchChange::Isolated(isolated));
        }
    }

    fn isolate(&mut self, slot: Slot, size: usize, now: Instant) -> bool {
        let Some(hash) = self.entry(slot).map(|entry| entry.hash) else { return false };
        self.batches.isolate(slot, size, hash, self.open, now)
    }

    /// Removes everything learned about batches, because the provider or its requests have changed. Tasks
    /// that wait in parts are due at once.
    pub fn forget_batches(&mut self, now: Instant) {
        self.batches.reset();
        for slot in self.bisection.clear() {
            self.requeue(slot, now);
        }
    }
}

#[cfg(test)]
mod tests;
