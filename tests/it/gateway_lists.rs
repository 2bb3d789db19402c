//! Lists of gateways: tasks that are followed although nobody lists their IDs, and the gaps of such
//! lists. Written against the contract alone, through the program's front doors.

mod commands;
mod gaps;
mod kinds;
mod watching;

use serde_json::{Value, json};

use crate::discovery::{Setup, task};
use crate::harness::samples::Samples;
use crate::harness::{Exporter, Gateway, http};

/// The ID under which the simulator counts the requests for the queue.
pub const QUEUE: &str = "/mj/task/queue";

/// A midjourney-proxy whose queue is asked for all the time, with further keys in YAML's flow style.
pub fn proxy(gateway: &Gateway, list: &str, more: &str) -> String {
    let url = format!("http://{}/midjourney-proxy", gateway.address);
    format!(
        "{{ name: mj, preset: midjourney-proxy, base_url: '{url}', list: {{ {list} }}, {more} }}"
    )
}

/// An exporter with nothing but that.
pub fn start(gateway: &Gateway, global: &str, list: &str, more: &str) -> Exporter {
    Setup::new(global).provider(proxy(gateway, list, more)).start()
}

/// Submits a task that keeps a status, or has other keys of its script.
pub fn submit(gateway: &Gateway, id: &str, status: &str, more: &Value) {
    let mut script = json!({ "enqueued_seconds_ago": 1, "steps": [{ "status": status }] });
    let more = more.as_object().unwrap().clone();
    script.as_object_mut().unwrap().extend(more);
    gateway.put(id, &script);
}

/// Makes the gateway forget all tasks.
pub fn restart(gateway: &Gateway) {
    let reply = http::send(gateway.address, "POST", "/simulator/restart", &[], "").unwrap();
    assert_eq!(reply.status, 204);
}

/// Returns the number of requests for tasks by their IDs: those for lists are left out.
pub fn polls_by_id(gateway: &Gateway) -> u64 {
    gateway.stats()["requests"].as_u64().unwrap() - gateway.requests(QUEUE)
}

pub fn polls(samples: &Samples) -> f64 {
    samples.value("aitask_polls_total", &[("provider", "mj")]).unwrap()
}

/// Returns the sources that list a task; `None` if it is not followed.
pub fn sources(exporter: &Exporter, id: &str) -> Option<Value> {
    task(exporter, id).map(|task| task["sources"].clone())
}
