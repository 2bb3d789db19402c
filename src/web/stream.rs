//! An answer that is written while it is sent, as fast as it is read.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What is sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks may wait for a slow reader; then the writing waits.
pub const CHUNKS_AHEAD: usize = 2;

/// How long a reader may leave a chunk untaken: Prometheus itself gives up after less, and each
/// reader occupies a thread and a snapshot.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A body that `write` makes on a blocking thread while it is sent; compressed with `gzip`. Must be
/// called on a tokio runtime. `on_done` is told how long the writing took, also when the reader
/// went away before the end.
pub fn stream(
    gzip: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let chunks = Chunks { sender: Some(sender), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        // The only error is a reader that went away, of which nobody is left to be told.
        let _gone = write_all(gzip, write, chunks);
        on_done(start.elapsed());
    });
    Body::new(ChunkedBody { receiver })
}

fn write_all(
    gzip: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    chunks: Chunks,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, chunks);
    if gzip {
        // Level 1: on such text the higher levels cost more time than they save bytes.
        let mut encoder = GzEncoder::new(out, Compression::new(1));
        write(&mut encoder)?;
        out = encoder.finish()?;
    } else {
        write(&mut out)?;
    }
    out.flush()?;
    out.get_mut().send(Chunk::End)
}

/// A piece of the answer. The end is said, so that a writer that died is not taken for one that
/// had no more to say.
#[derive(Debug)]
enum Chunk {
    Data(Bytes),
    End,
}

/// The writing end, on a blocking thread.
struct Chunks {
    /// `None` once the reader has failed: nobody is waited for twice.
    sender: Option<Sender<Chunk>>,
    runtime: Handle,
}

impl Chunks {
    /// Waits until there is room; fails when the reader has gone or does not read.
    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        let sender = self.sender.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let sent = self.runtime.block_on(sender.send_timeout(chunk, PATIENCE));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.sender = Some(sender);
        Ok(())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Chunk::Data(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
