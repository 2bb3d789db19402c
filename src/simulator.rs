//! A pretend gateway: speaks the JSON of the real ones, and fails in the ways in which they fail.
//!
//! A request for a task passes three stages that know nothing of one another: the task's *life*
//! at this moment, how the gateway *words* it, and what the network does to the answer, its
//! *fault*. What a task does is told by a script that was put for it, else by its ID.
//!
//! Nothing here uses the exporter's own types, so that one mistake cannot hide in both.

mod control;
mod fault;
mod life;
mod memory;
mod scenario;
mod script;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use fault::{Cut, Delivery, deliver};
use life::Moment;
use memory::{Full, Memory};
use script::Trouble;

/// More than the files a process may usually open; further clients wait in the backlog.
const MAX_CONNECTIONS: usize = 20_000;

/// How long to wait when no connection can be accepted: out of files, as a rule, until some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the simulated gateway is set up.
#[derive(Clone, Default)]
pub struct Options {
    /// The credentials that a request for a task must bring, as `Authorization: Bearer <token>`
    /// or as `mj-api-secret: <token>`, never both. `None` accepts every request.
    pub token: Option<String>,
}

/// A simulated gateway. Clones share their tasks.
#[derive(Clone)]
pub struct Simulator {
    memory: Arc<Memory>,
    token: Option<Arc<str>>,
}

/// Serves `simulator` until `stop` resolves; then every connection closes at once.
///
/// # Errors
/// When the listener has been failing for some seconds.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    const MAX_FAILURES: u32 = 100;
    let mut stop = pin!(stop);
    let mut failures = 0;
    // Dropping the set, when this function returns, ends what hangs.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                connections.spawn(simulator.clone().converse(stream));
            }
            Err(error) if failures == MAX_FAILURES => return Err(error),
            Err(_) => {
                failures += 1;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Simulator {
    /// A gateway that has seen no task yet.
    pub fn new(options: Options) -> Self {
        Self { memory: Arc::new(Memory::new()), token: options.token.map(Arc::from) }
    }

    async fn converse(self, stream: TcpStream) {
        // Both are the client's business: what Nagle delays, and a connection that breaks.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.answer(request));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<Delivery>, Cut>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match wire::asked_id(request.uri().path()) {
            None => Ok(control::answer(&self.memory, request).await.map(Delivery::from)),
            Some(_) if request.method() != Method::GET => {
                Ok(wire::refusal(StatusCode::METHOD_NOT_ALLOWED).map(Delivery::from))
            }
            Some(id) => self.tell(id, &request).await,
        }
    }

    /// Life, words, network: the whole path of an answer about a task.
    async fn tell<B>(&self, id: Vec<u8>, request: &Request<B>) -> Result<Response<Delivery>, Cut> {
        let name = String::from_utf8_lossy(&id).into_owned();
        let visit = match self.memory.visit(id, request.uri(), request.headers()) {
            Ok(visit) => visit,
            Err(Full) => {
                return Ok(wire::refusal(StatusCode::INSUFFICIENT_STORAGE).map(Delivery::from));
            }
        };
        if !self.admits(request.headers()) {
            return deliver(wire::refusal(StatusCode::UNAUTHORIZED), None, visit).await;
        }
        let script = Arc::clone(&visit.script);
        if !script.delay.is_zero() {
            sleep(script.delay).await;
        }
        let (slip, fault) = match script.trouble(visit.number) {
            None => (None, None),
            Some(Trouble::Slip(slip)) => (Some(slip), None),
            Some(Trouble::Fault(fault)) => (None, Some(fault)),
        };
        let moment = Moment::at(self.memory.now(), visit.enqueued, &script.steps);
        let answer = wire::answer(&name, &moment, script.answer.as_ref(), slip);
        deliver(answer, fault, visit).await
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = headers.get_all(AUTHORIZATION).iter();
        let bearer = bearer.map(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let secret = headers.get_all("mj-api-secret").iter().map(|value| Some(value.as_bytes()));
        // Of two credentials a gateway may take the wrong one, so exactly one is right.
        let mut sent = bearer.chain(secret);
        sent.next() == Some(Some(token.as_bytes())) && sent.next().is_none()
    }
}
