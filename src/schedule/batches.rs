//! Sizes of batches: as many tasks as the configuration allows, or fewer if the provider has shown that
//! it cannot respond for so many. Learned limits expire. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::cadence::spread;
use crate::config::Limits;
use crate::observation::Reason;
use crate::store::Slot;

/// Time after which a learned limit of a provider or of a task expires, plus up to [`RETRY_SPREAD`] by its
/// hash. With a shorter time a gateway without batches would get a useless request in every round; with
/// a longer one its deployment of a minute would cost an hour of single requests.
const RETRY_AFTER: Duration = Duration::from_secs(300);
const RETRY_SPREAD: Duration = Duration::from_secs(900);

/// Number of unreadable batches of a size, with no readable one as large, before the size is limited: a
/// single one may be a network failure.
const STRIKES: usize = 3;
/// The same for bodies that are too large, which are no network failure.
const STRIKES_TOO_LARGE: usize = 2;

/// Time for which a readable batch proves that its size is not the problem of others.
const RECENT: Duration = Duration::from_secs(300);

/// Maximum number of tasks that are kept out of batches, or one in [`ISOLATED_SHARE`] of all if
/// that is more: each costs a request of its own.
const MAX_ISOLATED: usize = 16;
const ISOLATED_SHARE: usize = 32;

/// A change of the batches, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchChange {
    /// The provider has no batch query: tasks are requested alone for a while. `is_new` is false if that
    /// was known and has just been tried again.
    Refused {
        /// True if batches were requested until now.
        is_new: bool,
    },
    /// Batches are limited to this size for a while.
    Shrunk {
        /// Number of tasks; 0 if tasks are requested alone.
        size: usize,
        /// Failure of larger batches.
        reason: Reason,
        /// False if the limit was known and has just been tried again.
        is_new: bool,
    },
    /// Batches have the configured size again.
    Restored,
    /// These tasks are kept out of batches for a while, since batches with them cannot be read.
    Isolated(Vec<Slot>),
    /// No part of a divided batch could be read either, so that batches are not divided for a while.
    GaveUp,
}

/// Sizes of one provider's batches.
#[derive(Debug)]
pub struct Batches {
    /// Configured size, at least 1; `None` without a batch query.
    configured: Option<usize>,
    wait: Duration,
    /// Hash of the provider, for the time of retries.
    hash: u64,
    limit: Option<BatchLimit>,
    suspicion: Option<Suspicion>,
    /// Sizes of recently read batches, with their times: each larger than all later ones.
    recently_read: VecDeque<(usize, Instant)>,
    isolated: HashMap<Slot, Isolation>,
}

/// Limit below the configured size.
#[derive(Clone, Copy, Debug)]
struct BatchLimit {
    /// Number of tasks: 0, or at least 2.
    size: usize,
    until: Instant,
    /// True while a larger batch is in flight, to find out whether the limit still holds.
    is_on_trial: bool,
}

/// Size from which responses may be unreadable.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    size: usize,
    strikes: usize,
}

/// Limit of the batches that a task may be in.
#[derive(Clone, Copy, Debug)]
struct Isolation {
    /// Number of tasks: 0, or at least 2.
    size: usize,
    until: Instant,
}

impl Batches {
    /// Returns sizes without learned limits. `hash` is the hash of the provider.
    pub fn new(limits: &Limits, has_batches: bool, hash: u64) -> Self {
        let mut batches = Self {
            configured: None,
            wait: Duration::ZERO,
            hash,
            limit: None,
            suspicion: None,
            recently_read: VecDeque::new(),
            isolated: HashMap::new(),
        };
        batches.reconfigure(limits, has_batches);
        batches
    }

    /// Applies new limits of the configuration; learned limits stay.
    pub fn reconfigure(&mut self, limits: &Limits, has_batches: bool) {
        self.configured = has_batches.then_some(limits.batch_size.max(1));
        self.wait = if has_batches { limits.batch_wait } else { Duration::ZERO };
    }

    /// Removes all learned limits.
    pub fn reset(&mut self) {
        (self.limit, self.suspicion) = (None, None);
        self.recently_read.clear();
        self.isolated.clear();
    }

    /// Removes the learned limit of a task that was removed or is final.
    pub fn remove_task(&mut self, slot: Slot) {
        self.isolated.remove(&slot);
    }

    /// Reports whether the provider has a batch query.
    pub fn has_query(&self) -> bool {
        self.configured.is_some()
    }

    /// Returns the current size of batches; 0 if each task is requested alone, with the query for one task.
    pub fn size(&self, now: Instant) -> usize {
        let configured = self.configured.unwrap_or(0);
        match self.limit {
            Some(limit) if limit.is_on_trial || now < limit.until => limit.size.min(configured),
            _ => configured,
        }
    }

    /// Returns the current size of a batch with this task; 0 if it is requested alone, with the query for
    /// one task, whose response differs.
    pub fn size_with(&self, slot: Slot, now: Instant) -> usize {
        let size = self.size(now);
        // Most providers have no isolated tasks.
        if self.isolated.is_empty() {
            return size;
        }
        let isolation = self.isolated.get(&slot).filter(|isolation| now < isolation.until);
        isolation.map_or(size, |isolation| isolation.size.min(size))
    }

    /// Returns the time that the first task of a batch of at most `size` waits for others.
    pub fn wait(&self, size: usize) -> Duration {
        if size > 1 { self.wait } else { Duration::ZERO }
    }

    /// Records that a batch is sent.
    pub fn sent(&mut self, tasks: usize) {
        if let Some(limit) = self.limit.as_mut().filter(|limit| tasks > limit.size) {
            limit.is_on_trial = true;
        }
    }

    /// Records that a batch has ended, whatever its outcome.
    pub fn ended(&mut self, tasks: usize) {
        if let Some(limit) = self.limit.as_mut().filter(|limit| tasks > limit.size) {
            limit.is_on_trial = false;
        }
    }

    /// Records that the response to a batch was read.
    pub fn read(&mut self, tasks: usize, now: Instant) -> Option<BatchChange> {
        self.read_in_part(tasks, now);
        self.suspicion = self.suspicion.filter(|suspicion| suspicion.size > tasks);
        let was_limited = self.limit.is_some_and(|limit| tasks > limit.size);
        self.limit = self.limit.filter(|_| !was_limited);
        was_limited.then_some(BatchChange::Restored)
    }

    /// Records that `tasks` tasks were read in the response to a larger batch, so that a batch of this size
    /// can be read.
    pub fn read_in_part(&mut self, tasks: usize, now: Instant) {
        while self.recently_read.pop_back_if(|(size, _)| *size <= tasks).is_some() {}
        self.recently_read.push_back((tasks, now));
    }

    /// Records that the response to a batch could not be read. Returns a change if the batch has confirmed a
    /// limit that was on trial.
    pub fn unread(&mut self, tasks: usize, reason: Reason, now: Instant) -> Option<BatchChange> {
        let size = self.limit.filter(|limit| tasks > limit.size)?.size;
        Some(self.limit_to(size, reason, now))
    }

    /// Records that the provider has no batch query.
    pub fn disable(&mut self, now: Instant) -> BatchChange {
        let is_new = self.limit.is_none_or(|limit| limit.size > 0);
        self.set_limit(0, now);
        BatchChange::Refused { is_new }
    }

    /// Returns the size of the largest recently read batch; 0 if there is none.
    pub fn largest_read(&mut self, now: Instant) -> usize {
        let is_old = |(_, at): &mut (usize, Instant)| now.saturating_duration_since(*at) >= RECENT;
        while self.recently_read.pop_front_if(is_old).is_some() {}
        self.recently_read.front().map_or(0, |(size, _)| *size)
    }

    /// Records that `times` batches of at least `size` tasks could not be read, although each of their tasks
    /// could, and no batch as large was read recently. Limits the size once that has happened often
    /// enough.
    pub fn suspect(
        &mut self,
        size: usize,
        times: usize,
        reason: Reason,
        now: Instant,
    ) -> Option<BatchChange> {
        let before = self.suspicion.unwrap_or(Suspicion { size, strikes: 0 });
        let (size, strikes) = (size.min(before.size), before.strikes.saturating_add(times));
        let enough = if reason == Reason::TooLarge { STRIKES_TOO_LARGE } else { STRIKES };
        if strikes < enough {
            self.suspicion = Some(Suspicion { size, strikes });
            return None;
        }
        self.suspicion = None;
        let read = self.largest_read(now);
        let smaller = read.max(size / 2).min(size.saturating_sub(1));
        Some(self.limit_to(smaller, reason, now))
    }

    fn limit_to(&mut self, size: usize, reason: Reason, now: Instant) -> BatchChange {
        let size = alone_if_one(size);
        let is_new = self.limit.is_none_or(|limit| size < limit.size);
        self.set_limit(size, now);
        BatchChange::Shrunk { size, reason, is_new }
    }

    fn set_limit(&mut self, size: usize, now: Instant) {
        let until = retry_at(self.hash, now);
        self.limit = Some(BatchLimit { size, until, is_on_trial: false });
    }

    /// Keeps a task out of batches of more than `size` tasks for a while, unless too many of `open` tasks
    /// already are. `hash` is the hash of the task. Returns true if the task is kept out.
    pub fn isolate(
        &mut self,
        slot: Slot,
        size: usize,
        hash: u64,
        open: usize,
        now: Instant,
    ) -> bool {
        let most = MAX_ISOLATED.max(open / ISOLATED_SHARE);
        if self.isolated.len() >= most {
            self.isolated.retain(|_, isolation| now < isolation.until);
        }
        if self.isolated.len() >= most && !self.isolated.contains_key(&slot) {
            return false;
        }
        self.isolated
            .insert(slot, Isolation { size: alone_if_one(size), until: retry_at(hash, now) });
        true
    }
}

/// Returns 0 for a batch of one task, which is requested with the query for one.
fn alone_if_one(size: usize) -> usize {
    if size > 1 { size } else { 0 }
}

/// Returns the time at which a learned limit expires.
pub fn retry_at(hash: u64, now: Instant) -> Instant {
    now + RETRY_AFTER + spread(hash, RETRY_SPREAD)
}
