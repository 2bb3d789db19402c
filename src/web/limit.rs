//! A limit on the requests that are answered at once, their bodies included.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    next.run(request).await.map(|body| Body::new(Held { body, _permit: permit }))
}

/// A body that gives its permit back when it has been sent.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
