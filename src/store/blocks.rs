//! Tasks in blocks, which the store shares with its snapshots.

use std::sync::Arc;

use super::compressed_cache::CachedChunk;
use crate::clock::Timestamp;
use crate::family::TASK_FAMILIES;
use crate::record::TrackedTask;

/// Tasks in a block: enough that their compressed text is hardly longer than in one piece, few
/// enough that a block that is copied because of a snapshot costs a poll some ten microseconds.
pub const BLOCK_SIZE: usize = 1024;

/// A block of up to 1,024 tasks, shared with snapshots and copied on write.
#[derive(Clone, Debug, Default)]
pub struct Block {
    tasks: Vec<TrackedTask>,
    /// Row of each task in the table of its provider.
    rows: Vec<u32>,
    /// Cached text of each family, in the order of [`TASK_FAMILIES`]. Copies of a block share the
    /// entries that are valid for both.
    chunks: [Arc<CachedChunk>; TASK_FAMILIES.len()],
    /// Lower bound of the times at which the tasks last changed.
    earliest_change: Option<Timestamp>,
}

impl Block {
    /// Returns the tasks.
    pub fn tasks(&self) -> &[TrackedTask] {
        &self.tasks
    }

    /// Returns the tasks with their rows.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &TrackedTask)> {
        self.rows.iter().copied().zip(&self.tasks)
    }

    /// Returns the cached text of the family with this index in [`TASK_FAMILIES`].
    pub(crate) fn cached_chunk(&self, family: usize) -> Option<&CachedChunk> {
        self.chunks.get(family).map(|chunk| &**chunk)
    }

    fn push(&mut self, row: u32, tracked: TrackedTask) {
        self.prepare_for(&tracked);
        self.tasks.push(tracked);
        self.rows.push(row);
    }

    /// Updates what the block knows of its tasks as a whole before `tracked` becomes one of them.
    fn prepare_for(&mut self, tracked: &TrackedTask) {
        let changed = tracked.last_changed();
        self.earliest_change =
            Some(self.earliest_change.map_or(changed, |earliest| earliest.min(changed)));
        self.invalidate_chunks();
    }

    fn pop(&mut self) -> Option<(u32, TrackedTask)> {
        self.invalidate_chunks();
        self.rows.pop().zip(self.tasks.pop())
    }

    /// Changes a task, and invalidates the text of each family in which its sample has changed.
    fn update<T>(
        &mut self,
        offset: usize,
        change: impl FnOnce(&mut TrackedTask) -> T,
    ) -> Option<T> {
        let tracked = self.tasks.get_mut(offset)?;
        // Without cached text there is nothing to compare.
        if self.chunks.iter_mut().all(CachedChunk::is_empty) {
            return Some(change(tracked));
        }
        let before = tracked.clone();
        let result = change(tracked);
        for (family, chunk) in TASK_FAMILIES.iter().zip(&mut self.chunks) {
            if !CachedChunk::is_empty(chunk) && family.has_changed(&before, tracked) {
                CachedChunk::invalidate(chunk);
            }
        }
        if before.task != tracked.task {
            self.invalidate_chunks();
        }
        Some(result)
    }

    fn invalidate_chunks(&mut self) {
        self.chunks.iter_mut().for_each(CachedChunk::invalidate);
    }
}

/// A list of tasks in blocks, all of which are full except the last.
#[derive(Debug, Default)]
pub struct BlockList {
    blocks: Vec<Arc<Block>>,
}

impl BlockList {
    /// Returns the blocks.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Returns the number of tasks.
    pub fn count(&self) -> usize {
        let last = self.blocks.last().map_or(0, |block| block.tasks.len());
        self.blocks.len().saturating_sub(1) * BLOCK_SIZE + last
    }

    /// Appends a task and returns its index.
    pub fn push(&mut self, row: u32, tracked: TrackedTask) -> usize {
        let index = self.count();
        if index == self.blocks.len() * BLOCK_SIZE {
            self.blocks.push(Arc::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            Arc::make_mut(block).push(row, tracked);
        }
        index
    }

    /// Removes a task, which the last one replaces. Returns the task, and the row of the one that
    /// was moved, if any.
    pub fn swap_remove(&mut self, index: usize) -> Option<(TrackedTask, Option<u32>)> {
        let (last_row, last) = Arc::make_mut(self.blocks.last_mut()?).pop()?;
        self.blocks.pop_if(|block| block.tasks.is_empty());
        if index == self.count() {
            return Some((last, None));
        }
        let block = Arc::make_mut(self.blocks.get_mut(index / BLOCK_SIZE)?);
        block.prepare_for(&last);
        let offset = index % BLOCK_SIZE;
        *block.rows.get_mut(offset)? = last_row;
        let removed = std::mem::replace(block.tasks.get_mut(offset)?, last);
        Some((removed, Some(last_row)))
    }

    /// Changes a task.
    pub fn update<T>(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut TrackedTask) -> T,
    ) -> Option<T> {
        let block = Arc::make_mut(self.blocks.get_mut(index / BLOCK_SIZE)?);
        block.update(index % BLOCK_SIZE, change)
    }

    /// Returns a task.
    pub fn get(&self, index: usize) -> Option<&TrackedTask> {
        self.blocks.get(index / BLOCK_SIZE)?.tasks.get(index % BLOCK_SIZE)
    }

    /// Returns the rows of the tasks that last changed before `time`. Skips blocks without any.
    pub(crate) fn rows_changed_before(&mut self, time: Timestamp) -> Vec<u32> {
        let mut rows = Vec::new();
        for block in &mut self.blocks {
            if block.earliest_change.is_none_or(|earliest| earliest >= time) {
                continue;
            }
            let (before, since): (Vec<_>, Vec<_>) =
                block.rows().partition(|(_, tracked)| tracked.last_changed() < time);
            rows.extend(before.iter().map(|(row, _)| *row));
            // The tasks that changed before are about to be removed, or already are.
            let earliest = since.iter().map(|(_, tracked)| tracked.last_changed()).min();
            Arc::make_mut(block).earliest_change = earliest;
        }
        rows
    }

    /// Returns the rows of the tasks that last changed at `time` or later. Visits every task.
    pub(crate) fn rows_changed_since(&self, time: Timestamp) -> Vec<u32> {
        let rows = self.blocks.iter().flat_map(|block| block.rows());
        rows.filter(|(_, tracked)| tracked.last_changed() >= time).map(|(row, _)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::{Task, TaskCommon};

    fn tracked(number: u32) -> TrackedTask {
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: number.to_string().as_str().into(), common: Arc::new(common) };
        TrackedTask::new(task, Timestamp::from_micros(number.into()))
    }

    fn rows(blocks: &[Arc<Block>]) -> Vec<u32> {
        blocks.iter().flat_map(|block| block.rows().map(|(row, _)| row)).collect()
    }

    proptest! {
        #[test]
        fn a_block_list_behaves_like_a_vector(removals in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
            let (mut blocks, mut expected) = (BlockList::default(), Vec::new());
            for row in 0..2_100 {
                prop_assert_eq!(blocks.push(row, tracked(row)), expected.len());
                expected.push(row);
            }
            let snapshot = blocks.blocks().to_vec();
            let before = expected.clone();
            for removal in removals {
                let index = removal.index(expected.len());
                let (tracked, moved) = blocks.swap_remove(index).unwrap();
                let row = expected.swap_remove(index);
                prop_assert_eq!(&*tracked.task.id, row.to_string());
                prop_assert_eq!(moved, expected.get(index).copied());
                prop_assert_eq!(blocks.count(), expected.len());
            }
            prop_assert_eq!(rows(blocks.blocks()), expected);
            prop_assert_eq!(rows(&snapshot), before, "a snapshot stays as it was");
        }
    }
}
