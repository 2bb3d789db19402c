//! A body that keeps something until it has been sent or given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// A body, and what is dropped once its last byte has been written to the connection. The body
/// itself ends earlier, when the last byte is queued: so each piece of it holds the guard as well.
pub struct Guarded<G> {
    body: Body,
    guard: Arc<G>,
}

impl<G> Guarded<G> {
    /// Keeps `guard` until `body` has been sent.
    pub fn new(body: Body, guard: G) -> Self {
        Self { body, guard: Arc::new(guard) }
    }
}

/// A piece of a body.
struct Piece<G> {
    bytes: Bytes,
    _guard: Arc<G>,
}

impl<G> AsRef<[u8]> for Piece<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<G: Send + Sync + 'static> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let guard = &self.guard;
        let hold = |bytes| Bytes::from_owner(Piece { bytes, _guard: Arc::clone(guard) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[tokio::test]
    async fn a_guard_stays_until_the_last_piece_is_gone() {
        let guard = Arc::new(());
        let mut body = Guarded::new(Body::from("text"), Arc::clone(&guard));
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let mut piece = frame.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&piece[..], b"text");
        drop(body);
        let rest = piece.split_off(2);
        drop(piece);
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(rest);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
