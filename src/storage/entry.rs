//! A change on its way to the disk.

use crate::store::record::{Change, Finished, Known, Record};
use crate::task::Task;

/// What a poll changed.
#[derive(Debug)]
pub struct Entry {
    /// The task.
    pub task: Task,
    /// What is known of it now.
    pub known: Known,
    /// That it has just come to its end.
    pub finished: Option<Finished>,
}

impl Entry {
    /// The change that a record went through.
    pub fn new(record: &Record, change: &Change) -> Self {
        let (task, known) = (record.task.clone(), record.known.clone());
        Self { task, known, finished: change.finished }
    }

    /// Some change of the task with this ID, for tests.
    #[cfg(test)]
    pub fn example(id: &str, is_finish: bool) -> Self {
        use std::sync::Arc;

        use crate::clock::Timestamp;
        use crate::observation::{Observation, State};
        use crate::task::Common;

        let common = Common { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: id.into(), common: Arc::new(common) };
        let now = Timestamp::from_micros(0);
        let mut known = Known::new(now);
        if is_finish {
            known.observe(&Observation::new(State::Running, ""), now);
            known.observe(&Observation::new(State::Succeeded, ""), now);
        }
        Self { task, known, finished: is_finish.then_some(Finished { duration: None }) }
    }
}
