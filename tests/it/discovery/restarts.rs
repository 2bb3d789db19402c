//! Restarts while a source is down: what was followed is followed on.

use serde_json::{Value, json};

use super::{Endpoint, Setup, await_listed, failures, finished, lost, task, unlisted};
use crate::harness::{Dir, Exporter, Gateway, until};

/// Tasks with labels and params, in a list and out of it, through a crash and a restart.
#[test]
fn followed_tasks_outlive_the_process_while_their_source_is_down() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let endpoint = Endpoint::listing(&[]);
    let element = |id: &str| json!({ "id": id, "labels": { "customer": "acme" }, "params": { "kind": "text2video" } });
    let ids = ["running-in", "running-out", "running-end"];
    endpoint.list(&json!(ids.map(element)));
    // Kling's answers have times of their own but for this mapping.
    let url = format!("http://{}/kling", gateway.address);
    let setup = Setup::new("poll_interval: 200ms")
        .provider(format!(
            "{{ name: kling, preset: kling, base_url: '{url}', \
             response: {{ enqueue_time: null, finish_time: null }} }}"
        ))
        .endpoint("jobs", &endpoint, "");
    let mut exporter = setup.start_with(&storage);
    for id in ids {
        exporter.await_state(id, "running");
    }
    endpoint.list(&json!([element("running-in")]));
    for id in ["running-out", "running-end"] {
        await_listed(&exporter, id, false);
    }
    let times = |exporter: &Exporter| {
        ids.map(|id| task(exporter, id).unwrap()["enqueue_timestamp_seconds"].clone())
    };
    let before = times(&exporter);
    assert!(before.iter().all(Value::is_f64), "{before:?}");
    endpoint.fail("502 Bad Gateway");
    for signal in ["KILL", "TERM"] {
        exporter.process.signal(signal);
        exporter.process.wait();
        let polls = ids.map(|id| gateway.requests(id));
        exporter = setup.start_with(&storage);
        until("the source fails", || failures(&exporter.scrape(), "jobs", Some("http")) > 0.0);
        for (id, polls) in ids.into_iter().zip(polls) {
            until(&format!("{id} is polled"), || gateway.requests(id) > polls + 1);
            let path = format!("/kling/v1/videos/text2video/{id}");
            assert_eq!(gateway.asked(id)["last_path"], path);
            assert_eq!(task(&exporter, id).unwrap()["labels"], json!({ "customer": "acme" }));
        }
        assert_eq!(times(&exporter), before, "after SIG{signal}");
        // What its source listed is listed, as its last good list stays.
        assert_eq!(task(&exporter, "running-in").unwrap()["sources"], json!(["http/jobs"]));
        let samples = exporter.scrape();
        assert_eq!((unlisted(&samples, "kling"), lost(&samples, "kling")), (2.0, 0.0));
    }
    // The end of one that had left before is seen and counted.
    gateway.put("running-end", &json!({ "steps": [{ "status": "completed" }] }));
    until("its end is counted", || finished(&exporter.scrape(), "kling") == 1.0);
    // Once the source is there again, its list counts.
    endpoint.list(&json!([element("running-out")]));
    await_listed(&exporter, "running-out", true);
    await_listed(&exporter, "running-in", false);
    assert_eq!(times(&exporter), before);
}

/// The time that a task may be unlisted goes on over a restart, but sources are given a minute.
#[test]
fn a_task_that_left_is_lost_after_a_restart() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let endpoint = Endpoint::listing(&["running-1"]);
    let setup = Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", "")).endpoint(
        "jobs",
        &endpoint,
        "keep_unlisted: 8s",
    );
    let mut exporter = setup.start_with(&storage);
    exporter.await_state("running-1", "running");
    endpoint.list(&json!([]));
    await_listed(&exporter, "running-1", false);
    exporter.process.signal("TERM");
    exporter.process.wait();
    let path = storage.path("state");
    let flags = ["--storage.path", path.to_str().unwrap()];
    let exporter = Exporter::start_fast_in(Dir::with(&setup.text()), &flags, 10);
    exporter.await_value("aitask_lost_tasks_total", &[("provider", "mj")], 1.0);
    until("it is gone", || task(&exporter, "running-1").is_none());
}
