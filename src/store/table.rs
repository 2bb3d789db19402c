//! The table of a provider's tasks: rows that stay, and blocks in which the tasks move. A row belongs
//! to one task as long as the task is known.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hashbrown::HashTable;

use super::blocks::BlockList;
use super::details::DetailPool;
use super::expiry::Expiry;
use super::histories::{HistoryBudget, TaskHistories};
use super::row_set::RowSet;
use super::vocabulary::Vocabulary;
use super::{PollTarget, Slot, to_index};
use crate::clock::Timestamp;
use crate::config::Limits;
use crate::listing::SourceId;
use crate::observation::State;
use crate::record::{TrackedTask, Transition};

/// Smallest step back of `shown_since` that is a clock adjustment or a longer `retain_finished`, and
/// not the order in which concurrent scrapes got the lock.
const MIN_STEP_BACK: Duration = Duration::from_secs(1);

/// The table of a provider's tasks.
#[derive(Debug)]
pub struct TaskTable {
    /// Limits of the provider.
    pub limits: Limits,
    rows: Vec<TableRow>,
    /// Rows without a task.
    free: Vec<u32>,
    /// Rows by ID. The hashes are kept, so that the index grows without a look at the tasks.
    index: HashTable<IndexEntry>,
    hasher: RandomState,
    /// Tasks that are not final.
    pub open: BlockList,
    /// Final tasks whose series are shown.
    pub retained: BlockList,
    /// Final tasks whose series are no longer shown.
    pub retired: BlockList,
    /// Tasks that no source names and that are not followed: only their records are kept, in case
    /// they come back.
    pub dormant: BlockList,
    /// Number of tasks by state, in the order of [`State::ALL`], without dormant ones.
    pub state_counts: [u64; State::ALL.len()],
    /// Number of open tasks that no source names.
    pub unlisted: u64,
    /// Rows that each source names.
    pub members: HashMap<SourceId, RowSet>,
    /// Sources that have given a list since the provider was configured.
    pub listed_by: HashSet<SourceId>,
    /// Times at which the tasks that no source names are due to leave.
    pub expiry: Expiry,
    /// Times at which registrations end.
    pub registrations: Expiry,
    /// Number of open tasks that are registered.
    pub registered: usize,
    /// Words of the provider that labels show.
    pub vocabulary: Vocabulary,
    /// Details of failures, which many tasks share.
    pub details: DetailPool,
    /// Histories of some of the tasks.
    pub histories: TaskHistories,
    /// Final tasks are shown if the exporter saw their end at this time or later.
    shown_since: Timestamp,
}

/// An entry of the index.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    row: u32,
    hash: u32,
}

/// A row of the table. The generation distinguishes the tasks that have had the row.
#[derive(Clone, Copy, Debug)]
struct TableRow {
    generation: u32,
    position: Option<BlockPosition>,
}

/// The position of a task in the blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockPosition {
    /// The blocks.
    pub partition: Partition,
    index: u32,
}

/// A part of the table with blocks of its own, so that final tasks are in blocks that rarely change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Tasks that are polled.
    Open,
    /// Final tasks whose series are shown.
    Retained,
    /// Final tasks whose series are no longer shown.
    Retired,
    /// Records that are kept in case their tasks come back.
    Dormant,
}

impl TaskTable {
    /// Creates an empty table.
    pub fn new(limits: Limits, histories: HistoryBudget) -> Self {
        Self {
            limits,
            rows: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            open: BlockList::default(),
            retained: BlockList::default(),
            retired: BlockList::default(),
            dormant: BlockList::default(),
            state_counts: Default::default(),
            unlisted: 0,
            members: HashMap::new(),
            listed_by: HashSet::new(),
            expiry: Expiry::default(),
            registrations: Expiry::default(),
            registered: 0,
            vocabulary: Vocabulary::default(),
            details: DetailPool::default(),
            histories: TaskHistories::new(histories),
            shown_since: Timestamp::from_micros(i64::MIN),
        }
    }

    /// Returns the number of tasks, without dormant ones.
    pub fn count(&self) -> usize {
        self.open.count() + self.retained.count() + self.retired.count()
    }

    /// Reports whether there are no tasks, not even dormant ones.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the row of the task with this ID, dormant or not.
    pub fn find(&self, id: &str) -> Option<u32> {
        let hash = self.hash(id);
        let is_it = |entry: &IndexEntry| {
            entry.hash == hash && self.at(entry.row).is_some_and(|tracked| *tracked.task.id == *id)
        };
        self.index.find(spread_bits(hash), is_it).map(|entry| entry.row)
    }

    /// Returns the position of a task that is not dormant.
    pub fn block_position(&self, slot: Slot) -> Option<BlockPosition> {
        let row = self.rows.get(to_index(slot.row))?;
        let position = row.position.filter(|_| row.generation == slot.generation)?;
        (position.partition != Partition::Dormant).then_some(position)
    }

    /// Returns the partition of the task in a row.
    pub fn partition(&self, row: u32) -> Option<Partition> {
        Some(self.rows.get(to_index(row))?.position?.partition)
    }

    /// Returns the task of a slot that is not dormant.
    pub fn get(&self, slot: Slot) -> Option<&TrackedTask> {
        self.block_position(slot)?;
        self.at(slot.row)
    }

    /// Returns the task in a row.
    pub fn at(&self, row: u32) -> Option<&TrackedTask> {
        let BlockPosition { partition, index } = self.rows.get(to_index(row))?.position?;
        self.blocks(partition).get(to_index(index))
    }

    /// Returns the slot of the task in a row.
    pub fn slot(&self, row: u32) -> Option<Slot> {
        let generation = self.rows.get(to_index(row))?.generation;
        Some(Slot { row, generation })
    }

    /// Returns the target for polling the task in a row.
    pub fn target(&self, row: u32) -> Option<PollTarget> {
        Some(PollTarget::new(self.slot(row)?, &self.at(row)?.task))
    }

    fn blocks(&self, partition: Partition) -> &BlockList {
        match partition {
            Partition::Open => &self.open,
            Partition::Retained => &self.retained,
            Partition::Retired => &self.retired,
            Partition::Dormant => &self.dormant,
        }
    }

    fn blocks_mut(&mut self, partition: Partition) -> &mut BlockList {
        match partition {
            Partition::Open => &mut self.open,
            Partition::Retained => &mut self.retained,
            Partition::Retired => &mut self.retired,
            Partition::Dormant => &mut self.dormant,
        }
    }

    /// Counts a task that changed from one state to another; `None` is outside of the counts.
    fn count_state(&mut self, from: Option<State>, to: Option<State>) {
        for (known, count) in State::ALL.into_iter().zip(&mut self.state_counts) {
            *count -= u64::from(from == Some(known));
            *count += u64::from(to == Some(known));
        }
    }

    /// Applies a poll to the task of a slot, and moves the task if it has become final.
    pub fn apply_poll(
        &mut self,
        slot: Slot,
        apply: impl FnOnce(&mut TrackedTask) -> Transition,
    ) -> Option<Transition> {
        let BlockPosition { partition, index } = self.block_position(slot)?;
        let row = slot.row;
        let transition = self.blocks_mut(partition).update(to_index(index), apply)?;
        if transition.from != transition.to {
            self.count_state(Some(transition.from), Some(transition.to));
        }
        if transition.is_final && partition == Partition::Open {
            self.unlisted -= u64::from(!self.at(row)?.listing.is_listed());
            self.move_to(row, Partition::Retained);
        }
        Some(transition)
    }

    /// Changes the task in a row, but not its state.
    pub fn update<T>(&mut self, row: u32, change: impl FnOnce(&mut TrackedTask) -> T) -> Option<T> {
        let BlockPosition { partition, index } = self.rows.get(to_index(row))?.position?;
        self.blocks_mut(partition).update(to_index(index), change)
    }

    /// Changes the listing of the task in a row, and counts whether it is registered.
    pub fn update_listing<T>(
        &mut self,
        row: u32,
        change: impl FnOnce(&mut TrackedTask) -> T,
    ) -> Option<T> {
        let BlockPosition { partition, .. } = self.rows.get(to_index(row))?.position?;
        let (before, result, after) = self.update(row, |tracked| {
            let before = tracked.listing.registered_until();
            let result = change(tracked);
            (before, result, tracked.listing.registered_until())
        })?;
        if before != after {
            before.inspect(|until| self.registrations.remove(*until, row));
            after.inspect(|until| self.registrations.insert(*until, row));
        }
        if partition == Partition::Open {
            self.registered -= usize::from(before.is_some());
            self.registered += usize::from(after.is_some());
        }
        Some(result)
    }

    /// Lets a task leave soon that no source names and that its provider has never known.
    pub fn expire_unknown(&mut self, row: u32, now: Timestamp) {
        let leaves = self.at(row).is_some_and(|tracked| {
            !tracked.listing.is_listed() && !tracked.is_final() && tracked.is_never_known()
        });
        if leaves {
            self.expiry.insert(now, row);
        }
    }

    /// Retires the final tasks whose series have been shown for long enough. Shows retired ones again
    /// if `retain_finished` has grown, or if the clock, which ran ahead, was set back.
    pub fn retire(&mut self, now: Timestamp) {
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
            let is_listed = self.at(row).is_none_or(|tracked| tracked.listing.is_listed());
            self.move_to(row, if is_listed { Partition::Retired } else { Partition::Dormant });
        }
    }

    /// Returns the partition in which a task that comes, or comes back, belongs.
    pub fn partition_for(&self, tracked: &TrackedTask) -> Partition {
        match tracked.is_final() {
            false => Partition::Open,
            true if tracked.last_changed() < self.shown_since => Partition::Retired,
            true => Partition::Retained,
        }
    }

    /// Moves the task in a row to another partition.
    pub fn move_to(&mut self, row: u32, partition: Partition) {
        let Some(before) = self.partition(row) else { return };
        let Some(tracked) = self.take(row) else { return };
        let (state, is_dormant) = (tracked.state(), |part| part == Partition::Dormant);
        let counted = |part| (!is_dormant(part)).then_some(state);
        if is_dormant(before) != is_dormant(partition) {
            self.count_state(counted(before), counted(partition));
        }
        if is_dormant(partition) {
            self.histories.remove(row);
        }
        self.insert(row, partition, tracked);
    }

    fn insert(&mut self, row: u32, partition: Partition, tracked: TrackedTask) {
        self.registered += usize::from(is_counted_as_registered(partition, &tracked));
        let index = self.blocks_mut(partition).push(row, tracked);
        self.set_position(row, Some((partition, index)));
    }

    /// Takes the task of a row out of its blocks.
    fn take(&mut self, row: u32) -> Option<TrackedTask> {
        let BlockPosition { partition, index } = self.rows.get(to_index(row))?.position?;
        let (tracked, moved) = self.blocks_mut(partition).swap_remove(to_index(index))?;
        if let Some(moved) = moved {
            self.set_position(moved, Some((partition, to_index(index))));
        }
        self.registered -= usize::from(is_counted_as_registered(partition, &tracked));
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

    /// Reserves memory for `more` tasks.
    pub fn reserve(&mut self, more: usize) {
        self.rows.reserve(more);
        self.index.reserve(more, |entry| spread_bits(entry.hash));
    }

    /// Adds a task to a partition. Returns its row.
    pub fn add(&mut self, partition: Partition, tracked: TrackedTask) -> Option<u32> {
        let row = match self.free.pop() {
            Some(row) => row,
            None => {
                self.rows.push(TableRow { generation: 0, position: None });
                u32::try_from(self.rows.len() - 1).ok()?
            }
        };
        let hash = self.hash(&tracked.task.id);
        let entry = IndexEntry { row, hash };
        self.index.insert_unique(spread_bits(hash), entry, |entry| spread_bits(entry.hash));
        if partition != Partition::Dormant {
            self.count_state(None, Some(tracked.state()));
        }
        if let Some(until) = tracked.listing.registered_until() {
            self.registrations.insert(until, row);
        }
        let is_unlisted = partition == Partition::Open && !tracked.listing.is_listed();
        self.unlisted += u64::from(is_unlisted);
        self.insert(row, partition, tracked);
        Some(row)
    }

    /// Removes a task and frees its row.
    pub fn remove(&mut self, row: u32) -> Option<(Slot, TrackedTask)> {
        let (slot, partition) = (self.slot(row)?, self.partition(row)?);
        let hash = self.hash(&self.at(row)?.task.id);
        if let Ok(entry) = self.index.find_entry(spread_bits(hash), |entry| entry.row == row) {
            entry.remove();
        }
        let tracked = self.take(row)?;
        self.histories.remove(row);
        if partition != Partition::Dormant {
            self.count_state(Some(tracked.state()), None);
        }
        if partition == Partition::Open && !tracked.listing.is_listed() {
            self.unlisted -= 1;
        }
        if let Some(until) = tracked.listing.registered_until() {
            self.registrations.remove(until, row);
        }
        for (source, _) in tracked.listing.sources() {
            self.members.get_mut(&source).map(|rows| rows.remove(row));
        }
        if let Some(row) = self.rows.get_mut(to_index(row)) {
            row.generation = row.generation.wrapping_add(1);
        }
        self.free.push(row);
        Some((slot, tracked))
    }

    fn hash(&self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        u32::try_from(hash >> 32).unwrap_or_default()
    }
}

/// Reports whether a task takes a place of the limit of registrations: a final one does not.
fn is_counted_as_registered(partition: Partition, tracked: &TrackedTask) -> bool {
    partition == Partition::Open && tracked.listing.registered_until().is_some()
}

/// Spreads a hash over 64 bits: the index uses both ends of it.
fn spread_bits(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
