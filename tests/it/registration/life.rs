//! The life of a registered task: it comes, is renewed, and leaves.

use std::time::Instant;

use serde_json::json;

use super::{all, counts, create, delete, post, put, start};
use crate::discovery::{
    Endpoint, Setup, await_ids, await_listed, finished, ids, lost, task, timed, timeless, unlisted,
};
use crate::harness::{Dir, Gateway, now, until};

#[test]
fn a_registered_task_is_polled_at_once_until_its_end() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 1h").provider(timeless(&gateway, "flux"));
    let exporter = start(&setup, &storage);
    assert_eq!(counts(&exporter.scrape()), [0.0; 4]);
    gateway.put("a", &json!({ "steps": [{ "status": "running" }] }));
    let answer = create(&exporter, "flux", "a", &json!({ "labels": { "customer": "acme" } }));
    let expected = json!({ "provider": "flux", "task_id": "a", "ttl": "1d", "ttl_limited": false });
    assert_eq!(answer, expected);
    // Its place in the interval may be an hour away.
    exporter.await_state("a", "running");
    let entry = task(&exporter, "a").unwrap();
    assert_eq!(entry["sources"], json!(["registration"]));
    assert_eq!(entry["labels"], json!({ "customer": "acme" }));
    assert_eq!((&entry["listed"], &entry["since"]), (&json!(true), &json!("first_seen")));
    assert_eq!(counts(&exporter.scrape()), [1.0, 0.0, 0.0, 0.0]);

    // What is final at its first poll counts, whatever the answer says of its times.
    gateway.put("b", &json!({ "steps": [{ "status": "completed" }] }));
    create(&exporter, "flux", "b", &json!({}));
    until("its end counts", || finished(&exporter.scrape(), "flux") == 1.0);
}

#[test]
fn an_end_counts_though_its_times_are_long_ago() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 1h").provider(timed(&gateway, "timed"));
    let exporter = start(&setup, &storage);
    let script = json!({ "enqueued_seconds_ago": 90_000, "steps": [{ "status": "completed" }] });
    gateway.put("a", &script);
    create(&exporter, "timed", "a", &json!({}));
    until("its end counts", || finished(&exporter.scrape(), "timed") == 1.0);
    // It is registered still, and its end is not counted again.
    assert_eq!(put(&exporter, "timed", "a", &json!({})).status, 200);
    assert_eq!(finished(&exporter.scrape(), "timed"), 1.0);
}

#[test]
fn a_renewal_replaces_labels_params_and_times() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let url = format!("http://{}/kling", gateway.address);
    let setup = Setup::new("poll_interval: 200ms").provider(format!(
        "{{ name: kling, preset: kling, base_url: '{url}', \
         response: {{ enqueue_time: null, finish_time: null }} }}"
    ));
    let exporter = start(&setup, &storage);
    let body = |kind: &str, time: f64| {
        json!({
            "labels": { "kind": kind },
            "params": { "kind": kind, "unused": "x" },
            "enqueue_time": time,
            "ttl": "2h",
        })
    };
    let times = [now() - 60.0, now() - 30.0].map(f64::round);
    assert_eq!(create(&exporter, "kling", "running-1", &body("text2video", times[0]))["ttl"], "2h");
    let asked = |kind: &str| {
        let path = format!("/kling/v1/videos/{kind}/running-1");
        until(&format!("{path} is asked for"), || {
            gateway.requests("running-1") > 0 && gateway.asked("running-1")["last_path"] == path
        });
    };
    asked("text2video");
    let reply = put(&exporter, "kling", "running-1", &body("image2video", times[1]));
    assert_eq!(reply.status, 200, "{}", reply.text());
    asked("image2video");
    let entry = task(&exporter, "running-1").unwrap();
    assert_eq!(entry["labels"], json!({ "kind": "image2video" }));
    assert_eq!(
        (&entry["enqueue_timestamp_seconds"], &entry["since"]),
        (&json!(times[1]), &json!("source"))
    );
    assert_eq!(counts(&exporter.scrape()), [1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_registration_ends_after_its_time_and_the_task_is_followed() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms, keep_unlisted: 3s")
        .provider(gateway.provider("mj", ""))
        .and("task_receiver: { ttl: 2s, max_ttl: 1h }");
    let exporter = start(&setup, &storage);
    for id in ["running-0", "running-1"] {
        assert_eq!(create(&exporter, "mj", id, &json!({}))["ttl"], "2s");
    }
    let kept = put(&exporter, "mj", "running-1", &json!({ "ttl": "2h" })).json();
    assert_eq!((&kept["ttl"], &kept["ttl_limited"]), (&json!("1h"), &json!(true)));
    let entry = await_listed(&exporter, "running-0", false);
    assert_eq!(entry["sources"], json!([]));
    let polls = gateway.requests("running-0");
    until("it is polled on", || gateway.requests("running-0") > polls + 2);
    exporter.await_value("aitask_lost_tasks_total", &[("provider", "mj")], 1.0);
    assert_eq!(ids(&exporter), ["running-1"]);
    // A registration after the end of another one is new.
    create(&exporter, "mj", "running-0", &json!({}));
    let samples = exporter.scrape();
    assert_eq!((unlisted(&samples, "mj"), lost(&samples, "mj")), (0.0, 1.0));
}

#[test]
fn a_deleted_task_leaves_at_once_and_is_not_lost() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", ""));
    let exporter = start(&setup, &storage);
    for id in ["running-1", "done-1"] {
        create(&exporter, "mj", id, &json!({}));
    }
    exporter.await_state("running-1", "running");
    until("the other ends", || finished(&exporter.scrape(), "mj") == 1.0);
    for id in ["running-1", "done-1", "unknown"] {
        delete(&exporter, "mj", id);
    }
    assert_eq!(ids(&exporter), [""; 0]);
    let samples = exporter.scrape();
    assert!(samples.find("aitask_status", &[]).is_empty());
    assert_eq!((lost(&samples, "mj"), unlisted(&samples, "mj")), (0.0, 0.0));
    assert_eq!(counts(&samples), [2.0, 0.0, 2.0, 0.0], "what is unknown was not deleted");
    let polls = gateway.requests("running-1");
    create(&exporter, "mj", "running-2", &json!({}));
    exporter.await_state("running-2", "running");
    assert!(gateway.requests("running-1") <= polls + 1, "it is polled no more");
    // Its record has gone as well: it comes as a new one.
    create(&exporter, "mj", "done-1", &json!({}));
    until("its end counts", || finished(&exporter.scrape(), "mj") == 2.0);
}

#[test]
fn a_task_that_a_source_lists_too_stays_with_the_labels_of_the_source() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let endpoint = Endpoint::listing(&[]);
    let element = |id: &str| json!({ "id": id, "labels": { "from": "list" } });
    endpoint.list(&json!([element("running-1"), element("running-2")]));
    let setup = Setup::new("poll_interval: 200ms, keep_unlisted: 0s")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "")
        .and("tasks: [{ id: running-2, labels: { from: config } }]");
    let exporter = start(&setup, &storage);
    await_ids(&exporter, &["running-1", "running-2"]);
    until("the list has come", || {
        task(&exporter, "running-2").unwrap()["sources"] == json!(["config", "http/jobs"])
    });
    let own = json!({ "labels": { "from": "app" }, "ttl": "3s" });
    for id in ["running-1", "running-2"] {
        create(&exporter, "mj", id, &own);
    }
    let sources = |id: &str| task(&exporter, id).unwrap()["sources"].clone();
    let label = |id: &str| task(&exporter, id).unwrap()["labels"]["from"].clone();
    assert_eq!(sources("running-1"), json!(["registration", "http/jobs"]));
    assert_eq!(sources("running-2"), json!(["config", "registration", "http/jobs"]));
    assert_eq!((label("running-1"), label("running-2")), (json!("app"), json!("config")));
    delete(&exporter, "mj", "running-2");
    assert_eq!(sources("running-2"), json!(["config", "http/jobs"]));
    until("the other registration ends", || sources("running-1") == json!(["http/jobs"]));
    assert_eq!(label("running-1"), "list");
    assert_eq!(lost(&exporter.scrape(), "mj"), 0.0);
    // There is nothing to delete any more.
    delete(&exporter, "mj", "running-1");
    assert_eq!(ids(&exporter), ["running-1", "running-2"]);
    assert_eq!(counts(&exporter.scrape()), [2.0, 0.0, 1.0, 0.0]);
}

#[test]
fn many_at_once_are_polled_within_a_second() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 1h").provider(timeless(&gateway, "flux"));
    let exporter = start(&setup, &storage);
    let ids: Vec<_> = (0..1_500).map(|number| format!("running-{number:04}")).collect();
    let begun = Instant::now();
    let reply = post(&exporter, &json!(ids));
    assert_eq!((reply.status, reply.json()), (200, all(1_500, 0)), "after {:?}", begun.elapsed());
    let polled = || exporter.scrape().value("aitask_tasks", &[("state", "running")]).unwrap();
    // The others are at their places in the hour.
    until("a thousand are polled", || polled() >= 1_000.0);
    assert!(polled() < 1_400.0, "{}", polled());
    assert_eq!(post(&exporter, &json!(ids)).json(), all(0, 1_500));
}
