//! The tasks of one provider, under one lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::blocks::{Block, BlockList};
use super::histories::HistoryBudget;
use super::lists::{self, ListContext, ListDiff, ListedTasks};
use super::sources::SourceRegistry;
use super::table::{Partition, TaskTable};
use super::{ListingChange, SaveChange, Slot, TaskChanges, TaskList};
use crate::clock::{Clock, Timestamp};
use crate::config::{Limits, Provider};
use crate::history::task_history::{StateSpan, TaskHistory};
use crate::listing::SourceId;
use crate::observation::{PollOutcome, State};
use crate::record::{PollTime, TaskRecord, TrackedTask, Transition};
use crate::task::Task;

/// The tasks of one provider.
#[derive(Debug)]
pub struct ProviderTasks {
    /// The provider's name.
    pub name: Arc<str>,
    clock: Clock,
    table: Mutex<TaskTable>,
}

/// A snapshot of a provider's tasks.
#[derive(Debug)]
pub struct ProviderSnapshot {
    /// Limits of the provider.
    pub limits: Limits,
    /// Number of tasks by state, in the order of [`State::ALL`].
    pub state_counts: [u64; State::ALL.len()],
    /// Number of tasks that are not final and that no source names.
    pub unlisted: u64,
    /// Tasks that are not final.
    pub open: Vec<Arc<Block>>,
    /// Final tasks whose series are shown.
    pub retained: Vec<Arc<Block>>,
}

impl ProviderTasks {
    /// Creates a provider without tasks.
    pub fn new(name: Arc<str>, clock: Clock, limits: Limits, histories: HistoryBudget) -> Self {
        Self { name, clock, table: Mutex::new(TaskTable::new(limits, histories)) }
    }

    /// Applies the outcome of a poll to the record of `slot` and passes both to `before_visible`,
    /// before a reader can see the change. Returns `None` if the task was removed meanwhile.
    pub fn record_poll(
        &self,
        slot: Slot,
        outcome: &PollOutcome,
        before_visible: impl FnOnce(&TrackedTask, &Transition),
    ) -> Option<Transition> {
        let at = PollTime { wall: self.clock.now(), monotonic: self.clock.monotonic() };
        let mut table = self.table.lock();
        table.block_position(slot)?;
        let stuck_after = table.limits.stuck_after;
        let mut outcome = outcome.clone();
        table.vocabulary.limit(&mut outcome);
        if let Err(failure) = &mut outcome {
            table.details.share(failure);
        }
        let has_history = table.histories.has_or_can_have(slot.row);
        let mut spans = None;
        let transition = table.apply_poll(slot, |tracked| {
            let before = has_history.then(|| StateSpan::of(tracked, tracked.state_since()));
            let transition = tracked.apply(&outcome, at, stuck_after);
            before_visible(tracked, &transition);
            spans = before.map(|before| (before, StateSpan::of(tracked, at.wall)));
            transition
        })?;
        if let Some((before, after)) = spans {
            table.histories.add_poll(slot.row, &outcome, before, after);
        }
        table.expire_unknown(slot.row, at.monotonic);
        Some(transition)
    }

    /// Limits the number of distinct words: replaces those of an outcome that are over the limit.
    pub(crate) fn limit_words(&self, outcome: &mut PollOutcome) {
        self.table.lock().vocabulary.limit(outcome);
    }

    /// Returns the code of a response, replaced if it is over the limit of distinct codes.
    pub(crate) fn limit_code(&self, code: &Arc<str>) -> Arc<str> {
        let mut code = Arc::clone(code);
        self.table.lock().vocabulary.limit_code(&mut code);
        code
    }

    /// Returns the task of a slot, unless it was removed.
    pub fn task(&self, slot: Slot) -> Option<Task> {
        self.table.lock().get(slot).map(|tracked| tracked.task.clone())
    }

    /// Returns the number of tasks that are not final.
    pub(crate) fn open_count(&self) -> usize {
        self.table.lock().open.count()
    }

    /// Returns every task that is not final as added, for a worker that starts.
    pub(crate) fn open_tasks_as_added(self: Arc<Self>) -> TaskChanges {
        let mut changes = TaskChanges::none(Arc::clone(&self));
        self.add_open_tasks(&mut changes);
        changes
    }

    /// Adds every task that is not final and that it does not add already.
    pub(crate) fn add_open_tasks(&self, changes: &mut TaskChanges) {
        let table = self.table.lock();
        if changes.added.len() == table.open.count() {
            return;
        }
        let known: HashSet<_> = changes.added.iter().map(|target| target.slot).collect();
        let rows = table.open.blocks().iter().flat_map(|block| block.rows());
        let targets = rows.filter_map(|(row, _)| table.target(row));
        changes.added.extend(targets.filter(|target| !known.contains(&target.slot)));
    }

    /// Reports whether the task with this ID is followed.
    pub(crate) fn has(&self, id: &str) -> bool {
        let table = self.table.lock();
        let slot = table.find(id).and_then(|row| table.slot(row));
        slot.is_some_and(|slot| table.block_position(slot).is_some())
    }

    /// Returns the task with this ID and its slot, if it is followed and not final.
    pub(crate) fn find_open(&self, id: &str) -> Option<(Slot, Task)> {
        let table = self.table.lock();
        let row = table.find(id)?;
        if table.partition(row) != Some(Partition::Open) {
            return None;
        }
        Some((table.slot(row)?, table.at(row)?.task.clone()))
    }

    /// Returns the task with this ID.
    pub fn find(&self, id: &str) -> Option<Task> {
        self.find_tracked(id).map(|tracked| tracked.task)
    }

    /// Returns the task with this ID and its record.
    pub fn find_tracked(&self, id: &str) -> Option<TrackedTask> {
        let table = self.table.lock();
        let row = table.find(id)?;
        table.get(table.slot(row)?).cloned()
    }

    /// Returns the history of the task with this ID, if it has one.
    pub fn history(&self, id: &str) -> Option<TaskHistory> {
        let table = self.table.lock();
        table.histories.get(table.find(id)?).cloned()
    }

    /// Returns all tasks, whether or not their series are shown.
    pub fn list(&self) -> TaskList {
        let table = self.table.lock();
        let partitions = [&table.open, &table.retained, &table.retired];
        let blocks = partitions.into_iter().flat_map(BlockList::blocks).cloned().collect();
        TaskList { stuck_after: table.limits.stuck_after, blocks }
    }

    /// Returns the records that are kept in case their tasks come back.
    pub(crate) fn dormant(&self) -> Vec<Arc<Block>> {
        self.table.lock().dormant.blocks().to_vec()
    }

    /// Retires the final tasks that have been shown for long enough, then returns a snapshot.
    pub fn snapshot(&self, now: Timestamp) -> ProviderSnapshot {
        let mut table = self.table.lock();
        table.retire(now);
        ProviderSnapshot {
            limits: table.limits.clone(),
            state_counts: table.state_counts,
            unlisted: table.unlisted,
            open: table.open.blocks().to_vec(),
            retained: table.retained.blocks().to_vec(),
        }
    }

    /// Returns the difference between what `source` names now and the table.
    ///
    /// This takes long if there are many tasks, and holds the lock only for parts of the time. Nothing
    /// else may add or remove tasks until the difference is applied.
    pub(crate) fn diff(&self, source: SourceId, tasks: ListedTasks) -> ListDiff {
        ListDiff::of(|| self.table.lock(), source, tasks)
    }

    /// Applies the settings of the provider. Departures of tasks that no source names are scheduled
    /// by the settings in `registry`, but not before `earliest`.
    pub(crate) fn configure(
        &self,
        provider: &Provider,
        earliest: Timestamp,
        registry: &SourceRegistry,
    ) {
        let mut table = self.table.lock();
        table.limits = provider.limits.clone();
        table.vocabulary.declare(&provider.mapping);
        table.reschedule_departures(earliest, registry);
    }

    /// Notes that a source gives a list. Returns true if it is the first for this provider.
    pub(crate) fn begin_list(&self, source: SourceId) -> bool {
        self.table.lock().listed_by.insert(source)
    }

    /// Applies what has left a list.
    pub(crate) fn apply_departures(
        &self,
        diff: &mut ListDiff,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        lists::apply_departures(|| self.table.lock(), diff, context, changes);
    }

    /// Applies what has come to a list, or changed in it; added tasks get their record from
    /// `recovered`, if it has one.
    pub(crate) fn apply_arrivals(
        &self,
        diff: ListDiff,
        recovered: &mut HashMap<Arc<str>, TaskRecord>,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        lists::apply_arrivals(|| self.table.lock(), diff, recovered, context, changes);
    }

    /// Restores tasks of an earlier life.
    pub(crate) fn restore(&self, tasks: impl IntoIterator<Item = TrackedTask>) {
        let mut table = self.table.lock();
        tasks.into_iter().for_each(|tracked| table.restore(tracked));
    }

    /// Ends the registrations whose time has come. Removes the tasks that no source names and whose
    /// time has come, and the oldest dormant ones if there are more than `max_dormant`.
    pub(crate) fn sweep(
        self: Arc<Self>,
        max_dormant: usize,
        context: &ListContext<'_>,
    ) -> TaskChanges {
        let mut changes = TaskChanges::none(Arc::clone(&self));
        self.table.lock().sweep(max_dormant, context, &mut changes);
        changes
    }

    /// Changes registrations of the table with `change`.
    pub(crate) fn change_registrations<T>(&self, change: impl FnOnce(&mut TaskTable) -> T) -> T {
        change(&mut self.table.lock())
    }

    /// Returns the number of open tasks that are registered.
    pub(crate) fn registered_count(&self) -> usize {
        self.table.lock().registered
    }

    /// Returns the number of tasks, without dormant ones.
    pub(crate) fn count(&self) -> usize {
        self.table.lock().count()
    }

    /// Removes all tasks, because the provider was removed, and calls `save` with each. Polls in flight
    /// then find no task.
    pub fn clear(&self, save: &SaveChange<'_>) {
        let empty = |table: &mut TaskTable| {
            let (limits, budget) = (table.limits.clone(), table.histories.budget());
            std::mem::replace(table, TaskTable::new(limits, budget))
        };
        // Dropping many tasks takes long, so it happens after the lock is released.
        let removed = empty(&mut self.table.lock());
        let partitions = [&removed.open, &removed.retained, &removed.retired, &removed.dormant];
        let blocks = partitions.into_iter().flat_map(BlockList::blocks);
        for tracked in blocks.flat_map(|block| block.tasks()) {
            save(ListingChange::Removed(&tracked.task));
        }
        drop(removed);
    }
}
