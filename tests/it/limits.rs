//! Limits: on what is shown, and on what an upstream can make us keep.

use serde_json::json;

use crate::harness::{Dir, Exporter, Gateway, run, until};

#[test]
fn finished_tasks_lose_their_series_and_go_on_being_counted() {
    let gateway = Gateway::start();
    gateway.put(
        "short",
        &json!({ "steps": [{ "status": "running", "seconds": 1 }, { "status": "completed" }] }),
    );
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms, retain_finished: 1s }}\n\
         providers: [{}, {}, {}]\n\
         tasks:\n\
         - {{ provider: all, id: short }}\n\
         - {{ provider: active, id: done-1 }}\n\
         - {{ provider: active, id: running-1 }}\n\
         - {{ provider: none, id: running-2 }}\n",
        gateway.provider("all", ""),
        gateway.provider("active", "per_task_series: active"),
        gateway.provider("none", "per_task_series: none"),
    ));
    // Its series show the end for a while, and then nothing.
    exporter.await_state("short", "succeeded");
    until("the series of what has ended are gone", || {
        exporter.scrape().find("aitask_status", &[("task_id", "short")]).is_empty()
    });
    let done = [("provider", "active"), ("state", "succeeded")];
    exporter.await_value("aitask_tasks", &done, 1.0);
    exporter.await_state("running-1", "running");
    let counted = [("provider", "none"), ("state", "running")];
    let samples = exporter.await_value("aitask_tasks", &counted, 1.0);
    assert_eq!(
        samples.value("aitask_finished_total", &[("provider", "all"), ("state", "succeeded")]),
        Some(1.0)
    );
    assert_eq!(
        samples.value("aitask_tasks", &[("provider", "all"), ("state", "succeeded")]),
        Some(1.0)
    );
    assert_eq!(
        samples.label("aitask_status", &[("provider", "active")], "task_id"),
        Some("running-1")
    );
    assert_eq!(samples.find("aitask_status", &[("provider", "none")]).len(), 0);
}

#[test]
fn an_upstream_cannot_grow_the_series() {
    let gateway = Gateway::start();
    let long = "é".repeat(2_000);
    gateway.put("long", &json!({ "steps": [{ "status": long }] }));
    for code in 0..80 {
        let answer = format!("{{\"code\": {}, \"data\": null}}", 1_000 + code);
        gateway.put(&format!("code{code}"), &json!({ "answer": answer }));
    }
    let ids: Vec<_> = (0..80).map(|code| format!("code{code}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 500ms }}\nproviders: [{}]\ntasks: [long, {}]\n",
        gateway.provider("mj", ""),
        ids.join(", ")
    ));
    until("every task was polled", || exporter.scrape().find("aitask_up", &[]).len() == 81);
    let samples = exporter.scrape();
    assert_eq!(samples.find("aitask_response_codes_total", &[]).len(), 65);
    assert!(samples.value("aitask_response_codes_total", &[("code", "other")]) >= Some(17.0));
    let status = samples.label("aitask_status", &[("task_id", "long")], "status").unwrap();
    assert!(status.len() <= 1_024 && status.starts_with('é') && status.ends_with('…'));
}

#[test]
fn a_body_is_read_up_to_the_limit() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}, {}]\n\
         tasks: [{{ provider: small, id: running-1 }}, {{ provider: large, id: huge-1 }}]\n",
        gateway.provider("small", "body_size_limit: 100B"),
        gateway.provider("large", "body_size_limit: 3MiB"),
    ));
    exporter.await_value("aitask_error", &[("task_id", "running-1"), ("reason", "too_large")], 1.0);
    exporter.await_value("aitask_up", &[("task_id", "huge-1")], 1.0);
}

#[test]
fn polls_go_through_the_proxy_that_is_configured() {
    // The gateway takes the whole URL of a proxied request for its path, whoever the host is.
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers: [{{ name: mj, preset: mjdjourney, base_url: 'http://gateway.invalid', \
         proxy_url: 'http://user:hunter2@{}' }}]\ntasks: [running-1]\n",
        gateway.address
    ));
    exporter.await_state("running-1", "running");
    assert!(!exporter.get("/config").text().contains("hunter2"));
}

#[test]
fn labels_of_tasks_have_limits() {
    let dir = Dir::with(
        "global: { label_limit: 1, label_name_length_limit: 5, label_value_length_limit: 3 }\n\
         providers: [{ name: mj, preset: mjdjourney }]\n\
         tasks:\n\
         - { id: a, labels: { x: 1, y: 2 } }\n\
         - { id: b, labels: { toolong: 1 } }\n\
         - { id: c, labels: { x: long } }\n\
         - { id: d, labels: { x: yes } }\n",
    );
    let file = dir.path("aitask.yml");
    let checked = run(["--config.check", &format!("--config.file={}", file.display())]);
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8(checked.stderr).unwrap();
    for line in [
        ":4:28: more than 1 labels",
        ":5:22: a label name of more than 5 bytes",
        ":6:22: a label value of more than 3 bytes",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert!(!said.contains(":7:"), "{said}");
}
