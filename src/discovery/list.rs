//! The list that a source gave: its tasks, and the elements that are none.

use crate::clock::Timestamp;
use crate::poll::list_turn::ListObservation;
use crate::task::Task;
pub use crate::telemetry::discovery::{RefreshReason, RejectReason};

/// Maximum number of elements of a list. More would not be tasks that one exporter follows.
pub const MAX_ELEMENTS: usize = 1_000_000;
/// Maximum size of a list that is read, in bytes: a million elements of the usual length.
pub const MAX_LIST_BYTES: usize = 32 << 20;
/// Maximum number of rejected elements of a list that are kept for people.
const MAX_KEPT: usize = 100;

/// A task that a source lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTask {
    /// The task.
    pub task: Task,
    /// Time at which it was accepted, if the source says so.
    pub enqueue_time: Option<Timestamp>,
}

impl AsRef<Task> for ListedTask {
    fn as_ref(&self) -> &Task {
        &self.task
    }
}

/// The content of a good list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceList {
    /// The tasks in the order of the list, without those that `limit` leaves out; of several elements
    /// with one provider and ID the first counts.
    pub tasks: Vec<ListedTask>,
    /// The elements that are no tasks.
    pub rejected: Rejections,
    /// Tasks that count as listed only if they are followed and open: those that the list shows as final,
    /// and those of which it does not say how they are.
    pub known_only: Vec<ListedTask>,
    /// Observations of the tasks, if the source is the list of a provider.
    pub observations: Vec<ListObservation>,
}

impl SourceList {
    /// Adds those tasks of `known_only` that are followed and open: a final task that was never seen open
    /// is not taken up.
    pub fn add_known(&mut self, is_open: impl Fn(&Task) -> bool) {
        let known = std::mem::take(&mut self.known_only).into_iter();
        self.tasks.extend(known.filter(|listed| is_open(&listed.task)));
    }

    /// Rejects the tasks beyond the limit of the source. Those that are followed already come first,
    /// then those at the beginning of the list.
    pub fn limit(&mut self, most: usize, is_followed: impl Fn(&Task) -> bool) {
        if self.tasks.len() <= most {
            return;
        }
        let followed = self.tasks.iter().filter(|listed| is_followed(&listed.task)).count();
        let (mut old, mut new) = (most, most.saturating_sub(followed));
        let rejected = &mut self.rejected;
        self.tasks.retain(|listed| {
            let left = if is_followed(&listed.task) { &mut old } else { &mut new };
            let is_kept = *left > 0;
            if is_kept {
                *left -= 1;
            } else {
                rejected.add(RejectReason::Limit, || RejectedElement {
                    element: listed.task.id.to_string(),
                    reason: RejectReason::Limit,
                    message: format!("more than {most} tasks"),
                });
            }
            is_kept
        });
    }
}

/// An element of a list that is no task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedElement {
    /// An excerpt of the element: its ID if it has one, else its text.
    pub element: String,
    /// The reason.
    pub reason: RejectReason,
    /// The position in the list, and what is wrong, for people.
    pub message: String,
}

/// The elements of a list that are no tasks: their numbers by reason, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    counts: [usize; RejectReason::ALL.len()],
    kept: Vec<RejectedElement>,
}

impl Rejections {
    /// Counts an element, and keeps it if it is one of the first.
    pub fn add(&mut self, reason: RejectReason, make: impl FnOnce() -> RejectedElement) {
        for (count, of) in self.counts.iter_mut().zip(RejectReason::ALL) {
            *count += usize::from(of == reason);
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(make());
        }
    }

    /// Counts tasks that `max_tasks` leaves out.
    pub fn add_limited(&mut self, tasks: usize) {
        for (count, of) in self.counts.iter_mut().zip(RejectReason::ALL) {
            *count += if of == RejectReason::Limit { tasks } else { 0 };
        }
        if tasks > 0 && self.kept.len() < MAX_KEPT {
            self.kept.push(RejectedElement {
                element: format!("{tasks} tasks"),
                reason: RejectReason::Limit,
                message: "beyond max_tasks, which counts what is followed already".to_owned(),
            });
        }
    }

    /// Reports whether a limit has left out tasks.
    pub fn has_limited(&self) -> bool {
        self.counts().any(|(reason, count)| reason == RejectReason::Limit && count > 0)
    }

    /// Adds the elements of another list.
    pub fn append(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.iter().take(room).cloned());
    }

    /// Returns the number of elements for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (RejectReason, usize)> {
        RejectReason::ALL.into_iter().zip(self.counts)
    }

    /// Returns the number of elements.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Returns the first elements in the order of the list, at most 100.
    pub fn first(&self) -> &[RejectedElement] {
        &self.kept
    }
}

/// The failure of a refresh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct RefreshError {
    /// The `reason` label.
    pub reason: RefreshReason,
    /// Details for people, without secrets.
    pub message: String,
    /// Time to wait before the next try, if the source asks for it.
    pub retry_after: Option<std::time::Duration>,
}

impl RefreshError {
    /// Creates an error without a time to wait.
    pub fn new(reason: impl Into<RefreshReason>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), retry_after: None }
    }
}

/// The outcome of a refresh that did not fail as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Refresh {
    /// The list is the one before.
    Unchanged,
    /// A whole list.
    List(SourceList),
    /// A list of which a part could not be read: the last good list stands for that part, or nothing
    /// if there was none. Counts as a failed refresh, although the list is applied; until the first
    /// whole list, the tasks are those of a first list.
    Partial(SourceList, RefreshError),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::task::TaskCommon;

    #[test]
    fn followed_tasks_come_first_where_there_are_too_many() {
        let none = || [].into();
        let common = TaskCommon { provider: "p".into(), labels: none(), params: none() };
        let common = Arc::new(common);
        let limited = |most, followed: &str| {
            let task =
                |id: char| Task { id: (&*id.to_string()).into(), common: Arc::clone(&common) };
            let tasks = "abcde".chars().map(|id| ListedTask { task: task(id), enqueue_time: None });
            let mut list = SourceList { tasks: tasks.collect(), ..SourceList::default() };
            list.limit(most, |task| followed.contains(&*task.id));
            let kept: String = list.tasks.iter().map(|listed| &*listed.task.id).collect();
            let first = list.rejected.first();
            assert_eq!(first.len(), list.rejected.total());
            (kept, first.iter().map(|rejected| &*rejected.element).collect::<String>())
        };
        let expected = |kept: &str, rejected: &str| (kept.to_owned(), rejected.to_owned());
        assert_eq!(limited(5, ""), expected("abcde", ""));
        assert_eq!(limited(3, ""), expected("abc", "de"));
        assert_eq!(limited(3, "be"), expected("abe", "cd"));
        assert_eq!(limited(2, "bde"), expected("bd", "ace"));
        assert_eq!(limited(3, "bde"), expected("bde", "ac"));
    }

    #[test]
    fn the_first_hundred_rejected_are_kept_and_all_are_counted() {
        let mut rejected = Rejections::default();
        let count = 50 * RejectReason::ALL.len();
        for (number, reason) in (0..count).zip(RejectReason::ALL.into_iter().cycle()) {
            rejected.add(reason, || RejectedElement {
                element: number.to_string(),
                reason,
                message: String::new(),
            });
        }
        let mut all = Rejections::default();
        all.append(&rejected);
        all.append(&rejected);
        let numbers = all.first().iter().map(|rejected| rejected.element.parse::<usize>().unwrap());
        assert!(numbers.eq(0..100));
        assert_eq!((rejected.total(), all.total()), (count, 2 * count));
        assert!(all.counts().all(|(_, count)| count == 100));
    }
}
