//! Load: a thousand tasks that are polled every four seconds.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::samples::Samples;
use crate::harness::{Exporter, Gateway, until};

const TASKS: usize = 1_000;
const SECONDS: u64 = 30;
/// Seconds between two polls of a task: debug builds share two cores with other tests.
const INTERVAL: f64 = 4.0;

#[test]
fn a_thousand_tasks_are_polled_when_they_are_due() {
    let gateway = Gateway::start();
    let tasks: Vec<_> = (0..TASKS).map(|n| format!("running-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: {INTERVAL}s }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", "max_in_flight: 64"),
        tasks.join(", ")
    ));
    let polls = |samples: &Samples| samples.value("aitask_polls_total", &[]).unwrap();
    let memory = |samples: &Samples| samples.value("process_resident_memory_bytes", &[]).unwrap();

    exporter.await_value("aitask_tasks", &[("state", "running")], TASKS as f64);
    let start = Instant::now();
    let first = exporter.scrape();
    wait_until(start + Duration::from_secs(SECONDS / 3));
    // The first scrapes leave behind what later ones use again.
    let settled = (0..5).map(|_| memory(&exporter.scrape())).fold(0.0, f64::max);
    wait_until(start + Duration::from_secs(SECONDS));
    let last = exporter.scrape();
    let elapsed = start.elapsed().as_secs_f64();

    // Polls done are polls due, give or take a round; fewer where the machine has other work to do.
    let due = elapsed * TASKS as f64 / INTERVAL;
    let done = polls(&last) - polls(&first);
    assert!(done <= due + TASKS as f64 && done >= due / 2.0, "{done} polls done, {due} due");
    let failures = last.find("aitask_poll_failures_total", &[]);
    assert!(failures.iter().all(|(_, count)| *count == 0.0), "{failures:?}");
    let rounds = |n: usize| gateway.requests(&format!("running-{n}")) as f64;
    for n in [0, 1, TASKS / 2, TASKS - 1] {
        // As often as any other.
        let mean = polls(&last) / TASKS as f64;
        assert!(
            (rounds(n) - mean).abs() <= 4.0,
            "task {n}: {} polls, {mean} on average",
            rounds(n)
        );
    }
    let stats = gateway.stats();
    assert_eq!(stats["max_in_flight_per_task"], 1);
    assert_eq!(stats["tasks"], TASKS);
    let grown = memory(&exporter.scrape()) - settled;
    assert!(grown < 8e6, "{grown} bytes more than after {} s", SECONDS / 3);
    let lags = last.value("aitask_poll_lag_seconds_count", &[]).unwrap();
    assert!(lags >= polls(&last), "a poll without its lag");
    until("nothing is left waiting", || {
        exporter.scrape().value("aitask_poll_queue_length", &[]).unwrap() < 100.0
    });
}

fn wait_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
