//! Responses that are computed on blocking threads, and written while they are sent.

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

use super::connection_stage::ANSWER_TIMEOUT;
use crate::exposition::out::Out;

/// What is sent at once: enough that the threads which write and send seldom wake each other.
const CHUNK_BYTES: usize = 256 * 1024;

/// How many chunks may wait for a slow reader; then the writing waits.
pub const CHUNKS_AHEAD: usize = 2;

/// A body that `write` makes on a blocking thread, in `turns`, while it is sent; compressed with
/// `gzip`. Must be called on a tokio runtime. Calls `on_done` with the time that the writing took,
/// also when the reader went away before the end.
pub fn stream(
    gzip: bool,
    turns: ComputePermits,
    write: impl FnOnce(&mut Out<Chunks>) -> io::Result<()> + Send + 'static,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let deadline = tokio::time::Instant::now() + ANSWER_TIMEOUT;
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let (sender, turn) = (Some(sender), turns.take());
        let chunks = Chunks { sender, turn, deadline, chunk: Vec::new() };
        // The only error is a reader that went away, of which nobody is left to be told.
        let _gone = write_all(gzip, write, chunks);
        on_done(start.elapsed());
    });
    Body::new(ChunkedBody { receiver })
}

fn write_all(
    gzip: bool,
    write: impl FnOnce(&mut Out<Chunks>) -> io::Result<()>,
    chunks: Chunks,
) -> io::Result<()> {
    let mut out = Out::new(gzip, chunks)?;
    write(&mut out)?;
    let mut chunks = out.finish()?;
    chunks.flush()?;
    chunks.send(Chunk::End)
}

/// A piece of the answer. The end is said, so that a writer that died is not taken for one that
/// had no more to say.
#[derive(Debug)]
enum Chunk {
    Data(Bytes),
    End,
}

/// The writing end, on a blocking thread. What is written goes out once it is a chunk, or with
/// `flush`.
pub struct Chunks {
    /// `None` once the reader has failed: nobody is waited for twice.
    sender: Option<Sender<Chunk>>,
    turn: ComputePermit,
    deadline: tokio::time::Instant,
    chunk: Vec<u8>,
}

impl Chunks {
    /// Waits until there is room; fails when the reader has gone or is too slow.
    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        let sender = self.sender.take().ok_or(io::ErrorKind::BrokenPipe)?;
        match sender.try_send(chunk) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(chunk)) => {
                let deadline = self.deadline;
                let sent = async { tokio::time::timeout_at(deadline, sender.send(chunk)).await };
                let sent = self.turn.pause(sent);
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
            // With room for the piece that makes it whole: a buffer that grows is there twice.
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

/// The reading end.
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
            None => Some(Err(io::Error::other("the answer broke off"))),
        })
    }
}

/// ComputePermits at making answers: one at once for each core but one, and at least one. Answers that wait for
/// their reader have none.
#[derive(Clone, Debug)]
pub struct ComputePermits(Arc<Semaphore>);

impl ComputePermits {
    /// As many turns as this machine has cores to spare.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self::at_once(cores.saturating_sub(1).max(1))
    }

    /// So many turns at once.
    pub fn at_once(turns: usize) -> Self {
        Self(Arc::new(Semaphore::new(turns)))
    }

    /// Waits for a turn, in the order of those who wait. Blocks the thread, which must be one of a
    /// runtime where that is allowed.
    pub fn take(&self) -> ComputePermit {
        let mut turn =
            ComputePermit { turns: self.clone(), runtime: Handle::current(), permit: None };
        turn.begin();
        turn
    }
}

impl Default for ComputePermits {
    fn default() -> Self {
        Self::new()
    }
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct ComputePermit {
    turns: ComputePermits,
    runtime: Handle,
    /// `None` in a pause.
    permit: Option<OwnedSemaphorePermit>,
}

impl ComputePermit {
    /// Lets others compute while this thread waits for something.
    pub fn pause<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.permit = None;
        let waited = self.runtime.block_on(wait);
        self.begin();
        waited
    }

    fn begin(&mut self) {
        let turn = Arc::clone(&self.turns.0).acquire_owned();
        // The semaphore is never closed; if it were, there would be no order to keep.
        self.permit = self.runtime.block_on(turn).ok();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn others_compute_in_a_pause_only() {
        let turns = ComputePermits::at_once(1);
        let (begin, has_begun) = oneshot::channel();
        let (go_on, wait) = oneshot::channel();
        let first = spawn_blocking({
            let turns = turns.clone();
            move || {
                let mut turn = turns.take();
                assert!(turns.0.try_acquire().is_err(), "there is one turn");
                begin.send(()).unwrap();
                turn.pause(async { wait.await.unwrap() });
                assert!(turns.0.try_acquire().is_err(), "it has its turn again");
            }
        });
        has_begun.await.unwrap();
        // The first thread pauses, and cannot go on before this one has had its turn.
        spawn_blocking(move || drop(turns.take())).await.unwrap();
        go_on.send(()).unwrap();
        first.await.unwrap();
    }
}
