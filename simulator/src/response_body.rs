//! The body of a response, and the network faults that spoil the transmission of responses.

use std::future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, interval, sleep};

use super::padded_body::PaddedBody;
use super::registry::ActiveRequest;
use super::script::NetworkFault;

/// Delay of a slow response, longer than any client should wait for the first byte.
const SLOW_RESPONSE_DELAY: Duration = Duration::from_mins(1);

/// Start of a JSON value that never ends.
const ENDLESS_PREFIX: &[u8] = br#"{"code":0,"data":{"prompt":""#;
/// Bytes that follow [`ENDLESS_PREFIX`] forever.
const ENDLESS_FILLER: &[u8] = &[b'a'; 4096];

/// Error with which the server closes the connection at once.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
pub(crate) struct ConnectionAbort;

/// Applies `fault` to `response`.
///
/// `active_request` stays in flight until the body of the response is sent or dropped.
///
/// # Errors
/// Returns [`ConnectionAbort`] if the fault is a reset.
pub(crate) async fn apply_network_fault(
    response: Response<PaddedBody>,
    fault: Option<&NetworkFault>,
    active_request: ActiveRequest,
) -> Result<Response<ResponseBody>, ConnectionAbort> {
    let start: fn(PaddedBody) -> Transmission = match fault {
        None => Transmission::Complete,
        Some(NetworkFault::Slow) => {
            sleep(SLOW_RESPONSE_DELAY).await;
            Transmission::Complete
        }
        Some(NetworkFault::Hang) => future::pending().await,
        Some(NetworkFault::Reset) => return Err(ConnectionAbort),
        Some(NetworkFault::Half) => Transmission::start_half,
        Some(NetworkFault::Endless) => |_| Transmission::Endless(ENDLESS_PREFIX),
        Some(NetworkFault::Trickle) => {
            |body| Transmission::Trickle(body, interval(Duration::from_secs(1)))
        }
    };
    Ok(response.map(|body| ResponseBody {
        transmission: start(body),
        active_request: Some(active_request),
    }))
}

/// A response body during transmission, and the request that is in flight for as long.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    transmission: Transmission,
    active_request: Option<ActiveRequest>,
}

/// The way in which a body is sent.
#[derive(Debug)]
enum Transmission {
    /// Sends the body as fast as the client reads.
    Complete(PaddedBody),
    /// Sends `remaining`, the rest of the first half, of a body of `declared_bytes`; then aborts
    /// the connection.
    Half { remaining: PaddedBody, declared_bytes: u64, is_flushed: bool },
    /// Sends these bytes, then [`ENDLESS_FILLER`] forever.
    Endless(&'static [u8]),
    /// Sends one byte at each tick.
    Trickle(PaddedBody, Interval),
}

impl Transmission {
    fn start_half(body: PaddedBody) -> Self {
        let declared_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self::Half { remaining: body.truncate_to_half(), declared_bytes, is_flushed: false }
    }
}

impl ResponseBody {
    /// Returns a complete body that belongs to no request for tasks.
    pub(crate) fn untracked(body: impl Into<PaddedBody>) -> Self {
        Self { transmission: Transmission::Complete(body.into()), active_request: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ConnectionAbort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionAbort>>> {
        let bytes = match &mut self.transmission {
            Transmission::Complete(body) => body.take_chunk(usize::MAX),
            Transmission::Half { remaining, .. } if !remaining.is_empty() => {
                remaining.take_chunk(usize::MAX)
            }
            // The server flushes when the body is pending, so that the half reaches the client.
            Transmission::Half { is_flushed, .. } if !*is_flushed => {
                *is_flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Transmission::Half { .. } => return Poll::Ready(Some(Err(ConnectionAbort))),
            Transmission::Endless(next) => Bytes::from_static(mem::replace(next, ENDLESS_FILLER)),
            Transmission::Trickle(remaining, _) if remaining.is_empty() => Bytes::new(),
            Transmission::Trickle(remaining, ticks) => {
                ready!(ticks.poll_tick(cx));
                remaining.take_chunk(1)
            }
        };
        if let Some(active_request) = &self.active_request {
            active_request.record_sent_bytes(bytes.len());
        }
        if self.is_end_stream() {
            // Before the last bytes are sent: a client that has read them may send its next request
            // at once, and the statistics must not count both as in flight.
            self.active_request = None;
        }
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.transmission {
            Transmission::Complete(body) | Transmission::Trickle(body, _) => body.is_empty(),
            Transmission::Half { .. } | Transmission::Endless(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.transmission {
            Transmission::Complete(body) | Transmission::Trickle(body, _) => {
                SizeHint::with_exact(u64::try_from(body.len()).unwrap_or(u64::MAX))
            }
            Transmission::Half { declared_bytes, .. } => SizeHint::with_exact(*declared_bytes),
            Transmission::Endless(_) => SizeHint::default(),
        }
    }
}
