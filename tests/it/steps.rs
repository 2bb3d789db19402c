//! Steps of the host's clock: what they do to values, and that a step back undoes it.

use serde_json::json;

use crate::harness::host::Host;
use crate::harness::samples::Samples;
use crate::harness::{Exporter, Gateway, eventually, until};

const HOUR: f64 = 3_600.0;

fn age(samples: &Samples, id: &str) -> Option<f64> {
    samples.value("aitask_queue_age_seconds", &[("task_id", id)])
}

fn stuck(samples: &Samples, id: &str) -> Option<f64> {
    samples.value("aitask_stuck", &[("task_id", id)])
}

/// Waits until a task has been polled so many more times.
fn await_polls(gateway: &Gateway, id: &str, more: u64) {
    let before = gateway.requests(id);
    until(&format!("{id} is polled"), || gateway.requests(id) >= before + more);
}

#[test]
fn a_step_of_the_clock_is_undone_by_the_next_one() {
    let (gateway, host) = (Gateway::start(), Host::new());
    let config = |tasks: &str| {
        format!(
            "global: {{ poll_interval: 100ms, stuck_after: 1h, retain_finished: 1h }}\n\
             providers: [{}]\ntasks: [running-1, short, blip, paused, {tasks}]\n",
            gateway.provider("mj", "response: { states: { waiting: [waiting] } }"),
        )
    };
    let running = json!({ "steps": [{ "status": "running" }] });
    let short =
        json!({ "steps": [{ "status": "running", "seconds": 1 }, { "status": "completed" }] });
    // The API reports no times for these.
    let timeless = json!({ "answer": { "code": 0, "data": { "status": "running" } } });
    gateway.put("blip", &running);
    let paused = |status| json!({ "answer": { "code": 0, "data": { "status": status } } });
    gateway.put("paused", &paused("waiting"));
    gateway.put("short", &short);
    gateway.put("early", &timeless);
    gateway.put("late", &timeless);
    let mut exporter = Exporter::start_on(&host, &config("early"));
    exporter.await_state("short", "succeeded");
    exporter.await_state("blip", "running");
    exporter.await_state("paused", "waiting");
    let before = exporter.await_state("early", "running");
    let tasks = [("running-1", "the API's word"), ("early", "ours")];
    for (id, whose) in tasks {
        assert!(age(&before, id).unwrap() < HOUR && stuck(&before, id) == Some(0.0), "{whose}");
    }

    // Forward: all is older, and shown for long enough. What is only missing for a moment stays.
    gateway.put("blip", &json!({ "steps": [{ "status": "missing" }] }));
    exporter.await_value("aitask_error", &[("task_id", "blip"), ("reason", "not_found")], 1.0);
    host.set_clock(3);
    await_polls(&gateway, "blip", 5);
    let ahead = eventually("the clock has stepped", || {
        let samples = exporter.scrape();
        (age(&samples, "early") > Some(2.0 * HOUR)).then_some(samples)
    });
    for (id, whose) in tasks {
        assert!(age(&ahead, id) > Some(3.0 * HOUR) && stuck(&ahead, id) == Some(1.0), "{whose}");
    }
    assert!(ahead.find("aitask_status", &[("task_id", "short")]).is_empty());
    assert_eq!(ahead.value("aitask_tasks", &[("state", "succeeded")]), Some(1.0));
    assert_eq!(ahead.value("aitask_tasks", &[("state", "not_found")]), Some(0.0));
    gateway.put("blip", &running);
    gateway.put("paused", &paused("running"));
    exporter.await_state("paused", "running");
    assert_eq!(exporter.reload(&config("early, late")).status, 200);
    exporter.await_state("late", "running");

    // Back by six hours, to behind the true time: an age is nothing at the least.
    host.set_clock(-3);
    let behind =
        exporter.await_value("aitask_oldest_queue_age_seconds", &[("state", "running")], 0.0);
    for id in ["running-1", "early", "late", "blip"] {
        await_polls(&gateway, id, 2);
        assert_eq!((age(&behind, id), stuck(&behind, id)), (Some(0.0), Some(0.0)), "{id}");
    }

    // Right again: what it was, and the series of what has ended not long ago are back.
    host.set_clock(0);
    let after = eventually("the clock is right", || {
        let samples = exporter.scrape();
        (age(&samples, "early") > Some(0.0)).then_some(samples)
    });
    exporter.await_state("short", "succeeded");
    exporter.await_state("blip", "running");
    for (id, whose) in tasks {
        let enqueued = "aitask_enqueue_timestamp_seconds";
        let labels = [("task_id", id)];
        assert_eq!(after.value(enqueued, &labels), before.value(enqueued, &labels), "{whose}");
        assert!(age(&after, id) < Some(HOUR) && stuck(&after, id) == Some(0.0), "{whose}");
    }
    assert_eq!(after.value("aitask_stuck_tasks", &[]), Some(0.0));
    // It waited for as long as it did, not for the hours that the clock was ahead.
    let paused = exporter.get("/api/v1/tasks?task_id=paused").json()["tasks"][0].clone();
    let seconds = |key: &str| paused[key].as_f64().unwrap();
    let (waited, age) = (seconds("waited_seconds"), seconds("queue_age_seconds"));
    assert!(0.0 < waited && waited < age, "{paused}");
    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());
}
