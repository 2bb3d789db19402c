//! `/metrics`: the exposition in the format that the client accepts, written as fast as the client
//! reads.

use std::time::Duration;

use axum::response::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use prometheus::proto::MetricFamily;

use super::negotiation;
use super::stream::{ComputePermits, stream};
use crate::exposition;
use crate::store::Snapshot;

/// Responds with the exposition of `snapshot` and `registry`, as OpenMetrics and compressed if
/// `headers` accept it.
///
/// Must be called on a tokio runtime, on whose blocking threads the text is written, with a permit
/// from `compute_permits`, while the response is sent. Calls `on_done` with the time that this took, even if
/// the client disconnected before the end.
pub fn respond(
    headers: &HeaderMap,
    snapshot: Snapshot,
    registry: Vec<MetricFamily>,
    compute_permits: ComputePermits,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Response {
    let format = negotiation::format(headers);
    let gzip = negotiation::gzip(headers);
    let write = move |out: &mut _| exposition::write(format, &snapshot, &registry, out);
    let mut response = Response::new(stream(gzip, compute_permits, write, on_done));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::pin::Pin;

    use axum::body::to_bytes;
    use flate2::read::GzDecoder;
    use http::header::{ACCEPT, ACCEPT_ENCODING};
    use http_body::Body as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::exposition::Format;
    use crate::exposition::tests::{many, written};
    use crate::telemetry::Telemetry;
    use crate::web::connection_stage::RESPONSE_TIMEOUT;
    use crate::web::stream::CHUNKS_AHEAD;

    /// Enough tasks for many chunks of text.
    const TASKS: usize = 5_000;

    fn asked(pairs: [(http::HeaderName, &'static str); 2]) -> HeaderMap {
        pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
    }

    #[tokio::test]
    async fn every_form_is_what_was_asked_for() {
        for (accept, format) in
            [("*/*", Format::Text), ("application/openmetrics-text", Format::OpenMetrics)]
        {
            let registry = Telemetry::new().gather();
            let expected = written(format, &many(TASKS), &registry);
            for encoding in ["identity", "gzip"] {
                let (done, took) = oneshot::channel();
                let headers = asked([(ACCEPT, accept), (ACCEPT_ENCODING, encoding)]);
                let response = respond(
                    &headers,
                    many(TASKS),
                    registry.clone(),
                    ComputePermits::new(),
                    |took| {
                        done.send(took).unwrap();
                    },
                );
                assert_eq!(response.headers()[CONTENT_TYPE], format.content_type());
                let gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|v| v == "gzip");
                assert_eq!(gzip, encoding == "gzip");
                let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                let mut text = String::new();
                if gzip {
                    assert!(body.len() < expected.len() / 5);
                    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
                } else {
                    text = String::from_utf8(body.into()).unwrap();
                }
                assert!(text == expected, "{accept} {encoding}: {} bytes", text.len());
                assert!(took.await.unwrap() > Duration::ZERO);
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_the_writing() {
        let (done, took) = oneshot::channel();
        let response =
            respond(&HeaderMap::new(), many(TASKS), Vec::new(), ComputePermits::new(), |took| {
                done.send(took).unwrap();
            });
        drop(response);
        took.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_too_slowly_is_left() {
        let (done, mut took) = oneshot::channel();
        let response =
            respond(&HeaderMap::new(), many(TASKS), Vec::new(), ComputePermits::new(), |took| {
                done.send(took).unwrap();
            });
        let mut body = response.into_body();
        for _ in 0..3 {
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            frame.unwrap().unwrap();
            assert!(took.try_recv().is_err());
            tokio::time::advance(RESPONSE_TIMEOUT / 3).await;
        }
        while took.try_recv().is_err() {
            tokio::time::advance(RESPONSE_TIMEOUT / 3).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_is_left_and_sees_that_the_rest_is_missing() {
        let (done, mut took) = oneshot::channel();
        let response =
            respond(&HeaderMap::new(), many(TASKS), Vec::new(), ComputePermits::new(), |took| {
                done.send(took).unwrap();
            });
        while took.try_recv().is_err() {
            tokio::time::advance(RESPONSE_TIMEOUT).await;
        }
        let mut body = response.into_body();
        let mut frames = 0;
        let broken = loop {
            match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                Some(Ok(_)) => frames += 1,
                end => break end,
            }
        };
        assert_eq!(frames, CHUNKS_AHEAD);
        assert_eq!(broken.unwrap().unwrap_err().to_string(), "the answer was interrupted");
    }

    #[tokio::test]
    async fn one_response_is_made_at_a_time_and_a_slow_reader_keeps_no_other_from_its_turn() {
        let compute_permits = ComputePermits::with_limit(1);
        let response =
            || respond(&HeaderMap::new(), many(TASKS), Vec::new(), compute_permits.clone(), |_| {});
        let held = {
            let compute_permits = compute_permits.clone();
            tokio::task::spawn_blocking(move || compute_permits.acquire()).await.unwrap()
        };
        let mut waits = response().into_body();
        let frame = std::future::poll_fn(|context| Pin::new(&mut waits).poll_frame(context));
        assert!(tokio::time::timeout(Duration::from_millis(50), frame).await.is_err());
        drop(held);
        // One response without a reader, and one with a reader.
        let unread = response();
        assert!(to_bytes(response().into_body(), usize::MAX).await.is_ok());
        drop((unread, waits));
    }
}
