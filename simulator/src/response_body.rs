//! An answer on its way through a fault, and the body that carries it.

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

/// Longer than anybody should wait for the first byte.
const SLOW_RESPONSE_DELAY: Duration = Duration::from_mins(1);

/// The beginning of a JSON value that never ends, and what follows it for ever.
const ENDLESS_PREFIX: &[u8] = br#"{"code":0,"data":{"prompt":""#;
const ENDLESS_FILLER: &[u8] = &[b'a'; 4096];

/// The connection ends here and now.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
pub(crate) struct ConnectionAbort;

/// Sends `answer` through `fault`. The `visit` lasts until its body is handed over, or dropped.
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

/// A body on its way, and the visit that it ends.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    transmission: Transmission,
    active_request: Option<ActiveRequest>,
}

#[derive(Debug)]
enum Transmission {
    /// As fast as it is taken.
    Complete(PaddedBody),
    /// What there is of a body whose declared length is longer; then the cut.
    Half { remaining: PaddedBody, declared_bytes: u64, is_flushed: bool },
    /// These bytes, then padding for ever.
    Endless(&'static [u8]),
    /// A byte at each tick.
    Trickle(PaddedBody, Interval),
}

impl Transmission {
    fn start_half(body: PaddedBody) -> Self {
        let declared_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self::Half { remaining: body.truncate_to_half(), declared_bytes, is_flushed: false }
    }
}

impl ResponseBody {
    /// A whole body that belongs to no visit.
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
            // The server flushes when the body has nothing for it, so that the half arrives.
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
            // Before the last bytes leave: whoever has read them may ask again at once.
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
