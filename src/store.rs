//! The tasks of all providers with their records, and snapshots of them.
//!
//! ```text
//!  Store ── ProviderTasks (a lock) ── BlockList (open, retained, retired) ── Block ── TrackedTask
//! ```
//!
//! A snapshot shares the blocks; a poll that changes one meanwhile changes a copy. So a scrape holds
//! no lock while it writes, however slowly its client reads. [`apply`] is the one place that turns
//! lists of tasks into what comes, what stays and what leaves.

mod apply;
pub mod blocks;
mod details;
mod expiry;
mod histories;
pub(crate) mod lists;
pub mod provider_tasks;
pub mod registrations;
mod row_set;
pub mod sources;
mod table;
mod vocabulary;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::clock::{Clock, Timestamp};
use crate::config::PerTaskSeries;
use crate::history::task_history::TaskHistory;
use crate::observation::{PollOutcome, State};
use crate::record::TrackedTask;
use crate::task::{Task, TaskId};
pub use apply::{RecoveredTask, RecoveredTasks, SaveChange, StoreConfig, StoreList, StoredListing};
use blocks::{Block, BlockList};
use histories::HistoryBudget;
pub use histories::MAX_HISTORIES;
use provider_tasks::{ProviderSnapshot, ProviderTasks};
use registrations::FirstPollBudget;
use sources::{SourceKeys, SourceRegistry};

/// A snapshot of everything that the exposition writes from the store.
#[derive(Debug)]
pub struct Snapshot {
    /// Time of the snapshot.
    pub now: Timestamp,
    /// The providers, in the order of the configuration.
    pub providers: Vec<ProviderSummary>,
    /// The tasks whose series are exported, by provider.
    pub tasks: Vec<TaskList>,
}

/// A summary of a provider's tasks for the families of the provider.
#[derive(Debug)]
pub struct ProviderSummary {
    /// The provider's name.
    pub name: Arc<str>,
    /// Number of tasks by state, in the order of [`State::ALL`].
    pub tasks: [u64; State::ALL.len()],
    /// Largest queue age by state, in the order of [`State::OPEN`]; zero if there is no task.
    pub oldest: [Duration; State::OPEN.len()],
    /// Largest net queue age by state, in the same order.
    pub oldest_net: [Duration; State::OPEN.len()],
    /// Number of tasks that are not final.
    pub open: u64,
    /// Number of stuck tasks.
    pub stuck: u64,
    /// Number of tasks that are not final and that no source names any more.
    pub unlisted: u64,
}

/// A list of tasks of one provider.
#[derive(Clone, Debug)]
pub struct TaskList {
    /// Age above which a task counts as stuck.
    pub stuck_after: Duration,
    /// The tasks.
    pub blocks: Vec<Arc<Block>>,
}

/// The row of a task in the table of its provider. The generation distinguishes the tasks that have
/// had the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The row.
    pub row: u32,
    /// Number of tasks that had the row before.
    pub generation: u32,
}

impl Slot {
    /// Returns the row as an index into other tables of the same tasks.
    pub fn row_index(self) -> usize {
        to_index(self.row)
    }
}

/// A task to poll: its slot, and the hashes that decide when and with which others it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTarget {
    /// Slot of the task.
    pub slot: Slot,
    /// Hash that spreads polls over the interval: [`Task::hash`].
    pub hash: u64,
    /// Hash of what tasks of one batch have in common: [`Task::group`].
    pub group: u64,
    /// Time of the first poll.
    pub first_poll: FirstPoll,
}

/// The time of a task's first poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPoll {
    /// At the task's place in the interval.
    AtPlace,
    /// After this time.
    After(Duration),
}

impl PollTarget {
    fn new(slot: Slot, task: &Task) -> Self {
        Self { slot, hash: task.hash(), group: task.group(), first_poll: FirstPoll::AtPlace }
    }
}

/// The changes of the tasks of one provider.
#[derive(Debug)]
pub struct TaskChanges {
    /// The provider's tasks.
    pub tasks: Arc<ProviderTasks>,
    /// Slots of tasks that are no longer polled.
    pub removed: Vec<Slot>,
    /// Tasks to poll from now on.
    pub added: Vec<PollTarget>,
    /// Tasks whose labels or params changed.
    pub changed: Vec<PollTarget>,
    /// Number of tasks that `max_tasks` leaves out.
    pub over_limit: u64,
    /// Number of tasks that were dropped before their end was seen.
    pub lost: u64,
    /// IDs of the first of them, for the log.
    pub first_lost: Vec<TaskId>,
}

impl TaskChanges {
    /// Returns no changes of a provider's tasks.
    fn none(tasks: Arc<ProviderTasks>) -> Self {
        Self {
            tasks,
            removed: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
            over_limit: 0,
            lost: 0,
            first_lost: Vec::new(),
        }
    }

    /// Reports whether a worker has nothing to do for the changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changed.is_empty()
    }
}

/// A change of a task by a list, as the storage keeps it.
#[derive(Clone, Copy, Debug)]
pub enum ListingChange<'t> {
    /// The task has come, or its listing has changed.
    Saved(&'t TrackedTask),
    /// The task and its record have gone.
    Removed(&'t Task),
}

/// The tasks of all providers.
///
/// Each provider has a lock of its own, so that its polls do not wait for those of others. A reload
/// changes all providers under one lock, so that a scrape sees the tasks of one configuration.
#[derive(Debug)]
pub struct Store {
    clock: Clock,
    providers: RwLock<Vec<Arc<ProviderTasks>>>,
    sources: RwLock<SourceRegistry>,
    /// Maximum number of tasks of all providers.
    max_tasks: AtomicUsize,
    /// Tasks of an earlier process, until the first configuration is applied.
    recovered: Mutex<RecoveredTasks>,
    histories: HistoryBudget,
    registration_polls: Mutex<FirstPollBudget>,
}

impl Store {
    /// Creates an empty store.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            providers: RwLock::default(),
            sources: RwLock::default(),
            max_tasks: AtomicUsize::new(0),
            recovered: Mutex::default(),
            histories: HistoryBudget::new(MAX_HISTORIES),
            registration_polls: Mutex::default(),
        }
    }

    /// Returns the time since which histories are kept.
    pub fn started(&self) -> Timestamp {
        self.clock.started()
    }

    /// Returns the history of the task of `provider` with this ID, if it has one.
    pub fn history(&self, provider: &str, id: &str) -> Option<TaskHistory> {
        self.providers().iter().find(|known| *known.name == *provider)?.history(id)
    }

    /// Reports whether the configuration has a provider called `name`.
    pub(crate) fn has_provider(&self, name: &str) -> bool {
        self.providers.read().iter().any(|provider| *provider.name == *name)
    }

    /// Reports whether the task of `provider` with this ID is followed.
    pub fn is_followed(&self, provider: &str, id: &str) -> bool {
        let providers = self.providers.read();
        providers.iter().find(|known| *known.name == *provider).is_some_and(|known| known.has(id))
    }

    /// Reports whether the task of `provider` with this ID is followed and not final.
    pub fn is_open(&self, provider: &str, id: &str) -> bool {
        let providers = self.providers.read();
        let known = providers.iter().find(|known| *known.name == *provider);
        known.is_some_and(|known| known.find_open(id).is_some())
    }

    /// Returns the number of tasks of each provider that are not final.
    pub fn open_counts(&self) -> HashMap<Arc<str>, usize> {
        let providers = self.providers.read();
        providers.iter().map(|known| (Arc::clone(&known.name), known.open_count())).collect()
    }

    /// Returns the task of `provider` with this ID.
    pub fn find(&self, provider: &str, id: &str) -> Option<Task> {
        self.providers().iter().find(|known| *known.name == *provider)?.find(id)
    }

    /// Limits the number of distinct words: replaces those of an outcome of `provider` that are over
    /// the limit.
    pub(crate) fn limit_words(&self, provider: &str, outcome: &mut PollOutcome) {
        let providers = self.providers.read();
        if let Some(known) = providers.iter().find(|known| *known.name == *provider) {
            known.limit_words(outcome);
        }
    }

    /// Returns all records for the storage, those included that are kept in case their tasks come back.
    pub(crate) fn all_records(&self) -> Vec<Arc<Block>> {
        let providers = self.providers();
        let blocks = |provider: &Arc<ProviderTasks>| {
            provider.list().blocks.into_iter().chain(provider.dormant())
        };
        providers.iter().flat_map(blocks).collect()
    }

    /// Returns the current time and all tasks that are followed, whether or not their series are
    /// exported; only those of `provider`, if it is given.
    pub fn tasks(&self, provider: Option<&str>) -> (Timestamp, Vec<TaskList>) {
        let is_wanted =
            |known: &&Arc<ProviderTasks>| provider.is_none_or(|name| *known.name == *name);
        let providers = self.providers();
        let lists = providers.iter().filter(is_wanted).map(|provider| provider.list()).collect();
        (self.clock.now(), lists)
    }

    /// Returns the keys of the sources of tasks, which listings name by number.
    pub fn source_keys(&self) -> SourceKeys {
        self.sources.read().keys()
    }

    /// Returns a snapshot of all providers and of the tasks whose series are exported.
    pub fn snapshot(&self) -> Snapshot {
        let (now, snapshots) = {
            let providers = self.providers.read();
            let now = self.clock.now();
            let snapshot = |provider: &Arc<ProviderTasks>| {
                (Arc::clone(&provider.name), provider.snapshot(now))
            };
            (now, providers.iter().map(snapshot).collect::<Vec<_>>())
        };
        let summary = |(name, snapshot): &(Arc<str>, ProviderSnapshot)| {
            ProviderSummary::new(Arc::clone(name), snapshot, now)
        };
        let providers = snapshots.iter().map(summary).collect();
        let tasks =
            snapshots.into_iter().map(|(_, snapshot)| TaskList::exported(snapshot)).collect();
        Snapshot { now, providers, tasks }
    }

    fn providers(&self) -> Vec<Arc<ProviderTasks>> {
        self.providers.read().clone()
    }
}

impl Snapshot {
    /// Creates a snapshot without providers.
    pub fn of(tasks: Vec<TaskList>, now: Timestamp) -> Self {
        Self { now, providers: Vec::new(), tasks }
    }
}

impl ProviderSummary {
    fn new(name: Arc<str>, snapshot: &ProviderSnapshot, now: Timestamp) -> Self {
        let mut summary = Self {
            name,
            tasks: snapshot.state_counts,
            oldest: Default::default(),
            oldest_net: Default::default(),
            open: 0,
            stuck: 0,
            unlisted: snapshot.unlisted,
        };
        for tracked in snapshot.open.iter().flat_map(|block| block.tasks()) {
            summary.open += 1;
            summary.stuck += u64::from(tracked.is_stuck(snapshot.limits.stuck_after, now));
            let Some(index) = State::OPEN.iter().position(|known| *known == tracked.state()) else {
                continue;
            };
            for (oldest, age) in [
                (summary.oldest.get_mut(index), tracked.queue_age(now)),
                (summary.oldest_net.get_mut(index), tracked.net_queue_age(now)),
            ] {
                if let Some((oldest, age)) = oldest.zip(age) {
                    *oldest = (*oldest).max(age);
                }
            }
        }
        summary
    }
}

impl TaskList {
    /// Creates a list of these tasks.
    pub fn of(tasks: impl IntoIterator<Item = TrackedTask>, stuck_after: Duration) -> Self {
        let mut blocks = BlockList::default();
        for (row, tracked) in (0..).zip(tasks) {
            blocks.push(row, tracked);
        }
        Self { stuck_after, blocks: blocks.blocks().to_vec() }
    }

    /// Returns every task.
    pub fn tasks(&self) -> impl Iterator<Item = &TrackedTask> {
        self.blocks.iter().flat_map(|block| block.tasks())
    }

    /// Returns the task with this ID.
    pub fn find(&self, id: &str) -> Option<&TrackedTask> {
        self.tasks().find(|tracked| *tracked.task.id == *id)
    }

    fn exported(snapshot: ProviderSnapshot) -> Self {
        let ProviderSnapshot { limits, open, retained, .. } = snapshot;
        let blocks = match limits.per_task_series {
            PerTaskSeries::All => [open, retained].concat(),
            PerTaskSeries::Active => open,
            PerTaskSeries::None => Vec::new(),
        };
        Self { stuck_after: limits.stuck_after, blocks }
    }
}

/// Converts a row, or a position in blocks, to an index.
fn to_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
