//! `/tasks`: the worst tasks in a table, for a person.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::format::{self, FormattedTime};
use super::link;
use super::ranking::{TaskRow, worst};
use super::{Head, Page, answer, ok};
use crate::clock::Timestamp;
use crate::observation;
use crate::web::Web;
use crate::web::limit::Permit;
use crate::web::task_filter::TaskFilter;

/// What a person reads and a browser draws at once; a fleet can have a million.
const MOST_ROWS: usize = 200;

#[derive(Template)]
#[template(path = "tasks.html")]
struct Table<'a> {
    head: Head<'a>,
    question: &'a TaskFilter,
    is_narrowed: bool,
    /// Their names, and what is shown of them.
    providers: Vec<(&'a str, String)>,
    states: [observation::State; observation::State::ALL.len()],
    unknown_provider: Option<String>,
    json: String,
    rows: Vec<Shown>,
    count: String,
    is_cut: bool,
}

/// A task as its row has it.
struct Shown {
    provider: String,
    id: String,
    link: String,
    state: &'static str,
    is_stuck: bool,
    is_bad: bool,
    status: String,
    age: String,
    progress: String,
    error: String,
    polled: Option<FormattedTime>,
}

/// The table of the tasks that the query asks for.
pub async fn page(
    State(web): State<Arc<Web>>,
    Extension(permit): Extension<Permit>,
    RawQuery(query): RawQuery,
) -> Response {
    match TaskFilter::of_form(&query.unwrap_or_default()) {
        Ok(question) => answer(web.turns.clone(), permit, move || table(&web, &question)).await,
        Err(message) => (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
    }
}

fn table(web: &Web, question: &TaskFilter) -> Page {
    let config = web.live.config();
    let names = config.providers.iter().map(|provider| &*provider.name);
    let providers: Vec<_> = names.map(|name| (name, format::short(name))).collect();
    let asked = question.provider.as_deref();
    let unknown = asked.filter(|asked| providers.iter().all(|(name, _)| name != asked));
    let (now, tasks) = web.live.store.tasks(asked);
    let worst = worst(&tasks, question, now, MOST_ROWS);
    let rows: Vec<_> = worst.rows.iter().map(|row| row_of(*row, now)).collect();
    ok(&Table {
        head: Head::new(web),
        question,
        is_narrowed: *question != TaskFilter::default(),
        states: observation::State::ALL,
        unknown_provider: unknown.map(format::short),
        json: link::json(&question.pairs()),
        is_cut: u64::try_from(rows.len()).is_ok_and(|shown| shown < worst.count),
        count: format::count(worst.count),
        providers,
        rows,
    })
}

fn row_of(row: TaskRow<'_>, now: Timestamp) -> Shown {
    let record = row.record;
    let (provider, id) = (&*record.task.common.provider, &*record.task.id);
    let took = || record.duration().map(|took| format!("took {}", format::rough(took)));
    let age = record.queue_age(now).map(format::rough).or_else(took);
    Shown {
        provider: format::short(provider),
        id: format::short(id),
        link: link::task(provider, id),
        state: record.state().as_str(),
        is_stuck: row.is_stuck,
        is_bad: row.is_bad(),
        status: format::short(record.status()),
        age: age.unwrap_or_default(),
        progress: record.progress().map(format::percent).unwrap_or_default(),
        error: record.error().map(|(reason, code)| error(reason, code)).unwrap_or_default(),
        polled: record.last_poll().map(|at| FormattedTime::new(at, now)),
    }
}

/// Why the last poll failed, or the task: of that, its state tells that it did.
fn error(reason: &str, code: &str) -> String {
    let code = format::short(code);
    match (reason, code.as_str()) {
        ("task", _) => code,
        (_, "") => reason.to_owned(),
        _ => format!("{reason}, code {code}"),
    }
}
