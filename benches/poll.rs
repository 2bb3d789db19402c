//! What a poll costs: CPU of the exporter, a process of its own, for each poll of a task that stays
//! open, beside a process that does nothing but ask with the same HTTP client. Both ask the same
//! responder, with as many requests under way, as fast as they can.
//!
//! `cargo bench --bench poll` measures; without `--bench`, as in `cargo test`, one short round
//! shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// As many requests are under way at once as a provider may have by default.
const IN_FLIGHT: usize = 16;

/// Tasks of the exporter: more than can be polled in an interval, so that it is never idle.
const TASKS: usize = 20_000;

/// An answer of the seed's gateway, 977 bytes with an ID of 36.
const ANSWER: &str = include_str!("../src/simulator/seed-task.json");
const ANSWERED_ID: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("respond") => respond(),
        Some("ask") => ask(&arguments.next().unwrap()),
        first => compare(first == Some("--bench") || arguments.any(|given| given == "--bench")),
    }
}

fn compare(measure: bool) {
    let (rounds, time) =
        if measure { (7, Duration::from_secs(4)) } else { (1, Duration::from_millis(300)) };
    let (_responder, address) = start(Command::new(own()).arg("respond"));
    let (exporter, metrics) = start_exporter(&address);
    let (asker, count) = start(Command::new(own()).args(["ask", &address]));
    // They take turns: one of them is stopped while the other works.
    let mut ratios = Vec::new();
    let mut table = Vec::new();
    signal(&exporter, "STOP");
    for _ in 0..rounds {
        let bare = micros_per(&asker, time, || number(&count, "/", ""));
        signal(&asker, "STOP");
        signal(&exporter, "CONT");
        let ours = micros_per(&exporter, time, || number(&metrics, "/metrics", POLLS));
        signal(&exporter, "STOP");
        signal(&asker, "CONT");
        ratios.push(ours / bare);
        table.push((ours, bare));
    }
    signal(&exporter, "CONT");
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap()
    };
    println!(
        "one poll: {:.1} us of CPU, a bare request {:.1} us, ratio {:.2} (medians of {rounds})",
        median(table.iter().map(|(ours, _)| *ours).collect()),
        median(table.iter().map(|(_, bare)| *bare).collect()),
        median(ratios),
    );
}

/// CPU of a process for each of what it counts, in microseconds.
fn micros_per(process: &Process, time: Duration, count: impl Fn() -> f64) -> f64 {
    // What a stopped process has missed is over by then.
    thread::sleep(time / 4);
    let (cpu, done) = (cpu_micros(process), count());
    thread::sleep(time);
    let (cpu, done) = (cpu_micros(process) - cpu, count() - done);
    assert!(done > 0.0, "nothing was done");
    cpu / done
}

/// CPU time of all threads, to the nanosecond.
fn cpu_micros(process: &Process) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.0.id())).unwrap();
    let nanos = tasks.map(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default()
    });
    nanos.sum::<f64>() / 1_000.0
}

const POLLS: &str = "aitask_polls_total{provider=\"p\"} ";

/// A number in the answer of a process, behind `before`.
fn number(address: &str, path: &str, before: &str) -> f64 {
    let mut stream = TcpStream::connect(address).unwrap();
    // In one piece: the other side reads once.
    let request = format!("GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let line = body.lines().find_map(|line| line.strip_prefix(before)).unwrap();
    line.parse().unwrap()
}

/// A process that ends with the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn signal(process: &Process, name: &str) {
    let kill = format!("kill -{name} {}", process.0.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Starts a process that prints its address.
fn start(command: &mut Command) -> (Process, String) {
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(child), line.trim().to_owned())
}

/// Starts the exporter, with series of no task: a scrape is to cost nothing here.
fn start_exporter(responder: &str) -> (Process, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-poll");
    fs::create_dir_all(&folder).unwrap();
    let ids: Vec<_> = (0..TASKS).map(|task| format!("{task:036}")).collect();
    fs::write(folder.join("ids.txt"), ids.join("\n")).unwrap();
    let config = format!(
        "global: {{ poll_interval: 1s, per_task_series: none }}\n\
         providers: [{{ name: p, preset: mjdjourney, base_url: \"http://{responder}\", \
         max_in_flight: {IN_FLIGHT}, response: {{ states: {{ running: [completed], succeeded: [] }} }} }}]\n\
         task_files: [ids.txt]\n"
    );
    fs::write(folder.join("aitask.yml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aitask_exporter"));
    command.arg("--config.file").arg(folder.join("aitask.yml"));
    command.args(["--web.listen-address=127.0.0.1:0", "--log.level=info"]);
    let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.contains("Listening on").then(|| line.split("address=").nth(1).unwrap().to_owned())
    });
    // What else it logs has nowhere to go otherwise.
    thread::spawn(move || lines.for_each(drop));
    (Process(child), address.unwrap())
}

/// Answers every request with the same body, but for the ID that was asked for.
fn respond() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || converse(stream));
    }
}

fn converse(mut stream: TcpStream) -> Option<()> {
    let (before, after) = ANSWER.split_once(ANSWERED_ID)?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let id = line.split('/').nth(4)?.to_owned();
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        let length = before.len() + id.len() + after.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
             {before}{id}{after}"
        );
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// Asks and asks, reads each answer to its end, and tells how often it has.
fn ask(responder: &str) {
    aitask_exporter::tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{responder}/api/mj/task/{ANSWERED_ID}/fetch");
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..IN_FLIGHT {
        let (client, url, count) = (client.clone(), url.clone(), std::sync::Arc::clone(&count));
        runtime.spawn(async move {
            loop {
                let answer = client.get(&url).send().await.unwrap();
                answer.bytes().await.unwrap();
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1_024];
        let _ = stream.read(&mut request);
        let count = count.load(std::sync::atomic::Ordering::Relaxed);
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{count}\n");
        let _ = stream.write_all(answer.as_bytes());
    }
}
