//! The life of the process: ready, stopping, stopped.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, http, pid_of, until};

fn hanging(gateway: &Gateway) -> String {
    gateway.put("a", &json!({ "fault": { "kind": "hang" } }));
    format!(
        "global: {{ poll_interval: 100ms, poll_timeout: 1h }}\nproviders: [{}]\ntasks: [a]\n",
        gateway.provider("mj", "")
    )
}

#[test]
fn the_first_signal_drains_within_5_seconds() {
    for signal in ["TERM", "INT"] {
        let gateway = Gateway::start();
        let mut exporter = Exporter::start(&hanging(&gateway));
        until("a poll hangs", || gateway.asked("a")["in_flight"] == 1);
        // A client that keeps its connection must not hold up the end either.
        let _idle = http::connect(exporter.address).unwrap();
        let start = Instant::now();
        exporter.process.signal(signal);
        let status = exporter.process.wait();
        assert_eq!(status.code(), Some(0), "{}", exporter.process.log());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn an_idle_exporter_ends_at_once() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "");
    let mut exporter = Exporter::start(&format!("providers: [{provider}]\ntasks: [a]\n"));
    let start = Instant::now();
    exporter.process.signal("TERM");
    assert_eq!(exporter.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn the_second_signal_aborts() {
    let gateway = Gateway::start();
    let mut exporter = Exporter::start(&hanging(&gateway));
    until("a poll hangs", || gateway.asked("a")["in_flight"] == 1);
    let start = Instant::now();
    exporter.process.signal("TERM");
    until("it is stopping", || exporter.process.log().contains("stopping"));
    exporter.process.signal("TERM");
    assert_eq!(exporter.process.wait().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_poll_under_way_is_finished_and_no_other_begins() {
    let gateway = Gateway::start();
    gateway.put("a", &json!({ "delay_ms": 1_500, "steps": [{ "status": "running" }] }));
    let provider = gateway.provider("mj", "");
    let config =
        format!("global: {{ poll_interval: 50ms }}\nproviders: [{provider}]\ntasks: [a]\n");
    let mut exporter = Exporter::start_in(Dir::with(&config), &["--log.level=debug"]);
    until("a poll is under way", || gateway.asked("a")["in_flight"] == 1);
    exporter.process.signal("TERM");
    assert_eq!(exporter.process.wait().code(), Some(0));
    assert_eq!(gateway.requests("a"), 1);
    let log = exporter.process.log();
    assert!(log.contains("state changed") && log.contains("to=running"), "{log}");
}

#[test]
fn ready_and_healthy() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&hanging(&gateway));
    let asked = |target| exporter.get(target).status;
    assert_eq!(asked("/-/healthy"), 200);
    // The first poll is due later, so nothing is left to wait for, even where it hangs.
    until("ready", || asked("/-/ready") == 200);
    until("a poll hangs", || gateway.asked("a")["in_flight"] == 1);
    assert_eq!(asked("/-/ready"), 200);
}

#[test]
fn it_listens_on_every_address_that_is_given() {
    let dir = Dir::with("providers: []\n");
    let path = dir.path("aitask.yml");
    let mut command = Command::new(PROGRAM);
    command.arg("--config.file").arg(path).args([
        "--web.listen-address=127.0.0.1:0",
        "--web.listen-address=127.0.0.2:0",
        "--web.listen-address=:0",
        "--web.telemetry-path=/other/metrics",
        "--log.format=json",
    ]);
    let mut process = Process::start(dir, &mut command);
    let log = crate::harness::eventually("three lines", || {
        let log = process.log();
        (log.lines().filter(|line| line.contains("Listening on")).count() == 3).then_some(log)
    });
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&json!("info"), &json!("Listening on")));
        let address: std::net::SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
        let ip = if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() };
        let address = (ip, address.port()).into();
        assert_eq!(http::get(address, "/other/metrics").status, 200);
        assert_eq!(http::get(address, "/metrics").status, 404);
        assert!(http::get(address, "/").text().contains("/other/metrics"));
    }
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn it_goes_on_when_nobody_reads_its_log() {
    let gateway = Gateway::start();
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [running-1]\n",
        gateway.provider("mj", "")
    ));
    let file = dir.path("aitask.yml");
    let mut command = Command::new("sh");
    // The log's reader leaves after the first line.
    command.arg("-c").arg("exec \"$@\" 2>&1 >/dev/null | head -n 1").arg("sh").arg(PROGRAM);
    command.arg("--config.file").arg(file);
    command.args(["--web.listen-address=127.0.0.1:0", "--log.level=debug"]);
    let mut process = Process::start(dir, &mut command);
    let address = process.addresses(1)[0];
    let exporter = Exporter { process, address };
    let polls = |samples: &Samples| samples.value("aitask_polls_total", &[]).unwrap();
    until("polls go on", || polls(&exporter.scrape()) > 5.0);
    let kill = format!("kill -KILL {}", pid_of(&exporter.process.dir.path("aitask.yml")));
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}
