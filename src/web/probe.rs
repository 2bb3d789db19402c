//! `/probe`: poll one task now, at a configured provider and nowhere else.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Web, metrics, query};
use crate::poll::report;
use crate::reload::Probed;
use crate::store::record::Record;
use crate::store::{Snapshot, TasksView};
use crate::telemetry;

/// The query of `/probe`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Who is asked.
    pub provider: Option<String>,
    /// For what.
    pub task_id: Option<String>,
    /// Whether the whole story is wanted.
    pub debug: bool,
    /// What `param.NAME=…` says: for an ID that is not in the configuration.
    pub params: Vec<(String, String)>,
}

impl Question {
    /// Reads a query.
    ///
    /// # Errors
    /// What cannot be understood, as a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut question = Self::default();
        for (key, value) in query::pairs(query)? {
            match (key.as_str(), value.as_str()) {
                ("provider", _) => question.provider = Some(value),
                ("task_id", _) => question.task_id = Some(value),
                ("debug", "true" | "1") => question.debug = true,
                ("debug", "false" | "0" | "") => question.debug = false,
                ("debug", _) => return Err("debug is true or false".to_owned()),
                _ => match key.strip_prefix("param.") {
                    Some(name) => question.params.push((name.to_owned(), value)),
                    None => return Err(format!("unknown parameter {key:?}")),
                },
            }
        }
        Ok(question)
    }
}

/// Polls and tells: metrics, or with `debug=true` plain text.
pub async fn probe(
    State(web): State<Arc<Web>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match Question::parse(&query.unwrap_or_default()) {
        Ok(question) => answer(&web, question, &headers).await,
        Err(message) => Err(message),
    }
    .unwrap_or_else(|message| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response())
}

async fn answer(web: &Web, question: Question, headers: &HeaderMap) -> Result<Response, String> {
    let provider = question.provider.ok_or("the parameter provider is missing")?;
    let task_id = question.task_id.ok_or("the parameter task_id is missing")?;
    let start = Instant::now();
    let Probed { upstream, task, polled } =
        web.live.probe(&provider, &task_id, &question.params).await?;
    let now = web.live.now();
    let Some(polled) = polled else {
        if question.debug {
            let text = "the provider is paused or busy; the probe did not get its turn\n";
            return Ok((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
        }
        let nothing = Snapshot::of(Vec::new(), now);
        let probe = telemetry::probe_families(false, start.elapsed());
        return Ok(metrics::respond(headers, nothing, probe, web.turns.clone(), |_| {}));
    };
    if question.debug {
        let text = report::report(&upstream, &task, &polled);
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    let mut record = Record::new(task, now);
    for outcome in &polled.outcomes {
        record.take_in(outcome, now, now);
    }
    let task = TasksView::of([record], upstream.provider.limits.stuck_after);
    let snapshot = Snapshot::of(vec![task], now);
    let success = polled.outcomes.iter().all(Result::is_ok);
    let probe = telemetry::probe_families(success, start.elapsed());
    Ok(metrics::respond(headers, snapshot, probe, web.turns.clone(), |_| {}))
}
