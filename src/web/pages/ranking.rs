//! The worst tasks, found in one pass: a fleet of a million is neither sorted nor copied.

use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::observation::State;
use crate::record::TrackedTask;
use crate::store::TaskList;
use crate::web::task_filter::TaskFilter;

/// The worst of the tasks that were asked for.
#[derive(Debug)]
pub struct RankedTasks<'a> {
    /// The worst first.
    pub rows: Vec<TaskRow<'a>>,
    /// How many fit the question.
    pub count: u64,
}

/// A task.
#[derive(Clone, Copy, Debug)]
pub struct TaskRow<'a> {
    /// What is known of it.
    pub record: &'a TrackedTask,
    /// Whether it is stuck.
    pub is_stuck: bool,
}

impl TaskRow<'_> {
    /// Whether it needs a person: stuck, failed or lost.
    pub fn is_bad(self) -> bool {
        matches!(Rank::of(self).trouble, Severity::StuckReason | Severity::Failed)
    }
}

/// What a person has to look at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// The oldest first.
    StuckReason,
    /// Failed, or lost by the provider; the newest first.
    Failed,
    /// The last poll failed, so what is shown may be old; the oldest first.
    Unanswered,
    /// The oldest first.
    Open,
    /// Waits for its user; the oldest first.
    Waiting,
    /// The newest first.
    Ended,
}

/// Where a task stands: the smaller, the worse. Provider and ID make it one of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    trouble: Severity,
    moment: i64,
    provider: &'a str,
    id: &'a str,
}

impl<'a> Rank<'a> {
    fn of(TaskRow { record, is_stuck }: TaskRow<'a>) -> Self {
        let trouble = match record.state() {
            _ if is_stuck => Severity::StuckReason,
            State::Failed => Severity::Failed,
            State::NotFound if record.is_final() => Severity::Failed,
            _ if record.is_final() => Severity::Ended,
            _ if record.up() == Some(false) => Severity::Unanswered,
            State::Waiting => Severity::Waiting,
            _ => Severity::Open,
        };
        let moment = match trouble {
            Severity::Failed | Severity::Ended => record.state_since().micros().saturating_neg(),
            _ => record.enqueued().micros(),
        };
        Self { trouble, moment, provider: &record.task.common.provider, id: &record.task.id }
    }
}

/// A row and its rank, which alone counts.
#[derive(Debug)]
struct Ranked<'a>(Rank<'a>, TaskRow<'a>);

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked<'_> {}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// The `most` worst of `tasks` that fit the question.
pub fn worst<'a>(
    tasks: &'a [TaskList],
    question: &TaskFilter,
    now: Timestamp,
    most: usize,
) -> RankedTasks<'a> {
    let mut count = 0;
    // The least bad of them is on top.
    let mut heap = BinaryHeap::with_capacity(most + 1);
    for (record, stuck_after) in records(tasks) {
        if !question.fits(record, stuck_after, now) {
            continue;
        }
        count += 1;
        let row = TaskRow { record, is_stuck: record.is_stuck(stuck_after, now) };
        let rank = Rank::of(row);
        if heap.len() < most {
            heap.push(Ranked(rank, row));
        } else if let Some(mut least) = heap.peek_mut()
            && rank < least.0
        {
            *least = Ranked(rank, row);
        }
    }
    let rows = heap.into_sorted_vec().into_iter().map(|Ranked(_, row)| row).collect();
    RankedTasks { rows, count }
}

/// Every task, and after how long one of its provider counts as stuck.
fn records(tasks: &[TaskList]) -> impl Iterator<Item = (&TrackedTask, Duration)> {
    tasks.iter().flat_map(|view| view.tasks().map(|record| (record, view.stuck_after)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::observation::{Failure, Observation, Reason};
    use crate::task::{Task, TaskCommon};

    const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);
    const STUCK_AFTER: Duration = Duration::from_secs(600);

    /// A task that was enqueued, and has ended if it has, so many seconds ago.
    fn record(id: &str, state: State, seconds: u64, fails: bool) -> TrackedTask {
        let at = NOW - Duration::from_secs(seconds);
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
        let mut record = TrackedTask::new(Task { id: id.into(), common: Arc::new(common) }, at);
        match state {
            State::Unpolled => {}
            State::NotFound => {
                record.observe(&Observation::new(State::Running, "word"), at);
                for ago in [seconds, seconds, seconds.saturating_sub(61)] {
                    let denied = Failure::new(Reason::NotFound, "404");
                    let at = NOW - Duration::from_secs(ago);
                    record.fail(&denied, at, STUCK_AFTER);
                }
            }
            _ => {
                record.observe(&Observation::new(state, "word"), at);
            }
        }
        if fails {
            record.fail(&Failure::new(Reason::Http, "500"), NOW, STUCK_AFTER);
        }
        record
    }

    fn ids<'a>(worst: &RankedTasks<'a>) -> Vec<&'a str> {
        worst.rows.iter().map(|row| &*row.record.task.id).collect()
    }

    #[test]
    fn what_needs_a_person_first_stands_first() {
        let records = [
            record("succeeded-late", State::Succeeded, 10, false),
            record("open-young", State::Running, 10, false),
            record("stuck", State::Queued, 700, false),
            record("failed-long-ago", State::Failed, 9_000, false),
            record("waiting", State::Waiting, 99_999, false),
            record("lost", State::NotFound, 200, false),
            record("unanswered", State::Running, 5, true),
            record("cancelled-early", State::Cancelled, 800, false),
            record("open-old", State::Unknown, 600, false),
            record("failed", State::Failed, 3, false),
            record("stuck-longest", State::Unpolled, 9_000, false),
        ];
        assert!(records[5].is_final() && records[5].state() == State::NotFound);
        let tasks = [TaskList::of(records, STUCK_AFTER)];
        let all = worst(&tasks, &TaskFilter::default(), NOW, 100);
        let expected = [
            "stuck-longest",
            "stuck",
            "failed",
            "lost",
            "failed-long-ago",
            "unanswered",
            "open-old",
            "open-young",
            "waiting",
            "succeeded-late",
            "cancelled-early",
        ];
        assert_eq!((ids(&all), all.count), (expected.to_vec(), 11));
        let stuck: Vec<_> = all.rows.iter().map(|row| row.is_stuck).collect();
        assert_eq!(stuck, [vec![true; 2], vec![false; 9]].concat());
        let first = worst(&tasks, &TaskFilter::default(), NOW, 3);
        assert_eq!((ids(&first), first.count), (expected[..3].to_vec(), 11));

        let failed = TaskFilter { state: Some(State::Failed), ..TaskFilter::default() };
        let failed = worst(&tasks, &failed, NOW, 1);
        assert_eq!((ids(&failed), failed.count), (vec!["failed"], 2));
        let one = TaskFilter { task_id: Some("waiting".to_owned()), ..TaskFilter::default() };
        assert_eq!(ids(&worst(&tasks, &one, NOW, 1)), ["waiting"]);
        let stuck = TaskFilter { stuck: Some(true), ..TaskFilter::default() };
        assert_eq!(worst(&tasks, &stuck, NOW, 0).count, 2);
    }

    proptest! {
        #[test]
        fn the_worst_are_the_beginning_of_all(
            tasks in prop::collection::vec((0..State::ALL.len(), 0..1_200_u64, any::<bool>()), 0..60),
            most in 0..70_usize,
        ) {
            let made = tasks.iter().enumerate();
            let made = made.map(|(n, (state, age, fails))| {
                record(&n.to_string(), State::ALL[*state], *age, *fails)
            });
            let tasks = [TaskList::of(made, STUCK_AFTER)];
            let mut all: Vec<_> = records(&tasks)
                .map(|(record, after)| TaskRow { record, is_stuck: record.is_stuck(after, NOW) })
                .collect();
            all.sort_by_key(|row| Rank::of(*row));
            let expected: Vec<_> = all.iter().map(|row| &*row.record.task.id).take(most).collect();
            let found = worst(&tasks, &TaskFilter::default(), NOW, most);
            prop_assert_eq!(ids(&found), expected);
            prop_assert_eq!(found.count, u64::try_from(all.len()).unwrap());
        }
    }
}
