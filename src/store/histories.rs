//! The histories of a provider's tasks, in memory only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::history::task_history::{StateSpan, TaskHistory};
use crate::observation::{PollOutcome, State};

/// Maximum number of tasks of all providers with a history. A history takes at most a kilobyte, so
/// that all take 10 MB, where a million of them would take a gigabyte.
pub const MAX_HISTORIES: usize = 10_000;

/// The number of histories that may still be created, shared by all providers.
#[derive(Clone, Debug)]
pub struct HistoryBudget(Arc<AtomicUsize>);

impl HistoryBudget {
    /// Creates a budget of so many histories.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(count)))
    }

    fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn take_one(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// The histories of the tasks of one provider, by row.
#[derive(Debug)]
pub struct TaskHistories {
    by_row: HashMap<u32, TaskHistory>,
    budget: HistoryBudget,
}

impl TaskHistories {
    /// Creates histories of no tasks.
    pub fn new(budget: HistoryBudget) -> Self {
        Self { by_row: HashMap::new(), budget }
    }

    /// Returns the budget of the histories.
    pub fn budget(&self) -> HistoryBudget {
        self.budget.clone()
    }

    /// Reports whether the task in a row has a history, or may get one. Most tasks of a large fleet
    /// have none, and their polls take no more time for it than this.
    pub fn has_or_can_have(&self, row: u32) -> bool {
        self.budget.has_room() || self.by_row.contains_key(&row)
    }

    /// Adds a poll to the history of the task in a row, whose state was `before`, and has been `after`
    /// since the poll. A task without a history gets one if there is room, unless its first poll finds
    /// it ended: nothing more will happen to it.
    pub fn add_poll(
        &mut self,
        row: u32,
        outcome: &PollOutcome,
        before: StateSpan,
        after: StateSpan,
    ) {
        if let Some(history) = self.by_row.get_mut(&row) {
            return history.add_poll(outcome, after);
        }
        let was_over = before.state == State::Unpolled && after.state.is_final();
        if !was_over && self.budget.take_one() {
            let mut history = TaskHistory::new(before);
            history.add_poll(outcome, after);
            self.by_row.insert(row, history);
        }
    }

    /// Returns the history of the task in a row.
    pub fn get(&self, row: u32) -> Option<&TaskHistory> {
        self.by_row.get(&row)
    }

    /// Removes the history of the task in a row.
    pub fn remove(&mut self, row: u32) {
        if self.by_row.remove(&row).is_some() {
            self.budget.give_back(1);
        }
    }
}

impl Drop for TaskHistories {
    fn drop(&mut self) {
        self.budget.give_back(self.by_row.len());
    }
}
