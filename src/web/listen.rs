//! Listening: accepts connections and sees to it that a slow or idle client costs little.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::guarded::Guarded;
use super::settings::Settings;
use super::watched::{HEADER_TIMEOUT, Hurried, Stage, Taken, Waiting};
use crate::tls::explain::{Peer, explain};

/// File descriptors are few; polls need theirs.
const MAX_CONNECTIONS: usize = 512;
/// After a failure to accept, which mostly is a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` turns true; then finishes what is under way. Whether
/// and how TLS is spoken is in `settings`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: Option<Arc<Settings>>,
    mut stop: watch::Receiver<bool>,
) {
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
                let (router, settings, stop) = (router.clone(), settings.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, router, settings, stop).await;
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

/// Speaks TLS first, where the settings want it.
async fn connection(
    stream: TcpStream,
    router: Router,
    settings: Option<Arc<Settings>>,
    mut stop: watch::Receiver<bool>,
) {
    stream.set_nodelay(true).ok();
    let stream = Taken::new(stream);
    let Some(settings) = settings.filter(|settings| settings.is_tls()) else {
        return speak(stream, router, stop).await;
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
        Ok(stream) => speak(stream, router, stop).await,
        // Scanners and wrong certificates are no trouble of ours, but of whoever looks for them.
        Err(error) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            let error =
                inner.map_or_else(|| error.to_string(), |error| explain(error, Peer::Client));
            tracing::debug!(error, "a TLS handshake failed");
        }
    }
}

/// Answers the requests that come by a stream. How that ends is the client's own affair.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
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
    let io = TokioIo::new(Hurried::new(stream, Arc::clone(&stage)));
    // The timeouts are the stream's: hyper's own would end idle connections with slow headers.
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(io, service);
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Makes its connection idle when the answer has been sent.
struct Answering(Arc<Stage>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Waiting::Request);
    }
}
