//! `/metrics`: an exposition in the form that the reader asks for, as fast as it reads.

mod negotiation;

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use prometheus::proto::MetricFamily;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::exposition::{self, Format};
use crate::store::Snapshot;

/// What is sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks may wait for a slow reader; then the writing waits.
const CHUNKS_AHEAD: usize = 2;

/// How long a reader may leave a chunk untaken: Prometheus itself gives up after less, and each
/// reader occupies a thread and a snapshot.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with the exposition of `snapshot` and `registry`, as OpenMetrics and compressed if
/// `headers` ask for it. Must be called on a tokio runtime, on whose blocking threads the text
/// is made while the answer is under way. `on_done` is told how long that took, also when the
/// reader went away before the end.
pub fn respond(
    headers: &HeaderMap,
    snapshot: Snapshot,
    registry: Vec<MetricFamily>,
    on_done: impl FnOnce(Duration) + Send + 'static,
) -> Response {
    let format = negotiation::format(headers);
    let gzip = negotiation::gzip(headers);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let chunks = Chunks { sender: Some(sender), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        // The only error is a reader that went away, of which nobody is left to be told.
        let _gone = write(format, gzip, &snapshot, &registry, chunks);
        on_done(start.elapsed());
    });
    let mut response = Response::new(Body::new(ChunkedBody { receiver }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn write(
    format: Format,
    gzip: bool,
    snapshot: &Snapshot,
    registry: &[MetricFamily],
    chunks: Chunks,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, chunks);
    if gzip {
        // Level 1: on such text the higher levels cost more time than they save bytes.
        let mut encoder = GzEncoder::new(out, Compression::new(1));
        exposition::write(format, snapshot, registry, &mut encoder)?;
        out = encoder.finish()?;
    } else {
        exposition::write(format, snapshot, registry, &mut out)?;
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
            None => Some(Err(io::Error::other("the exposition broke off"))),
        })
    }
}

#[cfg(test)]
mod tests;
