//! Tasks in blocks, which the store shares with its snapshots, and their cached compressed text.

use std::fmt;
use std::sync::Arc;

use flate2::Crc;
use parking_lot::Mutex;

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

/// The lines of some tasks in one family, as a piece of a deflate stream that refers to nothing
/// before it and ends on a whole byte.
#[derive(Debug)]
pub struct CompressedChunk {
    /// The piece of the stream.
    pub deflated: Box<[u8]>,
    /// Checksum and length of the text.
    pub crc: Crc,
}

/// A cache entry for one chunk. Concurrent scrapes share the work: while one encodes the chunk, the
/// others wait for it.
#[derive(Default)]
pub struct CachedChunk(Mutex<Option<(CacheKey, Arc<CompressedChunk>)>>);

/// Everything that the text depends on besides the records.
type CacheKey = Box<[u64]>;

impl CachedChunk {
    /// Returns the chunk cached under `key`, else the one that `encode` returns.
    pub(crate) fn get_or_encode(
        &self,
        key: &[u64],
        encode: impl FnOnce() -> CompressedChunk,
    ) -> Arc<CompressedChunk> {
        // A panic in `encode` leaves the entry as it was.
        let mut cached = self.0.lock();
        if let Some((_, chunk)) = cached.as_ref().filter(|(known, _)| **known == *key) {
            return Arc::clone(chunk);
        }
        let chunk = Arc::new(encode());
        *cached = Some((key.into(), Arc::clone(&chunk)));
        chunk
    }

    /// Reports whether an entry has nothing to invalidate. An entry that a copy of the block shares
    /// may get a chunk at any time.
    pub(crate) fn is_empty(entry: &mut Arc<Self>) -> bool {
        Arc::get_mut(entry).is_some_and(|cached| cached.0.get_mut().is_none())
    }

    /// Invalidates a cache entry. A copy of the block that shares the entry keeps it.
    pub(crate) fn invalidate(entry: &mut Arc<Self>) {
        match Arc::get_mut(entry) {
            Some(cached) => *cached = Self::default(),
            None => *entry = Arc::default(),
        }
    }
}

impl fmt::Debug for CachedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedChunk")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[test]
    fn concurrent_scrapes_share_the_work() {
        let (cached, encoded) = (CachedChunk::default(), AtomicUsize::new(0));
        let get = |key: &[u64]| {
            cached.get_or_encode(key, || {
                encoded.fetch_add(1, Ordering::Relaxed);
                CompressedChunk { deflated: Box::default(), crc: Crc::new() }
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| get(&[1]));
            }
        });
        assert_eq!(encoded.load(Ordering::Relaxed), 1);
        get(&[2]);
        assert_eq!(encoded.load(Ordering::Relaxed), 2, "another key, another text");
    }

    #[test]
    fn a_copy_keeps_what_the_original_invalidates() {
        let chunk = || CompressedChunk { deflated: Box::default(), crc: Crc::new() };
        let mut original = Arc::new(CachedChunk::default());
        let first = original.get_or_encode(&[], chunk);
        let copy = Arc::clone(&original);
        assert!(!CachedChunk::is_empty(&mut original));
        CachedChunk::invalidate(&mut original);
        assert!(CachedChunk::is_empty(&mut original));
        assert!(Arc::ptr_eq(&copy.get_or_encode(&[], chunk), &first));
        assert!(!Arc::ptr_eq(&original.get_or_encode(&[], chunk), &first));
    }
}
