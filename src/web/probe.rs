//! `/probe`: polls one task at a configured provider, immediately.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::{WebState, metrics, query};
use crate::observation::{Failure, Reason};
use crate::poll::{ProbeError, report};
use crate::record::TrackedTask;
use crate::reload::ProbeOutcome;
use crate::store::{Snapshot, TaskList};
use crate::telemetry;

/// Header with the time for which Prometheus waits for the response, in seconds.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Time between the end of a probe and the timeout of Prometheus, in which the response is written
/// and sent; at most half of the timeout.
const MARGIN: Duration = Duration::from_millis(500);

/// The parameters of `/probe`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProbeParams {
    /// Name of the provider.
    pub provider: Option<String>,
    /// ID of the task.
    pub task_id: Option<String>,
    /// True if the response is a report instead of metrics.
    pub debug: bool,
    /// Values of `param.NAME=…`, for an ID that is not in the configuration.
    pub task_params: Vec<(String, String)>,
}

impl ProbeParams {
    /// Parses a query.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut params = Self::default();
        for (key, value) in query::parse_pairs(query)? {
            match (key.as_str(), value.as_str()) {
                ("provider", _) => params.provider = Some(value),
                ("task_id", _) => params.task_id = Some(value),
                ("debug", "true" | "1") => params.debug = true,
                ("debug", "false" | "0" | "") => params.debug = false,
                ("debug", _) => return Err("debug must be true or false".to_owned()),
                _ => match key.strip_prefix("param.") {
                    Some(name) => params.task_params.push((name.to_owned(), value)),
                    None => return Err(format!("unknown parameter {key:?}")),
                },
            }
        }
        Ok(params)
    }
}

/// Polls a task and responds with metrics, or with a report in plain text if `debug` is true.
pub async fn probe(
    State(web): State<Arc<WebState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match ProbeParams::parse(&query.unwrap_or_default()) {
        Ok(params) => respond(&web, params, &headers).await,
        Err(message) => Err(message),
    }
    .unwrap_or_else(|message| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response())
}

/// Returns the maximum duration of a probe, if the client reports its timeout.
///
/// # Errors
/// The header is not a number of seconds; the error is a sentence.
fn budget(headers: &HeaderMap) -> Result<Option<Duration>, String> {
    let Some(value) = headers.get(SCRAPE_TIMEOUT) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    match seconds {
        // As in blackbox_exporter, 0 means no timeout.
        Some(0.0) => Ok(None),
        Some(seconds) if seconds > 0.0 => {
            // A timeout that no duration can represent is no limit.
            let timeout = Duration::try_from_secs_f64(seconds).ok();
            Ok(timeout.map(|timeout| timeout.saturating_sub(MARGIN.min(timeout / 2))))
        }
        _ => Err(format!("the header {SCRAPE_TIMEOUT} must be a number of seconds")),
    }
}

async fn respond(
    web: &WebState,
    params: ProbeParams,
    headers: &HeaderMap,
) -> Result<Response, String> {
    let start = Instant::now();
    let provider = params.provider.ok_or("the parameter provider is missing")?;
    let task_id = params.task_id.ok_or("the parameter task_id is missing")?;
    let deadline = budget(headers)?.and_then(|budget| start.checked_add(budget));
    let probed = web.manager.probe(&provider, &task_id, &params.task_params, deadline);
    let ProbeOutcome { client, task, polled } = probed.await?;
    let now = web.manager.now();
    if params.debug {
        let polled = match polled {
            Ok(polled) => polled,
            Err(no_turn) => return Ok(unavailable(no_turn, start.elapsed())),
        };
        let text = report::report(&client, &task, &polled);
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    let mut outcomes = match polled {
        Ok(polled) => polled.outcomes,
        Err(ProbeError::TimedOut) => {
            vec![Err(Failure::new(Reason::Timeout, ProbeError::TimedOut.to_string()))]
        }
        Err(_) => Vec::new(),
    };
    for outcome in &mut outcomes {
        web.manager.store.limit_words(&provider, outcome);
    }
    let success = !outcomes.is_empty() && outcomes.iter().all(Result::is_ok);
    let stuck_after = client.provider.limits.stuck_after;
    let mut tracked = TrackedTask::new(task, now);
    for outcome in &outcomes {
        tracked.apply(outcome, now, stuck_after);
    }
    // A task that was not polled has no metrics.
    let records = Some(tracked).filter(|_| !outcomes.is_empty());
    let tasks = TaskList::of(records, stuck_after);
    let snapshot = Snapshot::of(vec![tasks], now);
    let probe = telemetry::probe_families(success, start.elapsed());
    Ok(metrics::respond(headers, snapshot, probe, web.compute_permits.clone(), |_| {}))
}

/// Builds the response to a person whose probe was not admitted.
fn unavailable(no_turn: ProbeError, took: Duration) -> Response {
    let text = format!("{no_turn}; this took {:.3} s\n", took.as_secs_f64());
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    if let ProbeError::Paused(_, left) = no_turn {
        // A pause lasts for minutes at most.
        let seconds = left.saturating_add(Duration::from_millis(999)).as_secs().max(1);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_over_before_prometheus_gives_up() {
        let budget = |text: &str| {
            let headers = [(SCRAPE_TIMEOUT.parse().unwrap(), text.parse().unwrap())];
            budget(&HeaderMap::from_iter(headers)).map_err(|_| ())
        };
        let millis = |millis| Ok(Some(Duration::from_millis(millis)));
        assert_eq!(budget("10"), millis(9_500));
        assert_eq!(budget("1.5"), millis(1_000));
        assert_eq!(budget("1"), millis(500));
        assert_eq!(budget(" 0.2 "), millis(100));
        assert_eq!(budget("1e-9"), Ok(Some(Duration::from_nanos(1))));
        for unlimited in ["0", "-0", "inf", "1e300"] {
            assert_eq!(budget(unlimited), Ok(None), "{unlimited}");
        }
        for garbage in ["", "soon", "10s", "-1", "nan", "1,5"] {
            assert_eq!(budget(garbage), Err(()), "{garbage:?}");
        }
        assert_eq!(super::budget(&HeaderMap::new()), Ok(None));
    }
}
