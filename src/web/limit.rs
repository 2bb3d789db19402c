//! A limit on the requests that are answered at once, their bodies included.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

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

/// Answers 503 where one request too many is under way.
pub async fn limit(State(limit): State<Limit>, request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&limit.permits).try_acquire_owned() else {
        let text = format!(
            "{} requests are being answered, which is the limit of --web.max-requests; try again\n",
            limit.requests
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    next.run(request).await.map(|body| Body::new(Guarded { body, guard: permit }))
}
