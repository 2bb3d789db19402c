//! Number of tasks that one request may ask for: as many as the configuration allows, or fewer where
//! the provider has shown that it cannot answer for so many. That is never believed for ever. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::cadence::spread;
use crate::config::Limits;
use crate::observation::Reason;
use crate::store::Slot;

/// A limit that was learned of a provider, or of a task, is tried again after at least this time
/// and, by its hash, up to [`RETRY_SPREAD`] more. Shorter, and a gateway without batches is asked in vain at
/// every round; longer, and its deploy of a minute costs an hour of single requests.
const RETRY_AFTER: Duration = Duration::from_secs(300);
const RETRY_SPREAD: Duration = Duration::from_secs(900);

/// So many batches must not be read for their size, with none as large that is, before it is
/// believed: one alone may be an accident of the network.
const STRIKES: usize = 3;
/// A body that is too large is no accident.
const STRIKES_TOO_LARGE: usize = 2;

/// A size is not what is wrong with a batch where another as large was read so short a time ago.
const RECENT: Duration = Duration::from_secs(300);

/// So many tasks may be kept out of batches, or one in [`APART_SHARE`] of all where that is more:
/// each costs a request of its own.
const MAX_APART: usize = 16;
const APART_SHARE: usize = 32;

/// A change of how tasks are asked for, for the log: once for each switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchChange {
    /// The provider has no batch query: tasks are asked for alone for a while. `is_new` is false
    /// where that was so before and has just been tried again.
    Refused {
        /// True if batches were asked for until now.
        is_new: bool,
    },
    /// Batches have at most so many tasks for a while.
    Shrunk {
        /// The number of tasks; 0 where tasks are asked for alone.
        size: usize,
        /// The failure of larger ones.
        reason: Reason,
        /// As of [`BatchChange::Refused`].
        is_new: bool,
    },
    /// Batches are again as large as the configuration says.
    Restored,
    /// These tasks are asked for apart from others for a while: with them a batch cannot be read.
    SetApart(Vec<Slot>),
    /// A batch was asked for in parts, of which none could be read either: that is left for a while.
    GaveUp,
}

/// The sizes of one provider's batches.
#[derive(Debug)]
pub struct Batches {
    /// At least 1; `None` where there is no batch query.
    configured: Option<usize>,
    wait: Duration,
    /// Places the retries.
    hash: u64,
    limit: Option<BatchLimit>,
    suspicion: Option<Suspicion>,
    /// Sizes of batches that were read recently, with the moment: each larger than all later ones.
    recently_read: VecDeque<(usize, Instant)>,
    apart: HashMap<Slot, Apart>,
}

/// Fewer tasks than the configuration allows.
#[derive(Clone, Copy, Debug)]
struct BatchLimit {
    /// 0, or at least 2.
    size: usize,
    until: Instant,
    /// True while a larger batch is under way, to see whether the limit still holds.
    is_on_trial: bool,
}

/// A size from which on answers may be unreadable.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    size: usize,
    strikes: usize,
}

/// The largest batch that a task may be in, and until when.
#[derive(Clone, Copy, Debug)]
struct Apart {
    /// 0, or at least 2.
    size: usize,
    until: Instant,
}

impl Batches {
    /// No limits but those of the configuration. `hash` is the provider's.
    pub fn new(limits: &Limits, has_batches: bool, hash: u64) -> Self {
        let mut batches = Self {
            configured: None,
            wait: Duration::ZERO,
            hash,
            limit: None,
            suspicion: None,
            recently_read: VecDeque::new(),
            apart: HashMap::new(),
        };
        batches.reconfigure(limits, has_batches);
        batches
    }

    /// Takes on new limits; what was learned stays.
    pub fn reconfigure(&mut self, limits: &Limits, has_batches: bool) {
        self.configured = has_batches.then_some(limits.batch_size.max(1));
        self.wait = if has_batches { limits.batch_wait } else { Duration::ZERO };
    }

    /// Forgets what was learned.
    pub fn forget(&mut self) {
        (self.limit, self.suspicion) = (None, None);
        self.recently_read.clear();
        self.apart.clear();
    }

    /// Forgets what was learned of a task that has left or ended.
    pub fn forget_task(&mut self, slot: Slot) {
        self.apart.remove(&slot);
    }

    /// Reports whether the provider has a batch query.
    pub fn exist(&self) -> bool {
        self.configured.is_some()
    }

    /// The number of tasks that a batch may have now; 0 where each task is asked for alone, with the
    /// query for one.
    pub fn size(&self, now: Instant) -> usize {
        let configured = self.configured.unwrap_or(0);
        match self.limit {
            Some(limit) if limit.is_on_trial || now < limit.until => limit.size.min(configured),
            _ => configured,
        }
    }

    /// The number of tasks that a batch with this one may have now; 0 where it is asked for alone,
    /// with the query for one: its answer is another one.
    pub fn size_with(&self, slot: Slot, now: Instant) -> usize {
        let size = self.size(now);
        // Most providers have none apart.
        if self.apart.is_empty() {
            return size;
        }
        let apart = self.apart.get(&slot).filter(|apart| now < apart.until);
        apart.map_or(size, |apart| apart.size.min(size))
    }

    /// Time that the first task of a batch of at most `size` waits for others.
    pub fn wait(&self, size: usize) -> Duration {
        if size > 1 { self.wait } else { Duration::ZERO }
    }

    /// A batch of so many tasks is sent.
    pub fn sent(&mut self, tasks: usize) {
        if let Some(limit) = self.limit.as_mut().filter(|limit| tasks > limit.size) {
            limit.is_on_trial = true;
        }
    }

    /// A batch of so many tasks ended, in whatever way.
    pub fn ended(&mut self, tasks: usize) {
        if let Some(limit) = self.limit.as_mut().filter(|limit| tasks > limit.size) {
            limit.is_on_trial = false;
        }
    }

    /// The answer to a batch of so many tasks was read.
    pub fn read(&mut self, tasks: usize, now: Instant) -> Option<BatchChange> {
        self.read_in_part(tasks, now);
        self.suspicion = self.suspicion.filter(|suspicion| suspicion.size > tasks);
        let was_limited = self.limit.is_some_and(|limit| tasks > limit.size);
        self.limit = self.limit.filter(|_| !was_limited);
        was_limited.then_some(BatchChange::Restored)
    }

    /// So many tasks were read in the answer to a larger batch, so that a batch of as many can be.
    pub fn read_in_part(&mut self, tasks: usize, now: Instant) {
        while self.recently_read.pop_back_if(|(size, _)| *size <= tasks).is_some() {}
        self.recently_read.push_back((tasks, now));
    }

    /// The answer to a batch of so many tasks could not be read. Returns a change where the batch
    /// was to show whether a limit still holds, which it does.
    pub fn unread(&mut self, tasks: usize, reason: Reason, now: Instant) -> Option<BatchChange> {
        let size = self.limit.filter(|limit| tasks > limit.size)?.size;
        Some(self.limit_to(size, reason, now))
    }

    /// The provider has no batch query.
    pub fn refuse(&mut self, now: Instant) -> BatchChange {
        let is_new = self.limit.is_none_or(|limit| limit.size > 0);
        self.set_limit(0, now);
        BatchChange::Refused { is_new }
    }

    /// The size of the largest batch that was read recently; 0 where there is none.
    pub fn largest_read(&mut self, now: Instant) -> usize {
        let is_old = |(_, at): &mut (usize, Instant)| now.saturating_duration_since(*at) >= RECENT;
        while self.recently_read.pop_front_if(is_old).is_some() {}
        self.recently_read.front().map_or(0, |(size, _)| *size)
    }

    /// So many batches of at least `size` tasks could not be read, though each of their tasks
    /// could, and none as large was read recently.
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

    /// Keeps a task out of batches of more than `size` tasks for a while, unless too many already
    /// are of `open` tasks. `hash` is the task's. Returns whether it is kept out.
    pub fn set_apart(
        &mut self,
        slot: Slot,
        size: usize,
        hash: u64,
        open: usize,
        now: Instant,
    ) -> bool {
        let most = MAX_APART.max(open / APART_SHARE);
        if self.apart.len() >= most {
            self.apart.retain(|_, apart| now < apart.until);
        }
        if self.apart.len() >= most && !self.apart.contains_key(&slot) {
            return false;
        }
        self.apart.insert(slot, Apart { size: alone_if_one(size), until: retry_at(hash, now) });
        true
    }
}

/// A batch that may have one task is none: the query for one asks for it.
fn alone_if_one(size: usize) -> usize {
    if size > 1 { size } else { 0 }
}

/// The moment at which something that was learned is tried again.
pub fn retry_at(hash: u64, now: Instant) -> Instant {
    now + RETRY_AFTER + spread(hash, RETRY_SPREAD)
}
