//! `/tasks`: a table of the worst tasks, found in one pass. A fleet of a million tasks is neither
//! sorted nor copied.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::format::{self, FormattedTime};
use super::{PageHead, RenderedPage, ok_page, render};
use crate::clock::Timestamp;
use crate::observation;
use crate::record::TrackedTask;
use crate::store::TaskList;
use crate::web::WebState;
use crate::web::middleware::RequestPermit;
use crate::web::query::TaskFilter;

/// Maximum number of rows: what a person can read and a browser can draw at once. A fleet may have
/// a million tasks.
const MOST_ROWS: usize = 200;

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage<'a> {
    head: PageHead<'a>,
    filter: &'a TaskFilter,
    is_narrowed: bool,
    /// Names of the providers, each with its formatted name.
    providers: Vec<(&'a str, String)>,
    states: [observation::State; observation::State::ALL.len()],
    /// The chosen state of each list of states, of which a form with a single state or none has one.
    chosen_states: Vec<Option<observation::State>>,
    unknown_provider: Option<String>,
    json: String,
    rows: Vec<FormattedRow>,
    count: String,
    is_cut: bool,
}

/// A row of the table.
struct FormattedRow {
    provider: String,
    id: String,
    link: String,
    state: &'static str,
    is_stuck: bool,
    is_unlisted: bool,
    is_bad: bool,
    status: String,
    age: String,
    progress: String,
    error: String,
    polled: Option<FormattedTime>,
}

/// Returns the table of the tasks that the query selects.
pub async fn page(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    RawQuery(query): RawQuery,
) -> Response {
    match TaskFilter::parse_form(&query.unwrap_or_default()) {
        Ok(filter) => {
            render(web.compute_permits.clone(), permit, move || table(&web, &filter)).await
        }
        Err(message) => (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
    }
}

fn table(web: &WebState, filter: &TaskFilter) -> RenderedPage {
    let config = web.manager.config();
    let names = config.providers.iter().map(|provider| &*provider.name);
    let providers: Vec<_> = names.map(|name| (name, format::short(name))).collect();
    let asked = filter.provider.as_deref();
    let unknown = asked.filter(|asked| providers.iter().all(|(name, _)| name != asked));
    let (now, tasks) = web.manager.store.tasks(asked);
    let worst = rank_tasks(&tasks, filter, now, MOST_ROWS);
    let rows: Vec<_> = worst.rows.iter().map(|row| row_of(*row, now)).collect();
    ok_page(&TasksPage {
        head: PageHead::new(web),
        filter,
        is_narrowed: *filter != TaskFilter::default(),
        states: observation::State::ALL,
        chosen_states: chosen_states(filter),
        unknown_provider: unknown.map(format::short),
        json: format::tasks_json_link(&filter.pairs()),
        is_cut: u64::try_from(rows.len()).is_ok_and(|shown| shown < worst.count),
        count: format::count(worst.count),
        providers,
        rows,
    })
}

fn chosen_states(filter: &TaskFilter) -> Vec<Option<observation::State>> {
    match &*filter.states {
        [] => vec![None],
        states => states.iter().copied().map(Some).collect(),
    }
}

fn row_of(row: TaskRow<'_>, now: Timestamp) -> FormattedRow {
    let tracked = row.tracked;
    let (provider, id) = (&*tracked.task.common.provider, &*tracked.task.id);
    let took = || tracked.duration().map(|took| format!("took {}", format::rough(took)));
    let age = tracked.queue_age(now).map(format::rough).or_else(took);
    FormattedRow {
        provider: format::short(provider),
        id: format::short(id),
        link: format::task_link(provider, id),
        state: tracked.state().as_str(),
        is_stuck: row.is_stuck,
        is_unlisted: !tracked.listing.is_listed(),
        is_bad: row.is_bad(),
        status: format::short(tracked.status()),
        age: age.unwrap_or_default(),
        progress: tracked.progress().map(format::percent).unwrap_or_default(),
        error: tracked.error().map(|(reason, code)| error(reason, code)).unwrap_or_default(),
        polled: tracked.last_poll().map(|at| FormattedTime::new(at, now)),
    }
}

/// Formats the reason why the last poll or the task failed. For a failed task the code is enough,
/// because its state is beside it.
fn error(reason: &str, code: &str) -> String {
    let code = format::short(code);
    match (reason, code.as_str()) {
        ("task", _) => code,
        (_, "") => reason.to_owned(),
        _ => format!("{reason}, code {code}"),
    }
}

/// The worst of the tasks that match a filter.
#[derive(Debug)]
pub struct RankedTasks<'a> {
    /// Rows, the worst first.
    pub rows: Vec<TaskRow<'a>>,
    /// Number of tasks that match the filter.
    pub count: u64,
}

/// A task and whether it is stuck.
#[derive(Clone, Copy, Debug)]
pub struct TaskRow<'a> {
    /// Task and record.
    pub tracked: &'a TrackedTask,
    /// True if the task is stuck.
    pub is_stuck: bool,
}

impl TaskRow<'_> {
    /// Reports whether the task needs attention: whether it is stuck, failed or lost.
    pub fn is_bad(self) -> bool {
        matches!(Rank::of(self).trouble, Severity::Stuck | Severity::Failed)
    }
}

/// The severity of the condition of a task, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// Stuck; the oldest first.
    Stuck,
    /// Failed, or lost by the provider; the newest first.
    Failed,
    /// The last poll failed, so the values may be outdated; the oldest first.
    Unanswered,
    /// Open; the oldest first.
    Open,
    /// Waiting for its user; the oldest first.
    Waiting,
    /// Finished; the newest first.
    Ended,
}

/// The rank of a task: the smaller, the worse. Provider and ID make it unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    trouble: Severity,
    moment: i64,
    provider: &'a str,
    id: &'a str,
}

impl<'a> Rank<'a> {
    fn of(TaskRow { tracked, is_stuck }: TaskRow<'a>) -> Self {
        let trouble = match tracked.state() {
            _ if is_stuck => Severity::Stuck,
            observation::State::Failed => Severity::Failed,
            observation::State::NotFound if tracked.is_final() => Severity::Failed,
            _ if tracked.is_final() => Severity::Ended,
            _ if tracked.up() == Some(false) => Severity::Unanswered,
            observation::State::Waiting => Severity::Waiting,
            _ => Severity::Open,
        };
        let moment = match trouble {
            Severity::Failed | Severity::Ended => tracked.state_since().micros().saturating_neg(),
            _ => tracked.enqueued().micros(),
        };
        Self { trouble, moment, provider: &tracked.task.common.provider, id: &tracked.task.id }
    }
}

/// A row that is compared by its rank.
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

/// Returns the `most` worst of the `tasks` that match the filter.
pub fn rank_tasks<'a>(
    tasks: &'a [TaskList],
    filter: &TaskFilter,
    now: Timestamp,
    most: usize,
) -> RankedTasks<'a> {
    let mut count = 0;
    // The top of the heap is the least bad row.
    let mut heap = BinaryHeap::with_capacity(most + 1);
    for (tracked, stuck_after) in records(tasks) {
        if !filter.matches(tracked, stuck_after, now) {
            continue;
        }
        count += 1;
        let row = TaskRow { tracked, is_stuck: tracked.is_stuck(stuck_after, now) };
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

/// Returns every task and the time after which it is stuck.
fn records(tasks: &[TaskList]) -> impl Iterator<Item = (&TrackedTask, Duration)> {
    tasks.iter().flat_map(|list| list.tasks().map(|tracked| (tracked, list.stuck_after)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::observation::{Failure, Observation, Reason, State};
    use crate::task::{Task, TaskCommon};

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

    fn ids<'a>(worst: &RankedTasks<'a>) -> Vec<&'a str> {
        worst.rows.iter().map(|row| &*row.tracked.task.id).collect()
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
        let all = rank_tasks(&tasks, &TaskFilter::default(), NOW, 100);
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
        let first = rank_tasks(&tasks, &TaskFilter::default(), NOW, 3);
        assert_eq!((ids(&first), first.count), (expected[..3].to_vec(), 11));

        let failed = TaskFilter { states: vec![State::Failed], ..TaskFilter::default() };
        let failed = rank_tasks(&tasks, &failed, NOW, 1);
        assert_eq!((ids(&failed), failed.count), (vec!["failed"], 2));
        let one = TaskFilter { task_id: Some("waiting".to_owned()), ..TaskFilter::default() };
        assert_eq!(ids(&rank_tasks(&tasks, &one, NOW, 1)), ["waiting"]);
        let stuck = TaskFilter { stuck: Some(true), ..TaskFilter::default() };
        assert_eq!(rank_tasks(&tasks, &stuck, NOW, 0).count, 2);
    }

    proptest! {
        #[test]
        fn the_worst_are_the_beginning_of_all(
            tasks in prop::collection::vec((0..State::ALL.len(), 0..1_200_u64, any::<bool>()), 0..60),
            most in 0..70_usize,
        ) {
            let made = tasks.iter().enumerate();
            let made = made.map(|(n, (state, age, fails))| {
                tracked(&n.to_string(), State::ALL[*state], *age, *fails)
            });
            let tasks = [TaskList::of(made, STUCK_AFTER)];
            let mut all: Vec<_> = records(&tasks)
                .map(|(tracked, after)| TaskRow { tracked, is_stuck: tracked.is_stuck(after, NOW) })
                .collect();
            all.sort_by_key(|row| Rank::of(*row));
            let expected: Vec<_> = all.iter().map(|row| &*row.tracked.task.id).take(most).collect();
            let found = rank_tasks(&tasks, &TaskFilter::default(), NOW, most);
            prop_assert_eq!(ids(&found), expected);
            prop_assert_eq!(found.count, u64::try_from(all.len()).unwrap());
        }
    }
}
