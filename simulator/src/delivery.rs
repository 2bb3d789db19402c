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

use super::content::Content;
use super::fault::Fault;
use super::memory::Visit;

/// Longer than anybody should wait for the first byte.
const SLOW: Duration = Duration::from_mins(1);

/// The beginning of a JSON value that never ends, and what follows it for ever.
const ENDLESS_HEAD: &[u8] = br#"{"code":0,"data":{"prompt":""#;
const ENDLESS_REST: &[u8] = &[b'a'; 4096];

/// The connection ends here and now.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
pub struct Cut;

/// Sends `answer` through `fault`. The `visit` lasts until its body is handed over, or dropped.
pub async fn deliver(
    answer: Response<Content>,
    fault: Option<&Fault>,
    visit: Visit,
) -> Result<Response<Delivery>, Cut> {
    let shape: fn(Content) -> Shape = match fault {
        None => Shape::Whole,
        Some(Fault::Slow) => {
            sleep(SLOW).await;
            Shape::Whole
        }
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Reset) => return Err(Cut),
        Some(Fault::Half) => Shape::half,
        Some(Fault::Endless) => |_| Shape::Endless(ENDLESS_HEAD),
        Some(Fault::Trickle) => |body| Shape::Trickle(body, interval(Duration::from_secs(1))),
    };
    Ok(answer.map(|body| Delivery { shape: shape(body), visit: Some(visit) }))
}

/// A body on its way, and the visit that it ends.
#[derive(Debug)]
pub struct Delivery {
    shape: Shape,
    visit: Option<Visit>,
}

#[derive(Debug)]
enum Shape {
    /// As fast as it is taken.
    Whole(Content),
    /// What there is of a body whose declared length is longer; then the cut.
    Half { head: Content, declared: u64, flushed: bool },
    /// These bytes, then padding for ever.
    Endless(&'static [u8]),
    /// A byte at each tick.
    Trickle(Content, Interval),
}

impl Shape {
    fn half(body: Content) -> Self {
        let declared = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self::Half { head: body.half(), declared, flushed: false }
    }
}

impl Delivery {
    /// A whole body that belongs to no visit.
    pub fn plain(body: impl Into<Content>) -> Self {
        Self { shape: Shape::Whole(body.into()), visit: None }
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let bytes = match &mut self.shape {
            Shape::Whole(body) => body.take(usize::MAX),
            Shape::Half { head, .. } if !head.is_empty() => head.take(usize::MAX),
            // The server flushes when the body has nothing for it, so that the half arrives.
            Shape::Half { flushed, .. } if !*flushed => {
                *flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Shape::Half { .. } => return Poll::Ready(Some(Err(Cut))),
            Shape::Endless(next) => Bytes::from_static(mem::replace(next, ENDLESS_REST)),
            Shape::Trickle(left, _) if left.is_empty() => Bytes::new(),
            Shape::Trickle(left, pause) => {
                ready!(pause.poll_tick(cx));
                left.take(1)
            }
        };
        if let Some(visit) = &self.visit {
            visit.handed_over(bytes.len());
        }
        if self.is_end_stream() {
            // Before the last bytes leave: whoever has read them may ask again at once.
            self.visit = None;
        }
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.shape {
            Shape::Whole(body) | Shape::Trickle(body, _) => body.is_empty(),
            Shape::Half { .. } | Shape::Endless(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.shape {
            Shape::Whole(body) | Shape::Trickle(body, _) => {
                SizeHint::with_exact(u64::try_from(body.len()).unwrap_or(u64::MAX))
            }
            Shape::Half { declared, .. } => SizeHint::with_exact(*declared),
            Shape::Endless(_) => SizeHint::default(),
        }
    }
}
