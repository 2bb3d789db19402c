//! Tasks that wait for their user: the time that they wait is not the provider's.

use serde_json::{Value, json};

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway};

const THREE_DAYS: f64 = 3.0 * 86_400.0;
/// More than the test takes, and less than any of its tasks is old.
const HOUR: f64 = 3_600.0;

/// A task that was enqueued three days ago.
fn old(status: &str) -> Value {
    json!({ "enqueued_seconds_ago": THREE_DAYS, "steps": [{ "status": status }] })
}

fn stuck(samples: &Samples, id: &str) -> Option<f64> {
    samples.value("aitask_stuck", &[("task_id", id)])
}

/// Looks at a task that runs after it has waited for three days, and at one that has not waited.
fn assert_only_the_other_is_stuck(exporter: &Exporter, id: &str) {
    exporter.await_state("other", "running");
    let samples = exporter.await_state(id, "running");
    let running = [("state", "running")];
    assert_eq!((stuck(&samples, id), stuck(&samples, "other")), (Some(0.0), Some(1.0)));
    assert_eq!(samples.value("aitask_stuck_tasks", &[]), Some(1.0));
    // The age itself is what it was.
    let ages = [
        samples.value("aitask_queue_age_seconds", &[("task_id", id)]),
        samples.value("aitask_oldest_queue_age_seconds", &running),
        samples.value("aitask_oldest_net_queue_age_seconds", &running),
    ];
    assert!(ages.into_iter().all(|age| age >= Some(THREE_DAYS)), "{ages:?}");
    let task = exporter.get(&format!("/api/v1/tasks?task_id={id}")).json()["tasks"][0].clone();
    let number = |key: &str| task[key].as_f64().unwrap();
    assert_eq!(task["stuck"], false);
    assert!(number("waited_seconds") > THREE_DAYS - HOUR, "{task}");
    assert!(number("queue_age_seconds") - number("waited_seconds") < HOUR, "{task}");
    let page = exporter.get(&format!("/tasks/mj/{id}"));
    assert!(page.text().contains("of that waiting for the user"), "{}", page.text());
}

#[test]
fn a_task_that_has_waited_for_days_is_not_stuck_once_it_runs() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let more = "response: { states: { waiting: [waiting] } }";
    let config = format!(
        "global: {{ poll_interval: 100ms, stuck_after: 1h }}\nproviders: [{}]\n\
         tasks: [runs-before, runs-later, other]\n",
        gateway.provider("mj", more)
    );
    let path = storage.path("state");
    let flags = ["--storage.path", path.to_str().unwrap()];
    gateway.put("other", &old("running"));
    for id in ["runs-before", "runs-later"] {
        gateway.put(id, &old("waiting"));
    }
    let mut exporter = Exporter::start_in(Dir::with(&config), &flags);
    for id in ["runs-before", "runs-later"] {
        assert_eq!(stuck(&exporter.await_state(id, "waiting"), id), Some(0.0));
    }
    gateway.put("runs-before", &old("running"));
    assert_only_the_other_is_stuck(&exporter, "runs-before");

    exporter.process.signal("KILL");
    exporter.process.wait();
    gateway.put("runs-later", &old("running"));
    let exporter = Exporter::start_in(Dir::with(&config), &flags);
    for id in ["runs-before", "runs-later"] {
        assert_only_the_other_is_stuck(&exporter, id);
    }
}

#[test]
fn the_net_queue_age_leaves_the_users_time_out() {
    let gateway = Gateway::start();
    gateway.put("a", &old("waiting"));
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [a]\n",
        gateway.provider("mj", "response: { states: { waiting: [waiting] } }")
    ));
    let net_age = |samples: &Samples, state| {
        samples.value("aitask_oldest_net_queue_age_seconds", &[("state", state)]).unwrap()
    };
    let waits = exporter.await_state("a", "waiting");
    assert!(net_age(&waits, "waiting") < HOUR);
    gateway.put("a", &old("running"));
    let runs = exporter.await_state("a", "running");
    assert!(net_age(&runs, "running") < HOUR);
    assert_eq!(net_age(&runs, "waiting"), 0.0);
}
