//! The pages for people: their common parts, the landing page and the page of one task. The common
//! template is `templates/base.html`.

mod conditions;
mod details;
pub mod discovery;
mod format;
mod history;
pub mod tasks;

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::config::reloadable::Refusal;
use super::middleware::RequestPermit;
use super::stream::ComputePermits;
use super::{WebState, query};
use crate::clock::Timestamp;
use crate::discovery::status::SourceStatus;
use crate::history::FailureEntry;
use crate::observation;
use crate::reload::status::{ProviderStatus, ReloadFailure};
use crate::store::{ProviderSummary, TaskList};
use conditions::{Conditions, ExporterStatus, describe_trouble};
use details::{Fact, facts, troubles};
use format::FormattedTime;
use history::HistoryTables;

/// The script that refreshes a page. The content security policy has its hash.
pub const SCRIPT: &str = include_str!("../../templates/refresh.js");

/// Time between two refreshes of a page by its script, in seconds: shorter than the usual poll
/// interval, and long enough to read a row.
const REFRESH_SECONDS: u32 = 10;

/// The head of each page.
#[derive(Clone, Debug)]
pub struct PageHead<'a> {
    /// Version of the exporter.
    pub version: &'static str,
    /// Path of the metrics.
    pub telemetry_path: &'a str,
    /// Time of the page.
    pub as_of: String,
    /// Conditions that need attention.
    pub conditions: Conditions,
    /// The script that refreshes the page.
    pub script: &'static str,
    /// Time between two refreshes in seconds.
    pub refresh_seconds: u32,
}

impl<'a> PageHead<'a> {
    /// Creates the head of the pages of `web`, with the conditions at this moment.
    pub fn new(web: &'a WebState) -> Self {
        Self::of(&web.telemetry_path, &exporter_status(web))
    }

    /// Creates a head with the conditions that follow from `status`.
    pub fn of(telemetry_path: &'a str, status: &ExporterStatus) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            telemetry_path,
            as_of: FormattedTime::new(status.now, status.now).iso,
            conditions: Conditions::find(status),
            script: SCRIPT,
            refresh_seconds: REFRESH_SECONDS,
        }
    }
}

/// Returns the status of the exporter's own work at this moment.
fn exporter_status(web: &WebState) -> ExporterStatus {
    let manager = &web.manager;
    let source = |status: &Arc<SourceStatus>| {
        (status.mechanism().as_str(), status.name().to_owned(), status.history())
    };
    let web_config = web.web_config.as_ref().and_then(|web_config| web_config.refusal());
    let refused = |Refusal { since, reason }| ReloadFailure {
        since: manager.now() - since.elapsed(),
        reason: reason.into(),
    };
    ExporterStatus {
        config: manager.config_status(),
        web_config: web_config.map(refused),
        storage: manager.storage_failure(),
        providers: manager.provider_statuses(),
        sources: manager.sources.all().iter().map(source).collect(),
        now: manager.now(),
    }
}

/// A rendered page and its HTTP status.
pub type RenderedPage = (StatusCode, askama::Result<String>);

/// Renders a page with the status 200.
pub fn ok_page(template: &impl Template) -> RenderedPage {
    (StatusCode::OK, template.render())
}

/// Responds with the page that `make` renders, on a blocking thread and with a permit from `compute_permits`:
/// with a million tasks that takes a while.
pub async fn render(
    compute_permits: ComputePermits,
    permit: RequestPermit,
    make: impl FnOnce() -> RenderedPage + Send + 'static,
) -> Response {
    let make = move || {
        let _permit = permit;
        let _turn = compute_permits.acquire();
        make()
    };
    let error = match tokio::task::spawn_blocking(make).await {
        Ok((status, Ok(page))) => {
            return (status, Html(page)).into_response();
        }
        Ok((_, Err(error))) => error.to_string(),
        Err(error) => error.to_string(),
    };
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

/// A failed poll as a row of a table.
#[derive(Clone, Debug)]
pub struct FailedPoll {
    /// Time of the end of the poll.
    pub at: FormattedTime,
    /// Name of the provider.
    pub provider: String,
    /// ID of the task.
    pub task_id: String,
    /// Link to the page of the task.
    pub link: String,
    /// Reason of the failure.
    pub reason: &'static str,
    /// Error code, if there was one.
    pub code: String,
    /// Further details.
    pub detail: String,
}

impl FailedPoll {
    /// Formats a failed poll at the time `now`.
    pub fn new(entry: &FailureEntry, now: Timestamp) -> Self {
        Self {
            at: FormattedTime::new(entry.at, now),
            provider: format::short(&entry.provider),
            task_id: format::short(&entry.task_id),
            link: format::task_link(&entry.provider, &entry.task_id),
            reason: entry.failure.reason.as_str(),
            code: format::short(&entry.failure.code),
            detail: format::escape(&entry.failure.detail),
        }
    }
}

/// Maximum number of lines of a rejected reload on the page: some five diagnostics, so that
/// the providers below remain visible.
const MAX_ERROR_LINES: usize = 20;

#[derive(Template)]
#[template(path = "landing.html")]
struct LandingPage<'a> {
    head: PageHead<'a>,
    reload_error: Option<String>,
    states: [observation::State; observation::State::ALL.len()],
    providers: Vec<ProviderRow>,
    failures: Vec<FailingTask>,
    /// Number of the failed polls of these tasks.
    failures_in_all: usize,
}

/// A task with recent failed polls.
struct FailingTask {
    last: FailedPoll,
    /// Number of its recent failed polls.
    count: usize,
}

struct ProviderRow {
    name: String,
    link: String,
    /// State of its polls, if that needs attention.
    trouble: Option<String>,
    /// Time of the last usable answer.
    answer: Option<FormattedTime>,
    counts: Vec<LinkedCount>,
    stuck: LinkedCount,
    oldest: String,
}

/// A number of tasks, with a link to them if there are any.
struct LinkedCount {
    text: String,
    link: Option<String>,
}

/// Returns the landing page.
pub async fn landing(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
) -> Response {
    render(web.compute_permits.clone(), permit, move || {
        let snapshot = web.manager.store.snapshot();
        let (exporter, failures) = (exporter_status(&web), web.history.newest());
        let statuses = exporter.providers.iter().map(|status| (&*status.name, status));
        let statuses: HashMap<_, _> = statuses.collect();
        let row = |summary: &ProviderSummary| {
            provider_row(&web, summary, statuses.get(&*summary.name).copied(), exporter.now)
        };
        ok_page(&LandingPage {
            head: PageHead::of(&web.telemetry_path, &exporter),
            reload_error: exporter.config.failure.as_ref().map(|failure| excerpt(&failure.reason)),
            states: observation::State::ALL,
            providers: snapshot.providers.iter().map(row).collect(),
            failures_in_all: failures.len(),
            failures: failing_tasks(&failures, exporter.now),
        })
    })
    .await
}

/// Returns the first diagnostics; the log has the others.
fn excerpt(error: &str) -> String {
    let mut lines: Vec<_> = error.lines().take(MAX_ERROR_LINES + 1).collect();
    if lines.len() > MAX_ERROR_LINES {
        lines.pop();
        lines.push("…");
    }
    lines.join("\n")
}

/// Groups failed polls, the newest first, by task.
fn failing_tasks(failures: &[FailureEntry], now: Timestamp) -> Vec<FailingTask> {
    let mut places = HashMap::new();
    let mut tasks: Vec<FailingTask> = Vec::new();
    for entry in failures {
        let place = *places.entry((&*entry.provider, &*entry.task_id)).or_insert(tasks.len());
        match tasks.get_mut(place) {
            Some(task) => task.count += 1,
            None => tasks.push(FailingTask { last: FailedPoll::new(entry, now), count: 1 }),
        }
    }
    tasks
}

/// Returns the time of the last usable answer about any task of the provider, from the records: those
/// of before a restart are known as well.
fn last_recorded_answer(web: &WebState, provider: &str) -> Option<Timestamp> {
    let (_, lists) = web.manager.store.tasks(Some(provider));
    lists.iter().flat_map(TaskList::tasks).filter_map(|tracked| tracked.last_success()).max()
}

fn provider_row(
    web: &WebState,
    summary: &ProviderSummary,
    status: Option<&ProviderStatus>,
    now: Timestamp,
) -> ProviderRow {
    let answer = status.and_then(|status| status.polls.last_answer);
    let answer = answer.or_else(|| last_recorded_answer(web, &summary.name));
    let of_provider = ("provider", &*summary.name);
    let count = |count: u64, narrowed: (&str, &str)| LinkedCount {
        text: format::count(count),
        link: (count > 0).then(|| format::tasks_link(&[of_provider, narrowed])),
    };
    let by_state = observation::State::ALL.into_iter().zip(summary.tasks);
    let oldest = summary.oldest.iter().max().copied().unwrap_or_default();
    ProviderRow {
        name: format::short(&summary.name),
        link: format::tasks_link(&[of_provider]),
        trouble: status.and_then(|status| describe_trouble(status, now)),
        answer: answer.map(|at| FormattedTime::new(at, now)),
        counts: by_state.map(|(state, tasks)| count(tasks, ("state", state.as_str()))).collect(),
        stuck: count(summary.stuck, ("stuck", "true")),
        oldest: format::rough(oldest),
    }
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage<'a> {
    head: PageHead<'a>,
    id: String,
    short: String,
    /// Reason why nothing is known about the task.
    problem: Option<String>,
    /// Reasons why the task needs attention.
    troubles: Vec<String>,
    links: Vec<(&'static str, String)>,
    facts: Vec<Fact>,
    history: Option<HistoryTables>,
    failures: Vec<FailedPoll>,
}

/// Returns the page of the task that the path names.
pub async fn task(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let refused = |message: &str| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response();
    let Ok(Path((provider, id))) = path else {
        return refused("the path is not UTF-8 text");
    };
    match query::parse_pairs(&query.unwrap_or_default()) {
        Ok(pairs) if pairs.is_empty() => {
            render(web.compute_permits.clone(), permit, move || render_task(&web, &provider, &id))
                .await
        }
        Ok(_) => refused("this page takes no parameters; a ? in an ID is written %3F"),
        Err(message) => refused(&message),
    }
}

fn render_task(web: &WebState, provider: &str, id: &str) -> RenderedPage {
    let (now, tasks) = web.manager.store.tasks(Some(provider));
    let found = tasks.iter().find_map(|list| Some((list.find(id)?, list)));
    let failures = web.history.of(provider, id);
    let config = web.manager.config();
    let is_configured = config.providers.iter().any(|known| *known.name == *provider);
    let (of_provider, of_task) = (("provider", provider), ("task_id", id));
    let poll = (
        "Poll the task now, and show the request, the answer and the mapping",
        format::probe_link(provider, id),
    );
    let json = ("As JSON", format::tasks_json_link(&[of_provider, of_task]));
    let beside = ("All tasks of the provider", format::tasks_link(&[of_provider]));
    let (problem, links) = match found {
        Some(_) => (None, vec![poll, json, beside]),
        None if is_configured => {
            let name = format::escape(provider);
            let problem = match config.dropped_tasks {
                0 => format!("No list names such a task of the provider “{name}”."),
                _ => format!(
                    "No such task of the provider “{name}” is polled: no list names it, or \
                     max_tasks drops it."
                ),
            };
            (Some(problem), vec![poll, beside])
        }
        None => {
            let problem = format!("No provider “{}” is configured.", format::escape(provider));
            (Some(problem), vec![("All tasks", format::tasks_link(&[]))])
        }
    };
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let page = TaskPage {
        head: PageHead::new(web),
        id: format::escape(id),
        short: format::short(id),
        problem,
        troubles: found
            .map_or_else(Vec::new, |(tracked, list)| troubles(tracked, list.stuck_after, now)),
        links,
        facts: found.map_or_else(Vec::new, |(tracked, list)| {
            let sources = web.manager.store.source_keys();
            let sources = sources.listing(&tracked.listing);
            facts(tracked, &sources, list.stuck_after, failures.first(), now)
        }),
        history: found.map(|(tracked, _)| {
            let store = &web.manager.store;
            let history = store.history(provider, id);
            HistoryTables::new(tracked, history.as_ref(), store.started(), now)
        }),
        failures: failures.iter().map(|entry| FailedPoll::new(entry, now)).collect(),
    };
    (status, page.render())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_reader_who_goes_away_does_not_make_room_for_the_next() {
        let permits = Arc::new(Semaphore::new(1));
        let (go_on, wait) = mpsc::channel::<()>();
        let (tell, begun) = tokio::sync::oneshot::channel();
        let make = move || {
            let _ = tell.send(());
            let _ = wait.recv();
            (StatusCode::OK, Ok(String::new()))
        };
        let reading = tokio::spawn(render(
            ComputePermits::new(),
            RequestPermit::take(&permits).unwrap(),
            make,
        ));
        begun.await.unwrap();
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        assert!(RequestPermit::take(&permits).is_none(), "its page is still being made");
        go_on.send(()).unwrap();
        assert!(permits.acquire().await.is_ok());
    }
}
