//! The web endpoints: their responses, and the low cost of slow clients.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::crowds::rejected;
use crate::harness::{Exporter, eventually, http, until};

const EMPTY: &str = "providers: []\n";

#[test]
fn endpoints() {
    let exporter = Exporter::start(EMPTY);
    let send = |method, target| http::send(exporter.address, method, target, &[], "").unwrap();
    for (method, target, status) in [
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/-/healthy", 200),
        ("HEAD", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/config", 200),
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/tasks", 200),
        ("GET", "/tasks/a/b", 404),
        ("GET", "/api/v1/tasks", 200),
        ("GET", "/probe", 400),
    ] {
        assert_eq!(send(method, target).status, status, "{method} {target}");
    }
    let head = send("HEAD", "/metrics");
    assert_eq!(head.header("content-type"), send("GET", "/metrics").header("content-type"));
    for link in ["/metrics", "/tasks", "/api/v1/tasks", "/config", "/-/healthy", "/-/ready"] {
        assert!(send("GET", "/").text().contains(&format!("\"{link}\"")), "{link}");
    }
}

/// Reads until the server ends the connection; how long that took.
fn ends(stream: &mut impl Read) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    start.elapsed()
}

#[test]
fn headers_must_arrive_in_5_seconds() {
    let exporter = Exporter::start(EMPTY);
    let mut silent = http::connect(exporter.address).unwrap();
    // The next request begins in the packet of the one before.
    let mut ahead = http::connect(exporter.address).unwrap();
    ahead.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /-/hea").unwrap();
    let mut slow = http::connect(exporter.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    let start = Instant::now();
    // A byte now and then does not buy time.
    let took = loop {
        let mut byte = [0];
        let sent = slow.write_all(b"a");
        match slow.read(&mut byte) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent.is_ok() => {}
            _ => break start.elapsed(),
        }
        assert!(start.elapsed() < Duration::from_secs(20), "a trickling client is still served");
    };
    let limits = Duration::from_millis(4_500)..Duration::from_secs(8);
    assert!(limits.contains(&took), "{took:?}");
    ends(&mut silent);
    ends(&mut ahead);
    assert!(start.elapsed() < Duration::from_secs(9), "a silent client is still served");
}

/// Asks again and again on one connection.
pub fn serves_many(mut stream: impl Read + Write) {
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"healthy.\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let exporter = Exporter::start(EMPTY);
    serves_many(http::connect(exporter.address).unwrap());
}

/// An exposition that fits no socket's buffer.
fn start_large(flag: &str) -> Exporter {
    Exporter::start_idle(10_000, 1_000, &[flag])
}

#[test]
fn slow_readers_take_up_the_requests_that_are_allowed() {
    let exporter = start_large("--web.max-requests=2");
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = http::connect(exporter.address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let reply = exporter.get("/metrics");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("--web.max-requests"), "{}", reply.text());
    // Requests with a limit of their own, or without a limit, are answered.
    for (target, status) in [
        ("/", 200),
        ("/tasks", 200),
        ("/tasks/mj/0", 404),
        ("/config", 200),
        ("/probe", 400),
        ("/-/healthy", 200),
        ("/-/ready", 200),
    ] {
        assert_eq!(exporter.get(target).status, status, "{target}");
    }
    drop(slow);
    until("there is room again", || exporter.get("/metrics").status == 200);
    assert!(rejected(&exporter.scrape(), "too_many_scrapes") >= 1.0);
}

#[test]
fn many_readers_at_once_cost_little_memory() {
    let exporter = start_large("--web.max-requests=40");
    let memory = || {
        let memory = exporter.process.status("RssAnon");
        memory.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    exporter.get("/metrics");
    let before = memory();
    let slow: Vec<_> = (0..39)
        .map(|_| {
            let mut stream = http::connect(exporter.address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    // In kilobytes: some chunks for each, and what its thread keeps.
    let each = (memory() - before) / 39;
    assert!(each < 7_500, "{each} kB for each reader");
    drop(slow);
}

#[test]
fn a_reader_that_leaves_is_noticed_and_the_next_gets_everything() {
    let exporter = start_large("--web.max-requests=1");
    let mut stream = http::connect(exporter.address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1_000]).unwrap();
    drop(stream);
    let reply = eventually("room", || {
        let reply = exporter.get("/metrics");
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(reply.text().matches("\naitask_status{").count(), 10_000);
}
