use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::observation::{Failure, Observation, Reason, State};
use crate::record::TrackedTask;
use crate::task::{Task, TaskCommon};
use crate::web::query::filter::TaskFilter;
use crate::web::query::order::SortColumn;

const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);
const STUCK_AFTER: Duration = Duration::from_secs(600);

/// Creates the record of a task that was enqueued so many seconds ago, and ended then if it has
/// ended.
fn tracked(id: &str, state: State, seconds: u64, fails: bool) -> TrackedTask {
    let at = NOW - Duration::from_secs(seconds);
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
    let mut tracked = TrackedTask::new(Task { id: id.into(), common: Arc::new(common) }, at);
    match state {
        State::Unpolled => {}
        State::NotFound => {
            tracked.observe(&Observation::new(State::Running, "word"), at);
            for ago in [seconds, seconds, seconds.saturating_sub(61)] {
                let denied = Failure::new(Reason::NotFound, "404");
                let at = NOW - Duration::from_secs(ago);
                tracked.fail(&denied, at, STUCK_AFTER);
            }
        }
        _ => {
            tracked.observe(&Observation::new(state, "word"), at);
        }
    }
    if fails {
        tracked.fail(&Failure::new(Reason::Http, "500"), NOW, STUCK_AFTER);
    }
    tracked
}

fn ids<'a>(page: &ListPage<'a>) -> Vec<&'a str> {
    page.rows.iter().map(|row| &*row.tracked.task.id).collect()
}

fn query(filter: TaskFilter) -> TaskQuery {
    TaskQuery { filter, ..TaskQuery::default() }
}

#[test]
fn what_needs_a_person_first_stands_first() {
    let records = [
        tracked("succeeded-late", State::Succeeded, 10, false),
        tracked("open-young", State::Running, 10, false),
        tracked("stuck", State::Queued, 700, false),
        tracked("failed-long-ago", State::Failed, 9_000, false),
        tracked("waiting", State::Waiting, 99_999, false),
        tracked("lost", State::NotFound, 200, false),
        tracked("unanswered", State::Running, 5, true),
        tracked("cancelled-early", State::Cancelled, 800, false),
        tracked("open-old", State::Unknown, 600, false),
        tracked("failed", State::Failed, 3, false),
        tracked("stuck-longest", State::Unpolled, 9_000, false),
    ];
    assert!(records[5].is_final() && records[5].state() == State::NotFound);
    let tasks = [TaskList::of(records, STUCK_AFTER)];
    let all = select_page(&tasks, &TaskQuery::default(), NOW, 100);
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
    assert_eq!((ids(&all), all.total), (expected.to_vec(), 11));
    let stuck: Vec<_> = all.rows.iter().map(|row| row.is_stuck).collect();
    assert_eq!(stuck, [vec![true; 2], vec![false; 9]].concat());
    let first = select_page(&tasks, &TaskQuery::default(), NOW, 3);
    assert_eq!((ids(&first), first.total), (expected[..3].to_vec(), 11));

    let failed = query(TaskFilter { states: vec![State::Failed], ..TaskFilter::default() });
    let failed = select_page(&tasks, &failed, NOW, 1);
    assert_eq!((ids(&failed), failed.total), (vec!["failed"], 2));
    let one = query(TaskFilter { task_id: Some("waiting".to_owned()), ..TaskFilter::default() });
    assert_eq!(ids(&select_page(&tasks, &one, NOW, 1)), ["waiting"]);
    let stuck = query(TaskFilter { stuck: Some(true), ..TaskFilter::default() });
    let stuck = select_page(&tasks, &stuck, NOW, 1);
    assert_eq!((stuck.total, stuck.before, stuck.previous), (2, 0, None));
    let sorted = |text| {
        let query =
            TaskQuery { sort: Some(TaskOrder::parse(text).unwrap()), ..TaskQuery::default() };
        ids(&select_page(&tasks, &query, NOW, 4)).join(" ")
    };
    for (order, first) in [
        ("task_id", "cancelled-early failed failed-long-ago lost"),
        ("-task_id", "waiting unanswered succeeded-late stuck-longest"),
        ("age", "unanswered open-young open-old stuck"),
        ("-age", "waiting stuck-longest stuck open-old"),
        ("-state", "stuck-longest open-old lost cancelled-early"),
        ("error", "unanswered lost failed failed-long-ago"),
        ("-error", "failed failed-long-ago lost unanswered"),
        ("last_poll", "waiting failed-long-ago cancelled-early stuck"),
    ] {
        assert_eq!(sorted(order), first, "{order}");
    }
}

/// Turns the pages of a list, forward or back, and returns the tasks on each. `change` is called
/// between two requests.
fn turn_pages(
    tasks: &mut Vec<TrackedTask>,
    query: &TaskQuery,
    side: Side,
    most: usize,
    mut change: impl FnMut(&mut Vec<TrackedTask>),
) -> Vec<Vec<String>> {
    let (mut query, mut pages) = (query.clone(), Vec::new());
    loop {
        let list = [TaskList::of(tasks.clone(), STUCK_AFTER)];
        let page = select_page(&list, &query, NOW, most);
        pages.push(page.rows.iter().map(|row| name(row.tracked)).collect());
        let cursor = if side == Side::After { page.next } else { page.previous };
        // As over the wire.
        let Some(cursor) = cursor else { return pages };
        let pairs = TaskQuery { cursor: Some(cursor), ..query.clone() };
        let pairs: Vec<_> =
            pairs.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        query = TaskQuery::parse(&pairs.join("&")).unwrap();
        change(tasks);
        assert!(pages.len() < 200, "the pages have no end");
    }
}

/// Makes tasks of some states, ages and failures, and of a few providers, from `tasks`.
fn make(tasks: &[(usize, u64, bool, u8)]) -> Vec<TrackedTask> {
    let made = tasks.iter().enumerate().map(|(number, (state, age, fails, provider))| {
        let mut tracked = tracked(&(number / 2).to_string(), State::ALL[*state], *age, *fails);
        let provider = format!("{provider}-{}", number % 2).as_str().into();
        let common = TaskCommon { provider, labels: [].into(), params: [].into() };
        tracked.task.common = Arc::new(common);
        tracked
    });
    made.collect()
}

fn name(tracked: &TrackedTask) -> String {
    format!("{} {}", tracked.task.common.provider, &*tracked.task.id)
}

fn order() -> impl Strategy<Value = TaskOrder> {
    (0..SortColumn::ALL.len(), any::<bool>()).prop_map(|(column, is_descending)| TaskOrder {
        column: SortColumn::ALL[column],
        is_descending,
    })
}

/// Ages come from a small range, so that many tasks have the same place but for their ID.
fn some_tasks() -> impl Strategy<Value = Vec<(usize, u64, bool, u8)>> {
    let task = (0..State::ALL.len(), prop_oneof![0..4_u64, 0..1_200_u64], any::<bool>(), 0..3_u8);
    prop::collection::vec(task, 0..60)
}

proptest! {
    #[test]
    fn all_pages_together_are_all_tasks_in_order(
        tasks in some_tasks(), order in order(), most in 1..70_usize,
    ) {
        let tasks = make(&tasks);
        let query = TaskQuery { sort: Some(order), ..TaskQuery::default() };
        let mut sorted: Vec<_> =
            tasks.iter().map(|tracked| TaskRow::new(tracked, STUCK_AFTER, NOW)).collect();
        sorted.sort_by(|a, b| order.compare(&order.key(*a), &order.key(*b)));
        let expected: Vec<_> = sorted.iter().map(|row| name(row.tracked)).collect();
        let pages = turn_pages(&mut tasks.clone(), &query, Side::After, most, |_| {});
        prop_assert_eq!(pages.concat(), expected.clone());
        prop_assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == most));

        // And back, from behind the last task.
        let list = [TaskList::of(tasks.clone(), STUCK_AFTER)];
        if let Some(last) = sorted.last() {
            let key = order.key(*last).into_owned();
            let cursor = Some(Cursor { order, side: Side::Before, key });
            let query = TaskQuery { cursor, ..query };
            let page = select_page(&list, &query, NOW, most);
            prop_assert_eq!(page.total, u64::try_from(tasks.len()).unwrap());
            prop_assert_eq!(page.next.is_some(), tasks.len() > 1);
            let mut pages = turn_pages(&mut tasks.clone(), &query, Side::Before, most, |_| {});
            pages.reverse();
            prop_assert_eq!(pages.concat(), expected[..tasks.len() - 1].to_vec());
        }
    }

    #[test]
    fn tasks_that_stay_as_they_are_come_once_whatever_others_do(
        tasks in some_tasks(), order in order(), most in 1..9_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8), 0..60),
    ) {
        let mut tasks = make(&tasks);
        let mut untouched: BTreeSet<_> = tasks.iter().map(name).collect();
        let query = TaskQuery { sort: Some(order), ..TaskQuery::default() };
        let (mut changes, mut added) = (changes.into_iter(), 0);
        let pages = turn_pages(&mut tasks, &query, Side::After, most, |tasks| {
            for (index, kind) in changes.by_ref().take(3) {
                if tasks.is_empty() {
                    return;
                }
                let index = index.index(tasks.len());
                untouched.remove(&name(&tasks[index]));
                match kind {
                    0 => drop(tasks.swap_remove(index)),
                    1 => drop(tasks[index].observe(&Observation::new(State::Failed, "late"), NOW)),
                    2 => drop(tasks[index].fail(
                        &Failure::new(Reason::Tls, ""), NOW, STUCK_AFTER,
                    )),
                    _ => {
                        added += 1;
                        let id = format!("new-{added}");
                        tasks.insert(index, tracked(&id, State::Running, 700, false));
                    }
                }
            }
        });
        let shown = pages.concat();
        for task in untouched {
            let times = shown.iter().filter(|shown| **shown == task).count();
            prop_assert_eq!(times, 1, "{}: {:?}", task, shown);
        }
    }
}

#[test]
fn an_empty_page_behind_the_last_task_has_no_cursors() {
    let key = |seconds| {
        let tracked = tracked("a", State::Running, seconds, false);
        TaskOrder::WORST_FIRST.key(TaskRow::new(&tracked, STUCK_AFTER, NOW)).into_owned()
    };
    let list = [TaskList::of([tracked("a", State::Running, 9, false)], STUCK_AFTER)];
    let cursor =
        |side, seconds| Some(Cursor { order: TaskOrder::WORST_FIRST, side, key: key(seconds) });
    for (side, seconds, before) in [(Side::After, 8, 1), (Side::After, 9, 1), (Side::Before, 9, 0)]
    {
        let query = TaskQuery { cursor: cursor(side, seconds), ..TaskQuery::default() };
        let page = select_page(&list, &query, NOW, 5);
        assert!(page.rows.is_empty() && page.previous.is_none() && page.next.is_none());
        assert_eq!((page.total, page.before), (1, before));
    }
}
