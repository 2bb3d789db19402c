//! Limits on the exported values, and on the data that an upstream can make the exporter store.

use std::collections::BTreeSet;

use aitask_exporter::family;
use aitask_exporter::task::stable_hash;
use serde_json::{Value, json};

use crate::harness::samples::Samples;
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

/// Number of tasks with random responses, and number of responses for each.
const TASKS: usize = 120;
const ROUNDS: usize = 2;
/// The families whose label values an upstream chooses: 64 values of each, and `other`.
const OPEN: [&str; 2] = ["aitask_response_codes_total", "aitask_http_responses_total"];
const MOST_VALUES: usize = 65;

/// Returns the response of a task in a round, mostly with values that no mapping knows.
fn random_script(id: &str, round: usize) -> Value {
    let dice = |what: &str| {
        let round = round.to_string();
        stable_hash([what, id, &round].map(str::as_bytes))
    };
    let text = |what: &str| {
        let signs = ['a', '"', '\\', '\n', '\r', '\0', '{', ',', '#', 'é', '\u{2028}', '\u{1f600}'];
        let sign = signs[usize::try_from(dice(what) % 12).unwrap()];
        let times = usize::try_from(dice(what) >> 8).unwrap() % 2_000;
        format!("{sign}{}{}", dice(what), sign.to_string().repeat(times))
    };
    let told = dice("told") % 2 == 0;
    let answer = json!({
        "code": if told { json!(0) } else { json!(text("code")) },
        "message": text("message"),
        "data": {
            "taskId": id,
            "status": text("status"),
            "job_type": text("job type"),
            "enqueue_time": "2025-06-20 06:54:32",
        },
    });
    // Neither what pauses a provider nor what has no body.
    let refused = [401, 403, 429, 503, 204, 205, 304];
    let statuses: Vec<_> = (200..600).filter(|status| !refused.contains(status)).collect();
    let http = statuses[usize::try_from(dice("http")).unwrap() % statuses.len()];
    match told {
        true => json!({ "answer": answer }),
        false => json!({ "fault": { "kind": "status", "status": http, "body": answer } }),
    }
}

/// The series, apart from those whose number is to be counted: by task and family, and by open
/// family.
fn closed_series(samples: &Samples) -> BTreeSet<String> {
    let all = samples.0.keys();
    let closed = all
        .filter(|(name, labels)| !labels.contains_key("task_id") && !OPEN.contains(&name.as_str()));
    closed.map(|(name, labels)| format!("{name}{labels:?}")).collect()
}

#[test]
fn an_upstream_cannot_grow_the_series() {
    let gateway = Gateway::start();
    let ids: Vec<_> = (0..TASKS).map(|task| format!("t{task}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", "max_in_flight: 64"),
        ids.join(", ")
    ));
    let closed = closed_series(&exporter.scrape());
    let mut words = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut waiting = Vec::new();
        for id in &ids {
            gateway.put(id, &random_script(id, round));
            waiting.push((id, gateway.requests(id)));
        }
        until("every task is polled again", || {
            waiting.retain(|(id, before)| gateway.requests(id) < before + 1);
            waiting.is_empty()
        });
        let samples = exporter.scrape();
        assert_eq!(closed_series(&samples), closed);
        let mut of_tasks = BTreeSet::new();
        for (name, labels) in samples.0.keys() {
            assert!(labels.values().all(|value| value.len() <= 1_024), "{name}{labels:?}");
            assert!(labels.values().all(|value| !value.contains('\0')), "{name}{labels:?}");
            if let Some(id) = labels.get("task_id") {
                assert!(of_tasks.insert((name, id)), "{name} of {id} is there twice");
            }
        }
        assert!(of_tasks.len() <= TASKS * family::TASK_FAMILIES.len());
        let unknown = samples.find("aitask_status", &[("state", "unknown")]).into_iter();
        words.extend(unknown.map(|(labels, _)| labels["status"].clone()));
        for name in OPEN {
            assert!(samples.find(name, &[]).len() <= MOST_VALUES, "{name}");
        }
    }
    let samples = exporter.scrape();
    for (name, label) in OPEN.into_iter().zip(["code", "status_code"]) {
        assert_eq!(samples.find(name, &[]).len(), MOST_VALUES, "{name}");
        // It takes its count later, as every value that could not be known beforehand.
        assert!(samples.value(name, &[(label, "other")]).is_some(), "{name}");
    }
    // In all that time, since every new word would be a series. Some came and went between scrapes.
    assert!((MOST_VALUES / 2..=MOST_VALUES).contains(&words.len()), "{} words", words.len());
    assert!(words.contains("other") && words.iter().any(|word| word.ends_with('…')), "{words:?}");
}

/// The first error of a kind is one that `increase` sees.
#[test]
fn what_a_mapping_names_has_a_series_from_the_start_and_from_a_reload() {
    let gateway = Gateway::start();
    let config = |codes: &str| {
        let provider =
            gateway.provider("mj", &format!("response: {{ codes: {{ failed: {codes} }} }}"));
        format!("providers: [{provider}]\ntasks: [running-1]\n")
    };
    let exporter = Exporter::start(&config("[24, 25]"));
    let value = |samples: &Samples, code: &str| {
        samples.value("aitask_response_codes_total", &[("code", code)])
    };
    let codes = |samples: &Samples| ["24", "25", "26"].map(|code| value(samples, code));
    let samples = exporter.scrape();
    assert_eq!(codes(&samples), [Some(0.0), Some(0.0), None]);
    for status in ["429", "502"] {
        let labels = [("status_code", status)];
        assert_eq!(samples.value("aitask_http_responses_total", &labels), Some(0.0));
    }
    assert_eq!(exporter.reload(&config("[26]")).status, 200);
    assert_eq!(codes(&exporter.scrape()), [Some(0.0); 3]);
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
    // The gateway takes the whole URL of a proxied request as its path, whatever the host is.
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers:\n\
         - {{ name: mj, preset: mjdjourney, base_url: 'http://gateway.invalid', \
         proxy_url: 'http://user:hunter2@{}' }}\n\
         - {{ name: dead, preset: mjdjourney, base_url: 'http://gateway.invalid', \
         proxy_url: 'http://user:hunter2@127.0.0.1:1' }}\n\
         tasks: [{{ provider: mj, id: running-1 }}, {{ provider: dead, id: ok-1 }}]\n",
        gateway.address
    ));
    exporter.await_state("running-1", "running");
    exporter.await_value("aitask_error", &[("task_id", "ok-1"), ("reason", "connect")], 1.0);
    let log = exporter.process.log();
    assert!(log.contains("detail=\"through proxy_url: Connection refused"), "{log}");
    assert!(!exporter.get("/config").text().contains("hunter2") && !log.contains("hunter2"));
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
