//! Cost of a registration over HTTP, answered once it is on the storage path: beside 1,000,000 tasks,
//! beside 10, and of a request that does nothing, on the same number of connections.
//!
//! `cargo bench --bench registration` measures for about two minutes; without `--bench`, as in `cargo
//! test`, one short round shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

#[path = "harness/figures.rs"]
mod figures;
#[path = "harness/process.rs"]
mod process;

use figures::{id, median};
use process::{Process, answer_one, write_config};

/// Number of connections, each of which sends one request after another.
const CONNECTIONS: usize = 32;
const BODY: &str = r#"{"labels":{"customer":"acme"},"ttl":"2h"}"#;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|role| role == "respond") {
        return process::respond(answer_one);
    }
    let measure = arguments.iter().any(|argument| argument == "--bench");
    let (large, calls, rounds) = if measure { (1_000_000, 20_000, 5) } else { (2_000, 200, 2) };
    let (_responder, responder) = Process::start_own(&["respond"]);
    println!("    tasks |  calls a second |    p50 |    p99 | CPU a call | ratio");
    let (mut few, mut many) = (Fleet::start(10, &responder), Fleet::start(large, &responder));
    let (mut idle, mut beside_few, mut beside_many) =
        (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..rounds {
        few.measure(&mut idle, calls, |_| "GET /-/healthy HTTP/1.1\r\nHost: b\r\n\r\n".to_owned());
        few.measure(&mut beside_few, calls, register);
        many.measure(&mut beside_many, calls, register);
    }
    idle.print("nothing", &idle);
    beside_few.print("10", &idle);
    beside_many.print(&large.to_string(), &beside_few);
}

/// Returns the request that registers the task with this number.
fn register(number: usize) -> String {
    let id = id(number);
    format!(
        "PUT /api/v1/tasks/p/{} HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        id.trim_end(),
        BODY.len()
    )
}

/// An exporter, and the number of the next task to register.
struct Fleet {
    exporter: Process,
    address: String,
    next: usize,
}

impl Fleet {
    fn start(tasks: usize, responder: &str) -> Self {
        let name = format!("bench-registration-{tasks}");
        let config = write_config(
            &name,
            &format!(
                "global: {{ poll_interval: 1h, retain_finished: 1d, max_tasks: 4000000 }}\n\
                 task_receiver: {{ limit: 1000000 }}\n\
                 providers: [{{ name: p, preset: mjdjourney, base_url: \"http://{responder}\", \
                 max_in_flight: 64 }}]\n"
            ),
            (0..tasks).map(id),
        );
        let storage = config.with_file_name("storage");
        let _ = fs::remove_dir_all(&storage);
        let path = format!("--storage.path={}", storage.display());
        let (exporter, address) =
            Process::start_exporter_with(&config, &["--web.enable-task-receiver", &path]);
        Self { exporter, address, next: tasks }
    }

    /// Sends requests for so many further numbers, and adds what they cost.
    fn measure(&mut self, figures: &mut Figures, calls: usize, request: fn(usize) -> String) {
        let (cpu, begun) = (self.exporter.cpu(), Instant::now());
        figures.latencies.extend(send_all(&self.address, self.next..self.next + calls, request));
        figures.rates.push(of(calls) / begun.elapsed().as_secs_f64());
        figures.cpu.push(self.exporter.cpu_since(cpu).as_secs_f64() * 1e6 / of(calls));
        self.next += calls;
    }
}

/// Sends the requests for a range of numbers, on all connections at once. Returns how long each took.
fn send_all(
    address: &str,
    numbers: std::ops::Range<usize>,
    request: fn(usize) -> String,
) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let next = Rc::new(Cell::new(numbers.start));
    let local = LocalSet::new();
    for _ in 0..CONNECTIONS {
        let (address, next, latencies) =
            (address.to_owned(), Rc::clone(&next), Rc::clone(&latencies));
        local.spawn_local(async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            while next.get() < numbers.end {
                let number = next.replace(next.get() + 1);
                let begun = Instant::now();
                stream.write_all(request(number).as_bytes()).await.unwrap();
                receive(&mut stream).await;
                latencies.borrow_mut().push(begun.elapsed());
            }
        });
    }
    runtime.block_on(local);
    latencies.take()
}

/// Receives a response, which must be a success.
async fn receive(stream: &mut TcpStream) {
    let mut answer = Vec::with_capacity(1_024);
    loop {
        let read = stream.read_buf(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(read > 0 && text.starts_with("HTTP/1.1 20"), "{text}");
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// The figures of all rounds.
#[derive(Default)]
struct Figures {
    latencies: Vec<Duration>,
    rates: Vec<f64>,
    /// Microseconds of CPU time of the exporter for each call.
    cpu: Vec<f64>,
}

impl Figures {
    /// Prints a line, with the ratio of the CPU time to that of `other`.
    fn print(&self, tasks: &str, other: &Self) {
        let mut latencies: Vec<_> = self.latencies.iter().map(Duration::as_secs_f64).collect();
        latencies.sort_by(f64::total_cmp);
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).unwrap() * 1e3;
        let cpu = median(self.cpu.clone());
        println!(
            "{tasks:>9} | {:>15.0} | {:>3.1} ms | {:>3.1} ms | {cpu:>7.0} us | {:>5.2}",
            median(self.rates.clone()),
            at(50),
            at(99),
            cpu / median(other.cpu.clone())
        );
    }
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "small numbers")]
fn of(number: usize) -> f64 {
    number as f64
}
