//! Effects of the answer to a request on the requests after it: tasks that are asked for again at
//! once, in parts, and the number of tasks at a time. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::batches::BatchChange;
use super::bisection::{Abandoned, Findings, Together, Unread};
use super::dispatch::{Dispatch, Next};
use super::outcome::PollOutcome;
use super::{Phase, Schedule, ScheduledTask};
use crate::observation::Failure;
use crate::store::Slot;

/// An answer, as far as the schedule cares.
#[derive(Clone, Debug)]
pub enum BatchReply<'a> {
    /// It was read, for each task.
    Read,
    /// The provider has no batch query.
    NoSuchQuery,
    /// It says nothing of these tasks.
    Unread {
        /// Not empty.
        slots: Vec<Slot>,
        /// The failure of each of them.
        failure: &'a Failure,
        /// Duration of the request.
        took: Duration,
    },
    /// There was none, or it says that the provider is in trouble.
    Trouble,
}

/// Effects of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// True where the tasks that were not read are asked for again at once, so that their polls
    /// have not ended. Without a batch query these are all.
    pub are_asked_again: bool,
    /// Tasks that were to be asked for again, and fail.
    pub abandoned: Vec<Abandoned>,
    /// For the log.
    pub changes: Vec<BatchChange>,
}

impl Schedule {
    /// Starts the next part of a batch that is being divided, if there is one. It goes before tasks
    /// that have come due since: its own have been due for longer.
    pub(super) fn next_part(&mut self, now: Instant) -> Option<Next> {
        while self.bisection.is_ready() {
            if let Err(closed) = self.admission.admit(now) {
                return Some(self.wait_for(closed, true));
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
            return Some(Next::Poll(self.dispatch(starts, is_batch, group, Some(id))));
        }
        None
    }

    /// Takes out the tasks that a reload has moved to another group, with which they are due now.
    fn keep_group(&mut self, slots: Vec<Slot>, group: u64, now: Instant) -> Vec<Slot> {
        let has_moved =
            |entry: &mut ScheduledTask| entry.phase == Phase::Divided && entry.group != group;
        let (moved, kept): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|slot| self.entry(*slot).is_some_and(has_moved));
        for slot in moved {
            self.wait(slot, now);
        }
        kept
    }

    /// A request was not sent, because all its tasks have left.
    pub fn withdraw(&mut self, dispatch: &Dispatch) {
        self.admission.cancel();
        if dispatch.is_batch {
            self.batches.ended(dispatch.planned);
        }
        if let Some(part) = dispatch.part {
            self.bisection.part_vanished(part);
        }
    }

    /// Learns from the answer to a request. To be called before [`Schedule::finish`].
    pub fn receive(
        &mut self,
        dispatch: &Dispatch,
        reply: BatchReply<'_>,
        now: Instant,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        if !self.batches.exist() {
            return consequences;
        }
        let tasks = dispatch.starts.len();
        if dispatch.is_batch {
            self.batches.ended(dispatch.planned);
        }
        match reply {
            BatchReply::Read => {
                if dispatch.is_batch {
                    consequences.changes.extend(self.batches.read(tasks, now));
                }
                if let Some(part) = dispatch.part {
                    self.bisection.part_read(part);
                }
                self.bisection.group_read(dispatch.group);
            }
            BatchReply::NoSuchQuery => {
                consequences.changes.push(self.batches.refuse(now));
                consequences.are_asked_again = true;
                let waiting = self.bisection.clear();
                for slot in dispatch.slots().chain(waiting) {
                    self.wait(slot, now);
                }
            }
            BatchReply::Unread { slots, failure, took } => {
                let unread = Unread { slots, asked: tasks, failure, took };
                self.unread(dispatch, unread, &mut consequences, now);
            }
            BatchReply::Trouble => {
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
        // A batch that went out before batches became smaller needs no proof of its own.
        if is_limited.is_some() || dispatch.is_batch && tasks > self.batches.size(now) {
            if let Some(part) = dispatch.part {
                self.bisection.part_vanished(part);
            }
            consequences.changes.extend(is_limited);
            consequences.are_asked_again = true;
            return unread.slots.into_iter().for_each(|slot| self.wait(slot, now));
        }
        let (slots, open) = (unread.slots.clone(), self.open);
        consequences.are_asked_again = match dispatch.part {
            Some(part) => self.bisection.part_unread(part, unread, dispatch.is_batch, open, now),
            None => self.bisection.begin(dispatch.group, unread, open, now),
        };
        if consequences.are_asked_again {
            for slot in slots {
                if let Some(entry) = self.entry(slot) {
                    entry.phase = Phase::Divided;
                }
            }
        }
    }

    /// Draws the conclusions from batches of which every part has ended.
    fn conclude(&mut self, consequences: &mut Consequences, now: Instant) {
        let findings = self.bisection.conclude(self.open, self.hash, now);
        let Findings { broken, together, abandoned, gave_up } = findings;
        consequences.abandoned.extend(abandoned);
        consequences.changes.extend(gave_up.then_some(BatchChange::GaveUp));
        let mut apart: Vec<_> =
            broken.into_iter().filter(|slot| self.set_apart(*slot, 0, now)).collect();
        // Where others as large are read, it is these tasks that make it too much; else the size.
        let largest_read = self.batches.largest_read(now);
        let (by_size, by_tasks): (Vec<_>, Vec<_>) =
            together.into_iter().partition(|together| together.asked > largest_read);
        for Together { slots, asked, .. } in by_tasks {
            apart.extend(slots.into_iter().filter(|slot| self.set_apart(*slot, asked / 2, now)));
        }
        if let Some(smallest) = by_size.iter().min_by_key(|together| together.asked) {
            let (asked, reason) = (smallest.asked, smallest.reason);
            consequences.changes.extend(self.batches.suspect(asked, by_size.len(), reason, now));
        }
        if !apart.is_empty() {
            consequences.changes.push(BatchChange::SetApart(apart));
        }
    }

    fn set_apart(&mut self, slot: Slot, size: usize, now: Instant) -> bool {
        let Some(hash) = self.entry(slot).map(|entry| entry.hash) else { return false };
        self.batches.set_apart(slot, size, hash, self.open, now)
    }

    /// Tasks that were to be asked for again fail instead.
    pub fn fail(&mut self, verdicts: &[(Slot, PollOutcome)], now: Instant) {
        self.settle(verdicts, now);
    }

    /// Forgets what was learned of batches: another provider is asked, or in another way. Tasks
    /// that are to be asked for in parts are due at once.
    pub fn forget_batches(&mut self, now: Instant) {
        self.batches.forget();
        for slot in self.bisection.clear() {
            self.wait(slot, now);
        }
    }
}

#[cfg(test)]
mod tests;
