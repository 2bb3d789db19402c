//! `/api/v1/tasks`: every followed task as JSON, including final ones; and the description of the API.

mod history;
pub mod registrations;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::list_page::select_page;
use super::middleware::RequestPermit;
use super::query::TaskQuery;
use super::query::cursor::Cursor;
use super::stream::stream;
use super::{WebState, negotiation};
use crate::clock::Timestamp;
use crate::record::TrackedTask;
use crate::store::sources::SourceKeys;
use crate::store::{Store, TaskList};

/// Returns the tasks that the query selects.
pub async fn tasks(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = match TaskQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => query,
        Err(message) => return bad_request(&message),
    };
    if let Some(name) = &query.filter.provider
        && let Err(message) = web.manager.config().find_provider(name)
    {
        return bad_request(&message);
    }
    let gzip = negotiation::gzip(&headers);
    let compute_permits = web.compute_permits.clone();
    let write = move |out: &mut _| {
        let _permit = permit;
        let (now, tasks) = web.manager.store.tasks(query.filter.provider.as_deref());
        let sources = web.manager.store.source_keys();
        let store = &web.manager.store;
        TaskWriter { store, sources, now, has_tasks: false, out }.write_answer(&tasks, &query)
    };
    let mut response = Response::new(stream(gzip, compute_permits, write, |_| {}));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The description of the API in the format of OpenAPI 3.1.
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

/// Returns the description of the API.
pub async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

fn bad_request(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response()
}

/// Default number of tasks on a page, as on the page for people.
const DEFAULT_LIMIT: usize = 200;

/// A writer of tasks, one per line, so that the output is also readable for people and for `grep`.
struct TaskWriter<'o, W> {
    store: &'o Store,
    sources: SourceKeys,
    now: Timestamp,
    has_tasks: bool,
    out: &'o mut W,
}

impl<W: Write> TaskWriter<'_, W> {
    /// Writes the tasks that match the query, or a page of them if it asks for one.
    fn write_answer(mut self, tasks: &[TaskList], query: &TaskQuery) -> io::Result<()> {
        self.out.write_all(b"{\"tasks\":[")?;
        // Of an ID there are at most as many tasks as providers.
        let has_history = query.filter.task_id.is_some();
        if query.has_pages() {
            let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
            let page = select_page(tasks, query, self.now, limit);
            for row in page.rows {
                self.write_task(row.tracked, row.stuck_after, has_history)?;
            }
            let cursor = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.encode());
            let (previous, next) = (cursor(page.previous), cursor(page.next));
            self.out.write_all(b"\n],")?;
            let end =
                json!({"total": page.total, "previous_cursor": previous, "next_cursor": next});
            return writeln!(self.out, "{}", end.to_string().trim_start_matches('{'));
        }
        for list in tasks {
            for tracked in list.tasks() {
                if query.filter.matches(tracked, list.stuck_after, self.now) {
                    self.write_task(tracked, list.stuck_after, has_history)?;
                }
            }
        }
        self.out.write_all(b"\n]}\n")
    }

    fn write_task(
        &mut self,
        tracked: &TrackedTask,
        stuck_after: Duration,
        has_history: bool,
    ) -> io::Result<()> {
        self.out.write_all(if self.has_tasks { b",\n" } else { b"\n" })?;
        self.has_tasks = true;
        let mut described = describe(tracked, &self.sources, stuck_after, self.now);
        if has_history && let Some(fields) = described.as_object_mut() {
            let history = self.store.history(&tracked.task.common.provider, &tracked.task.id);
            let started = self.store.started();
            fields.insert("history".to_owned(), history::describe(history.as_ref(), started));
        }
        Ok(serde_json::to_writer(&mut *self.out, &described)?)
    }
}

/// Describes a task in the terms of the metrics; unknown values are null.
fn describe(
    tracked: &TrackedTask,
    sources: &SourceKeys,
    stuck_after: Duration,
    now: Timestamp,
) -> Value {
    let common = &tracked.task.common;
    let labels: Map<_, _> = common
        .labels
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(&**value)))
        .collect();
    json!({
        "provider": &*common.provider,
        "task_id": &*tracked.task.id,
        "labels": labels,
        "sources": sources.listing(&tracked.listing),
        "listed": tracked.listing.is_listed(),
        "state": tracked.state().as_str(),
        "status": tracked.status(),
        "final": tracked.is_final(),
        "stuck": tracked.is_stuck(stuck_after, now),
        "up": tracked.up(),
        "error": tracked.error().map(|(reason, code)| json!({"reason": reason, "code": code})),
        "error_detail": tracked.error_detail(),
        "job_type": tracked.job_type(),
        "progress_ratio": tracked.progress(),
        "since": tracked.enqueued_since(),
        "enqueue_timestamp_seconds": seconds(tracked.enqueued()),
        "queue_age_seconds": tracked.queue_age(now).map(|age| age.as_secs_f64()),
        "waited_seconds": tracked.queue_age(now).map(|_| tracked.waited(now).as_secs_f64()),
        "state_timestamp_seconds": seconds(tracked.state_since()),
        "duration_seconds": tracked.duration().map(|duration| duration.as_secs_f64()),
        "last_poll_timestamp_seconds": tracked.last_poll().map(seconds),
        "last_success_timestamp_seconds": tracked.last_success().map(seconds),
    })
}

/// Returns a time in seconds since the Unix epoch.
fn seconds(moment: Timestamp) -> f64 {
    micros(moment.micros())
}

/// Converts microseconds to seconds. A double represents current times to within a quarter of a
/// microsecond.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "exact to the year 2255")]
fn micros(micros: i64) -> f64 {
    micros as f64 / 1e6
}
