//! Listening: accepts connections and sees to it that a slow or idle client costs little.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tower::ServiceExt;

use super::guarded::Guarded;

/// Prometheus sends its headers in one packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the scrape intervals in use, so that scrapes share a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// File descriptors are few; polls need theirs.
const MAX_CONNECTIONS: usize = 512;
/// After a failure to accept, which mostly is a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` turns true; then finishes what is under way.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let accepted = tokio::select! {
            accepted = async { (permit.await, listener.accept().await) } => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    // What a client does to its own connection is its own affair.
                    let _ = connection(stream, router, stop).await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    stream.set_nodelay(true).ok();
    let stage = Arc::new(Stage::new());
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        stage.set(Waiting::Answer);
        let (router, stage) = (router.clone(), Arc::clone(&stage));
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            let response = response.unwrap_or_else(|never| match never {});
            let guard = Answering(stage);
            Ok::<_, Infallible>(response.map(|body| Guarded { body, guard }))
        }
    });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&stage)));
    // The timeouts are the stream's: hyper's own would end idle connections with slow headers.
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(io, service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// What a connection is waiting for, and since when.
#[derive(Debug)]
struct Stage(Mutex<(Waiting, Instant)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The headers of a request.
    Headers,
    /// Our own answer, which the client cannot hurry.
    Answer,
    /// The next request, if there is to be one.
    Request,
}

impl Stage {
    fn new() -> Self {
        Self(Mutex::new((Waiting::Headers, Instant::now())))
    }

    fn set(&self, waiting: Waiting) {
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

/// Makes its connection idle when the answer has been sent.
struct Answering(Arc<Stage>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Waiting::Request);
    }
}

/// A stream that fails when its client lets it wait too long.
struct Watched {
    stream: TcpStream,
    stage: Arc<Stage>,
    timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(stream: TcpStream, stage: Arc<Stage>) -> Self {
        let timer = Box::pin(tokio::time::sleep(HEADER_TIMEOUT));
        Self { stream, stage, timer, write_timer: None }
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

impl AsyncRead for Watched {
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

impl Watched {
    /// Passes on what writing came to, unless it has come to nothing for too long.
    fn check_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let deadline =
            self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Watched {
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
