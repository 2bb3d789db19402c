//! The pace of polls at a provider with problems.

use serde_json::json;

use crate::harness::{Dir, Exporter, Gateway, eventually, until};
use aitask_simulator::Options;

#[test]
fn failed_polls_come_ever_more_rarely() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [broken-1]\n",
        gateway.provider("mj", "")
    ));
    until("six polls", || gateway.requests("broken-1") >= 6);
    let times = gateway.request_times("broken-1");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 200 ms doubled for each failure, up to a quarter less.
    for (gap, least) in gaps.iter().zip([150, 300, 600, 1_200, 2_400]) {
        assert!(*gap >= least - 10, "{gaps:?}");
    }
    let samples = exporter.scrape();
    assert_eq!(samples.value("aitask_poll_retries_total", &[]), Some(5.0));
}

#[test]
fn retry_after_pauses_the_whole_provider_and_no_other() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}, {}]\n\
         tasks: [{{ id: here, provider: a }}, {{ id: asks, provider: a }}, \
         {{ id: there, provider: b }}]\n",
        gateway.provider("a", ""),
        gateway.provider("b", "")
    ));
    for id in ["here", "asks", "there"] {
        gateway.put(id, &json!({ "steps": [{ "status": "queued" }] }));
    }
    until("both are polled", || gateway.requests("here") > 2 && gateway.requests("there") > 2);
    gateway.put(
        "asks",
        &json!({ "fault": { "kind": "status", "status": 429, "headers": { "retry-after": "3" } } }),
    );
    let pause = |id: &str| {
        let times = gateway.request_times(id);
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    };
    until("the pause is over", || pause("here") >= 2_800);
    assert!(pause("there") < 2_000, "the other provider was paused too");
    let samples = exporter.scrape();
    let throttled = |provider| {
        samples.value("aitask_throttled_seconds_total", &[("provider", provider)]).unwrap()
    };
    assert!(throttled("a") >= 2.0 && throttled("b") < 0.5, "{} {}", throttled("a"), throttled("b"));
    let limited = [("provider", "a"), ("reason", "rate_limited")];
    assert!(samples.value("aitask_poll_failures_total", &limited) >= Some(1.0));
}

#[test]
fn a_reload_shortens_no_pause() {
    let gateway = Gateway::start();
    let text = |more: &str| {
        format!(
            "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [asks{more}]\n",
            gateway.provider("a", "")
        )
    };
    gateway.put(
        "asks",
        &json!({ "fault": { "kind": "status", "status": 429, "headers": { "retry-after": "60" } } }),
    );
    let exporter = Exporter::start(&text(""));
    exporter.await_value("aitask_error", &[("reason", "rate_limited")], 1.0);
    for n in 0..10 {
        assert_eq!(exporter.reload(&text(&format!(", queued-{n}"))).status, 200);
    }
    until("what came is due", || {
        exporter.scrape().value("aitask_poll_queue_length", &[]) >= Some(1.0)
    });
    assert_eq!(gateway.stats()["requests"], 1);
}

#[test]
fn refused_credentials_leave_one_poll_at_a_time_until_there_are_new_ones() {
    const TASKS: usize = 40;
    let gateway = Gateway::with(Options { token: Some("right".to_owned()) });
    let tasks: Vec<_> = (0..TASKS).map(|n| format!("running-{n}")).collect();
    let more = "authorization: { credentials_file: token }, max_in_flight: 4";
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 500ms }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", more),
        tasks.join(", ")
    ));
    dir.write("token", "wrong\n");
    let exporter = Exporter::start_in(dir, &[]);
    let asked = || gateway.stats()["requests"].as_u64().unwrap();
    let first = eventually("the credentials are refused", || {
        let samples = exporter.scrape();
        let refused = samples.value("aitask_poll_failures_total", &[("reason", "auth")])?;
        (refused >= 1.0).then(asked)
    });
    // The pause starts at the first rejection; what was under way then may still end.
    assert!(first <= 8, "{first} requests with refused credentials");
    until("polls that try the credentials", || asked() >= first + 3);
    let samples = exporter.scrape();
    let polls = samples.value("aitask_polls_total", &[]).unwrap();
    assert!(polls <= 12.0, "{polls} polls with refused credentials");
    assert!(samples.value("aitask_poll_queue_length", &[]) >= Some(20.0));

    exporter.process.dir.write("token", "right\n");
    until("every task is polled with the new credentials", || {
        let samples = exporter.scrape();
        let running = samples.value("aitask_tasks", &[("state", "running")]);
        running == Some(TASKS as f64)
    });
}

#[test]
fn a_rate_limit_holds() {
    let gateway = Gateway::start();
    let tasks: Vec<_> = (0..20).map(|n| format!("running-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", "rate_limit: { requests: 10, per: 1s, burst: 5 }"),
        tasks.join(", ")
    ));
    let start = std::time::Instant::now();
    let asked = || gateway.stats()["requests"].as_u64().unwrap() as f64;
    until("polls under the limit", || asked() >= 25.0);
    // 5 at once and 10 a second; some time passed before the first look at the clock.
    let most = 5.0 + 10.0 * (start.elapsed().as_secs_f64() + 1.0);
    assert!(asked() <= most, "{} polls, {most} allowed", asked());
    let samples = exporter.scrape();
    assert!(samples.value("aitask_throttled_seconds_total", &[]) > Some(0.5));
    assert_eq!(
        samples.find("aitask_poll_failures_total", &[]).iter().map(|(_, n)| n).sum::<f64>(),
        0.0
    );
}
