//! What is known of every task: the latest observation, and what the families of the provider need.
//!
//! ```text
//!  Store ── Shard (a provider, a lock) ── Area (open, retained, retired) ── Block ── Record
//! ```
//!
//! A snapshot shares the blocks as they are; a poll that changes one of them meanwhile changes a
//! copy. So a scrape holds no lock while it writes, however slowly its answer is read.

pub mod area;
pub mod kept;
pub mod shard;
mod vocabulary;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::clock::{Clock, Timestamp};
use crate::config::{PerTaskSeries, Provider};
use crate::observation::{Failure, Observation, State};
use crate::record::{Known, Record};
use crate::task::Task;
use area::{Area, Block};
use shard::{Shard, Taken};

/// Everything the exposition writes, as it stood at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Timestamp,
    /// In the order of the configuration.
    pub providers: Vec<ProviderView>,
    /// The tasks whose series are exported, provider by provider.
    pub tasks: Vec<TasksView>,
}

/// What the families of a provider show of its tasks.
#[derive(Debug)]
pub struct ProviderView {
    /// The provider's name.
    pub name: Arc<str>,
    /// Tasks by state, in the order of [`State::ALL`].
    pub tasks: [u64; State::ALL.len()],
    /// The largest queue age by state, in the order of [`State::OPEN`]; zero where there is none.
    pub oldest: [Duration; State::OPEN.len()],
    /// The largest net queue age by state, in the same order.
    pub oldest_net: [Duration; State::OPEN.len()],
    /// How many tasks are stuck.
    pub stuck: u64,
}

/// Tasks of one provider.
#[derive(Clone, Debug)]
pub struct TasksView {
    /// After how long one counts as stuck.
    pub stuck_after: Duration,
    /// What is known of them.
    pub blocks: Vec<Arc<Block>>,
}

/// A task's row in its provider's table. The generation tells a row's tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The row.
    pub index: u32,
    /// Counts the tenants of the row.
    pub generation: u32,
}

impl Slot {
    /// The row, for tables that are kept elsewhere.
    pub fn position(self) -> usize {
        position(self.index)
    }
}

/// A task's slot, and what decides when and with which others it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where its record is.
    pub slot: Slot,
    /// As [`Task::hash`].
    pub hash: u64,
    /// As [`Task::group`].
    pub group: u64,
}

impl Placed {
    fn new(slot: Slot, task: &Task) -> Self {
        Self { slot, hash: task.hash(), group: task.group() }
    }
}

/// What a new configuration changed of one provider's tasks.
#[derive(Debug)]
pub struct Changes {
    /// The provider's tasks.
    pub shard: Arc<Shard>,
    /// Slots whose task left.
    pub removed: Vec<Slot>,
    /// Tasks that came and are to be polled.
    pub added: Vec<Placed>,
    /// Tasks that stayed and whose labels or params are others now.
    pub changed: Vec<Placed>,
}

/// The tasks of every provider. A provider's tasks have a lock of their own, so that polls of
/// one do not wait for another's; a reload changes all under one lock, so that a scrape sees the
/// tasks of one configuration.
#[derive(Debug)]
pub struct Store {
    clock: Clock,
    shards: RwLock<Vec<Arc<Shard>>>,
    remembered: Mutex<Remembered>,
}

/// What an earlier life knew, by provider and ID.
pub type Remembered = HashMap<Arc<str>, HashMap<Arc<str>, Known>>;

impl Store {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        Self { clock, shards: RwLock::default(), remembered: Mutex::default() }
    }

    /// Hands over what an earlier life knew of the tasks that are taken on next.
    pub fn remember(&self, remembered: Remembered) {
        *self.remembered.lock() = remembered;
    }

    /// Takes on providers and tasks. Tasks that stay keep their history and their slot. What
    /// changes is found before anybody has to wait, which with a million tasks takes a while: one
    /// call must follow another.
    pub fn apply(&self, providers: &[Arc<Provider>], tasks: Vec<Task>) -> Vec<Changes> {
        let mut wanted: HashMap<Arc<str>, Vec<Task>> = HashMap::new();
        for task in tasks {
            match wanted.get_mut(&task.common.provider) {
                Some(tasks) => tasks.push(task),
                None => {
                    wanted.insert(Arc::clone(&task.common.provider), vec![task]);
                }
            }
        }
        let known = self.shards();
        let known: HashMap<_, _> = known.iter().map(|shard| (&*shard.name, shard)).collect();
        let diffs: Vec<_> = providers
            .iter()
            .map(|provider| {
                let known = known.get(&*provider.name).copied();
                let shard = known.cloned().unwrap_or_else(|| {
                    let name = Arc::clone(&provider.name);
                    Arc::new(Shard::new(name, self.clock, provider.limits.clone()))
                });
                let diff = shard.diff(wanted.remove(&provider.name).unwrap_or_default());
                (shard, &**provider, diff)
            })
            .collect();
        let mut remembered = std::mem::take(&mut *self.remembered.lock());
        let mut shards = self.shards.write();
        let now = self.clock.now();
        let mut apply = |(shard, provider, diff): (Arc<Shard>, _, _)| {
            let mut of_shard = remembered.remove(&*shard.name).unwrap_or_default();
            shard.apply(provider, diff, &mut of_shard, now)
        };
        let changes: Vec<_> = diffs.into_iter().map(&mut apply).collect();
        let is_kept =
            |shard: &Arc<Shard>| changes.iter().any(|changes| Arc::ptr_eq(&changes.shard, shard));
        let left: Vec<_> = shards.iter().filter(|shard| !is_kept(shard)).cloned().collect();
        *shards = changes.iter().map(|changes| Arc::clone(&changes.shard)).collect();
        drop(shards);
        for shard in left {
            shard.clear();
        }
        changes
    }

    /// Reports whether the configuration has a provider called `name`.
    pub fn has_provider(&self, name: &str) -> bool {
        self.shards.read().iter().any(|shard| *shard.name == *name)
    }

    /// The task of `provider` with this ID.
    pub fn find(&self, provider: &str, id: &str) -> Option<Task> {
        self.shards().iter().find(|shard| *shard.name == *provider)?.find(id)
    }

    /// Puts the words that are shown in the place of those of an answer of `provider`.
    pub fn admit_words(&self, provider: &str, outcome: &mut Result<Observation, Failure>) {
        let shards = self.shards.read();
        if let Some(shard) = shards.iter().find(|shard| *shard.name == *provider) {
            shard.admit_words(outcome);
        }
    }

    /// Every task of the configuration as it stands now, whether or not its series are exported:
    /// of one provider, where that is given.
    pub fn tasks(&self, provider: Option<&str>) -> (Timestamp, Vec<TasksView>) {
        let of_provider = |shard: &&Arc<Shard>| provider.is_none_or(|name| *shard.name == *name);
        let shards = self.shards();
        let views = shards.iter().filter(of_provider).map(|shard| shard.all()).collect();
        (self.clock.now(), views)
    }

    /// Everything as it stands now.
    pub fn snapshot(&self) -> Snapshot {
        let (now, taken) = {
            let shards = self.shards.read();
            let now = self.clock.now();
            let take = |shard: &Arc<Shard>| (Arc::clone(&shard.name), shard.take(now));
            (now, shards.iter().map(take).collect::<Vec<_>>())
        };
        let view =
            |(name, taken): &(Arc<str>, Taken)| ProviderView::new(Arc::clone(name), taken, now);
        let providers = taken.iter().map(view).collect();
        let tasks = taken.into_iter().map(|(_, taken)| TasksView::exported(taken)).collect();
        Snapshot { now, providers, tasks }
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().clone()
    }
}

impl Snapshot {
    /// Of no provider.
    pub fn of(tasks: Vec<TasksView>, now: Timestamp) -> Self {
        Self { now, providers: Vec::new(), tasks }
    }
}

impl ProviderView {
    fn new(name: Arc<str>, taken: &Taken, now: Timestamp) -> Self {
        let mut view = Self {
            name,
            tasks: taken.states,
            oldest: Default::default(),
            oldest_net: Default::default(),
            stuck: 0,
        };
        for record in taken.open.iter().flat_map(|block| block.records()) {
            view.stuck += u64::from(record.is_stuck(taken.limits.stuck_after, now));
            let Some(index) = State::OPEN.iter().position(|known| *known == record.state()) else {
                continue;
            };
            for (oldest, age) in [
                (view.oldest.get_mut(index), record.queue_age(now)),
                (view.oldest_net.get_mut(index), record.net_queue_age(now)),
            ] {
                if let Some((oldest, age)) = oldest.zip(age) {
                    *oldest = (*oldest).max(age);
                }
            }
        }
        view
    }
}

impl TasksView {
    /// Some tasks.
    pub fn of(records: impl IntoIterator<Item = Record>, stuck_after: Duration) -> Self {
        let mut area = Area::default();
        for (row, record) in (0..).zip(records) {
            area.push(row, record);
        }
        Self { stuck_after, blocks: area.blocks().to_vec() }
    }

    /// Every one of them.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.blocks.iter().flat_map(|block| block.records())
    }

    /// The one with this ID.
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.records().find(|record| *record.task.id == *id)
    }

    fn exported(taken: Taken) -> Self {
        let Taken { limits, open, retained, .. } = taken;
        let blocks = match limits.per_task_series {
            PerTaskSeries::All => [open, retained].concat(),
            PerTaskSeries::Active => open,
            PerTaskSeries::None => Vec::new(),
        };
        Self { stuck_after: limits.stuck_after, blocks }
    }
}

/// A row as an index.
fn position(row: u32) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
