//! Configurations and lists of sources, applied to the tasks of all providers. Calls must not overlap:
//! the changes, which take a while to find with a million tasks, are found without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lists::{FirstPolls, ListContext, ListDiff, ListedTasks};
use super::provider_tasks::ProviderTasks;
use super::sources::{CONFIG, ListTiming, SourceRegistry, SourceSettings};
use super::{ListingChange, Store, TaskChanges};
use crate::clock::Timestamp;
use crate::config::{Config, Provider};
use crate::listing::{Claim, Listing, SourceId};
use crate::record::{TaskRecord, TrackedTask};
use crate::task::{Labels, Task, TaskCommon};

/// Shortest time from the start to the departure of a task that no source names, and to the end of a
/// registration: what became due while the exporter did not run is polled once more before.
const DEPARTURE_GRACE: Duration = Duration::from_secs(60);

/// The interval of `task_files`, which have none: how long before a reload a task of the files may
/// have come.
const CONFIG_INTERVAL: Duration = Duration::from_secs(60);

/// The part of a configuration that the life of tasks depends on.
#[derive(Clone, Debug)]
pub struct StoreConfig<'c> {
    /// The providers.
    pub providers: &'c [Arc<Provider>],
    /// Settings of `tasks` and `task_files`.
    pub config: SourceSettings,
    /// The other sources, in their order of precedence.
    pub sources: Vec<SourceSettings>,
    /// Maximum number of tasks of all providers.
    pub max_tasks: usize,
    /// Longest time for which a registration can last.
    pub max_ttl: Duration,
}

impl<'c> StoreConfig<'c> {
    /// Returns the part of a configuration that the life of tasks depends on.
    pub fn of(config: &'c Config) -> Self {
        Self {
            providers: &config.providers,
            config: SourceSettings {
                key: CONFIG.into(),
                keep_unlisted: config.keep_unlisted,
                refresh_interval: CONFIG_INTERVAL,
            },
            sources: config.discovery.iter().map(|source| SourceSettings::of(source)).collect(),
            max_tasks: config.max_tasks,
            max_ttl: config.task_receiver.max_ttl,
        }
    }
}

/// A list of a source.
#[derive(Debug, Default)]
pub struct StoreList {
    /// The tasks; no provider and ID twice.
    pub tasks: Vec<Task>,
    /// Their times of enqueueing as the source gives them: none at all, or one entry for each task.
    pub times: Vec<Option<Timestamp>>,
    /// False if parts of the list could not be read. Until the first whole list, the tasks are those
    /// of a first list.
    pub is_whole: bool,
    /// True if the list has only the newest tasks, so that open tasks cannot leave it.
    pub is_window: bool,
}

/// Tasks of an earlier process, by provider and task ID.
pub type RecoveredTasks = HashMap<Arc<str>, HashMap<Arc<str>, RecoveredTask>>;

/// A task of an earlier process.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredTask {
    /// Its record.
    pub record: TaskRecord,
    /// Its listing; `None` if nothing but the configuration ever named it.
    pub listing: Option<StoredListing>,
}

/// The listing of a task in a form that another process can read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StoredListing {
    /// The keys of the sources that name the task, or named it before, and which of both is true.
    pub sources: Vec<(Arc<str>, bool)>,
    /// Time since which no source names the task.
    pub unlisted_since: Option<Timestamp>,
    /// Time at which the task's registration ends, if it has one.
    pub registered_until: Option<Timestamp>,
    /// The task's labels.
    pub labels: Labels,
    /// The task's params.
    pub params: Labels,
}

impl StoredListing {
    /// Reports whether the configuration names the task, and no other source ever did.
    pub fn is_plain(&self) -> bool {
        matches!(self.sources.as_slice(), [(key, true)] if **key == *CONFIG)
    }
}

/// Saves a change before it is visible.
pub type SaveChange<'s> = dyn Fn(ListingChange<'_>) + 's;

impl Store {
    /// Sets the tasks of an earlier process, which the next configuration starts with.
    pub fn set_recovered(&self, recovered: RecoveredTasks) {
        *self.recovered.lock() = recovered;
    }

    /// Returns a task's listing as another process can read it.
    pub fn stored_listing(&self, tracked: &TrackedTask) -> StoredListing {
        // A change is saved while the registry is locked.
        let registry = self.sources.read_recursive();
        let sources = tracked.listing.sources();
        let sources = sources.map(|(source, is_current)| (registry.key(source), is_current));
        StoredListing {
            sources: sources.collect(),
            unlisted_since: tracked.listing.unlisted_since(),
            registered_until: tracked.listing.registered_until(),
            labels: Arc::clone(&tracked.task.common.labels),
            params: Arc::clone(&tracked.task.common.params),
        }
    }

    /// Applies the providers, sources and tasks of a configuration, and calls `save` with every change
    /// of a task before it is visible. Tasks that stay keep their record and slot.
    pub fn apply_config(
        &self,
        config: &StoreConfig<'_>,
        tasks: Vec<Task>,
        save: &SaveChange<'_>,
    ) -> Vec<TaskChanges> {
        let now = self.clock.now();
        self.max_tasks.store(config.max_tasks, Ordering::Relaxed);
        self.sources.write().configure(&config.config, &config.sources);
        let mut recovered = std::mem::take(&mut *self.recovered.lock());
        let known = self.providers();
        let by_name: HashMap<_, _> = known.iter().map(|known| (&*known.name, known)).collect();
        let of = |provider: &Arc<Provider>| match by_name.get(&*provider.name) {
            Some(known) => Arc::clone(known),
            None => {
                let name = Arc::clone(&provider.name);
                let (limits, budget) = (provider.limits.clone(), self.histories.clone());
                Arc::new(ProviderTasks::new(name, self.clock, limits, budget))
            }
        };
        let all: Vec<_> = config.providers.iter().map(of).collect();
        let mut records = self.restore(&all, &mut recovered, config.max_ttl);
        let timing = self.sources.write().begin_list(SourceId::CONFIG, !tasks.is_empty(), now);
        let diffs = diffs(&all, SourceId::CONFIG, by_provider(tasks, &[]));
        let registry = self.sources.read();
        let mut current = self.providers.write();
        let grace = if timing.is_first { DEPARTURE_GRACE } else { Duration::ZERO };
        let earliest = self.clock.monotonic() + grace;
        for (tasks, provider) in all.iter().zip(config.providers) {
            tasks.configure(provider, earliest, &registry);
        }
        let mut context = self.context(SourceId::CONFIG, timing, &all, &diffs, &registry, save);
        let mut changes: Vec<_> = all.iter().cloned().map(TaskChanges::none).collect();
        apply(diffs, &mut records, &mut context, &mut changes);
        let kept = |tasks: &Arc<ProviderTasks>| all.iter().any(|kept| Arc::ptr_eq(kept, tasks));
        let removed: Vec<_> = current.iter().filter(|tasks| !kept(tasks)).cloned().collect();
        current.clone_from(&all);
        drop(current);
        for tasks in removed {
            tasks.clear(save);
        }
        // Sources of earlier lives, and those that have left the configuration, name nothing.
        for source in registry.unconfigured() {
            context.source = source;
            let nothing = self::diffs(&all, source, HashMap::new());
            apply(nothing, &mut Records::new(), &mut context, &mut changes);
        }
        for (tasks, changes) in all.iter().zip(&mut changes) {
            // The worker of a new provider polls tasks of an earlier life as well.
            if !by_name.contains_key(&*tasks.name) {
                tasks.add_open_tasks(changes);
            }
        }
        self.keep_dormant(&all, &records, save);
        changes
    }

    /// Applies a list of a source, and calls `save` with every change of a task before it is visible.
    /// Tasks of providers that the configuration does not have are left out.
    pub fn apply_list(
        &self,
        key: &str,
        list: StoreList,
        save: &SaveChange<'_>,
    ) -> Vec<TaskChanges> {
        let now = self.clock.now();
        let StoreList { tasks, times, is_whole, is_window } = list;
        let (source, timing) = {
            let mut registry = self.sources.write();
            let source = registry.number(key.into());
            let timing = match is_whole || registry.has_list(source) {
                true => registry.begin_list(source, !tasks.is_empty(), now),
                false => ListTiming { is_first: true, newness: None },
            };
            (source, timing)
        };
        let all = self.providers();
        let diffs = diffs(&all, source, by_provider(tasks, &times));
        let registry = self.sources.read();
        let mut context = self.context(source, timing, &all, &diffs, &registry, save);
        context.is_window = is_window;
        let mut changes: Vec<_> = all.into_iter().map(TaskChanges::none).collect();
        apply(diffs, &mut Records::new(), &mut context, &mut changes);
        changes
    }

    /// Notes that a source gives the same list as before.
    pub fn confirm_list(&self, key: &str) {
        let (now, mut registry) = (self.clock.now(), self.sources.write());
        let source = registry.number(key.into());
        registry.begin_list(source, false, now);
    }

    /// Ends the registrations and removes the tasks whose time has come, and calls `save` with each.
    pub fn sweep(&self, save: &SaveChange<'_>) -> Vec<TaskChanges> {
        let all = self.providers();
        let registry = self.sources.read();
        let timing = ListTiming { is_first: true, newness: None };
        let context = self.context(SourceId::CONFIG, timing, &all, &[], &registry, save);
        // A list writer must not fill the memory with tasks that come and go.
        let max_dormant = self.max_tasks.load(Ordering::Relaxed);
        let swept = all.into_iter().map(|tasks| tasks.sweep(max_dormant, &context));
        swept.filter(|changes| !changes.is_empty() || changes.lost > 0).collect()
    }

    pub(super) fn context<'c>(
        &self,
        source: SourceId,
        timing: ListTiming,
        all: &[Arc<ProviderTasks>],
        diffs: &[ListDiff],
        registry: &'c SourceRegistry,
        save: &'c SaveChange<'_>,
    ) -> ListContext<'c> {
        let followed: usize = all.iter().map(|tasks| tasks.count()).sum();
        let new: usize = diffs.iter().map(ListDiff::new_tasks).sum();
        ListContext {
            source,
            now: self.clock.now(),
            monotonic: self.clock.monotonic(),
            timing,
            is_window: false,
            registry,
            room: self.max_tasks.load(Ordering::Relaxed).saturating_sub(followed),
            save,
            first_polls: FirstPolls::new(timing, new),
            ends: None,
        }
    }

    /// Restores the tasks of an earlier process that sources named; their registrations last for
    /// `max_ttl` at most, wherever the clock stood then. Returns the records of the others.
    fn restore(
        &self,
        all: &[Arc<ProviderTasks>],
        recovered: &mut RecoveredTasks,
        max_ttl: Duration,
    ) -> Records {
        let now = self.clock.monotonic();
        let mut registry = self.sources.write();
        let mut records = Records::new();
        let mut commons = HashMap::new();
        for tasks in all {
            let Some(recovered) = recovered.remove(&*tasks.name) else { continue };
            let of_provider = records.entry(Arc::clone(&tasks.name)).or_default();
            tasks.restore(recovered.into_iter().filter_map(
                |(id, RecoveredTask { record, listing })| {
                    let Some(stored) = listing else {
                        of_provider.insert(id, record);
                        return None;
                    };
                    let StoredListing { sources, unlisted_since, registered_until, labels, params } =
                        stored;
                    let registered_until = registered_until
                        .map(|until| until.min(now + max_ttl).max(now + DEPARTURE_GRACE));
                    let provider = Arc::clone(&tasks.name);
                    let common = TaskCommon { provider, labels, params };
                    let common = commons.entry(common.clone()).or_insert_with(|| Arc::new(common));
                    let claims = sources.into_iter().map(|(key, is_current)| {
                        let source = registry.number(key);
                        Claim {
                            source,
                            is_current,
                            common: Arc::clone(common),
                            enqueue_time: None,
                            ends: registered_until.filter(|_| source == SourceId::REGISTRATION),
                        }
                    });
                    let claims: Vec<_> = claims.collect();
                    let is_listed = claims.iter().any(|claim| claim.is_current);
                    let since =
                        (!is_listed).then(|| unlisted_since.map_or(now, |since| since.min(now)));
                    let task = Task { id: (&*id).into(), common: Arc::clone(common) };
                    Some(TrackedTask { task, record, listing: Listing::restore(claims, since) })
                },
            ));
        }
        drop(registry);
        records
    }

    /// Keeps the records of configured tasks of an earlier process that the configuration no longer
    /// names, in case they come back.
    fn keep_dormant(&self, all: &[Arc<ProviderTasks>], records: &Records, save: &SaveChange<'_>) {
        let now = self.clock.monotonic();
        for tasks in all {
            let Some(records) = records.get(&tasks.name) else { continue };
            let none = Labels::default();
            let (labels, params, provider) = (none.clone(), none, Arc::clone(&tasks.name));
            let common = Arc::new(TaskCommon { provider, labels, params });
            tasks.restore(records.iter().map(|(id, record)| {
                let claim = Claim {
                    source: SourceId::CONFIG,
                    is_current: false,
                    common: Arc::clone(&common),
                    enqueue_time: None,
                    ends: None,
                };
                let task = Task { id: (&**id).into(), common: Arc::clone(&common) };
                let listing = Listing::restore(vec![claim], Some(now));
                let tracked = TrackedTask { task, record: record.clone(), listing };
                save(ListingChange::Saved(&tracked));
                tracked
            }));
        }
    }
}

/// Records of tasks by provider and ID.
type Records = HashMap<Arc<str>, HashMap<Arc<str>, TaskRecord>>;

/// Divides a list by provider.
fn by_provider(tasks: Vec<Task>, times: &[Option<Timestamp>]) -> HashMap<Arc<str>, ListedTasks> {
    let mut listed: HashMap<Arc<str>, ListedTasks> = HashMap::new();
    for (index, task) in tasks.into_iter().enumerate() {
        if !listed.contains_key(&task.common.provider) {
            listed.insert(Arc::clone(&task.common.provider), ListedTasks::default());
        }
        if let Some(listed) = listed.get_mut(&task.common.provider) {
            listed.tasks.push(task);
            if !times.is_empty() {
                listed.enqueue_times.push(times.get(index).copied().flatten());
            }
        }
    }
    listed
}

fn diffs(
    all: &[Arc<ProviderTasks>],
    source: SourceId,
    mut listed: HashMap<Arc<str>, ListedTasks>,
) -> Vec<ListDiff> {
    let diff = |tasks: &Arc<ProviderTasks>| {
        tasks.diff(source, listed.remove(&tasks.name).unwrap_or_default())
    };
    all.iter().map(diff).collect()
}

/// Applies one difference for each provider, and adds to its changes: first what leaves, which makes room.
fn apply(
    mut diffs: Vec<ListDiff>,
    records: &mut Records,
    context: &mut ListContext<'_>,
    all: &mut [TaskChanges],
) {
    for (diff, changes) in diffs.iter_mut().zip(&mut *all) {
        let tasks = Arc::clone(&changes.tasks);
        tasks.apply_departures(diff, context, changes);
    }
    for (diff, changes) in diffs.into_iter().zip(all) {
        let tasks = Arc::clone(&changes.tasks);
        let records = records.entry(Arc::clone(&tasks.name)).or_default();
        match tasks.begin_list(context.source) {
            true => context
                .as_first_list(|context| tasks.apply_arrivals(diff, records, context, changes)),
            false => tasks.apply_arrivals(diff, records, context, changes),
        }
    }
}
