//! Listening: accepts connections and sees to it that a slow or idle client costs little.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::auth::ClientAddress;
use super::connection_stage::{HEADER_TIMEOUT, Stage, Waiting};
use super::connections::{Connections, MAX_HEAD_BYTES, Place};
use super::fd_reserve::FdReserve;
use super::guarded::Guarded;
use super::settings::ReloadableWebConfig;
use super::timeouts::{ReadTimeout, WriteTimeout};
use crate::telemetry::web::CloseReason;
use crate::tls::explain::{Peer, explain};

/// After a failure to accept, which mostly is a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The age of a connection after which an answer is its last. A client's certificate is looked at when
/// a connection is made, so one that has expired or is trusted no more counts for no longer than that.
const MAX_AGE: Duration = Duration::from_secs(300);
/// The shortest time between two log lines of such failures.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The common part of all listeners.
#[derive(Clone, Debug)]
pub struct Server {
    /// Every endpoint.
    pub router: Router,
    /// The settings of TLS, if it is spoken.
    pub settings: Option<Arc<ReloadableWebConfig>>,
    /// The connections of all listeners.
    pub connections: Arc<Connections>,
    /// File descriptors for connections of all listeners.
    pub reserve: Arc<FdReserve>,
    /// Turns true when the process ends.
    pub stop: watch::Receiver<bool>,
}

/// Serves on `listener` until the server stops; then finishes what is under way.
pub async fn serve(listener: TcpListener, server: Server) {
    let mut stop = server.stop.clone();
    let mut failures = Failures::default();
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
                // It may have left meanwhile.
                let Some(again) = again else { continue };
                again
            }
            accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = tokio::select! {
                    place = server.connections.admit() => place,
                    _ = stop.wait_for(|stop| *stop) => break,
                };
                if let Some(place) = place {
                    serving.spawn(server.clone().connection(
                        stream,
                        ClientAddress(address.ip()),
                        place,
                    ));
                }
            }
            // The client has left before it was its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                server.failed(&mut failures, &error);
                if is_lack_of_files(&error) {
                    server.connections.evict_idlest(Waiting::Head);
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

/// Failures to accept, which come in floods.
#[derive(Debug, Default)]
struct Failures {
    logged: Option<Instant>,
    /// Since then.
    count: u64,
}

impl Failures {
    /// Logs a failure, unless one was logged a short time ago.
    fn log(&mut self, error: &io::Error) {
        self.count += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            let failures = std::mem::take(&mut self.count);
            tracing::warn!(%error, failures, "cannot accept a connection");
            self.logged = Some(Instant::now());
        }
    }
}

impl Server {
    /// Counts and logs a failure to accept.
    fn failed(&self, failures: &mut Failures, error: &io::Error) {
        self.connections.telemetry().web.accept_failed();
        failures.log(error);
    }

    /// Serves a connection until it ends, or until another one needs its place.
    async fn connection(self, stream: TcpStream, address: ClientAddress, mut place: Place) {
        let client = Client { address, stage: Arc::clone(&place.stage) };
        tokio::select! {
            () = self.serve_stream(stream, client) => {}
            () = place.evicted() => {}
        }
    }

    /// Speaks TLS first, where the settings want it.
    async fn serve_stream(self, stream: TcpStream, client: Client) {
        let Self { router, settings, mut stop, .. } = self;
        stream.set_nodelay(true).ok();
        let stream = WriteTimeout::new(stream, Arc::clone(&client.stage));
        let Some(settings) = settings.filter(|settings| settings.is_tls()) else {
            return serve_connection(stream, client, router, stop).await;
        };
        let handshake = async {
            let tls = settings.current().await.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
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
            // Scanners and wrong certificates are no trouble of ours, but of those who look for them.
            Err(error) => {
                client.stage.close(CloseReason::Handshake);
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                let error =
                    inner.map_or_else(|| error.to_string(), |error| explain(error, Peer::Client));
                tracing::debug!(error, "a TLS handshake failed");
            }
        }
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Client {
    /// The address that it comes from.
    pub address: ClientAddress,
    /// The stage of the connection.
    pub stage: Arc<Stage>,
}

/// Answers the requests that come by a stream. How that ends is the client's own affair.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    Client { address, stage }: Client,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let begun = Instant::now();
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(address);
        stage.begin_request();
        let (router, guard) = (router.clone(), Answering(Arc::clone(&stage)));
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            let mut response = response.unwrap_or_else(|never| match never {});
            if begun.elapsed() >= MAX_AGE {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            guard.0.begin_answer();
            Ok::<_, Infallible>(response.map(|body| Guarded::new(body, guard)))
        }
    });
    let io = TokioIo::new(ReadTimeout::new(stream, Arc::clone(&stage)));
    // The timeouts are the stream's: hyper's own would end idle connections with slow headers.
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

/// Makes its connection idle when the answer has been sent.
struct Answering(Arc<Stage>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end_answer();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A client that asks again and again is answered, and its connection ends all the same.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_too_old_ends_with_an_answer() {
        let (mut near, far) = duplex(64 << 10);
        let address = ClientAddress(Ipv4Addr::LOCALHOST.into());
        let client = Client { address, stage: Arc::new(Stage::new()) };
        let (_stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_connection(far, client, Router::new(), stopped));
        let start = Instant::now();
        let mut answers = 0;
        let mut answer = String::new();
        while !answer.contains("connection: close") {
            assert!(start.elapsed() < MAX_AGE + Duration::from_secs(30));
            near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            answer = String::from_utf8(head).unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
            answers += 1;
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        assert_eq!(answers, 11);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_logged_once_a_minute() {
        let mut failures = Failures::default();
        let mut log = || {
            failures.log(&io::Error::from(Errno::MFILE));
            failures.count
        };
        assert_eq!([log(), log(), log()], [0, 1, 2]);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!([log(), log()], [0, 1]);
    }
}
