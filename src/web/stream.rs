//! An answer that is written while it is sent, as fast as it is read.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::compute_turns::{Turn, Turns};
use super::connection_stage::ANSWER_TIMEOUT;
use crate::exposition::BodyWriter;

/// What is sent at once: enough that the threads which write and send seldom wake each other.
const CHUNK_BYTES: usize = 256 * 1024;

/// How many chunks may wait for a slow reader; then the writing waits.
pub const CHUNKS_AHEAD: usize = 2;

/// A body that `write` makes on a blocking thread, in `turns`, while it is sent; compressed with
/// `gzip`. Must be called on a tokio runtime. Calls `on_done` with the time that the writing took,
/// also when the reader went away before the end.
pub fn stream(
    gzip: bool,
    turns: Turns,
    write: impl FnOnce(&mut BodyWriter<Chunks>) -> io::Result<()> + Send + 'static,
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
    write: impl FnOnce(&mut BodyWriter<Chunks>) -> io::Result<()>,
    chunks: Chunks,
) -> io::Result<()> {
    let mut out = BodyWriter::new(gzip, chunks)?;
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
    turn: Turn,
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
