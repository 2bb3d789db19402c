//! From a task that gets stuck to the message on a phone, and back: the simulated gateway, the
//! exporter, a real Prometheus with our rules and a real Alertmanager.

mod by_hand;
mod links;
mod routes;
mod waits;

use std::fs;

use serde_json::json;

use crate::dashboards::rules;
use crate::harness::tools::{Alertmanager, Prometheus, Webhook};
use crate::harness::{Dir, Exporter, Gateway, root};

/// The rules, with seconds for minutes: what waits 5 minutes waits 3 seconds, and what looks back
/// 3 minutes looks back 3 seconds. What stops for 5 minutes stops for 5 seconds.
pub fn sped_up() -> String {
    let rules = fs::read_to_string(root(rules::FILE)).unwrap();
    let mut fast = rules.replace("for: 5m", "for: 3s").replace("[3m]", "[3s]");
    for slow in ["for: 10m", "for: 15m"] {
        // `keep_firing_for` too.
        fast = fast.replace(slow, "for: 3s");
    }
    for (slow, quick) in [
        ("(aitask_poll_overdue_seconds[3s])) > 300", "(aitask_poll_overdue_seconds[3s])) > 5"),
        ("(aitask_polls_total[5m])", "(aitask_polls_total[5s])"),
        ("(aitask_poll_failures_total[5m])", "(aitask_poll_failures_total[5s])"),
        // Few tasks are stuck on the stage.
        (" >= 10\n", " >= 2\n"),
        // The past has a sample a minute.
        ("[3s] offset 10m", "[3m] offset 10m"),
    ] {
        assert!(fast.contains(slow), "{slow}");
        fast = fast.replace(slow, quick);
    }
    assert!(!fast.contains("for: 5m") && fast != rules);
    fast
}

#[test]
fn a_stuck_task_reaches_a_person_and_its_end_too() {
    let gateway = Gateway::start();
    let queued =
        |age: u32| json!({ "enqueued_seconds_ago": age, "steps": [{ "status": "queued" }] });
    gateway.put("a", &queued(7_200));
    gateway.put("b\"2", &queued(9_000));
    let provider = gateway.provider("mj & co", "");
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1s, stuck_after: 1h }}\nproviders: [{provider}]\ntasks: [{{ id: a, labels: {{ customer: acme }} }}, b\"2]\n"
    ));
    exporter.await_value("aitask_stuck_tasks", &[], 2.0);
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::telling(webhook.address);
    let dir = Dir::new();
    let rules = dir.write("rules.yml", &sped_up());
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
         rule_files: ['{}']\n\
         alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{}'] }}] }}] }}\n\
         scrape_configs:\n\
         - {{ job_name: aitask_exporter, static_configs: [{{ targets: ['{}'] }}] }}\n",
        rules.display(),
        alertmanager.address,
        exporter.address,
    );
    let _prometheus = Prometheus::start(dir, &config);

    let alert = webhook.await_alert("AITaskStuck", "firing");
    assert_eq!(alert["labels"]["provider"], "mj & co");
    assert_eq!(alert["labels"]["severity"], "warning");
    let annotations = &alert["annotations"];
    let description = annotations["description"].as_str().unwrap();
    assert!(description.starts_with("2 tasks are stuck at mj & co: "), "{description}");
    assert!(description.contains("The longest wait for the provider is 2h 30m "), "{description}");
    let (_, oldest) = description.split_once("The oldest by queue age: ").unwrap();
    let (first, second) = oldest.split_once("s), ").unwrap();
    assert!(first.starts_with(r#""b\"2" (2h 30m "#), "{oldest}");
    assert!(
        second.starts_with("\"a\" (2h 0m ") && second.ends_with(r#"s, customer "acme")."#),
        "{oldest}"
    );
    assert_eq!(annotations["runbook_url"], "docs/runbooks.md#aitaskstuck");
    let dashboard = "/d/aitask-fleet?var-provider=mj+%26+co&var-job=aitask_exporter";
    assert_eq!(annotations["dashboard_url"], dashboard);
    webhook.await_alert("AITaskManyStuck", "firing");
    let old = webhook.await_alert("AITaskQueueAgeHigh", "firing");
    let description = old["annotations"]["description"].as_str().unwrap();
    assert!(
        description.contains("2h 30m") && description.contains("its state is queued"),
        "{description}"
    );

    for id in ["a", "b\"2"] {
        gateway.put(
            id,
            &json!({ "enqueued_seconds_ago": 7_200, "steps": [{ "status": "completed" }] }),
        );
    }
    webhook.await_alert("AITaskStuck", "resolved");
    webhook.await_alert("AITaskQueueAgeHigh", "resolved");
}
