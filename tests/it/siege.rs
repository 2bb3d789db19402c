//! Clients that probe without end: polls come first, and a provider in a pause is left alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aitask_simulator::Options;
use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, http, until};

const RESULTS: [&str; 4] = ["success", "failure", "paused", "busy"];

/// Runs `test` while so many clients probe one ID continuously.
fn besieged(exporter: &Exporter, clients: usize, id: &str, test: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let target = format!("/probe?provider=mj&task_id={id}");
                    http::send(exporter.address, "GET", &target, &[], "").unwrap();
                }
            });
        }
        // Clients end where the test fails, too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        is_over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn probes(samples: &Samples, result: &str) -> f64 {
    samples.value("aitask_probes_total", &[("provider", "mj"), ("result", result)]).unwrap()
}

fn polls(exporter: &Exporter) -> f64 {
    exporter.scrape().value("aitask_polls_total", &[]).unwrap()
}

/// The provider has more tasks than its rate limit lets through.
#[test]
fn a_client_in_a_loop_leaves_nine_tenths_of_the_turns_to_polls() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "rate_limit: { requests: 20, per: 1s }");
    let tasks: Vec<_> = (0..100).map(|n| format!("running-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1s }}\nproviders: [{provider}]\ntasks: [{}]\n",
        tasks.join(", ")
    ));
    for result in RESULTS {
        assert_eq!(probes(&exporter.scrape(), result), 0.0);
    }
    until("polls are late", || {
        exporter.scrape().value("aitask_poll_queue_length", &[]) >= Some(20.0)
    });
    let (before, probed) = (polls(&exporter), probes(&exporter.scrape(), "success"));
    besieged(&exporter, 3, "queued-1", || {
        until("a hundred polls", || polls(&exporter) >= before + 100.0);
        let samples = exporter.scrape();
        assert!(samples.value("aitask_poll_overdue_seconds", &[]) > Some(0.0));
        let polled = samples.value("aitask_polls_total", &[]).unwrap() - before;
        let probed = probes(&samples, "success") - probed;
        assert!(probed <= polled / 9.0 + 2.0, "{probed} probes beside {polled} polls");
        assert!(probed >= polled / 9.0 - 2.0, "{probed} probes beside {polled} polls");
    });
}

#[test]
fn a_crowd_has_a_probe_a_second_where_there_is_no_rate_limit() {
    let gateway = Gateway::start();
    // More is due than one request at a time can do.
    let provider = gateway.provider("mj", "max_in_flight: 1");
    let tasks: Vec<_> = (0..200).map(|n| format!("running-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 10ms }}\nproviders: [{provider}]\ntasks: [{}]\n",
        tasks.join(", ")
    ));
    until("polls are late", || {
        exporter.scrape().value("aitask_poll_overdue_seconds", &[]) >= Some(0.01)
    });
    let (before, start) = (polls(&exporter), Instant::now());
    besieged(&exporter, 38, "queued-1", || {
        until("polls", || polls(&exporter) >= before + 300.0);
        until("probes", || probes(&exporter.scrape(), "success") >= 2.0);
        let asked = gateway.requests("queued-1") as f64;
        let seconds = start.elapsed().as_secs_f64();
        assert!(asked <= seconds + 2.0, "{asked} probes in {seconds} s");
    });
}

/// A rate limit that a probe meets applies to polls too, and overdue polls are visible while
/// nothing is sent.
#[test]
fn a_pause_is_told_at_once_and_what_is_due_in_it_shows() {
    let gateway = Gateway::start();
    gateway.put(
        "asks",
        &json!({ "fault": { "kind": "status", "status": 429, "headers": { "retry-after": "300" } } }),
    );
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 2s, poll_timeout: 60s }}\nproviders: [{}]\ntasks: [running-1, running-2]\n",
        gateway.provider("mj", "")
    ));
    until("polls", || polls(&exporter) >= 1.0);
    let first = Samples::parse(exporter.get("/probe?provider=mj&task_id=asks").text());
    assert_eq!(first.value("aitask_error", &[("reason", "rate_limited")]), Some(1.0));

    let asked = gateway.stats()["requests"].as_u64().unwrap();
    for _ in 0..20 {
        let reply = exporter.get("/probe?provider=mj&task_id=asks");
        assert_eq!(reply.status, 200);
        let samples = Samples::parse(reply.text());
        assert_eq!(samples.value("probe_success", &[]), Some(0.0));
        assert_eq!(samples.find("aitask_up", &[]).len(), 0, "it was not asked for");
    }
    let debug = exporter.get("/probe?provider=mj&task_id=asks&debug=true");
    assert_eq!(debug.status, 503);
    let seconds: u64 = debug.header("retry-after").unwrap().parse().unwrap();
    assert!((200..=300).contains(&seconds), "{seconds}");
    let says = debug.text();
    assert!(says.contains("is paused for 29") && says.contains("asked for a pause"), "{says}");

    let value = |name: &str| exporter.scrape().value(name, &[]).unwrap();
    until("both tasks are due", || value("aitask_poll_queue_length") == 2.0);
    // Nothing wakes the worker any more; the numbers grow none the less.
    let [overdue, throttled] = ["aitask_poll_overdue_seconds", "aitask_throttled_seconds_total"];
    for name in [overdue, throttled] {
        let before = value(name);
        until("it grows", || value(name) >= before + 0.2);
    }
    let samples = exporter.scrape();
    assert_eq!((probes(&samples, "paused"), probes(&samples, "failure")), (21.0, 1.0));
    assert_eq!(gateway.stats()["requests"].as_u64().unwrap(), asked);
}

/// Neither are the credentials tried more often, nor do probes keep them refused.
#[test]
fn probes_do_not_hammer_with_refused_credentials() {
    let gateway = Gateway::with(Options { token: Some("right".to_owned()) });
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 1s }}\nproviders: [{}]\ntasks: [running-1]\n",
        gateway.provider("mj", "authorization: { credentials_file: token }")
    ));
    dir.write("token", "wrong\n");
    let exporter = Exporter::start_in(dir, &[]);
    let asked = || gateway.stats()["requests"].as_u64().unwrap();
    besieged(&exporter, 4, "running-2", || {
        until("it is paused", || probes(&exporter.scrape(), "paused") >= 500.0);
        let debug = exporter.get("/probe?provider=mj&task_id=running-2&debug=true");
        if debug.status == 503 {
            assert!(debug.text().contains("rejects the credentials"), "{}", debug.text());
        }
        // After one second, then two, four, … of polls and of the probes that the first of them
        // left.
        assert!(asked() <= 12, "{} requests with refused credentials", asked());
        exporter.process.dir.write("token", "right\n");
        until("polls", || {
            exporter.scrape().value("aitask_tasks", &[("state", "running")]) == Some(1.0)
        });
        until("probes", || probes(&exporter.scrape(), "success") >= 1.0);
    });
}

/// For example one that belongs to another account.
#[test]
fn an_id_for_which_the_credentials_are_refused_stops_no_polls() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [running-1]\n",
        gateway.provider("mj", "")
    ));
    besieged(&exporter, 2, "unauthorized-1", || {
        until("probes are refused", || probes(&exporter.scrape(), "failure") >= 1.0);
        let before = polls(&exporter);
        until("polls", || polls(&exporter) >= before + 20.0);
        let samples = exporter.scrape();
        assert_eq!(samples.value("aitask_poll_failures_total", &[("reason", "auth")]), Some(0.0));
        assert_eq!(samples.value("aitask_provider_up", &[]), Some(1.0));
        // After 200 ms, then after twice the time, four times, …
        let asked = gateway.requests("unauthorized-1");
        assert!(asked <= 9, "{asked} probes in spite of rejections");
    });
}

/// The time of a client is nearly over when its turn comes.
#[test]
fn no_turn_is_lost_to_a_probe_that_has_no_time_left() {
    let gateway = Gateway::start();
    let more = "rate_limit: { requests: 4, per: 1s }, probe: { share: 0.5 }";
    let tasks: Vec<_> = (0..40).map(|n| format!("running-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1s }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", more),
        tasks.join(", ")
    ));
    until("polls are late", || {
        exporter.scrape().value("aitask_poll_overdue_seconds", &[]) >= Some(1.0)
    });
    let timeout = [("X-Prometheus-Scrape-Timeout-Seconds", "3")];
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let target = "/probe?provider=mj&task_id=queued-1";
            scope.spawn(|| http::send(exporter.address, "GET", target, &timeout, "").unwrap());
        }
    });
    let samples = exporter.scrape();
    let sent = probes(&samples, "success") + probes(&samples, "failure");
    assert_eq!(sent, gateway.requests("queued-1") as f64, "each that was sent has arrived");
    assert!(probes(&samples, "busy") >= 20.0, "and most were not");
}

#[test]
fn a_probe_without_a_turn_in_time_is_not_sent_and_counts_as_busy() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\nproviders: [{}]\ntasks: [listed]\n",
        gateway.provider("mj", "")
    ));
    let ask = |id: &str, seconds: &str| {
        let headers = [("X-Prometheus-Scrape-Timeout-Seconds", seconds)];
        let target = format!("/probe?provider=mj&task_id={id}");
        http::send(exporter.address, "GET", &target, &headers, "").unwrap()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ask("hang-1", "4"));
        exporter.await_value("aitask_polls_in_flight", &[], 1.0);
        // By default, one is in flight at a time.
        ask("running-1", "1");
    });
    until("both are counted", || {
        let samples = exporter.scrape();
        (probes(&samples, "busy"), probes(&samples, "failure")) == (1.0, 1.0)
    });
    assert_eq!(gateway.requests("running-1"), 0);
}
