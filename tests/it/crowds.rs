//! The cost of many clients at once, and of hostile ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, http, until};

const EMPTY: &str = "providers: []\n";
const CLOSED: &str = "aitask_exporter_connections_closed_total";

/// An exporter that a shell starts after setting limits of the process.
fn limited(config: &str, limits: &str) -> Exporter {
    let dir = Dir::with(config);
    let mut command = Command::new("sh");
    let file = dir.path("aitask.yml");
    command.args(["-c", &format!("{limits}; exec \"$@\""), "sh", PROGRAM, "--config.file"]);
    command.arg(file).arg("--web.listen-address=127.0.0.1:0");
    Exporter::listening(Process::start(dir, &mut command))
}

/// Anonymous memory of the process in kB.
fn memory(exporter: &Exporter) -> u64 {
    exporter.process.status("RssAnon").split_whitespace().next().unwrap().parse().unwrap()
}

/// So many connections on which something is sent.
pub fn connections(address: SocketAddr, count: usize, text: &[u8]) -> Vec<TcpStream> {
    let connection = |_| {
        let mut stream = http::connect(address).unwrap();
        stream.write_all(text).unwrap();
        stream
    };
    (0..count).map(connection).collect()
}

/// Returns the number of connections that the exporter closed for this reason.
fn closed(samples: &Samples, reason: &str) -> f64 {
    samples.value(CLOSED, &[("reason", reason)]).unwrap()
}

/// Returns the number of requests that the exporter rejected for this reason.
pub fn rejected(samples: &Samples, reason: &str) -> f64 {
    samples.value("aitask_exporter_http_requests_rejected_total", &[("reason", reason)]).unwrap()
}

#[test]
fn as_many_files_may_be_open_as_the_hard_limit_says() {
    let exporter = limited(EMPTY, "ulimit -S -n 100; ulimit -H -n 500");
    assert_eq!(exporter.scrape().value("process_max_fds", &[]), Some(500.0));
}

/// Starts a gateway that accepts connections and never responds.
fn silent_gateway() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

#[test]
fn polls_that_use_up_the_files_keep_no_scrape_out() {
    let tasks: Vec<_> = (0..300).map(|number| format!("t{number}")).collect();
    let config = format!(
        "global: {{ poll_interval: 100ms, poll_timeout: 1h }}\n\
         providers: [{{ name: mj, preset: mjdjourney, base_url: 'http://{}', max_in_flight: 300 }}]\n\
         tasks: [{}]\n",
        silent_gateway(),
        tasks.join(", ")
    );
    let exporter = limited(&config, "ulimit -n 128");
    let refused = |samples: &Samples| {
        samples.value("aitask_poll_failures_total", &[("reason", "connect")]) > Some(0.0)
    };
    until("no file is left for polls", || refused(&exporter.scrape()));
    for _ in 0..50 {
        assert_eq!(exporter.get("/metrics").status, 200);
    }
    let samples = exporter.scrape();
    assert!(samples.value("aitask_exporter_accept_errors_total", &[]) > Some(10.0));
    let log = exporter.process.log();
    assert_eq!(log.matches("cannot accept a connection").count(), 1, "{log}");
}

#[test]
fn one_connection_too_many_closes_the_idlest() {
    let exporter = Exporter::start_idle(10_000, 1_000, &[]);
    let mut reader = http::connect(exporter.address).unwrap();
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 1_000];
    reader.read_exact(&mut answer).unwrap();
    // Idle between two requests.
    let healthy = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut idle = connections(exporter.address, 1, healthy).remove(0);
    idle.read_exact(&mut [0; 12]).unwrap();
    // Nothing but connected; each is noticed, because the next one would wait otherwise.
    let mut silent = connections(exporter.address, 600, b"");
    let samples = exporter.scrape();
    assert!(closed(&samples, "evicted") >= 90.0, "{:?}", samples.find(CLOSED, &[]));
    assert!(samples.value("aitask_exporter_connections", &[]) <= Some(512.0));
    let mut rest = Vec::new();
    assert!(idle.read_to_end(&mut rest).is_ok(), "closed in peace");
    assert!(silent[0].read_to_end(&mut rest).is_ok());
    // The request in flight is answered.
    reader.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "the answer was interrupted");
}

/// The status that a request with a head of this size gets.
fn status_of_head(exporter: &Exporter, size: usize) -> String {
    let begin = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: ";
    let mut stream = http::connect(exporter.address).unwrap();
    let long = "a".repeat(size - begin.len() - 4);
    stream.write_all(format!("{begin}{long}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn heads_that_are_not_finished_cost_32_mebibytes_at_most() {
    let exporter = Exporter::start(EMPTY);
    assert_eq!(status_of_head(&exporter, 64 << 10), "HTTP/1.1 200");
    assert_eq!(status_of_head(&exporter, (64 << 10) + 1), "HTTP/1.1 431");
    until("it is counted", || closed(&exporter.scrape(), "head") == 1.0);
    let before = memory(&exporter);
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "a".repeat(63 << 10));
    let _unfinished = connections(exporter.address, 500, head.as_bytes());
    assert!(exporter.scrape().value("aitask_exporter_connections", &[]) > Some(500.0));
    let grown = memory(&exporter) - before;
    assert!(grown < 40 << 10, "{grown} kB");
    assert_eq!(exporter.get("/-/healthy").status, 200);
}

#[test]
fn probes_that_wait_keep_nothing_else_out() {
    let gateway = Gateway::start();
    gateway.put("slow", &json!({ "fault": { "kind": "hang" } }));
    let provider = gateway.provider("mj", "poll_timeout: 30s");
    let exporter = Exporter::start_in(
        Dir::with(&format!("providers: [{provider}]\n")),
        &["--web.max-requests=1"],
    );
    let probe = "GET /probe?provider=mj&task_id=slow HTTP/1.1\r\nHost: x\r\n\r\n";
    let waiting = connections(exporter.address, 65, probe.as_bytes());
    until("one probe is too many", || rejected(&exporter.scrape(), "too_many_probes") == 1.0);
    for target in ["/metrics", "/", "/tasks", "/api/v1/tasks", "/config", "/-/healthy"] {
        assert_eq!(exporter.get(target).status, 200, "{target}");
    }
    assert_eq!(exporter.reload(&format!("providers: [{provider}]\n")).status, 200);
    let refused = waiting.into_iter().filter_map(|mut stream| {
        stream.set_nonblocking(true).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).ok().map(|()| status)
    });
    assert_eq!(refused.collect::<Vec<_>>(), [*b"HTTP/1.1 503"]);
    // They have left.
    until("there is room again", || exporter.get("/probe").status == 400);
}

#[test]
fn slow_readers_of_the_configuration_share_it_and_are_counted_to_the_end() {
    let ids: Vec<_> = (0..4_000).map(|number| format!("{number:0>4000}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\n\
         providers: [{{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n\
         tasks: ['{}']\n",
        ids.join("', '")
    ));
    let whole = exporter.get("/config").body.len();
    assert!(whole > 16_000_000);
    let before = memory(&exporter);
    let mut answered = 0;
    let mut slow = connections(exporter.address, 120, b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n");
    for stream in &mut slow {
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        answered += usize::from(&status == b"HTTP/1.1 200");
    }
    let grown = memory(&exporter).saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} kB");
    // Requests whose responses wait for their readers still count.
    assert_eq!(answered, 16);
    assert_eq!(exporter.get("/config").status, 503);
    assert_eq!(exporter.get("/metrics").status, 200);
    drop(slow);
    until("there is room again", || exporter.get("/config").status == 200);
    assert_eq!(exporter.get("/config").body.len(), whole);
}
