//! `/metrics`: an exposition in the form that the reader asks for, as fast as it reads.

use std::time::Duration;

use axum::response::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use prometheus::proto::MetricFamily;

use super::compute_turns::Turns;
use super::negotiation;
use super::stream::stream;
use crate::exposition;
use crate::store::Snapshot;

/// Answers with the exposition of `snapshot` and `registry`, as OpenMetrics and compressed if
/// `headers` ask for it. Must be called on a tokio runtime, on whose blocking threads the text
/// is made, in `turns`, while the answer is under way. Calls `on_done` with the time that this took,
/// also when the reader went away before the end.
pub fn respond(
    headers: &HeaderMap,
    snapshot: Snapshot,
    registry: Vec<MetricFamily>,
    turns: Turns,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Response {
    let format = negotiation::format(headers);
    let gzip = negotiation::gzip(headers);
    let write = move |out: &mut _| exposition::write(format, &snapshot, &registry, out);
    let mut response = Response::new(stream(gzip, turns, write, on_done));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests;
