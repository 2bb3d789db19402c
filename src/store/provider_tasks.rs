//! The tasks of one provider, under one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::blocks::{Block, BlockList};
use super::vocabulary::Vocabulary;
use super::{PollTarget, Slot, TaskChanges, TaskList, to_index};
use crate::clock::{Clock, Timestamp};
use crate::config::{Limits, Provider};
use crate::observation::{PollOutcome, State};
use crate::record::{PollTime, TaskRecord, TrackedTask, Transition};
use crate::task::{Task, TaskIndex};

/// Smallest step back of `shown_since` that is a clock adjustment or a longer `retain_finished`, and
/// not the order in which concurrent scrapes got the lock.
const MIN_STEP_BACK: Duration = Duration::from_secs(1);

/// The tasks of one provider.
#[derive(Debug)]
pub struct ProviderTasks {
    /// The provider's name.
    pub name: Arc<str>,
    clock: Clock,
    table: Mutex<TaskTable>,
}

/// The table of a provider's tasks. A row belongs to one task as long as the task is configured.
#[derive(Debug)]
struct TaskTable {
    limits: Limits,
    rows: Vec<TableRow>,
    /// Rows without a task.
    free: Vec<u32>,
    /// Tasks that are not final.
    open: BlockList,
    /// Final tasks whose series are shown.
    retained: BlockList,
    /// Final tasks whose series are no longer shown.
    retired: BlockList,
    /// Number of tasks by state, in the order of [`State::ALL`].
    state_counts: [u64; State::ALL.len()],
    vocabulary: Vocabulary,
    /// Final tasks are shown if the exporter saw their end at this time or later.
    shown_since: Timestamp,
}

/// A row of the table. The generation distinguishes the tasks that have had the row.
#[derive(Clone, Copy, Debug)]
struct TableRow {
    generation: u32,
    position: Option<BlockPosition>,
}

/// The position of a task in the blocks.
#[derive(Clone, Copy, Debug)]
struct BlockPosition {
    partition: Partition,
    index: u32,
}

/// A part of the table with blocks of its own, so that final tasks are in blocks that rarely change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partition {
    Open,
    Retained,
    Retired,
}

/// A snapshot of a provider's tasks.
#[derive(Debug)]
pub struct ProviderSnapshot {
    /// Limits of the provider.
    pub limits: Limits,
    /// Number of tasks by state, in the order of [`State::ALL`].
    pub state_counts: [u64; State::ALL.len()],
    /// Tasks that are not final.
    pub open: Vec<Arc<Block>>,
    /// Final tasks whose series are shown.
    pub retained: Vec<Arc<Block>>,
}

/// The changes that a new configuration makes to the tasks of a provider, by row.
#[derive(Debug)]
pub struct TaskDiff {
    removed: Vec<u32>,
    changed: Vec<(u32, Task)>,
    added: Vec<Task>,
}

impl ProviderTasks {
    /// Creates a provider without tasks.
    pub fn new(name: Arc<str>, clock: Clock, limits: Limits) -> Self {
        Self { name, clock, table: Mutex::new(TaskTable::new(limits)) }
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
        let position = table.block_position(slot)?;
        let stuck_after = table.limits.stuck_after;
        let mut outcome = outcome.clone();
        table.vocabulary.limit(&mut outcome);
        table.update(slot.row, position, |tracked| {
            let transition = tracked.apply(&outcome, at, stuck_after);
            before_visible(tracked, &transition);
            transition
        })
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
        let table = self.table.lock();
        let rows = table.open.blocks().iter().flat_map(|block| block.rows());
        let targets = rows.filter_map(|(row, tracked)| {
            let slot = table.slot(row)?;
            Some(PollTarget::new(slot, &tracked.task))
        });
        let added = targets.collect();
        drop(table);
        TaskChanges { tasks: self, removed: Vec::new(), added, changed: Vec::new() }
    }

    /// Returns the task with this ID.
    pub fn find(&self, id: &str) -> Option<Task> {
        self.list().find(id).map(|tracked| tracked.task.clone())
    }

    /// Returns all tasks, whether or not their series are shown.
    pub fn list(&self) -> TaskList {
        let table = self.table.lock();
        let blocks = table.partitions().flat_map(BlockList::blocks).cloned().collect();
        TaskList { stuck_after: table.limits.stuck_after, blocks }
    }

    /// Retires the final tasks that have been shown for long enough, then returns a snapshot.
    pub fn snapshot(&self, now: Timestamp) -> ProviderSnapshot {
        let mut table = self.table.lock();
        table.retire(now);
        ProviderSnapshot {
            limits: table.limits.clone(),
            state_counts: table.state_counts,
            open: table.open.blocks().to_vec(),
            retained: table.retained.blocks().to_vec(),
        }
    }

    /// Returns the difference between `tasks` and the tasks in the table.
    ///
    /// This takes long if there are many, and holds no lock meanwhile. Only a reload adds and removes
    /// tasks, so the result is still valid when it is applied.
    pub(crate) fn diff(&self, tasks: Vec<Task>) -> TaskDiff {
        let blocks = self.list().blocks;
        let (mut removed, mut changed) = (Vec::new(), Vec::new());
        if blocks.is_empty() {
            return TaskDiff { removed, changed, added: tasks };
        }
        let wanted = TaskIndex::of(&tasks);
        let mut is_known = vec![false; tasks.len()];
        for (row, tracked) in blocks.iter().flat_map(|block| block.rows()) {
            let at = wanted.find(&tracked.task, &tasks);
            let found = at.and_then(|at| tasks.get(at).zip(is_known.get_mut(at)));
            let Some((task, is_known)) = found else {
                removed.push(row);
                continue;
            };
            *is_known = true;
            if *task != tracked.task {
                changed.push((row, task.clone()));
            }
        }
        let added = tasks.into_iter().zip(is_known).filter(|(_, known)| !known);
        TaskDiff { removed, changed, added: added.map(|(task, _)| task).collect() }
    }

    /// Applies the settings of the provider and a diff of its tasks. Tasks that stay keep their record
    /// and their row; added tasks get their record from `recovered`, if it has one.
    pub(crate) fn apply_diff(
        self: Arc<Self>,
        provider: &Provider,
        diff: TaskDiff,
        recovered: &mut HashMap<Arc<str>, TaskRecord>,
        now: Timestamp,
    ) -> TaskChanges {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        table.limits = provider.limits.clone();
        table.vocabulary.declare(&provider.mapping);
        let removed = diff.removed.into_iter().filter_map(|row| table.remove_task(row)).collect();
        let changed = diff.changed.into_iter();
        let changed = changed.filter_map(|(row, task)| table.replace_task(row, task)).collect();
        // In the order of the configuration, which is then the order in /metrics.
        let mut added = Vec::with_capacity(diff.added.len());
        table.rows.reserve(diff.added.len());
        added.extend(diff.added.into_iter().filter_map(|task| {
            let mut record = recovered.remove(&*task.id).unwrap_or_else(|| TaskRecord::new(now));
            table.vocabulary.limit_record(&mut record);
            table.add_task(TrackedTask { task, record })
        }));
        drop(guard);
        TaskChanges { tasks: self, removed, added, changed }
    }

    /// Removes all tasks, because the provider was removed. Polls in flight then find no task.
    pub fn clear(&self) {
        let empty =
            |table: &mut TaskTable| std::mem::replace(table, TaskTable::new(table.limits.clone()));
        // Dropping many tasks takes long, so it happens after the lock is released.
        let removed = empty(&mut self.table.lock());
        drop(removed);
    }
}

impl TaskTable {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            rows: Vec::new(),
            free: Vec::new(),
            open: BlockList::default(),
            retained: BlockList::default(),
            retired: BlockList::default(),
            state_counts: Default::default(),
            vocabulary: Vocabulary::default(),
            shown_since: Timestamp::from_micros(i64::MIN),
        }
    }

    fn block_position(&self, slot: Slot) -> Option<BlockPosition> {
        let row = self.rows.get(slot.row_index())?;
        row.position.filter(|_| row.generation == slot.generation)
    }

    fn get(&self, slot: Slot) -> Option<&TrackedTask> {
        let BlockPosition { partition, index } = self.block_position(slot)?;
        self.blocks(partition).get(to_index(index))
    }

    fn slot(&self, row: u32) -> Option<Slot> {
        let generation = self.rows.get(to_index(row))?.generation;
        Some(Slot { row, generation })
    }

    fn partitions(&self) -> impl Iterator<Item = &BlockList> {
        [&self.open, &self.retained, &self.retired].into_iter()
    }

    fn blocks(&self, partition: Partition) -> &BlockList {
        match partition {
            Partition::Open => &self.open,
            Partition::Retained => &self.retained,
            Partition::Retired => &self.retired,
        }
    }

    fn blocks_mut(&mut self, partition: Partition) -> &mut BlockList {
        match partition {
            Partition::Open => &mut self.open,
            Partition::Retained => &mut self.retained,
            Partition::Retired => &mut self.retired,
        }
    }

    /// Counts a task that changed from one state to another; `None` is outside of the table.
    fn count(&mut self, from: Option<State>, to: Option<State>) {
        for (known, count) in State::ALL.into_iter().zip(&mut self.state_counts) {
            *count -= u64::from(from == Some(known));
            *count += u64::from(to == Some(known));
        }
    }

    /// Applies a poll to the task of a row, and moves the task if it has become final.
    fn update(
        &mut self,
        row: u32,
        position: BlockPosition,
        apply: impl FnOnce(&mut TrackedTask) -> Transition,
    ) -> Option<Transition> {
        let BlockPosition { partition, index } = position;
        let transition = self.blocks_mut(partition).update(to_index(index), apply)?;
        if transition.from != transition.to {
            self.count(Some(transition.from), Some(transition.to));
        }
        if transition.is_final && partition == Partition::Open {
            self.move_to(row, Partition::Retained);
        }
        Some(transition)
    }

    /// Retires the final tasks whose series have been shown for long enough. Shows retired ones again
    /// if `retain_finished` has grown, or if the clock, which ran ahead, was set back.
    fn retire(&mut self, now: Timestamp) {
        let shown_since = now - self.limits.retain_finished;
        let step_back = self.shown_since.since(shown_since);
        // Concurrent scrapes may get the lock in another order than they read the clock.
        if step_back >= MIN_STEP_BACK {
            for row in self.retired.rows_changed_since(shown_since) {
                self.move_to(row, Partition::Retained);
            }
        }
        if step_back.is_zero() || step_back >= MIN_STEP_BACK {
            self.shown_since = shown_since;
        }
        for row in self.retained.rows_changed_before(shown_since) {
            self.move_to(row, Partition::Retired);
        }
    }

    fn move_to(&mut self, row: u32, partition: Partition) {
        if let Some(tracked) = self.remove(row) {
            self.insert(row, partition, tracked);
        }
    }

    fn insert(&mut self, row: u32, partition: Partition, tracked: TrackedTask) {
        let index = self.blocks_mut(partition).push(row, tracked);
        self.set_position(row, Some((partition, index)));
    }

    /// Removes the task of a row from its blocks.
    fn remove(&mut self, row: u32) -> Option<TrackedTask> {
        let BlockPosition { partition, index } = self.rows.get(to_index(row))?.position?;
        let (tracked, moved) = self.blocks_mut(partition).swap_remove(to_index(index))?;
        if let Some(moved) = moved {
            self.set_position(moved, Some((partition, to_index(index))));
        }
        self.set_position(row, None);
        Some(tracked)
    }

    fn set_position(&mut self, row: u32, position: Option<(Partition, usize)>) {
        if let Some(row) = self.rows.get_mut(to_index(row)) {
            row.position = position.and_then(|(partition, index)| {
                Some(BlockPosition { partition, index: u32::try_from(index).ok()? })
            });
        }
    }

    /// Removes a task and frees its row.
    fn remove_task(&mut self, row: u32) -> Option<Slot> {
        let slot = self.slot(row)?;
        let tracked = self.remove(row)?;
        self.count(Some(tracked.state()), None);
        if let Some(row) = self.rows.get_mut(to_index(row)) {
            row.generation = row.generation.wrapping_add(1);
        }
        self.free.push(row);
        Some(slot)
    }

    /// Replaces the task of a row by one whose labels or params differ.
    fn replace_task(&mut self, row: u32, task: Task) -> Option<PollTarget> {
        let slot = self.slot(row)?;
        let BlockPosition { partition, index } = self.block_position(slot)?;
        let target = PollTarget::new(slot, &task);
        self.blocks_mut(partition).update(to_index(index), |tracked| tracked.task = task)?;
        Some(target)
    }

    /// Adds a task. Returns the target for polling it, unless the task is final.
    fn add_task(&mut self, tracked: TrackedTask) -> Option<PollTarget> {
        let row = match self.free.pop() {
            Some(row) => row,
            None => {
                self.rows.push(TableRow { generation: 0, position: None });
                u32::try_from(self.rows.len() - 1).ok()?
            }
        };
        let target = PollTarget::new(self.slot(row)?, &tracked.task);
        self.count(None, Some(tracked.state()));
        let partition = if tracked.is_final() { Partition::Retained } else { Partition::Open };
        self.insert(row, partition, tracked);
        (partition == Partition::Open).then_some(target)
    }
}
