//! Streams that end when their client lets them wait too long.
//!
//! Two, because TLS may stand between them: whether the client takes what is sent shows at the
//! socket, and when its next request begins shows in the text that was encrypted.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Prometheus sends its headers in one packet, and needs two for its part of a TLS handshake.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the scrape intervals in use, so that scrapes share a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is waiting for, and since when.
#[derive(Debug)]
pub struct Stage(Mutex<(Waiting, Instant)>);

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The headers of a request.
    Headers,
    /// Our own answer, which the client cannot hurry.
    Answer,
    /// The next request, if there is to be one.
    Request,
}

impl Stage {
    /// The stage of a connection whose first request may come.
    pub fn new() -> Self {
        Self(Mutex::new((Waiting::Headers, Instant::now())))
    }

    /// Begins to wait for something else.
    pub fn set(&self, waiting: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (waiting, Instant::now());
    }

    fn get(&self) -> Waiting {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// When the client has waited too long; never, while it waits for us.
    fn deadline(&self) -> Option<Instant> {
        let (waiting, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting {
            Waiting::Headers => Some(since + HEADER_TIMEOUT),
            Waiting::Answer => None,
            Waiting::Request => Some(since + IDLE_TIMEOUT),
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream that fails to read once the time of its stage is over.
#[derive(Debug)]
pub struct Hurried<S> {
    stream: S,
    stage: Arc<Stage>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Hurried<S> {
    /// Sees to it that `stream` keeps to `stage`.
    pub fn new(stream: S, stage: Arc<Stage>) -> Self {
        Self { stream, stage, timer: Box::pin(tokio::time::sleep(HEADER_TIMEOUT)) }
    }

    /// Fails once the time of the present stage is over. The timer of a stage that is over fires
    /// in vain, and is then set to what is due now.
    fn check_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match self.stage.deadline() {
                Some(deadline) if deadline <= now => {
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Some(deadline) => self.timer.as_mut().reset(deadline),
                None => self.timer.as_mut().reset(now + HEADER_TIMEOUT),
            }
        }
        if let Some(deadline) = self.stage.deadline().filter(|due| *due < self.timer.deadline()) {
            self.timer.as_mut().reset(deadline);
            return self.check_deadline(cx);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hurried<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        // The first bytes of the next request: from now on it has to hurry.
        if read.is_ready() && this.stage.get() == Waiting::Request {
            this.stage.set(Waiting::Headers);
        }
        match this.check_deadline(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hurried<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket that fails to write once its client has taken nothing for too long.
#[derive(Debug)]
pub struct Taken<S> {
    stream: S,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    /// Watches what is written to `stream`.
    pub const fn new(stream: S) -> Self {
        Self { stream, timer: None }
    }

    /// Passes on what writing came to, unless it has come to nothing for too long.
    fn check_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let deadline =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
