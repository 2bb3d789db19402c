//! The life of the process: ready, stopping, stopped.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::GATE;
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

/// In place of a file on a file system that does not respond.
#[test]
fn a_start_that_hangs_can_be_ended() {
    for hangs in ["aitask.yml", "state/snapshot"] {
        let dir = Dir::with("providers: []\ntasks: []\n");
        fs::create_dir(dir.path("state")).unwrap();
        let state = dir.path("state").into_os_string().into_string().unwrap();
        dir.write(GATE, "");
        let mut process = Exporter::begin_hanging(dir, hangs, &["--storage.path", &state]);
        until("it waits for signals", || process.catches_signal(15));
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0), "{hangs}: {}", process.log());
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
    // The first poll is due later, so there is nothing left to wait for, even if the provider
    // hangs.
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
    for line in log.lines().filter(|line| line.contains("Listening on")) {
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
    // The log's reader leaves after the line with the address.
    command.arg("-c").arg("exec \"$@\" 2>&1 >/dev/null | sed '/Listening on/q'");
    command.arg("sh").arg(PROGRAM);
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

#[test]
fn a_scrape_under_way_is_finished() {
    let mut exporter = Exporter::start_idle(100_000, 36, &[]);
    let mut stream = http::connect(exporter.address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 1_000];
    stream.read_exact(&mut answer).unwrap();
    exporter.process.signal("TERM");
    until("it is stopping", || exporter.process.log().contains("msg=stopping"));
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "the answer was interrupted");
    assert_eq!(exporter.process.wait().code(), Some(0), "{}", exporter.process.log());
    assert!(!exporter.process.log().contains("before all requests had finished"));
}

#[test]
fn a_reload_under_way_does_not_hold_up_the_end() {
    let mut exporter = Exporter::start_idle(100_000, 36, &[]);
    let mut stream = http::connect(exporter.address).unwrap();
    let request =
        "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    exporter.process.signal("TERM");
    // The request was accepted, rejected because the process is stopping, or never read.
    let mut answer = String::new();
    let heard = stream.read_to_string(&mut answer).is_ok_and(|length| length > 0);
    let answered = answer.contains("configuration reloaded") || answer.contains("is stopping");
    assert!(answered || !heard, "{answer}");
    assert_eq!(exporter.process.wait().code(), Some(0), "{}", exporter.process.log());
}

/// As anybody, in a directory where it may write nothing.
#[test]
fn it_needs_no_privileges_and_writes_nowhere() {
    let place = std::env::temp_dir().join(format!("aitask-nobody-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    // Other users may not be allowed to read the build directory.
    let program = place.join("aitask_exporter");
    fs::copy(PROGRAM, &program).unwrap();
    let config = place.join("aitask.yml");
    fs::write(&config, "providers: [{ name: mj, preset: mjdjourney }]\ntasks: []\n").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
        command.arg(&program);
        command
    } else {
        Command::new(&program)
    };
    command.arg("--config.file").arg(&config).arg("--web.listen-address=127.0.0.1:0");
    command.current_dir(&place).env_clear();
    let mut process = Process::start(Dir::new(), &mut command);
    let address = process.addresses(1)[0];
    assert_eq!(http::get(address, "/metrics").status, 200);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    let files = fs::read_dir(&place).unwrap().count();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(&place).unwrap();
    assert_eq!(files, 2, "it wrote something");
}
