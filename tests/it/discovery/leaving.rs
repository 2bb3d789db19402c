//! Tasks that leave: followed until their end is seen, or given up and counted as lost.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{
    Endpoint, Setup, await_ids, await_listed, finished, ids, lost, task, timed, timeless, unlisted,
};
use crate::alerts::sped_up;
use crate::harness::tools::Prometheus;
use crate::harness::{Dir, Gateway, until};

const ENQUEUED: &str = "aitask_enqueue_timestamp_seconds";

#[test]
fn an_open_task_that_left_is_followed_until_its_end() {
    let gateway = Gateway::start();
    gateway.put("a", &json!({ "steps": [{ "status": "running" }] }));
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([{ "id": "a", "labels": { "customer": "acme" } }]));
    let exporter = Setup::new("poll_interval: 200ms, retain_finished: 1s")
        .provider(timeless(&gateway, "flux"))
        .endpoint("jobs", &endpoint, "keep_unlisted: 1s")
        .endpoint("others", &endpoint, "keep_unlisted: 1h")
        .start();
    let before = exporter.await_state("a", "running");
    assert_eq!(unlisted(&before, "flux"), 0.0);
    let enqueued = before.value(ENQUEUED, &[("task_id", "a")]);

    // An empty list is a list.
    endpoint.list(&json!([]));
    let entry = await_listed(&exporter, "a", false);
    assert_eq!(entry["sources"], json!([]));
    let polls = gateway.requests("a");
    until("it is polled on", || gateway.requests("a") > polls + 5);
    let samples = exporter.scrape();
    let labels = [("task_id", "a"), ("customer", "acme"), ("state", "running")];
    assert_eq!(samples.value("aitask_status", &labels), Some(1.0));
    assert_eq!((unlisted(&samples, "flux"), lost(&samples, "flux")), (1.0, 0.0));
    assert_eq!(samples.value("aitask_tasks", &[("state", "running")]), Some(1.0));

    // It comes back as the one that it was.
    endpoint.list(&json!([{ "id": "a", "labels": { "customer": "acme" } }]));
    await_listed(&exporter, "a", true);
    let samples = exporter.scrape();
    assert_eq!(samples.value(ENQUEUED, &[("task_id", "a")]), enqueued);
    assert_eq!(unlisted(&samples, "flux"), 0.0);

    endpoint.list(&json!([]));
    await_listed(&exporter, "a", false);
    gateway.put("a", &json!({ "steps": [{ "status": "completed" }] }));
    let labels = [("provider", "flux"), ("state", "succeeded")];
    exporter.await_value("aitask_finished_total", &labels, 1.0);
    // Only open tasks are waited for.
    let samples = exporter.scrape();
    assert_eq!((unlisted(&samples, "flux"), lost(&samples, "flux")), (0.0, 0.0));
    until("its series end", || {
        exporter.scrape().find("aitask_status", &[("task_id", "a")]).is_empty()
    });
}

#[test]
fn an_open_task_that_left_is_lost_after_a_while() {
    let gateway = Gateway::start();
    let provider = |name: &str| gateway.provider(name, "");
    let sources = [("at-once", "0s"), ("soon", "1s"), ("late", "1h")];
    let endpoints = sources.map(|_| Endpoint::listing(&[]));
    let mut setup =
        Setup::new("poll_interval: 200ms").provider(provider("mj")).provider(provider("other"));
    for ((name, keep), endpoint) in sources.iter().zip(&endpoints) {
        let more = format!("provider: mj, keep_unlisted: {keep}");
        setup = setup.endpoint(name, endpoint, &more);
    }
    for (endpoint, ids) in endpoints.iter().zip([
        ["running-0", "running-both"].as_slice(),
        &["running-1"],
        &["running-both"],
    ]) {
        endpoint.list(&json!(ids));
    }
    let exporter = setup.start();
    for id in ["running-0", "running-1", "running-both"] {
        exporter.await_state(id, "running");
    }
    assert_eq!(lost(&exporter.scrape(), "mj"), 0.0);
    endpoints[0].list(&json!([]));
    let samples = exporter.await_value("aitask_lost_tasks_total", &[("provider", "mj")], 1.0);
    assert!(samples.find("aitask_status", &[("task_id", "running-0")]).is_empty());
    await_ids(&exporter, &["running-1", "running-both"]);

    endpoints[1].list(&json!([]));
    let samples = exporter.await_value("aitask_lost_tasks_total", &[("provider", "mj")], 2.0);
    assert_eq!(unlisted(&samples, "mj"), 0.0);
    assert!(samples.find("aitask_status", &[("task_id", "running-1")]).is_empty());
    let polls = gateway.requests("running-1");

    // Of several sources the longest time counts, though that one left first.
    endpoints[0].list(&json!(["running-both"]));
    endpoints[0].await_refresh();
    endpoints[2].list(&json!([]));
    endpoints[2].await_refresh();
    assert_eq!(task(&exporter, "running-both").unwrap()["sources"], json!(["http/at-once"]));
    endpoints[0].list(&json!([]));
    await_listed(&exporter, "running-both", false);
    endpoints[0].await_refresh();
    let samples = exporter.scrape();
    assert_eq!((unlisted(&samples, "mj"), lost(&samples, "mj")), (1.0, 2.0));
    assert_eq!((unlisted(&samples, "other"), lost(&samples, "other")), (0.0, 0.0));
    assert_eq!(gateway.requests("running-1"), polls, "a lost task is polled no more");
}

#[test]
fn an_id_that_no_provider_ever_knew_leaves_at_once() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&["missing-1", "running-1"]);
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "")
        .start();
    exporter.await_state("missing-1", "not_found");
    exporter.await_state("running-1", "running");
    endpoint.list(&json!([]));
    await_ids(&exporter, &["running-1"]);
    let samples = exporter.scrape();
    assert_eq!((unlisted(&samples, "mj"), lost(&samples, "mj")), (1.0, 0.0));
    assert!(samples.find("aitask_status", &[("task_id", "missing-1")]).is_empty());
}

/// A list of the newest jobs alone.
#[test]
fn a_list_that_is_only_a_window_cannot_unlist_what_is_open() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", "max_in_flight: 64"))
        .endpoint("jobs", &endpoint, "")
        .start();
    let all: Vec<_> = (0..40).map(|number| format!("running-{number:02}")).collect();
    for newest in all.chunks(10) {
        endpoint.list(&json!(newest));
        endpoint.await_refresh();
    }
    let samples = exporter.await_value("aitask_tasks", &[("state", "running")], 40.0);
    assert_eq!(unlisted(&samples, "mj"), 30.0);
    assert_eq!(ids(&exporter), all);
}

#[test]
fn a_final_task_that_left_goes_after_both_times() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    let exporter = Setup::new("poll_interval: 200ms, retain_finished: 1s")
        .provider(timed(&gateway, "timed"))
        .endpoint("short", &endpoint, "keep_unlisted: 1s")
        .start();
    let steps = json!([{ "status": "running", "seconds": 1 }, { "status": "completed" }]);
    gateway.put("a", &json!({ "enqueued_seconds_ago": 0, "steps": steps }));
    endpoint.list(&json!(["a"]));
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    until("its series end", || {
        exporter.scrape().find("aitask_status", &[("task_id", "a")]).is_empty()
    });
    // While it is listed, it is known, and counts.
    assert_eq!(ids(&exporter), ["a"]);
    endpoint.list(&json!([]));
    await_ids(&exporter, &[]);
    let samples = exporter.scrape();
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(0.0));
    assert_eq!((lost(&samples, "timed"), finished(&samples, "timed")), (0.0, 1.0));
    // Soon its record goes as well. Then nothing is known of it but what the API says: it ended long
    // before it came.
    let polls = gateway.requests("a");
    until("it is polled like any that is unknown", || {
        endpoint.list(&json!(["a"]));
        exporter.await_value("aitask_tasks", &[("state", "succeeded")], 1.0);
        endpoint.list(&json!([]));
        await_ids(&exporter, &[]);
        thread::sleep(Duration::from_secs(2));
        gateway.requests("a") > polls
    });
    assert_eq!(finished(&exporter.scrape(), "timed"), 1.0);
}

/// A task gets stuck, its app gives it up, and the gateway still holds it.
#[test]
fn a_stuck_task_that_left_stays_stuck_for_prometheus() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let script = json!({ "enqueued_seconds_ago": 7_200, "steps": [{ "status": "queued" }] });
    gateway.put("a", &script);
    let endpoint = Endpoint::listing(&["a"]);
    let exporter = Setup::new("poll_interval: 500ms, stuck_after: 1h")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "")
        .start_with(&storage);
    exporter.await_value("aitask_stuck_tasks", &[], 1.0);
    let dir = Dir::new();
    let rules = dir.write("rules.yml", &sped_up());
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n\
         - {{ job_name: aitask_exporter, static_configs: [{{ targets: ['{}'] }}] }}\n",
        rules.display(),
        exporter.address,
    );
    let prometheus = Prometheus::start(dir, &config);
    let firing = "ALERTS{alertname='AITaskStuck',alertstate='firing'}";
    until("the alert fires", || prometheus.value(firing) == Some(1.0));
    endpoint.list(&json!([]));
    await_listed(&exporter, "a", false);
    let scrapes = || prometheus.scraped("aitask_stuck{task_id='a'}");
    let before = scrapes().len();
    // Longer than the alert would fire by itself.
    until("some seconds have passed", || scrapes().len() >= before + 8);
    let (stuck, up) = (scrapes(), prometheus.scraped("up"));
    assert!(stuck.iter().all(|value| *value == 1.0), "{stuck:?}");
    assert!(stuck.len() + 1 >= up.len(), "{} of {} scrapes", stuck.len(), up.len());
    assert_eq!(prometheus.value(firing), Some(1.0));
    assert_eq!(prometheus.value("aitask_unlisted_tasks"), Some(1.0));

    gateway.put("a", &json!({ "enqueued_seconds_ago": 7_200, "steps": [{ "status": "failed" }] }));
    until("its end is seen", || {
        prometheus.value("aitask_finished_total{state='failed'}") == Some(1.0)
    });
    until("the alert resolves", || prometheus.value(firing).is_none());
    assert_eq!(prometheus.value("aitask_lost_tasks_total"), Some(0.0));
}
