//! Every fault at random, for a while, on a host whose clock steps and whose names move.
//! `SOAK_SECONDS` makes it longer.

mod unrest;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::host::Host;
use crate::harness::samples::Samples;
use crate::harness::{Exporter, Gateway, eventually, now, until};
use unrest::{Clock, Nomad};

const TASKS: usize = 100;
/// Number of tasks of the source.
const LISTED: usize = 20;
/// ID of the task whose answer is the list of the source.
const LIST: &str = "list";
const SECONDS: u64 = 40;
const INTERVAL: Duration = Duration::from_millis(200);

/// Faults of one task each, and what heals it.
fn script(number: usize) -> Value {
    let status = |status: u16, headers: Value| json!({ "fault": { "kind": "status", "status": status, "headers": headers } });
    match number % 21 {
        0 => status(429, json!({ "retry-after": "1" })),
        1 => status(503, json!({ "retry-after": "0" })),
        2 => status(500, json!({})),
        3 => status(302, json!({ "location": "http://192.0.2.1/" })),
        4 => json!({ "fault": { "kind": "code", "code": number } }),
        5 => json!({ "answer": { "code": 0, "data": { "status": format!("odd-{number}") } } }),
        6 => json!({ "delay_ms": 400, "steps": [{ "status": "running" }] }),
        number @ 7..20 => {
            let kinds = [
                "slow", "hang", "reset", "half", "endless", "trickle", "other", "type", "null",
                "empty", "garbage", "deep", "huge",
            ];
            json!({ "fault": { "kind": kinds[number - 7] } })
        }
        _ => well(),
    }
}

/// Returns the first tasks of the source as elements of its list.
fn elements(count: usize) -> Vec<Value> {
    let element = |n| json!({ "id": format!("running-listed-{n}"), "provider": "good" });
    (0..count).map(element).collect()
}

/// Faults of the source: it is slow or endless, or it lies.
fn script_list(number: usize) -> Value {
    let fault = |kind: &str| json!({ "answer": elements(LISTED), "fault": { "kind": kind } });
    let status =
        |status: u16| json!({ "fault": { "kind": "status", "status": status }, "answer": "[]" });
    match number % 16 {
        number @ 0..9 => fault(
            ["slow", "hang", "reset", "half", "endless", "trickle", "empty", "garbage", "deep"]
                [number],
        ),
        9 => status(500),
        10 => status(302),
        11 => json!({ "answer": [] }),
        12 => json!({ "answer": elements(3) }),
        13 => json!({ "answer": { "tasks": elements(3) } }),
        14 => {
            let mut elements = elements(LISTED);
            elements.insert(7, json!({ "id": "..", "labels": [] }));
            json!({ "answer": elements })
        }
        _ => json!({ "answer": elements(LISTED) }),
    }
}

fn well() -> Value {
    json!({ "steps": [{ "status": "running" }] })
}

fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.find(name, labels).iter().map(|(_, value)| value).sum()
}

/// Asserts that no task has disappeared and no value is negative, whatever the clock shows.
fn assert_honest(samples: &Samples) {
    let tasks = 2 * TASKS + LISTED + 4;
    assert_eq!(sum(samples, "aitask_tasks", &[]), tasks as f64);
    assert_eq!(sum(samples, "aitask_lost_tasks_total", &[]), 0.0);
    let below: Vec<_> = samples.0.iter().filter(|(_, value)| **value < 0.0).collect();
    assert!(below.is_empty(), "{below:?}");
}

/// Asserts that the source has had faults of each kind, and that its list is whole again.
fn assert_source_is_well(exporter: &Exporter) {
    let samples = exporter.await_value("aitask_unlisted_tasks", &[("provider", "good")], 0.0);
    let list = [("config", "list")];
    assert_eq!(samples.value("aitask_sd_discovered_tasks", &list), Some(LISTED as f64));
    for reason in ["timeout", "connect", "http", "empty", "decode"] {
        let labels = [("config", "list"), ("reason", reason)];
        let failures = samples.value("aitask_sd_refresh_failures_total", &labels);
        assert!(failures > Some(0.0), "no {reason} among the faults of the source");
    }
}

#[test]
fn a_mixture_of_all_faults_leaves_nothing_behind() {
    let (bad, good, host) = (Gateway::start(), Gateway::start(), Host::new());
    let (mut clock, mut nomad) = (Clock::of(&host, TASKS + LISTED, INTERVAL), Nomad::of(&host));
    let home = nomad.url();
    let ids = |word: &str| (0..TASKS).map(|n| format!("{word}-{n}")).collect::<Vec<_>>();
    let listed = |provider: &str, ids: &[String]| {
        let tasks = ids.iter().map(|id| format!("{{ id: {id}, provider: {provider} }}"));
        tasks.collect::<Vec<_>>().join(", ")
    };
    let (bad_ids, good_ids) = (ids("b"), ids("running"));
    for id in &bad_ids {
        bad.put(id, &well());
    }
    // Nobody listens there, TLS is spoken to one who does not, and there is no such name.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let limits = "max_in_flight: 32, poll_timeout: 500ms, body_size_limit: 64KiB";
    let config = |interval: &str| {
        format!(
            "global: {{ poll_interval: {interval} }}\n\
             http_sd_configs:\n\
             - {{ name: list, url: 'http://{}/api/mj/task/{LIST}/fetch', \
             refresh_interval: {INTERVAL:?}, timeout: 500ms }}\n\
             providers:\n\
             - {}\n\
             - {}\n\
             - {{ name: refused, preset: mjdjourney, base_url: 'http://{refused}' }}\n\
             - {{ name: plain, preset: mjdjourney, base_url: 'https://{}' }}\n\
             - {{ name: nowhere, preset: mjdjourney, base_url: 'http://nowhere.invalid' }}\n\
             - {{ name: nomad, preset: mjdjourney, base_url: '{}' }}\n\
             tasks: [{}, {}, {{ id: a, provider: refused }}, {{ id: a, provider: plain }}, \
             {{ id: a, provider: nowhere }}, {{ id: {}, provider: nomad }}]\n",
            bad.address,
            bad.provider("bad", limits),
            good.provider("good", "max_in_flight: 32"),
            good.address,
            home,
            listed("bad", &bad_ids),
            listed("good", &good_ids),
            Nomad::TASK,
        )
    };
    bad.put(LIST, &json!({ "answer": elements(LISTED) }));
    let mut exporter = Exporter::start_on(&host, &config(&format!("{INTERVAL:?}")));
    for (provider, tasks) in [("bad", TASKS), ("good", TASKS + LISTED)] {
        let labels = [("state", "running"), ("provider", provider)];
        exporter.await_value("aitask_tasks", &labels, tasks as f64);
    }

    let seconds = std::env::var("SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let (begun, mut settled, mut random) = (Instant::now(), None, 1_usize);
    while begun.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..10 {
            // Always the same sequence: a run that fails can be looked at again.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bad.put(&bad_ids[(random >> 33) % TASKS], &script((random >> 40) % 1_000));
        }
        bad.put(LIST, &script_list((random >> 50) % 1_000));
        nomad.move_on();
        let scraped = Instant::now();
        let samples = exporter.scrape();
        assert_honest(&samples);
        clock.tick(scraped, &samples);
        if settled.is_none() && begun.elapsed() > Duration::from_secs(seconds / 3) {
            settled = Some(samples);
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(clock.steps >= 4, "polls went on after {} steps of the clock only", clock.steps);
    assert!(nomad.moves >= 4, "polls followed the name {} times only", nomad.moves);
    until("polls have followed the name", || nomad.is_found());
    host.set_clock(0);
    for id in &bad_ids {
        bad.put(id, &well());
    }
    bad.put(LIST, &json!({ "answer": elements(LISTED) }));
    let healed = now();
    let polled = "aitask_last_success_timestamp_seconds";
    let samples = eventually("every task is polled again", || {
        let samples = exporter.scrape();
        let last = ["bad", "good", "nomad"].map(|name| samples.find(polled, &[("provider", name)]));
        let (last, right) = (last.concat(), healed..=now());
        let all =
            last.len() == 2 * TASKS + LISTED + 1 && last.iter().all(|(_, at)| right.contains(at));
        all.then_some(samples)
    });
    // With the right time, the values are right again.
    assert_eq!(sum(&samples, "aitask_stuck_tasks", &[("provider", "good")]), 0.0);
    assert!(sum(&samples, "aitask_oldest_queue_age_seconds", &[("provider", "good")]) < 3_600.0);

    let failures = |provider, reason| {
        let labels = [("provider", provider), ("reason", reason)];
        samples.value("aitask_poll_failures_total", &labels).unwrap()
    };
    for reason in [
        "timeout",
        "connect",
        "rate_limited",
        "http",
        "too_large",
        "empty",
        "decode",
        "api",
        "mapping",
    ] {
        assert!(failures("bad", reason) > 0.0, "no {reason} among the faults");
    }
    for (provider, reason) in [("refused", "connect"), ("plain", "tls"), ("nowhere", "connect")] {
        let polls = sum(&samples, "aitask_polls_total", &[("provider", provider)]);
        assert!(polls > 0.0);
        assert_eq!(failures(provider, reason), polls, "{provider}: one reason for each failure");
        assert_eq!(sum(&samples, "aitask_poll_failures_total", &[("provider", provider)]), polls);
    }
    assert_source_is_well(&exporter);
    // Problems of one provider do not affect another.
    assert_eq!(sum(&samples, "aitask_poll_failures_total", &[("provider", "good")]), 0.0);
    let lag = |le| {
        let labels = [("provider", "good"), ("le", le)];
        samples.value("aitask_poll_lag_seconds_bucket", &labels).unwrap()
    };
    assert_eq!(lag("5"), lag("+Inf"), "polls of the good provider were held up");

    // Memory and files as after a third of the time, give or take what a scrape needs.
    let settled = settled.unwrap();
    for (name, more) in [("process_resident_memory_bytes", 24e6), ("process_open_fds", 40.0)] {
        let (before, after) =
            (settled.value(name, &[]).unwrap(), samples.value(name, &[]).unwrap());
        assert!(after < before + more, "{name} has grown from {before} to {after}");
    }
    // Once nothing is due, nothing is under way or waits, and all that was sent was counted.
    assert_eq!(exporter.reload(&config("1y")).status, 200);
    until("all polls have ended", || {
        let samples = exporter.scrape();
        sum(&samples, "aitask_polls_in_flight", &[]) == 0.0
            && sum(&samples, "aitask_poll_queue_length", &[]) == 0.0
    });
    let samples = exporter.scrape();
    let polls = sum(&samples, "aitask_polls_total", &[("provider", "good")]);
    let listed = (0..LISTED).map(|n| format!("running-listed-{n}"));
    let requests: u64 = good_ids.iter().cloned().chain(listed).map(|id| good.requests(&id)).sum();
    assert_eq!(polls, requests as f64);
    assert_eq!(
        sum(&samples, "aitask_tasks", &[("state", "running")]),
        (2 * TASKS + LISTED + 1) as f64
    );
    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());
}
