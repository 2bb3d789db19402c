//! What is known of every task: the latest observation, and what the families of the provider need.

pub mod record;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Limits, PerTaskSeries};
use crate::observation::{Failure, Observation, State};
use crate::task::Task;
use record::{Change, Record};

/// Everything the exposition writes, as it stood at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Timestamp,
    /// In the order of the configuration.
    pub providers: Vec<ProviderView>,
    /// The tasks whose series are exported, provider by provider.
    pub tasks: Vec<TaskView>,
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
    /// How many tasks are stuck.
    pub stuck: u64,
}

/// A task as it stood at one moment.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its identity.
    pub task: Arc<Task>,
    /// Its state now.
    pub state: State,
    /// Whether it is polled no more.
    pub is_final: bool,
    /// The provider's own word; empty before the first answer.
    pub status: Arc<str>,
    /// Since when it has been in its state.
    pub state_since: Timestamp,
    /// The kind of job; `None` until an answer told, or until the first answer of an API that
    /// does not tell made it empty.
    pub job_type: Option<Arc<str>>,
    /// When it was enqueued, and who says so.
    pub enqueued: Timestamp,
    /// Whether `enqueued` is the API's word (else the exporter's first sight).
    pub enqueued_by_api: bool,
    /// From 0 to 1.
    pub progress: Option<f64>,
    /// Of a final task whose duration is known.
    pub duration: Option<Duration>,
    /// Whether it is stuck; false when final.
    pub stuck: bool,
    /// Whether the last poll got a usable answer; `None` before the first poll ended.
    pub up: Option<bool>,
    /// The labels `reason` and `code` of the last failed poll, or of a failed task.
    pub error: Option<(&'static str, Arc<str>)>,
    /// The last attempt.
    pub last_poll: Option<Timestamp>,
    /// The last usable answer.
    pub last_success: Option<Timestamp>,
}

/// A task's place in its provider's tables. The generation tells a place's tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The row.
    pub index: usize,
    /// Counts the tenants of the row.
    pub generation: u32,
}

/// The tasks of every provider. A provider's tasks have a lock of their own, so that polls of
/// one do not wait for another's; a reload changes all under one lock, so that a scrape sees the
/// tasks of one configuration.
#[derive(Debug)]
pub struct Store {
    clock: Clock,
    shards: RwLock<Vec<Arc<Shard>>>,
}

/// The tasks of one provider.
#[derive(Debug)]
pub struct Shard {
    name: Arc<str>,
    clock: Clock,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    limits: Limits,
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    record: Option<Record>,
}

/// What a new configuration changed of one provider's tasks.
#[derive(Debug)]
pub struct Changes {
    /// The provider's tasks.
    pub shard: Arc<Shard>,
    /// Places whose task left.
    pub removed: Vec<Slot>,
    /// Tasks that came, or whose labels or params are others now.
    pub added: Vec<(Slot, Arc<Task>)>,
    /// Tasks that stayed and are polled under another description.
    pub changed: Vec<(Slot, Arc<Task>)>,
}

impl Store {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        Self { clock, shards: RwLock::default() }
    }

    /// Takes on the providers and tasks of `config`. Tasks that stay keep their history and their
    /// place.
    pub fn apply(&self, config: &Config) -> Vec<Changes> {
        let mut wanted: HashMap<&str, Vec<&Arc<Task>>> = HashMap::new();
        for task in &config.tasks {
            wanted.entry(&task.provider).or_default().push(task);
        }
        let now = self.clock.now();
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::with_capacity(config.providers.len());
        for provider in &config.providers {
            let known = shards.iter().find(|shard| shard.name == provider.name);
            let shard = known.cloned().unwrap_or_else(|| {
                Arc::new(Shard {
                    name: Arc::clone(&provider.name),
                    clock: self.clock,
                    records: Mutex::new(Records {
                        limits: provider.limits.clone(),
                        places: Vec::new(),
                        free: Vec::new(),
                    }),
                })
            });
            let tasks = wanted.remove(&*provider.name).unwrap_or_default();
            all.push(shard.apply(&provider.limits, &tasks, now));
        }
        *shards = all.iter().map(|changes| Arc::clone(&changes.shard)).collect();
        all
    }

    /// The task of `provider` with this ID.
    pub fn find(&self, provider: &str, id: &str) -> Option<Arc<Task>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.iter().find(|shard| *shard.name == *provider)?.find(id)
    }

    /// What the families of the providers show now.
    pub fn providers(&self) -> Vec<ProviderView> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        shards.iter().map(|shard| shard.view(now, |_, _| {})).collect()
    }

    /// Every task of the configuration as it stands now, whether or not its series are exported:
    /// of one provider, and in one state, where these are given.
    pub fn tasks(
        &self,
        provider: Option<&str>,
        state: Option<State>,
    ) -> (Timestamp, Vec<TaskView>) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let of_provider = |shard: &&Arc<Shard>| provider.is_none_or(|name| *shard.name == *name);
        let mut tasks = Vec::new();
        for shard in shards.iter().filter(of_provider) {
            let records = shard.lock();
            for record in records.places.iter().filter_map(|place| place.record.as_ref()) {
                if state.is_none_or(|state| record.state() == state) {
                    tasks.push(record.view(record.is_stuck(records.limits.stuck_after, now)));
                }
            }
        }
        (now, tasks)
    }

    /// Everything as it stands now.
    pub fn snapshot(&self) -> Snapshot {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut tasks = Vec::new();
        let mut export = |record: &Record, stuck| tasks.push(record.view(stuck));
        let providers = shards.iter().map(|shard| shard.view(now, &mut export)).collect();
        Snapshot { now, providers, tasks }
    }
}

impl Shard {
    /// Takes in how a poll of `slot` ended. `None` where the task has left meanwhile.
    pub fn record(&self, slot: Slot, outcome: &Result<Observation, Failure>) -> Option<Change> {
        let now = self.clock.now();
        let mut records = self.lock();
        let place = records.places.get_mut(slot.index)?;
        let record = place.record.as_mut().filter(|_| place.generation == slot.generation)?;
        Some(record.take_in(outcome, now))
    }

    fn find(&self, id: &str) -> Option<Arc<Task>> {
        let records = self.lock();
        let mut tasks = records.places.iter().filter_map(|place| place.record.as_ref());
        tasks.find(|record| *record.task.id == *id).map(|record| Arc::clone(&record.task))
    }

    fn apply(self: Arc<Self>, limits: &Limits, tasks: &[&Arc<Task>], now: Timestamp) -> Changes {
        let mut guard = self.lock();
        let records = &mut *guard;
        records.limits = limits.clone();
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        let mut wanted: HashMap<&str, &Arc<Task>> =
            tasks.iter().map(|task| (&*task.id, *task)).collect();
        let mut removed = Vec::new();
        for (index, place) in records.places.iter_mut().enumerate() {
            let Some(record) = &mut place.record else { continue };
            let slot = Slot { index, generation: place.generation };
            match wanted.remove(&*record.task.id) {
                Some(task) if **task == *record.task => {}
                Some(task) => {
                    record.task = Arc::clone(task);
                    changed.push((slot, Arc::clone(task)));
                }
                None => {
                    place.record = None;
                    place.generation = place.generation.wrapping_add(1);
                    records.free.push(index);
                    removed.push(slot);
                }
            }
        }
        // In the order of the configuration, which a reader of /metrics finds again.
        for task in tasks.iter().filter(|task| wanted.contains_key(&*task.id)) {
            let index = records.free.pop().unwrap_or_else(|| {
                records.places.push(Place { generation: 0, record: None });
                records.places.len() - 1
            });
            let Some(place) = records.places.get_mut(index) else { continue };
            place.record = Some(Record::new(Arc::clone(task), now));
            added.push((Slot { index, generation: place.generation }, Arc::clone(task)));
        }
        drop(guard);
        Changes { shard: self, removed, added, changed }
    }

    /// Counts the tasks; those whose series are shown go to `export`, with whether they are stuck.
    fn view(&self, now: Timestamp, mut export: impl FnMut(&Record, bool)) -> ProviderView {
        let records = self.lock();
        let mut view = ProviderView {
            name: Arc::clone(&self.name),
            tasks: Default::default(),
            oldest: Default::default(),
            stuck: 0,
        };
        let limits = &records.limits;
        for record in records.places.iter().filter_map(|place| place.record.as_ref()) {
            let stuck = record.is_stuck(limits.stuck_after, now);
            view.count(record, stuck, now);
            let exported = match limits.per_task_series {
                PerTaskSeries::All => record.is_retained(limits.retain_finished, now),
                PerTaskSeries::Active => !record.is_final(),
                PerTaskSeries::None => false,
            };
            if exported {
                export(record, stuck);
            }
        }
        view
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // A panic elsewhere leaves records whole: each is changed by plain assignments.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProviderView {
    fn count(&mut self, record: &Record, stuck: bool, now: Timestamp) {
        let state = record.state();
        let of_state = State::ALL.iter().position(|known| *known == state);
        if let Some(count) = of_state.and_then(|index| self.tasks.get_mut(index)) {
            *count += 1;
        }
        if record.is_final() {
            return;
        }
        let of_state = State::OPEN.iter().position(|known| *known == state);
        if let Some(oldest) = of_state.and_then(|index| self.oldest.get_mut(index)) {
            *oldest = (*oldest).max(now.since(record.enqueued()));
        }
        self.stuck += u64::from(stuck);
    }
}

#[cfg(test)]
mod tests;
