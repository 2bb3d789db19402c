//! The listeners: they accept connections, and ensure that a slow or idle client costs little.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, join, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::auth::ClientAddress;
use super::config::reloadable::ReloadableWebConfig;
use super::connection_stage::{ConnectionStage, HEADER_TIMEOUT, WaitingFor};
use super::connections::{ConnectionSlot, FdReserve, MAX_HEAD_BYTES, OpenConnections};
use super::middleware::GuardedBody;
use super::timeouts::{ReadTimeout, WriteTimeout};
use crate::telemetry::web::CloseReason;
use crate::tls::explain::{Peer, explain};

/// Delay after a failure to accept, which is mostly caused by a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Maximum age of a connection; the first response after it is the last one.
///
/// A client certificate is verified when a connection is made, so a certificate that has expired or
/// is no longer trusted is accepted for no longer than that.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Minimum time between two log lines about such failures.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The state that all listeners share.
#[derive(Clone, Debug)]
pub struct WebServer {
    /// Router of all endpoints.
    pub router: Router,
    /// The web configuration, if there is one.
    pub web_config: Option<Arc<ReloadableWebConfig>>,
    /// Open connections of all listeners.
    pub connections: Arc<OpenConnections>,
    /// File descriptors reserved for connections of all listeners.
    pub reserve: Arc<FdReserve>,
    /// Becomes true when the process stops.
    pub stop: watch::Receiver<bool>,
}

/// Serves on `listener` until the server stops, then completes the requests in flight.
pub async fn serve(listener: TcpListener, server: WebServer) {
    let mut stop = server.stop.clone();
    let mut failures = AcceptFailures::default();
    let mut serving = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = serving.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let accepted = match accepted {
            Err(error) if is_lack_of_files(&error) => {
                server.failed(&mut failures, &error);
                let again = server.reserve.open(|| listener.accept().now_or_never());
                // The client may have disconnected in the meantime.
                let Some(again) = again else { continue };
                again
            }
            accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let slot = tokio::select! {
                    slot = server.connections.admit() => slot,
                    _ = stop.wait_for(|stop| *stop) => break,
                };
                if let Some(slot) = slot {
                    serving.spawn(server.clone().connection(
                        stream,
                        ClientAddress(address.ip()),
                        slot,
                    ));
                }
            }
            // The client disconnected before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                server.failed(&mut failures, &error);
                if is_lack_of_files(&error) {
                    server.connections.evict_idlest(WaitingFor::Head);
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

fn is_lack_of_files(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| lacks.contains(&code))
}

/// Failures to accept connections, which come in floods.
#[derive(Debug, Default)]
struct AcceptFailures {
    logged: Option<Instant>,
    /// Number of failures since then.
    count: u64,
}

impl AcceptFailures {
    /// Logs a failure, unless another one was logged recently.
    fn log(&mut self, error: &io::Error) {
        self.count += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            let failures = std::mem::take(&mut self.count);
            tracing::warn!(%error, failures, "cannot accept a connection");
            self.logged = Some(Instant::now());
        }
    }
}

impl WebServer {
    /// Counts and logs a failure to accept.
    fn failed(&self, failures: &mut AcceptFailures, error: &io::Error) {
        self.connections.telemetry().web.accept_failed();
        failures.log(error);
    }

    /// Serves a connection until it ends or another connection needs its slot.
    async fn connection(self, stream: TcpStream, address: ClientAddress, mut slot: ConnectionSlot) {
        let client = ClientConnection { address, stage: Arc::clone(&slot.stage) };
        tokio::select! {
            () = self.serve_stream(stream, client) => {}
            () = slot.evicted() => {}
        }
    }

    /// Serves a connection, after a TLS handshake if TLS is enabled.
    async fn serve_stream(self, stream: TcpStream, client: ClientConnection) {
        let Self { router, web_config, mut stop, .. } = self;
        stream.set_nodelay(true).ok();
        let (reader, writer) = stream.into_split();
        let stream = join(reader, WriteTimeout::new(writer, Arc::clone(&client.stage)));
        let Some(web_config) = web_config.filter(|web_config| web_config.is_tls()) else {
            return serve_connection(stream, client, router, stop).await;
        };
        let handshake = async {
            let tls = web_config.current().await.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
            TlsAcceptor::from(tls).accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HEADER_TIMEOUT, handshake) => shaken,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                client.stage.begin_head();
                serve_connection(stream, client, router, stop).await;
            }
            // Scanners and wrong certificates are logged at debug level only: they are no fault of
            // the exporter.
            Err(error) => {
                client.stage.close(CloseReason::Handshake);
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                let error =
                    inner.map_or_else(|| error.to_string(), |error| explain(error, Peer::Client));
                tracing::debug!(error, "TLS handshake failed");
            }
        }
    }
}

/// The client's end of a connection.
#[derive(Debug)]
pub struct ClientConnection {
    /// Address of the client.
    pub address: ClientAddress,
    /// Stage of the connection.
    pub stage: Arc<ConnectionStage>,
}

/// Serves the requests on a stream. Errors are ignored, because only the client can do something
/// about them.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ClientConnection { address, stage }: ClientConnection,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let begun = Instant::now();
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(address);
        stage.begin_request();
        let (router, guard) = (router.clone(), Answering(Arc::clone(&stage)));
        async move {
            let request = request.map(|body| with_stage(Body::new(body), &guard.0));
            let response = router.oneshot(request).await;
            let mut response = response.unwrap_or_else(|never| match never {});
            if begun.elapsed() >= MAX_AGE {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            guard.0.begin_answer();
            Ok::<_, Infallible>(response.map(|body| GuardedBody::new(body, guard)))
        }
    });
    let (reader, writer) = split(stream);
    let io = TokioIo::new(join(ReadTimeout::new(reader, Arc::clone(&stage)), writer));
    // The stream has timeouts of its own, because those of hyper would end idle connections with
    // slow headers.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err_and(|error| error.is_parse()) {
        stage.close(CloseReason::Head);
    }
}

/// Returns the body of a request, at whose end the stage of the connection notes that what was read
/// last is not the head of the next request.
fn with_stage(body: Body, stage: &Arc<ConnectionStage>) -> Body {
    match http_body::Body::is_end_stream(&body) {
        true => body,
        false => Body::new(GuardedBody::new(body, ReadingBody(Arc::clone(stage)))),
    }
}

/// A guard that notes the end of a request's body when it is dropped.
struct ReadingBody(Arc<ConnectionStage>);

impl Drop for ReadingBody {
    fn drop(&mut self) {
        self.0.set_head_begun(false);
    }
}

/// A guard that notes the end of a response in the stage of the connection when it is dropped.
struct Answering(Arc<ConnectionStage>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end_answer();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Bytes;
    use axum::routing::put;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn client() -> (ClientConnection, Arc<ConnectionStage>) {
        let stage = Arc::new(ConnectionStage::new());
        let address = ClientAddress(Ipv4Addr::LOCALHOST.into());
        (ClientConnection { address, stage: Arc::clone(&stage) }, stage)
    }

    /// Sends a request and returns the head of the response, which has no body.
    async fn request(near: &mut DuplexStream) -> String {
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// A client that keeps sending requests gets responses, and its connection ends nevertheless.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_too_old_ends_with_a_response() {
        let (mut near, far) = duplex(64 << 10);
        let (client, _) = client();
        let (_stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_connection(far, client, Router::new(), stopped));
        let start = Instant::now();
        let mut responses = 0;
        let mut response = String::new();
        while !response.contains("connection: close") {
            assert!(start.elapsed() < MAX_AGE + Duration::from_secs(30));
            response = request(&mut near).await;
            assert!(response.starts_with("HTTP/1.1 404"), "{response}");
            responses += 1;
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        assert_eq!(responses, 11);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_a_minute() {
        let (mut near, far) = duplex(64 << 10);
        let (client, stage) = client();
        let (_stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_connection(far, client, Router::new(), stopped));
        assert_eq!(request(&mut near).await.lines().next(), Some("HTTP/1.1 404 Not Found"));
        let start = Instant::now();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0, "nothing more comes");
        assert_eq!(start.elapsed().as_secs(), 60);
        serving.await.unwrap();
        assert_eq!(stage.closed(), Some(CloseReason::Idle));
    }

    /// The body of a request is not taken for the next head, which must come sooner.
    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_after_a_request_with_a_body() {
        let (mut near, far) = duplex(64 << 10);
        let (client, stage) = client();
        let (_stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", put(|body: Bytes| async move { body }));
        let serving = tokio::spawn(serve_connection(far, client, router, stopped));
        for parts in [
            ["PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", ""],
            ["PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", "{}"],
        ] {
            for part in parts {
                near.write_all(part.as_bytes()).await.unwrap();
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n{}") {
                answer.push(near.read_u8().await.unwrap());
            }
            let next = tokio::time::timeout(Duration::from_secs(30), near.read_u8()).await;
            assert!(next.is_err(), "it is still open");
        }
        let start = Instant::now();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0, "nothing more comes");
        assert_eq!(start.elapsed().as_secs(), 30);
        serving.await.unwrap();
        assert_eq!(stage.closed(), Some(CloseReason::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_logged_once_a_minute() {
        let mut failures = AcceptFailures::default();
        let mut log = || {
            failures.log(&io::Error::from(Errno::MFILE));
            failures.count
        };
        assert_eq!([log(), log(), log()], [0, 1, 2]);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!([log(), log()], [0, 1]);
    }
}
