//! The tasks that one request asks for: at least one, so that a request which asks for nothing
//! cannot be built.

use super::Task;

/// Tasks of one [group](Task::group), never none.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    first: Task,
    rest: Vec<Task>,
}

impl TaskGroup {
    /// A single task.
    pub fn one(task: Task) -> Self {
        Self { first: task, rest: Vec::new() }
    }

    /// Collects tasks in their order; `None` where there are none.
    pub fn collect(tasks: impl IntoIterator<Item = Task>) -> Option<Self> {
        let mut tasks = tasks.into_iter();
        Some(Self { first: tasks.next()?, rest: tasks.collect() })
    }

    /// The task whose params stand for those of all.
    pub fn first(&self) -> &Task {
        &self.first
    }

    /// Every task, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The number of tasks, at least 1.
    pub fn count(&self) -> usize {
        1 + self.rest.len()
    }
}
