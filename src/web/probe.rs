//! `/probe`: poll one task now, at a configured provider and nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Web, metrics};
use crate::poll::report;
use crate::store::Snapshot;
use crate::store::record::Record;
use crate::task::check_id;
use crate::telemetry;

/// How long a probe waits for its turn, besides the time of the poll itself.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The query of `/probe`.
#[derive(Debug, Deserialize)]
pub struct Params {
    provider: Option<String>,
    task_id: Option<String>,
    #[serde(default)]
    debug: bool,
}

/// Polls and tells: metrics, or with `debug=true` plain text.
pub async fn probe(
    State(web): State<Arc<Web>>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let bad = |text: String| (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response();
    let Params { provider, task_id, debug } = match params {
        Ok(Query(params)) => params,
        Err(error) => return bad(error.body_text()),
    };
    let Some(provider) = provider else { return bad("the parameter `provider` is missing".into()) };
    let Some(task_id) = task_id else { return bad("the parameter `task_id` is missing".into()) };
    if let Err(message) = check_id(&task_id) {
        return bad(format!("a task ID {message}"));
    }
    let config = web.live.config();
    let Some(known) = config.providers.iter().find(|known| *known.name == *provider) else {
        return bad(format!("no provider {provider:?} is configured"));
    };
    let start = Instant::now();
    let patience = known.limits.poll_timeout + QUEUE_TIMEOUT;
    let probed = tokio::time::timeout(patience, web.live.probe(&provider, &task_id)).await;
    let took = start.elapsed();
    let (upstream, task, polled) = match probed {
        Ok(Some((upstream, task, Some(polled)))) => (upstream, task, polled),
        Ok(None) => return bad(format!("no provider {provider:?} is configured")),
        Ok(Some((_, _, None))) | Err(_) => {
            let text = "the provider is paused or busy; the probe did not get its turn\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    };
    if debug {
        let text = report::report(&upstream, &task, &polled);
        return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    }
    let now = web.live.now();
    let mut record = Record::new(task, now);
    for outcome in &polled.outcomes {
        record.take_in(outcome, now);
    }
    let stuck = record.is_stuck(upstream.provider.limits.stuck_after, now);
    let snapshot = Snapshot { now, providers: Vec::new(), tasks: vec![record.view(stuck)] };
    let probe = telemetry::probe_families(polled.outcomes.iter().all(Result::is_ok), took);
    metrics::respond(&headers, snapshot, probe, |_| {})
}
