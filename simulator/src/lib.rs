//! A simulated gateway: serves the JSON of real gateways and fails in the ways in which they fail.
//!
//! A response about tasks passes three stages that are independent of one another:
//!
//! 1. `lifecycle` computes the state of each task at the time of the response.
//! 2. `wire` writes the states in the wire format of the system in the request's path.
//! 3. `response_body` applies the network fault, if a task has one.
//!
//! A script that a client has set through the `control_api` defines the behaviour of its task. The
//! behaviour of a task without a script follows from its ID (`scenario`). An ID identifies one
//! task, whichever system a request names.
//!
//! `application` lists the jobs of a simulated application, which submits them by itself.
//!
//! The crate uses nothing of the exporter, so that no error can hide in both.

#![warn(unreachable_pub)]

mod application;
mod control_api;
mod lifecycle;
mod padded_body;
mod registry;
mod response_body;
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

use lifecycle::TaskState;
use padded_body::PaddedBody;
use registry::{ActiveRequest, RegistryFull, RequestedTask, TaskRegistry};
use response_body::{ConnectionAbort, ResponseBody, apply_network_fault};
use script::ScriptedFault;
use wire::TaskResponse;
use wire::route::find_route;
use wire::system::{IdLocation, System};
use wire::task_list::TaskList;

/// Maximum number of open connections. Further clients wait in the backlog of the listener.
///
/// The value exceeds the usual limit of open files of a process.
const MAX_CONNECTIONS: usize = 20_000;

/// Delay after a failed accept. The usual cause is the limit of open files; accepting works again
/// when other connections have closed.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Maximum size of a request body: enough for a hundred of the longest IDs.
const MAX_REQUEST_BODY_BYTES: usize = 1 << 20;

/// Options of the simulated gateway.
#[derive(Clone, Default)]
pub struct Options {
    /// Credentials that each request for tasks must carry exactly once, in a header from which the
    /// system reads them. `None` accepts every request.
    pub token: Option<String>,
}

/// A simulated gateway. Clones share their tasks and statistics.
#[derive(Clone)]
pub struct Simulator {
    registry: Arc<TaskRegistry>,
    token: Option<Arc<str>>,
}

/// Serves `simulator` until `shutdown` resolves, then closes every connection at once.
///
/// # Errors
/// Returns the listener's error after 101 failed accepts in a row, about 5 s after the first.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    const MAX_CONSECUTIVE_FAILURES: u32 = 100;
    let mut shutdown = pin!(shutdown);
    let mut failures = 0;
    // Dropped when this function returns, which aborts the connections that hang.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                connections.spawn(simulator.clone().serve_connection(stream));
            }
            Err(error) if failures == MAX_CONSECUTIVE_FAILURES => return Err(error),
            Err(_) => {
                failures += 1;
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

impl Simulator {
    /// Returns a gateway without tasks.
    pub fn new(options: Options) -> Self {
        Self { registry: Arc::new(TaskRegistry::new()), token: options.token.map(Arc::from) }
    }

    async fn serve_connection(self, stream: TcpStream) {
        // A failure only makes responses slower.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.handle_request(request));
        // A broken connection concerns the client alone; some are broken on purpose.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn handle_request<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, ConnectionAbort>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some(route) = find_route(request.uri().path()) else {
            return Ok(control_api::handle_request(&self.registry, request)
                .await
                .map(ResponseBody::untracked));
        };
        let (system, is_list) = (route.system, route.endpoint.has_list_response());
        let list = match route.endpoint.id_location {
            IdLocation::Held(list) => Some(list),
            _ => None,
        };
        let respond_with_error =
            |status| Ok(system.respond_with_error(status).map(ResponseBody::untracked));
        let (head, body) = request.into_parts();
        if head.method != route.endpoint.method() {
            return respond_with_error(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Ok(body) = to_bytes(axum::body::Body::new(body), MAX_REQUEST_BODY_BYTES).await else {
            return respond_with_error(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let Some(ids) = route.extract_ids(head.uri.query().unwrap_or_default(), &body) else {
            return respond_with_error(StatusCode::BAD_REQUEST);
        };
        match self.registry.begin_request(ids, &head.uri, &head.headers) {
            Ok(active_request) => match list {
                None => self.respond(system, is_list, active_request, &head.headers).await,
                Some(list) => self.respond_with_list(system, list, active_request, &head).await,
            },
            Err(RegistryFull) => respond_with_error(StatusCode::INSUFFICIENT_STORAGE),
        }
    }

    /// Returns the error response to a request whose headers the system rejects.
    fn reject(&self, system: &System, headers: &HeaderMap) -> Option<Response<PaddedBody>> {
        if self.token.as_deref().is_some_and(|token| !system.is_authorized(headers, token)) {
            return Some(system.respond_unauthorized());
        }
        let has_header = system.has_required_header(headers);
        (!has_header).then(|| system.respond_with_error(StatusCode::BAD_REQUEST))
    }

    /// Responds to a request for a list of what the gateway holds. `active_request` is for the task
    /// whose ID is the path of the list, and whose script spoils it.
    async fn respond_with_list(
        &self,
        system: &System,
        list: TaskList,
        active_request: ActiveRequest,
        head: &http::request::Parts,
    ) -> Result<Response<ResponseBody>, ConnectionAbort> {
        let [RequestedTask { id: path, request_number, script, .. }] = &*active_request.tasks
        else {
            return Err(ConnectionAbort);
        };
        let fault = script.fault_for_request(*request_number).is_some();
        if fault || script.body.is_some() {
            return self.respond(system, true, active_request, &head.headers).await;
        }
        if let Some(rejection) = self.reject(system, &head.headers) {
            return apply_network_fault(rejection, None, active_request).await;
        }
        // What the gateway held when the request arrived, however late it answers.
        let (now, all) = (self.registry.now(), self.registry.held_tasks());
        let path = String::from_utf8_lossy(path);
        let tasks = all.iter().filter(|task| list.has_kind(&path, &task.script.kind)).map(|task| {
            let state = TaskState::compute(now, task.enqueued_at, &task.script.steps);
            let id = String::from_utf8_lossy(&task.id);
            TaskResponse { id, state, body: task.script.body.as_ref(), fault: None }
        });
        let query = head.uri.query().unwrap_or_default();
        let response = system.respond_with_list(list, tasks.collect(), query);
        if !script.delay.is_zero() {
            sleep(script.delay).await;
        }
        apply_network_fault(response, None, active_request).await
    }

    /// Responds to a request for tasks: checks its headers, then runs all stages of a response.
    async fn respond(
        &self,
        system: &System,
        is_list: bool,
        active_request: ActiveRequest,
        headers: &HeaderMap,
    ) -> Result<Response<ResponseBody>, ConnectionAbort> {
        if let Some(rejection) = self.reject(system, headers) {
            return apply_network_fault(rejection, None, active_request).await;
        }
        let tasks = active_request.tasks.clone();
        let delay = tasks.iter().map(|task| task.script.delay).max().unwrap_or_default();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let now = self.registry.now();
        let mut network_fault = None;
        let mut responses = Vec::with_capacity(tasks.len());
        for RequestedTask { id, request_number, script, enqueued_at } in &tasks {
            let fault = match script.fault_for_request(*request_number) {
                None => None,
                Some(ScriptedFault::Response(fault)) => Some(fault),
                Some(ScriptedFault::Network(first)) => {
                    network_fault.get_or_insert(first);
                    None
                }
            };
            let state = TaskState::compute(now, *enqueued_at, &script.steps);
            let id = String::from_utf8_lossy(id);
            responses.push(TaskResponse { id, state, body: script.body.as_ref(), fault });
        }
        apply_network_fault(system.respond(&responses, is_list), network_fault, active_request)
            .await
    }
}
