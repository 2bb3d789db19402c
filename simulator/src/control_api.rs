//! The HTTP API that sets the scripts of tasks, and returns the statistics of requests.

use std::sync::Arc;

use axum::BoxError;
use axum::body::to_bytes;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::application;
use super::registry::{RegistryFull, TaskRegistry};
use super::scenario;
use super::wire::system_table;

/// Maximum size of a script: enough for any response body that a test needs.
const MAX_SCRIPT_BYTES: usize = 1 << 20;

const HELP: &str = r#"
The first system is also served without the prefix. An ID identifies one task, whichever system
a request names.

PUT    /simulator/tasks/{id}  sets the script of the task:
       {"enqueued_seconds_ago": 3600, "delay_ms": 0, "answer": "verbatim, or any JSON",
        "steps": [{"status": "queued", "seconds": 2}, {"status": "completed"}],
        "fault": {"kind": "status", "status": 429, "headers": {}, "body": null},
        "fault_every": 1, "listed": true, "kind": "text2video"}
       statuses: queued running waiting completed failed cancelled missing, or any other word
       kinds of faults: status code other type null empty nothing garbage deep huge
                        half endless trickle slow hang reset
DELETE /simulator/tasks/{id}  removes the script of the task
GET    /simulator/tasks/{id}  returns the statistics of the requests for the task
GET    /simulator/stats       returns the statistics of all requests
GET    /simulator/jobs        returns the jobs of an application, in the format of Prometheus'
       HTTP service discovery: a new one every 3 s, without those that ended more than 1 s ago
POST   /simulator/restart     makes the gateway forget all tasks, as at a restart

The lists of the systems have the tasks with a script, unless it says "listed": false, and the
jobs of the application. The path of a list below its system, such as /mj/task/queue, is an ID of
its own: its statistics are those of the requests for the list, and its script spoils them.

Without a script, the part of the ID before the first "-" selects the scenario, as in stuck-42:
"#;

/// Responds to a request whose path belongs to none of the systems.
pub(crate) async fn handle_request<B>(
    registry: &Arc<TaskRegistry>,
    request: Request<B>,
) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let method = request.method().clone();
    let path = request.uri().path();
    if let Some(id) = path.strip_prefix("/simulator/tasks/") {
        let id: Vec<u8> = percent_decode_str(id).collect();
        return match method {
            Method::GET => respond_with_json(&registry.task_stats(&id)),
            Method::PUT => put_script(registry, &id, request).await,
            Method::DELETE => {
                registry.remove_script(&id);
                respond_with_text(StatusCode::NO_CONTENT, "")
            }
            _ => respond_with_text(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT or DELETE\n"),
        };
    }
    match (path, method) {
        ("/simulator/stats", Method::GET) => respond_with_json(&registry.gateway_stats()),
        ("/simulator/jobs", Method::GET) => respond_with_json(&application::list_jobs(registry)),
        ("/simulator/restart", Method::POST) => {
            registry.forget_tasks();
            respond_with_text(StatusCode::NO_CONTENT, "")
        }
        ("/simulator/restart", _) => {
            respond_with_text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n")
        }
        ("/", Method::GET) => respond_with_text(StatusCode::OK, render_help()),
        ("/simulator/stats" | "/simulator/jobs" | "/", _) => {
            respond_with_text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n")
        }
        _ => respond_with_text(StatusCode::NOT_FOUND, "no such path; GET / lists them\n"),
    }
}

/// Renders the help page of the simulator.
fn render_help() -> String {
    let (systems, scenarios) = (system_table::format_help(), scenario::format_help());
    format!(
        "This gateway simulates these systems, each with its name as the path prefix:\n\n\
         {systems}{HELP}{scenarios}"
    )
}

async fn put_script<B>(registry: &TaskRegistry, id: &[u8], request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let body = axum::body::Body::new(request.into_body());
    let Ok(body) = to_bytes(body, MAX_SCRIPT_BYTES).await else {
        return respond_with_text(StatusCode::PAYLOAD_TOO_LARGE, "a script has at most 1 MiB\n");
    };
    let script = match serde_json::from_slice(&body) {
        Ok(script) => script,
        Err(error) => return respond_with_text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    match registry.set_script(id, script) {
        Ok(()) => respond_with_text(StatusCode::NO_CONTENT, ""),
        Err(RegistryFull) => {
            respond_with_text(StatusCode::INSUFFICIENT_STORAGE, "no room for another task\n")
        }
    }
}

fn respond_with_json(value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => build_response(StatusCode::OK, "application/json", body),
        Err(error) => respond_with_text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn respond_with_text(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    build_response(status, "text/plain; charset=utf-8", body)
}

fn build_response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
