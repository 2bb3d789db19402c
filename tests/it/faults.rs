//! Each way in which a gateway fails gives its own reason, and costs nothing that was known.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, eventually, http};

/// Tasks of the provider `many`: what the gateway does, the reason, the code.
const FAULTS: &[(&str, &str, &str)] = &[
    ("hang-1", "timeout", ""),
    ("slow-1", "timeout", ""),
    ("trickle-1", "timeout", ""),
    ("reset-1", "connect", ""),
    ("half-1", "connect", ""),
    ("missing-1", "not_found", "404"),
    ("null-1", "not_found", "0"),
    ("broken-1", "http", "500"),
    ("redirect-1", "http", "302"),
    ("redirect-here", "http", "307"),
    ("unavailable", "http", "503"),
    ("teapot", "http", "418"),
    ("endless-1", "too_large", ""),
    ("huge-1", "too_large", ""),
    ("empty-1", "empty", ""),
    ("nothing-1", "empty", ""),
    ("garbage-1", "decode", ""),
    ("deep-1", "decode", ""),
    ("truncated", "decode", ""),
    ("code-1203-x", "api", "1203"),
    ("code-text", "api", "no \"money\""),
    ("other-1", "mapping", "0"),
    ("type-1", "mapping", "0"),
    ("array", "mapping", ""),
];

/// Providers of their own, for what pauses a provider: the task, the reason, the code.
const PAUSES: &[(&str, &str, &str)] = &[
    ("unauthorized-1", "auth", "401"),
    ("forbidden-1", "auth", "403"),
    ("throttled-1", "rate_limited", "429"),
    ("busy-1", "http", "503"),
];

#[test]
fn each_fault_has_its_reason() {
    let gateway = Gateway::start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    let status = |status: u16| json!({ "fault": { "kind": "status", "status": status } });
    gateway.put(
        "redirect-here",
        &json!({ "fault": { "kind": "status", "status": 307, "headers": { "location": location } } }),
    );
    gateway.put("unavailable", &status(503));
    gateway.put("teapot", &status(418));
    gateway.put("truncated", &json!({ "answer": "{\"code\": 0, \"data\": {" }));
    gateway.put("code-text", &json!({ "fault": { "kind": "code", "code": "no \"money\"" } }));
    gateway.put("array", &json!({ "answer": [] }));

    let secret = "authorization: { credentials: hunter2 }";
    let mut providers = vec![gateway.provider("many", &format!("max_in_flight: 99, {secret}"))];
    let mut expected = BTreeMap::new();
    for (id, reason, code) in FAULTS {
        expected.insert(("many", *id), (*reason, *code));
    }
    for (id, reason, code) in PAUSES {
        providers.push(gateway.provider(id, ""));
        expected.insert((*id, *id), (*reason, *code));
    }
    // A port on which nothing listens any more.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    providers
        .push(format!("{{ name: refused, preset: mjdjourney, base_url: \"http://{refused}\" }}"));
    expected.insert(("refused", "any"), ("connect", ""));
    // TLS is spoken to a server that does not.
    providers.push(format!(
        "{{ name: plain, preset: mjdjourney, base_url: \"https://{}\" }}",
        gateway.address
    ));
    expected.insert(("plain", "any"), ("tls", ""));

    let exporter = Exporter::start(&config(&providers, expected.keys()));
    let samples = eventually("every task has been polled", || {
        let samples = exporter.scrape();
        let ups = samples.find("aitask_up", &[]);
        (ups.len() == expected.len()).then_some(samples)
    });
    let errors = samples.find("aitask_error", &[]).into_iter();
    let found: BTreeMap<_, _> = errors
        .map(|(labels, value)| {
            assert_eq!(value, 1.0);
            let label = |name| &*labels[name];
            ((label("provider"), label("task_id")), (label("reason"), label("code")))
        })
        .collect();
    assert_eq!(found, expected);
    for ((provider, id), (reason, _)) in &expected {
        let count = samples
            .value("aitask_poll_failures_total", &[("provider", provider), ("reason", reason)]);
        assert!(count >= Some(1.0), "{id}: {count:?}");
        assert_eq!(
            samples.value("aitask_up", &[("task_id", id), ("provider", provider)]),
            Some(0.0)
        );
    }
    let not_up = samples.find("aitask_provider_up", &[]);
    assert!(not_up.iter().all(|(_, value)| *value == 0.0), "{not_up:?}");
    // A redirect is a response like any other, and is not followed with the credentials.
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
    assert!(!exporter.process.log().contains("hunter2"));
}

fn config<'a>(providers: &[String], tasks: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    let task = |(provider, id): &(&str, &str)| format!("{{ id: {id}, provider: {provider} }}");
    let tasks: Vec<_> = tasks.map(task).collect();
    format!(
        "global: {{ poll_interval: 500ms, poll_timeout: 1500ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    )
}

#[test]
fn an_unknown_status_is_counted_and_logged_once() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [weird-1, weird-2]\n",
        gateway.provider("mj", "")
    ));
    let samples = eventually("several polls", || {
        let samples = exporter.scrape();
        let count = samples.value("aitask_unknown_statuses_total", &[("provider", "mj")])?;
        (count >= 6.0).then_some(samples)
    });
    for id in ["weird-1", "weird-2"] {
        let task = [("task_id", id)];
        assert_eq!(samples.label("aitask_status", &task, "state"), Some("unknown"));
        assert_eq!(samples.label("aitask_status", &task, "status"), Some("levitating"));
        assert_eq!(samples.value("aitask_up", &task), Some(1.0));
        assert_eq!(samples.find("aitask_error", &task).len(), 0);
    }
    let log = exporter.process.log();
    assert_eq!(log.matches("levitating").count(), 1, "{log}");
}

#[test]
fn a_failed_poll_erases_nothing() {
    let gateway = Gateway::start();
    let running = json!({ "enqueued_seconds_ago": 100, "steps": [{ "status": "running" }] });
    gateway.put("a", &running);
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [a]\n",
        gateway.provider("mj", "")
    ));
    let before = exporter.await_state("a", "running");
    for (fault, reason) in [("garbage", "decode"), ("reset", "connect"), ("empty", "empty")] {
        gateway.put("a", &json!({ "fault": { "kind": fault } }));
        let after = exporter.await_value("aitask_error", &[("reason", reason)], 1.0);
        let task = [("task_id", "a")];
        assert_eq!(after.label("aitask_status", &task, "state"), Some("running"));
        assert_eq!(after.label("aitask_status", &task, "status"), Some("running"));
        assert_eq!(after.value("aitask_up", &task), Some(0.0));
        assert_eq!(after.value("aitask_provider_up", &[]), Some(0.0));
        for kept in
            ["aitask_info", "aitask_enqueue_timestamp_seconds", "aitask_state_timestamp_seconds"]
        {
            assert_eq!(after.find(kept, &task), before.find(kept, &task), "{kept}");
        }
        let age = |samples: &Samples| samples.value("aitask_queue_age_seconds", &task).unwrap();
        assert!(age(&after) > age(&before));
        let time = |family| after.value(family, &task).unwrap();
        let success = "aitask_last_success_timestamp_seconds";
        assert!(time("aitask_last_poll_timestamp_seconds") > time(success));
    }
    gateway.put("a", &running);
    let after = exporter.await_value("aitask_up", &[("task_id", "a")], 1.0);
    assert_eq!(after.find("aitask_error", &[]).len(), 0);
    assert_eq!(after.value("aitask_provider_up", &[]), Some(1.0));
}

/// Several APIs respond with 404 temporarily: a single 404 does not end a known task.
#[test]
fn one_not_found_answer_is_not_believed() {
    let gateway = Gateway::start();
    gateway.put("a", &json!({ "steps": [{ "status": "running" }] }));
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [a]\n",
        gateway.provider("mj", "")
    ));
    exporter.await_state("a", "running");
    gateway.put("a", &json!({ "steps": [{ "status": "missing" }] }));
    let samples = eventually("four such answers", || {
        let samples = exporter.scrape();
        let reason = [("reason", "not_found")];
        let count = samples.value("aitask_poll_failures_total", &reason)?;
        (count >= 4.0).then_some(samples)
    });
    assert_eq!(samples.label("aitask_status", &[("task_id", "a")], "state"), Some("running"));
    let finished = samples.find("aitask_finished_total", &[]);
    assert!(finished.iter().all(|(_, count)| *count == 0.0));
    let page = http::get(exporter.address, "/");
    assert!(page.text().contains("not_found"), "the landing page lists failed polls");
}

/// A mistyped ID must not remain open, and alert, for ever.
#[test]
fn an_id_that_was_never_known_ends_as_not_found() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = format!(
        "global: {{ poll_interval: 200ms, stuck_after: 2s }}\nproviders: [{}]\ntasks: [missing-1]\n",
        gateway.provider("mj", "")
    );
    let path = storage.path("state");
    let flags = ["--storage.path", path.to_str().unwrap()];
    let mut exporter = Exporter::start_in(Dir::with(&config), &flags);
    let (lost, task) = ([("state", "not_found")], [("task_id", "missing-1")]);
    let first = exporter.await_state("missing-1", "not_found");
    assert_eq!(first.value("aitask_finished_total", &lost), Some(0.0));
    assert!(first.value("aitask_queue_age_seconds", &task).is_some(), "it is open at first");
    assert_eq!(first.value("aitask_open_tasks", &[]), Some(1.0));

    let end = exporter.await_value("aitask_finished_total", &lost, 1.0);
    assert_eq!(end.label("aitask_status", &task, "state"), Some("not_found"));
    assert!(end.value("aitask_duration_seconds", &task) >= Some(2.0));
    assert_eq!(end.value("aitask_task_duration_seconds_count", &lost), Some(1.0));
    assert_eq!(end.value("aitask_tasks", &lost), Some(1.0));
    for open in ["aitask_stuck", "aitask_queue_age_seconds"] {
        assert!(end.find(open, &task).is_empty(), "{open}");
    }
    for zero in ["aitask_open_tasks", "aitask_stuck_tasks", "aitask_poll_queue_length"] {
        assert_eq!(end.value(zero, &[]), Some(0.0), "{zero}");
    }
    let page = exporter.get("/tasks/mj/missing-1");
    assert!(
        page.text().contains("Not found: the provider answers that the task does not exist"),
        "{}",
        page.text()
    );
    let times = gateway.request_times("missing-1");
    assert!(times.len() >= 3 && times[times.len() - 1] - times[0] >= 2_000, "{times:?}");

    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());
    let exporter = Exporter::start_in(Dir::with(&config), &flags);
    let after = exporter.await_value("aitask_tasks", &lost, 1.0);
    assert!(after.find("aitask_queue_age_seconds", &task).is_empty(), "it stays final");
    assert_eq!(gateway.requests("missing-1"), times.len() as u64, "and is polled no more");
}
