//! Where in a list a task stands.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Task;

/// Finds tasks of a list by provider and ID. It holds positions alone, and so takes nine bytes a
/// task.
#[derive(Debug, Default)]
pub struct Index {
    positions: HashTable<usize>,
    state: RandomState,
}

impl Index {
    /// An index of `tasks`, of which none is there twice.
    pub fn of(tasks: &[Task]) -> Self {
        let mut index = Self::default();
        index.reserve(tasks.len(), tasks);
        for (position, task) in tasks.iter().enumerate() {
            index.insert(position, task, tasks);
        }
        index
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize, tasks: &[Task]) {
        let Self { positions, state } = self;
        positions.reserve(more, |position| hash(state, tasks.get(*position)));
    }

    /// Where `task` stands in `tasks`.
    pub fn find(&self, task: &Task, tasks: &[Task]) -> Option<usize> {
        let is_it =
            |position: &usize| tasks.get(*position).is_some_and(|other| is_same(task, other));
        self.positions.find(hash(&self.state, Some(task)), is_it).copied()
    }

    /// Returns a hash of a task's provider and ID, which is another one for each index.
    pub fn hash(&self, task: &Task) -> u64 {
        hash(&self.state, Some(task))
    }

    /// Takes in `task`, which stands at `position` or is about to.
    pub fn insert(&mut self, position: usize, task: &Task, tasks: &[Task]) {
        let Self { positions, state } = self;
        let of = |position: &usize| hash(state, tasks.get(*position));
        positions.insert_unique(hash(state, Some(task)), position, of);
    }
}

fn hash(state: &RandomState, task: Option<&Task>) -> u64 {
    state.hash_one(task.map(|task| (&*task.common.provider, &*task.id)))
}

fn is_same(task: &Task, other: &Task) -> bool {
    *task.id == *other.id && task.common.provider == other.common.provider
}
