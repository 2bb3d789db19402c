//! Responses that are written on blocking threads while they are sent, and the limit on concurrent
//! computation.

use std::io::{self, Write};
use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection_stage::RESPONSE_TIMEOUT;
use crate::exposition::BodyWriter;

/// Size of a chunk, in bytes: large enough that the threads that write and send seldom wake each
/// other.
const CHUNK_BYTES: usize = 256 * 1024;

/// Maximum number of chunks that wait for a slow reader; then the writing waits.
pub const CHUNKS_AHEAD: usize = 2;

/// Returns a body that `write` writes on a blocking thread, with a permit from `compute_permits`, while it is
/// sent; compressed with `gzip`.
///
/// Must be called on a tokio runtime. Calls `on_done` with the time that the writing took, even if
/// the client disconnected before the end.
pub fn stream(
    gzip: bool,
    compute_permits: ComputePermits,
    write: impl FnOnce(&mut BodyWriter<Chunks>) -> io::Result<()> + Send + 'static,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let deadline = tokio::time::Instant::now() + RESPONSE_TIMEOUT;
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let (sender, permit) = (Some(sender), compute_permits.acquire());
        let chunks = Chunks { sender, permit, deadline, chunk: Vec::new() };
        // The only error is a client that has disconnected, to whom nothing can be reported.
        let _gone = write_all(gzip, write, chunks);
        on_done(start.elapsed());
    });
    Body::new(ChunkedBody { receiver })
}

fn write_all(
    gzip: bool,
    write: impl FnOnce(&mut BodyWriter<Chunks>) -> io::Result<()>,
    chunks: Chunks,
) -> io::Result<()> {
    let mut out = BodyWriter::new(gzip, chunks)?;
    write(&mut out)?;
    let mut chunks = out.finish()?;
    chunks.flush()?;
    chunks.send(Chunk::End)
}

/// A chunk of a response.
///
/// The end is explicit, so that a response whose writer panicked is not mistaken for a complete
/// one.
#[derive(Debug)]
enum Chunk {
    Data(Bytes),
    End,
}

/// The writing end of a body, on a blocking thread. Bytes are sent once they fill a chunk, or with
/// `flush`.
pub struct Chunks {
    /// `None` after a failure, so that the writer does not wait twice for the same reader.
    sender: Option<Sender<Chunk>>,
    permit: ComputePermit,
    deadline: tokio::time::Instant,
    chunk: Vec<u8>,
}

impl Chunks {
    /// Waits until there is room. Fails if the client has disconnected or is too slow.
    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        let sender = self.sender.take().ok_or(io::ErrorKind::BrokenPipe)?;
        match sender.try_send(chunk) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(chunk)) => {
                let deadline = self.deadline;
                let sent = async { tokio::time::timeout_at(deadline, sender.send(chunk)).await };
                let sent = self.permit.release_while(sent);
                sent.map_err(|_| io::ErrorKind::TimedOut)?
                    .map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
        }
        self.sender = Some(sender);
        Ok(())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            // Room for the bytes that complete the chunk is reserved as well, because a buffer that
            // grows exists twice.
            self.chunk.reserve_exact(CHUNK_BYTES + bytes.len());
        }
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        self.send(Chunk::Data(chunk.into()))
    }
}

/// The reading end of a body.
struct ChunkedBody {
    receiver: Receiver<Chunk>,
}

impl http_body::Body for ChunkedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(Chunk::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Chunk::End) => None,
            None => Some(Err(io::Error::other("the answer was interrupted"))),
        })
    }
}

/// Permits to compute responses: one for each core but one, and at least one. Responses that wait
/// for their reader hold none.
#[derive(Clone, Debug)]
pub struct ComputePermits(Arc<Semaphore>);

impl ComputePermits {
    /// Creates one permit for each core but one, and at least one.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self::with_limit(cores.saturating_sub(1).max(1))
    }

    /// Creates so many permits.
    pub fn with_limit(permits: usize) -> Self {
        Self(Arc::new(Semaphore::new(permits)))
    }

    /// Waits for a permit, first come, first served. Blocks the thread, which must be a blocking
    /// thread of a runtime.
    pub fn acquire(&self) -> ComputePermit {
        let mut permit = ComputePermit {
            compute_permits: self.clone(),
            runtime: Handle::current(),
            permit: None,
        };
        permit.reacquire();
        permit
    }
}

impl Default for ComputePermits {
    fn default() -> Self {
        Self::new()
    }
}

/// A permit to compute a response, released when it is dropped.
#[derive(Debug)]
pub struct ComputePermit {
    compute_permits: ComputePermits,
    runtime: Handle,
    /// `None` while it is released.
    permit: Option<OwnedSemaphorePermit>,
}

impl ComputePermit {
    /// Releases the permit while this thread waits for something.
    pub fn release_while<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.permit = None;
        let waited = self.runtime.block_on(wait);
        self.reacquire();
        waited
    }

    fn reacquire(&mut self) {
        let permit = Arc::clone(&self.compute_permits.0).acquire_owned();
        // The semaphore is never closed; if it were, there would be no limit to enforce.
        self.permit = self.runtime.block_on(permit).ok();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn others_compute_in_a_pause_only() {
        let compute_permits = ComputePermits::with_limit(1);
        let (begin, has_begun) = oneshot::channel();
        let (go_on, wait) = oneshot::channel();
        let first = spawn_blocking({
            let compute_permits = compute_permits.clone();
            move || {
                let mut permit = compute_permits.acquire();
                assert!(compute_permits.0.try_acquire().is_err(), "there is one permit");
                begin.send(()).unwrap();
                permit.release_while(async { wait.await.unwrap() });
                assert!(compute_permits.0.try_acquire().is_err(), "it has its permit again");
            }
        });
        has_begun.await.unwrap();
        // The first thread has released its permit, and cannot continue before this one has had it.
        spawn_blocking(move || drop(compute_permits.acquire())).await.unwrap();
        go_on.send(()).unwrap();
        first.await.unwrap();
    }
}
