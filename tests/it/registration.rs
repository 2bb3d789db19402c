//! Registrations of tasks by applications, through the program's front doors alone.

mod answers;
mod life;
mod limits;
mod lives;
mod restarts;
mod users;

use serde_json::{Value, json};

use crate::discovery::Setup;
use crate::harness::http::{self, Reply, encode};
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Starts an exporter that keeps its state in `storage`, and in which applications may register tasks.
pub fn start(setup: &Setup, storage: &Dir) -> Exporter {
    Exporter::start_in(Dir::with(&setup.text()), &flags(storage, &[]))
}

/// Returns the flags of such an exporter, with others before them.
pub fn flags<'f>(storage: &Dir, others: &[&'f str]) -> Vec<&'f str> {
    let path = storage.path("state").into_os_string().into_string().unwrap();
    let flag: &'static str = Box::leak(format!("--storage.path={path}").into_boxed_str());
    [others, &["--web.enable-task-receiver", flag]].concat()
}

/// Returns the path of a task.
pub fn path(provider: &str, id: &str) -> String {
    format!("/api/v1/tasks/{}/{}", encode(provider), encode(id))
}

/// Sends a request with a body of JSON.
pub fn send(exporter: &Exporter, method: &str, path: &str, body: &Value) -> Reply {
    http::send(exporter.address, method, path, &[JSON], &body.to_string()).unwrap()
}

/// Registers a task.
pub fn put(exporter: &Exporter, provider: &str, id: &str, body: &Value) -> Reply {
    send(exporter, "PUT", &path(provider, id), body)
}

/// Registers a task, which is new.
pub fn create(exporter: &Exporter, provider: &str, id: &str, body: &Value) -> Value {
    let reply = put(exporter, provider, id, body);
    assert_eq!(reply.status, 201, "{id}: {}", reply.text());
    reply.json()
}

/// Deletes a registration.
pub fn delete(exporter: &Exporter, provider: &str, id: &str) {
    let reply = http::send(exporter.address, "DELETE", &path(provider, id), &[], "").unwrap();
    assert_eq!((reply.status, reply.text()), (204, ""));
}

/// Registers a list.
pub fn post(exporter: &Exporter, list: &Value) -> Reply {
    send(exporter, "POST", "/api/v1/tasks", list)
}

/// Returns the number of registrations by result: created, renewed, deleted and rejected.
pub fn counts(samples: &Samples) -> [f64; 4] {
    ["created", "renewed", "deleted", "rejected"]
        .map(|result| samples.value("aitask_registrations_total", &[("result", result)]).unwrap())
}

/// Returns the answer to a list of which all was registered.
pub fn all(created: u64, renewed: u64) -> Value {
    json!({ "created": created, "renewed": renewed, "ttl_limited": 0, "rejected": [] })
}
