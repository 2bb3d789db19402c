//! Limits on the requests that are answered at once, their bodies included. Each kind of request has
//! one of its own, so that no kind keeps another out; and scrapes are what the exporter is for.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guarded::Guarded;
use crate::telemetry::Telemetry;
use crate::telemetry::web::RejectReason;

/// Pages for people, lists of tasks and `/config`: several people look at once, and each answer under
/// way may hold a thread and some megabytes.
const PAGES: usize = 16;
/// A Prometheus that scrapes `/probe` for a list of IDs has many under way, which wait for their turn
/// at the provider. Each holds an answer of the provider for as long as it is sent.
const PROBES: usize = 64;

/// The limit of one kind of requests.
#[derive(Clone, Debug)]
pub struct Limit {
    reason: RejectReason,
    /// The answer to one too many.
    message: Arc<str>,
    permits: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl Limit {
    /// At most `most` scrapes; 0 is no limit.
    pub fn scrapes(most: usize, telemetry: &Arc<Telemetry>) -> Self {
        let message = format!(
            "{most} scrapes are being answered, which is the limit of --web.max-requests; try again\n"
        );
        let most = if most == 0 { Semaphore::MAX_PERMITS } else { most };
        Self::new(most, RejectReason::Scrapes, message, telemetry)
    }

    /// The limit of pages, lists of tasks and the configuration.
    pub fn pages(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(PAGES, "pages and lists are being answered", RejectReason::Pages, telemetry)
    }

    /// The limit of probes.
    pub fn probes(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(PROBES, "probes are under way", RejectReason::Probes, telemetry)
    }

    fn constant(most: usize, what: &str, reason: RejectReason, telemetry: &Arc<Telemetry>) -> Self {
        Self::new(most, reason, format!("{most} {what}, which is the most; try again\n"), telemetry)
    }

    fn new(most: usize, reason: RejectReason, message: String, telemetry: &Arc<Telemetry>) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { reason, message: message.into(), permits, telemetry: Arc::clone(telemetry) }
    }
}

/// A request's share of its limit. It is held by the answer until that has been sent, and by what is
/// done for it on other threads: a reader that goes away ends neither.
#[derive(Clone, Debug)]
pub struct Permit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Permit {
    /// Takes one, if there is one left.
    pub fn take(permits: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        Some(Self { _held: Arc::new(permit) })
    }
}

/// Answers 503 where one request too many is under way.
pub async fn limit(State(limit): State<Limit>, mut request: Request, next: Next) -> Response {
    let Some(permit) = Permit::take(&limit.permits) else {
        limit.telemetry.web.rejected(limit.reason);
        return (StatusCode::SERVICE_UNAVAILABLE, limit.message.to_string()).into_response();
    };
    request.extensions_mut().insert(permit.clone());
    next.run(request).await.map(|body| Body::new(Guarded::new(body, permit)))
}
