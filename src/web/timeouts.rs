//! Readers and writers that fail if their client makes them wait too long.
//!
//! There are two, because TLS may be between them: whether the client takes what is sent is visible
//! at the socket, but the begin of its next request only in the decrypted text. tokio-io-timeout
//! has no deadline for a whole response, and does not report which timeout has expired.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection_stage::{ConnectionStage, HEADER_TIMEOUT, WaitingFor};
use crate::telemetry::web::CloseReason;

/// Maximum time for which a client takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of bytes of a head that are read at once.
///
/// hyper grows its buffer by what it has read before. With pieces of half its initial buffer, the
/// buffer ends exactly at the limit of a head.
const HEAD_PIECE_BYTES: usize = 4 << 10;

/// A reader that fails once the deadline of the connection's stage is over, and that returns a head
/// in pieces.
#[derive(Debug)]
pub struct ReadTimeout<R> {
    reader: R,
    stage: Arc<ConnectionStage>,
    timer: Pin<Box<Sleep>>,
    /// Last bytes that were read.
    tail: [u8; 3],
}

impl<R> ReadTimeout<R> {
    /// Wraps `reader` so that it enforces the deadlines of `stage`.
    pub fn new(reader: R, stage: Arc<ConnectionStage>) -> Self {
        let timer = Box::pin(tokio::time::sleep(HEADER_TIMEOUT));
        Self { reader, stage, timer, tail: [0; 3] }
    }

    /// Notes whether the bytes end a head, which ends with an empty line. A client may send the
    /// begin of its next request together with the previous one.
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().skip(bytes.len().saturating_sub(self.tail.len())) {
            self.tail.rotate_left(1);
            self.tail[2] = *byte;
        }
        if !bytes.is_empty() {
            let is_end = self.tail.ends_with(b"\n\n") || self.tail == *b"\n\r\n";
            self.stage.set_head_begun(!is_end);
        }
    }

    /// Fails once the deadline of the current stage is over. The timer of a previous stage fires
    /// without effect, and is then set to the current deadline.
    fn check_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match self.stage.read_deadline() {
                Some(deadline) if deadline <= now => {
                    self.stage.close(match self.stage.waiting() {
                        WaitingFor::Request => CloseReason::Idle,
                        WaitingFor::Head | WaitingFor::Response => CloseReason::Head,
                    });
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Some(deadline) => self.timer.as_mut().reset(deadline),
                None => self.timer.as_mut().reset(now + HEADER_TIMEOUT),
            }
        }
        let deadline = self.stage.read_deadline();
        if let Some(deadline) = deadline.filter(|due| *due < self.timer.deadline()) {
            self.timer.as_mut().reset(deadline);
            return self.check_deadline(cx);
        }
        Poll::Pending
    }
}

/// Reads at most one piece of a head.
fn read_piece<R: AsyncRead>(
    reader: Pin<&mut R>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let mut piece = ReadBuf::new(buf.initialize_unfilled_to(buf.remaining().min(HEAD_PIECE_BYTES)));
    ready!(reader.poll_read(cx, &mut piece))?;
    let length = piece.filled().len();
    buf.advance(length);
    Poll::Ready(Ok(()))
}

impl<R: AsyncRead + Unpin> AsyncRead for ReadTimeout<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = match this.stage.waiting() {
            WaitingFor::Response => Pin::new(&mut this.reader).poll_read(cx, buf),
            WaitingFor::Head | WaitingFor::Request => {
                read_piece(Pin::new(&mut this.reader), cx, buf)
            }
        };
        this.note(buf.filled().get(before..).unwrap_or_default());
        // The first bytes of the next request start the timeout of its head.
        if read.is_ready() && this.stage.waiting() == WaitingFor::Request {
            this.stage.begin_head();
        }
        match this.check_deadline(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => read,
        }
    }
}

/// A writer that fails once the client has taken nothing for too long, or has not taken the whole
/// response in time.
#[derive(Debug)]
pub struct WriteTimeout<W> {
    writer: W,
    stage: Arc<ConnectionStage>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<W> WriteTimeout<W> {
    /// Wraps `writer` so that it enforces the timeouts.
    pub const fn new(writer: W, stage: Arc<ConnectionStage>) -> Self {
        Self { writer, stage, timer: None }
    }

    /// Returns the result of a write, or an error if writes have been pending for too long.
    fn check_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            self.stage.progress();
            return written;
        }
        let stage = &self.stage;
        let timer = self.timer.get_or_insert_with(|| {
            let stalled = Instant::now() + WRITE_TIMEOUT;
            let deadline = stage.send_deadline().map_or(stalled, |due| due.min(stalled));
            Box::pin(tokio::time::sleep_until(deadline))
        });
        ready!(timer.as_mut().poll(cx));
        stage.close(CloseReason::SlowReader);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.writer).poll_write(cx, buf);
        self.check_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.writer).poll_write_vectored(cx, bufs);
        self.check_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, join, split};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

    use super::*;

    /// Performs a TLS handshake over the two ends of a stream.
    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        ours: S,
        theirs: DuplexStream,
    ) -> (server::TlsStream<S>, client::TlsStream<DuplexStream>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let accept = TlsAcceptor::from(Arc::new(server)).accept(ours);
        let connect = TlsConnector::from(Arc::new(client)).connect(name, theirs);
        let (ours, theirs) = tokio::join!(accept, connect);
        (ours.unwrap(), theirs.unwrap())
    }

    /// Returns the number of seconds until an action timed out.
    async fn timed_out<T: std::fmt::Debug>(action: impl Future<Output = io::Result<T>>) -> u64 {
        let start = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(3_600), action).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        start.elapsed().as_secs()
    }

    fn taken<W>(stream: W) -> WriteTimeout<W> {
        WriteTimeout::new(stream, Arc::new(ConnectionStage::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_has_30_seconds() {
        let (ours, _theirs) = duplex(16);
        assert_eq!(timed_out(taken(ours).write_all(&[0; 64])).await, 30);

        // Data that TLS has buffered counts as not sent.
        let (ours, theirs) = duplex(16 << 10);
        let (reader, writer) = split(ours);
        let (mut ours, _theirs) = handshake(join(reader, taken(writer)), theirs).await;
        let send = async {
            ours.write_all(&vec![0; 32 << 10]).await?;
            ours.flush().await
        };
        assert_eq!(timed_out(send).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_has_more() {
        let (ours, mut theirs) = duplex(16);
        let take = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(25)).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let writing = async move { taken(ours).write_all(&[0; 64]).await };
        let (sent, ()) = tokio::join!(writing, take);
        sent.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_client_has_more_than_2_minutes_for_an_answer() {
        let (ours, mut theirs) = duplex(16);
        let stage = Arc::new(ConnectionStage::new());
        stage.begin_request();
        stage.begin_answer();
        let take = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(25)).await;
                theirs.read_exact(&mut [0; 4]).await.unwrap();
            }
        });
        assert_eq!(
            timed_out(WriteTimeout::new(ours, Arc::clone(&stage)).write_all(&[0; 64])).await,
            120
        );
        assert_eq!(stage.closed(), Some(CloseReason::SlowReader));
        take.abort();
    }

    /// Sends a text and receives it.
    async fn pass(
        from: &mut (impl AsyncWrite + Unpin),
        to: &mut (impl AsyncRead + Unpin),
        text: &str,
    ) {
        from.write_all(text.as_bytes()).await.unwrap();
        from.flush().await.unwrap();
        to.read_exact(&mut vec![0; text.len()]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn headers_have_5_seconds_and_the_next_request_60_under_tls_too() {
        let (ours, theirs) = duplex(16 << 10);
        let (ours, mut theirs) = handshake(ours, theirs).await;
        let stage = Arc::new(ConnectionStage::new());
        let mut ours = ReadTimeout::new(ours, Arc::clone(&stage));
        let mut byte = [0];
        pass(&mut theirs, &mut ours, "GET").await;
        assert_eq!(timed_out(ours.read_exact(&mut byte)).await, 5);
        assert_eq!(stage.closed(), Some(CloseReason::Head));
        for end in ["\r\n\r\n", "\n\n"] {
            stage.begin_head();
            pass(&mut theirs, &mut ours, end).await;
            stage.begin_request();
            stage.end_answer();
            assert_eq!(timed_out(ours.read_exact(&mut byte)).await, 60);
        }
        // Only the first byte of the next request arrives.
        stage.begin_request();
        stage.end_answer();
        pass(&mut theirs, &mut ours, "G").await;
        assert_eq!(timed_out(ours.read_exact(&mut byte)).await, 5);
        // That byte arrives with the end of the previous request, or before its response.
        for texts in [["ET\r\n\r\nG", ""], ["ET\r\n\r\n", "G"]] {
            stage.begin_head();
            pass(&mut theirs, &mut ours, texts[0]).await;
            stage.begin_request();
            pass(&mut theirs, &mut ours, texts[1]).await;
            stage.end_answer();
            assert_eq!(timed_out(ours.read_exact(&mut byte)).await, 5);
        }
        stage.begin_request();
        let patient = tokio::time::timeout(Duration::from_secs(600), ours.read_exact(&mut byte));
        assert!(patient.await.is_err());
    }
}
