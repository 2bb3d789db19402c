//! A limit on the requests that are answered at once, their bodies included.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guarded::Guarded;

/// How many requests may be answered at once.
#[derive(Clone, Debug)]
pub struct Limit {
    requests: usize,
    permits: Arc<Semaphore>,
}

impl Limit {
    /// A limit; 0 is none.
    pub fn new(requests: usize) -> Self {
        let permits = if requests == 0 { Semaphore::MAX_PERMITS } else { requests };
        Self { requests, permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))) }
    }
}

/// A request's share of the limit. It is held by the answer, and by what is done for it on other
/// threads: a reader who goes away ends neither.
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
        let text = format!(
            "{} requests are being answered, which is the limit of --web.max-requests; try again\n",
            limit.requests
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    request.extensions_mut().insert(permit.clone());
    next.run(request).await.map(|body| Body::new(Guarded::new(body, permit)))
}
