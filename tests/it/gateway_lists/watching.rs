//! One request that watches all open tasks.

use serde_json::json;

use super::{QUEUE, polls, polls_by_id, proxy, sources, start, submit};
use crate::discovery::{Setup, await_listed, discovered, finished, unlisted};
use crate::harness::{Gateway, until};

/// Five hundred tasks that no list of IDs names are followed with one request for all of them; only
/// what leaves the list is asked for by its ID.
#[test]
fn one_request_watches_five_hundred_tasks() {
    let gateway = Gateway::start();
    let id = |number: usize| format!("job-{number:03}");
    for number in 0..500 {
        submit(&gateway, &id(number), "queued", &json!({}));
    }
    let exporter = start(&gateway, "poll_interval: 1h", "refresh_interval: 1s", "");
    let labels = [("provider", "mj"), ("state", "queued")];
    exporter.await_value("aitask_tasks", &labels, 500.0);
    until("the list is counted", || discovered(&exporter.scrape(), "mj") == Some(500.0));
    assert_eq!(sources(&exporter, "job-007"), Some(json!(["list/mj"])));
    // Each element counts as a poll of its task.
    let requests = gateway.requests(QUEUE);
    until("the list is asked for again", || gateway.requests(QUEUE) >= requests + 3);
    let samples = exporter.scrape();
    assert!(polls(&samples) >= 1500.0, "{}", polls(&samples));
    assert_eq!(samples.value("aitask_up", &[("task_id", "job-007")]), Some(1.0));
    assert_eq!(samples.value("aitask_provider_up", &[("provider", "mj")]), Some(1.0));
    assert_eq!(polls_by_id(&gateway), 0);
    // What an element says changes the record, as a poll does.
    submit(&gateway, "job-007", "running", &json!({}));
    exporter.await_state("job-007", "running");
    assert_eq!(polls_by_id(&gateway), 0);
    // A task that the list lacks is asked for by its ID at once, though its place is within the hour.
    for number in 0..3 {
        submit(&gateway, &id(number), "completed", &json!({}));
    }
    until("their ends are counted", || finished(&exporter.scrape(), "mj") == 3.0);
    let asked: Vec<_> = (0..3).map(|number| gateway.requests(&id(number))).collect();
    assert_eq!((asked, polls_by_id(&gateway)), (vec![1; 3], 3));
    assert_eq!(unlisted(&exporter.scrape(), "mj"), 0.0);
}

/// While the list cannot be read, what is known stays, and the tasks are polled by their IDs.
#[test]
fn tasks_are_polled_while_the_list_fails() {
    let gateway = Gateway::start();
    submit(&gateway, "a", "queued", &json!({}));
    let exporter = start(&gateway, "poll_interval: 300ms", "refresh_interval: 200ms", "");
    exporter.await_state("a", "queued");
    gateway.put(QUEUE, &json!({ "fault": { "kind": "status", "status": 500 } }));
    until("it is polled by its ID", || gateway.requests("a") > 2);
    submit(&gateway, "a", "running", &json!({}));
    let samples = exporter.await_state("a", "running");
    let failures = |reason: &str| {
        let labels = [("mechanism", "list"), ("config", "mj"), ("reason", reason)];
        samples.value("aitask_sd_refresh_failures_total", &labels).unwrap()
    };
    assert!(failures("http") > 0.0);
    assert_eq!((failures("mapping"), failures("timeout")), (0.0, 0.0));
    assert_eq!(discovered(&samples, "mj"), Some(1.0));
    assert_eq!(sources(&exporter, "a"), Some(json!(["list/mj"])));
    let page = exporter.get("/service-discovery");
    assert!(page.text().contains("HTTP status 500"), "{}", page.text());
    gateway.put(QUEUE, &json!({}));
    await_listed(&exporter, "a", true);
    // A new task shows that the list is read again.
    submit(&gateway, "b", "running", &json!({}));
    exporter.await_state("b", "running");
}

/// The status in a list may be older than that of a poll since the list was asked for.
#[test]
fn a_late_list_does_not_undo_what_polls_have_shown() {
    let gateway = Gateway::start();
    for (id, states) in [("a", ["running", "completed"]), ("b", ["queued", "running"])] {
        let [before, after] = states;
        let steps = json!([{ "status": before, "seconds": 4 }, { "status": after }]);
        submit(&gateway, id, before, &json!({ "steps": steps, "enqueued_seconds_ago": 0 }));
    }
    // The list has both as they were when it was asked for.
    gateway.put(QUEUE, &json!({ "delay_ms": 8000 }));
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(proxy(&gateway, "", ""))
        .and("tasks: [{ id: a }, { id: b }]")
        .start();
    until("the list is asked for", || gateway.requests(QUEUE) == 1);
    exporter.await_state("a", "running");
    exporter.await_state("b", "queued");
    exporter.await_state("a", "succeeded");
    exporter.await_state("b", "running");
    let labels = [("mechanism", "list"), ("config", "mj")];
    let samples = exporter.await_value("aitask_sd_discovered_tasks", &labels, 2.0);
    assert_eq!(
        samples.value("aitask_status", &[("task_id", "b"), ("state", "running")]),
        Some(1.0)
    );
    let labels = [("task_id", "a"), ("state", "succeeded")];
    assert_eq!(samples.value("aitask_status", &labels), Some(1.0));
    assert_eq!(finished(&samples, "mj"), 1.0);
}
