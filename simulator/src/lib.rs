//! A pretend gateway: speaks the JSON of the real ones, and fails in the ways in which they fail.
//!
//! A request for a task passes three stages that know nothing of one another: the task's *life*
//! at this moment, how the system that is asked *words* it, and what the network does to the
//! answer, its *fault*. What a task does is told by a script that was put for it, else by its ID;
//! an ID is one task, whichever system is asked.
//!
//! It uses nothing of the exporter, so that no mistake can hide in both.

mod content;
mod control;
mod delivery;
mod fault;
mod life;
mod memory;
mod scenario;
mod script;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::to_bytes;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use delivery::{Cut, Delivery, deliver};
use life::Moment;
use memory::{Full, Memory, Visit, Visited};
use script::Trouble;
use wire::Asked;
use wire::question::route;
use wire::system::System;

/// More than the files a process may usually open; further clients wait in the backlog.
const MAX_CONNECTIONS: usize = 20_000;

/// How long to wait when no connection can be accepted: out of files, as a rule, until some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds a question: enough for a hundred of the longest IDs.
const MAX_QUESTION_BYTES: usize = 1 << 20;

/// How the simulated gateway is set up.
#[derive(Clone, Default)]
pub struct Options {
    /// The credentials that a request for a task must bring, once, in a header that the system
    /// takes them from. `None` accepts every request.
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
        let Some(route) = route(request.uri().path()) else {
            return Ok(control::answer(&self.memory, request).await.map(Delivery::plain));
        };
        let (system, listed) = (route.system, route.query.is_listed());
        let refuse = |status| Ok(system.refuse(status).map(Delivery::plain));
        let (head, body) = request.into_parts();
        if head.method != route.query.method() {
            return refuse(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Ok(body) = to_bytes(axum::body::Body::new(body), MAX_QUESTION_BYTES).await else {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let Some(ids) = route.ids(head.uri.query().unwrap_or_default(), &body) else {
            return refuse(StatusCode::BAD_REQUEST);
        };
        match self.memory.visit(ids, &head.uri, &head.headers) {
            Ok(visit) => self.tell(system, listed, visit, &head.headers).await,
            Err(Full) => refuse(StatusCode::INSUFFICIENT_STORAGE),
        }
    }

    /// Life, words, network: the whole path of an answer about tasks.
    async fn tell(
        &self,
        system: &System,
        listed: bool,
        visit: Visit,
        headers: &HeaderMap,
    ) -> Result<Response<Delivery>, Cut> {
        if self.token.as_deref().is_some_and(|token| !system.admits(headers, token)) {
            return deliver(system.refuse_credentials(), None, visit).await;
        }
        if !system.understands(headers) {
            return deliver(system.refuse(StatusCode::BAD_REQUEST), None, visit).await;
        }
        let tasks = visit.tasks.clone();
        let delay = tasks.iter().map(|task| task.script.delay).max().unwrap_or_default();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let now = self.memory.now();
        let mut fault = None;
        let mut asked = Vec::with_capacity(tasks.len());
        for Visited { id, number, script, enqueued } in &tasks {
            let slip = match script.trouble(*number) {
                None => None,
                Some(Trouble::Slip(slip)) => Some(slip),
                Some(Trouble::Fault(first)) => {
                    fault.get_or_insert(first);
                    None
                }
            };
            let moment = Moment::at(now, *enqueued, &script.steps);
            let id = String::from_utf8_lossy(id);
            asked.push(Asked { id, moment, text: script.answer.as_ref(), slip });
        }
        deliver(system.answer(&asked, listed), fault, visit).await
    }
}
