//! The API by which tests direct the simulator and see who asked what.

use axum::BoxError;
use axum::body::to_bytes;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::memory::{Full, Memory};
use super::scenario;
use super::wire::table;

/// Bounds a script: enough for any body that a test wants answered.
const MAX_SCRIPT_BYTES: usize = 1 << 20;

const HELP: &str = r#"
The first is also served without its name. An ID is one task, wherever it is asked for.

PUT    /simulator/tasks/{id}  sets what the task does:
       {"enqueued_seconds_ago": 3600, "delay_ms": 0, "answer": "verbatim, or any JSON",
        "steps": [{"status": "queued", "seconds": 2}, {"status": "completed"}],
        "fault": {"kind": "status", "status": 429, "headers": {}, "body": null},
        "fault_every": 1}
       statuses: queued running waiting completed failed cancelled missing, or any word
       kinds: status code other type null empty nothing garbage deep huge
              half endless trickle slow hang reset
DELETE /simulator/tasks/{id}  takes that away
GET    /simulator/tasks/{id}  what was asked of the task
GET    /simulator/stats       what was asked altogether

Without a script the ID tells by its first word, up to the first "-", as in stuck-42:
"#;

/// Answers a request that asks for no task.
pub async fn answer<B>(memory: &Memory, request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let method = request.method().clone();
    let path = request.uri().path();
    if let Some(id) = path.strip_prefix("/simulator/tasks/") {
        let id: Vec<u8> = percent_decode_str(id).collect();
        return match method {
            Method::GET => json(&memory.report(&id)),
            Method::PUT => put(memory, &id, request).await,
            Method::DELETE => {
                memory.remove_script(&id);
                text(StatusCode::NO_CONTENT, "")
            }
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT or DELETE\n"),
        };
    }
    match (path, method) {
        ("/simulator/stats", Method::GET) => json(&memory.stats()),
        ("/", Method::GET) => text(StatusCode::OK, front_page()),
        ("/simulator/stats" | "/", _) => text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
        _ => text(StatusCode::NOT_FOUND, "no such path; GET / lists them\n"),
    }
}

fn front_page() -> String {
    let (systems, scenarios) = (table::describe(), scenario::describe());
    format!(
        "This gateway simulates these systems, each below its name:\n\n{systems}{HELP}{scenarios}"
    )
}

async fn put<B>(memory: &Memory, id: &[u8], request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let body = axum::body::Body::new(request.into_body());
    let Ok(body) = to_bytes(body, MAX_SCRIPT_BYTES).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "a script has at most 1 MiB\n");
    };
    let script = match serde_json::from_slice(&body) {
        Ok(script) => script,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    match memory.set_script(id, script) {
        Ok(()) => text(StatusCode::NO_CONTENT, ""),
        Err(Full) => text(StatusCode::INSUFFICIENT_STORAGE, "no room for another task\n"),
    }
}

fn json(value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => reply(StatusCode::OK, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    reply(status, "text/plain; charset=utf-8", body)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
