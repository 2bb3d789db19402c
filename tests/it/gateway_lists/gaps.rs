//! The gaps of lists: what the gateway has lost, what only its newest tasks are, and its restarts.

use serde_json::json;

use super::{QUEUE, proxy, restart, sources, start, submit};
use crate::discovery::{Setup, await_listed, finished, ids, lost, unlisted};
use crate::harness::{Dir, Exporter, Gateway, until};

/// A task that the gateway lost is in no list any more, while its ID is answered as before: it is
/// followed, and found stuck.
#[test]
fn a_task_that_the_gateway_lost_is_found_stuck() {
    let gateway = Gateway::start();
    submit(&gateway, "lost", "queued", &json!({}));
    submit(&gateway, "well", "queued", &json!({}));
    let global = "poll_interval: 300ms, stuck_after: 3s";
    let exporter = start(&gateway, global, "refresh_interval: 200ms", "");
    for id in ["lost", "well"] {
        exporter.await_state(id, "queued");
    }
    let more = json!({ "listed": false, "enqueued_seconds_ago": 1 });
    submit(&gateway, "lost", "queued", &more);
    let entry = await_listed(&exporter, "lost", false);
    assert_eq!(entry["sources"], json!([]));
    let polls = gateway.requests("lost");
    until("it is polled on", || gateway.requests("lost") > polls + 2);
    let labels = [("task_id", "lost")];
    let samples = exporter.await_value("aitask_stuck", &labels, 1.0);
    assert_eq!(samples.value("aitask_status", &labels), Some(1.0));
    assert_eq!((unlisted(&samples, "mj"), lost(&samples, "mj")), (1.0, 0.0));
    assert_eq!(sources(&exporter, "well"), Some(json!(["list/mj"])));
}

/// After a restart of a gateway that keeps its tasks in memory, its list is empty and it knows no ID: the
/// tasks end as not found.
#[test]
fn a_restarted_gateway_denies_its_tasks() {
    let gateway = Gateway::start();
    for id in ["a", "b"] {
        submit(&gateway, id, "running", &json!({}));
    }
    let setup = Setup::new("poll_interval: 10s").provider(proxy(&gateway, "", ""));
    // Twenty seconds to a second: a task is denied for a minute before it ends.
    let exporter = Exporter::start_fast_in(Dir::with(&setup.text()), &[], 20);
    exporter.await_state("a", "running");
    exporter.await_state("b", "running");
    restart(&gateway);
    for id in ["a", "b"] {
        await_listed(&exporter, id, false);
        exporter.await_state(id, "not_found");
    }
    let labels = [("provider", "mj"), ("state", "not_found")];
    let samples = exporter.await_value("aitask_finished_total", &labels, 2.0);
    assert_eq!((unlisted(&samples, "mj"), lost(&samples, "mj")), (0.0, 0.0));
    // What the gateway accepts from then on is followed.
    submit(&gateway, "c", "queued", &json!({}));
    exporter.await_state("c", "queued");
}

/// A list of the newest tasks cannot unlist an open one; tasks that it shows as final are taken up only
/// if they were seen open.
#[test]
fn a_window_does_not_unlist_open_tasks() {
    let gateway = Gateway::start();
    submit(&gateway, "old", "running", &json!({ "enqueued_seconds_ago": 600 }));
    submit(&gateway, "ended", "completed", &json!({}));
    let newest = "request: { list: { path: /mj/task/list, window: true } }";
    let exporter = start(
        &gateway,
        "poll_interval: 300ms",
        "refresh_interval: 200ms, keep_unlisted: 0s",
        newest,
    );
    exporter.await_state("old", "running");
    assert_eq!(ids(&exporter), ["old"], "a task that was never seen open is not taken up");
    // A hundred newer tasks push it out.
    for number in 0..100 {
        submit(&gateway, &format!("new-{number:02}"), "queued", &json!({}));
    }
    let labels = [("provider", "mj"), ("state", "queued")];
    exporter.await_value("aitask_tasks", &labels, 100.0);
    let polls = gateway.requests("old");
    until("it is polled by its ID", || gateway.requests("old") > polls + 2);
    assert_eq!(sources(&exporter, "old"), Some(json!(["list/mj"])));
    // Its end is seen by its ID, and the end of another in the list.
    submit(&gateway, "old", "completed", &json!({ "enqueued_seconds_ago": 600 }));
    exporter.await_state("old", "succeeded");
    submit(&gateway, "new-00", "completed", &json!({}));
    exporter.await_state("new-00", "succeeded");
    let samples = exporter.scrape();
    assert_eq!((finished(&samples, "mj"), lost(&samples, "mj")), (2.0, 0.0));
    until("the final ones leave the list", || {
        ["old", "new-00"].iter().all(|id| sources(&exporter, id).is_none_or(|it| it == json!([])))
    });
}

/// With storage, what a list named is followed on after a restart of the exporter, also while the list
/// cannot be read.
#[test]
fn a_restart_of_the_exporter_goes_on() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    submit(&gateway, "a", "running", &json!({}));
    submit(&gateway, "b", "running", &json!({}));
    let setup = Setup::new("poll_interval: 300ms").provider(proxy(
        &gateway,
        "refresh_interval: 200ms, labels: { from: queue }",
        "",
    ));
    let mut exporter = setup.start_with(&storage);
    exporter.await_state("a", "running");
    exporter.await_state("b", "running");
    submit(&gateway, "b", "running", &json!({ "listed": false }));
    await_listed(&exporter, "b", false);
    gateway.put(QUEUE, &json!({ "fault": { "kind": "status", "status": 503 } }));
    exporter.process.signal("KILL");
    exporter.process.wait();
    let polls = ["a", "b"].map(|id| gateway.requests(id));
    let exporter = setup.start_with(&storage);
    for (id, polls) in ["a", "b"].into_iter().zip(polls) {
        until("it is polled", || gateway.requests(id) > polls + 1);
        let samples = exporter.scrape();
        let labels = [("task_id", id), ("state", "running"), ("from", "queue")];
        assert_eq!(samples.value("aitask_status", &labels), Some(1.0));
    }
    assert_eq!(sources(&exporter, "a"), Some(json!(["list/mj"])));
    assert_eq!(sources(&exporter, "b"), Some(json!([])));
    submit(&gateway, "a", "completed", &json!({}));
    submit(&gateway, "b", "completed", &json!({}));
    until("both ends are counted", || finished(&exporter.scrape(), "mj") == 2.0);
}
