//! Records in blocks, which the store shares with the snapshots that it has given away.

use std::sync::Arc;

use super::kept::{Kept, forget};
use crate::clock::Timestamp;
use crate::family::TASK_FAMILIES;
use crate::record::Record;

/// Records of a block: enough that their compressed text is hardly longer than in one piece, few
/// enough that one which is copied for the sake of a snapshot costs a poll some ten microseconds.
pub const BLOCK: usize = 1024;

/// Some records that stand together. Whoever changes one that a snapshot has, changes a copy.
#[derive(Clone, Debug, Default)]
pub struct Block {
    records: Vec<Record>,
    /// The row of each, in the table of its provider.
    rows: Vec<u32>,
    /// Cached text of each family, in the order of [`TASK_FAMILIES`]. Copies of a block share what
    /// has not changed between them.
    kept: [Arc<Kept>; TASK_FAMILIES.len()],
    /// No record has moved before this moment.
    earliest: Option<Timestamp>,
}

impl Block {
    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records and their rows.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &Record)> {
        self.rows.iter().copied().zip(&self.records)
    }

    /// Returns the cached text of the family with this index in [`TASK_FAMILIES`].
    pub fn kept(&self, family: usize) -> Option<&Kept> {
        self.kept.get(family).map(|kept| &**kept)
    }

    fn push(&mut self, row: u32, record: Record) {
        self.takes_in(&record);
        self.records.push(record);
        self.rows.push(row);
    }

    /// Forgets what was kept, since `record` is about to stand here.
    fn takes_in(&mut self, record: &Record) {
        let moved = record.moved();
        self.earliest = Some(self.earliest.map_or(moved, |earliest| earliest.min(moved)));
        self.forget();
    }

    fn pop(&mut self) -> Option<(u32, Record)> {
        self.forget();
        self.rows.pop().zip(self.records.pop())
    }

    fn update<T>(&mut self, offset: usize, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let record = self.records.get_mut(offset)?;
        let before = record.clone();
        let result = change(record);
        for (family, kept) in TASK_FAMILIES.iter().zip(&mut self.kept) {
            if family.has_changed(&before, record) {
                forget(kept);
            }
        }
        if before.task != record.task {
            self.forget();
        }
        Some(result)
    }

    fn forget(&mut self) {
        self.kept.iter_mut().for_each(forget);
    }
}

/// Records one after another without a gap: every block is full but the last.
#[derive(Debug, Default)]
pub struct Area {
    blocks: Vec<Arc<Block>>,
}

impl Area {
    /// The blocks.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        let last = self.blocks.last().map_or(0, |block| block.records.len());
        self.blocks.len().saturating_sub(1) * BLOCK + last
    }

    /// Puts a record behind all others. Returns its index.
    pub fn push(&mut self, row: u32, record: Record) -> usize {
        let index = self.count();
        if index == self.blocks.len() * BLOCK {
            self.blocks.push(Arc::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            Arc::make_mut(block).push(row, record);
        }
        index
    }

    /// Takes a record out. The last one fills the gap: the row of that one, if it is another.
    pub fn swap_remove(&mut self, index: usize) -> Option<(Record, Option<u32>)> {
        let (last_row, last) = Arc::make_mut(self.blocks.last_mut()?).pop()?;
        self.blocks.pop_if(|block| block.records.is_empty());
        if index == self.count() {
            return Some((last, None));
        }
        let block = Arc::make_mut(self.blocks.get_mut(index / BLOCK)?);
        block.takes_in(&last);
        let offset = index % BLOCK;
        *block.rows.get_mut(offset)? = last_row;
        let record = std::mem::replace(block.records.get_mut(offset)?, last);
        Some((record, Some(last_row)))
    }

    /// Changes a record.
    pub fn update<T>(&mut self, index: usize, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        Arc::make_mut(self.blocks.get_mut(index / BLOCK)?).update(index % BLOCK, change)
    }

    /// A record.
    pub fn get(&self, index: usize) -> Option<&Record> {
        self.blocks.get(index / BLOCK)?.records.get(index % BLOCK)
    }

    /// The rows of the records that have not moved since before `moment`. Cheap where there are
    /// none.
    pub fn moved_before(&mut self, moment: Timestamp) -> Vec<u32> {
        let mut rows = Vec::new();
        for block in &mut self.blocks {
            if block.earliest.is_none_or(|earliest| earliest >= moment) {
                continue;
            }
            let (before, after): (Vec<_>, Vec<_>) =
                block.rows().partition(|(_, record)| record.moved() < moment);
            rows.extend(before.iter().map(|(row, _)| *row));
            // What has moved before is about to leave, or has left already.
            let earliest = after.iter().map(|(_, record)| record.moved()).min();
            Arc::make_mut(block).earliest = earliest;
        }
        rows
    }

    /// The rows of the other records. Looks at each.
    pub fn not_moved_before(&self, moment: Timestamp) -> Vec<u32> {
        let rows = self.blocks.iter().flat_map(|block| block.rows());
        rows.filter(|(_, record)| record.moved() >= moment).map(|(row, _)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::{Task, TaskCommon};

    fn record(number: u32) -> Record {
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: number.to_string().as_str().into(), common: Arc::new(common) };
        Record::new(task, Timestamp::from_micros(number.into()))
    }

    fn rows(blocks: &[Arc<Block>]) -> Vec<u32> {
        blocks.iter().flat_map(|block| block.rows().map(|(row, _)| row)).collect()
    }

    proptest! {
        #[test]
        fn an_area_is_a_vector(removals in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
            let (mut area, mut expected) = (Area::default(), Vec::new());
            for row in 0..2_100 {
                prop_assert_eq!(area.push(row, record(row)), expected.len());
                expected.push(row);
            }
            let snapshot = area.blocks().to_vec();
            let before = expected.clone();
            for removal in removals {
                let index = removal.index(expected.len());
                let (record, moved) = area.swap_remove(index).unwrap();
                let row = expected.swap_remove(index);
                prop_assert_eq!(&*record.task.id, row.to_string());
                prop_assert_eq!(moved, expected.get(index).copied());
                prop_assert_eq!(area.count(), expected.len());
            }
            prop_assert_eq!(rows(area.blocks()), expected);
            prop_assert_eq!(rows(&snapshot), before, "a snapshot stays as it was");
        }
    }
}
