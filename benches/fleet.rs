//! Cost of a fleet for the whole process: 10,000, 100,000 and 1,000,000 tasks, of which 20,000 become due
//! each second until all have been polled once; 1 in 100 stays open.
//!
//! `cargo bench --bench fleet` measures for ten minutes; without `--bench`, as in `cargo test`,
//! one short round shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[path = "harness/figures.rs"]
mod figures;
#[path = "harness/process.rs"]
mod process;

use figures::{id, median};
use process::{Process, answer_one, ask, number, scrape, write_config};

/// Number of polls due in a second, at every size.
const DUE_PER_SECOND: usize = 20_000;
const GZIP: &str = "Accept-Encoding: gzip\r\n";
const POLLS: &str = "aitask_polls_total{provider=\"p\"} ";
const LAG: &str = "aitask_poll_lag_seconds";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|role| role == "respond") {
        return process::respond(answer);
    }
    let measure = arguments.iter().any(|argument| argument == "--bench");
    let (sizes, scrapes) =
        if measure { (&[10_000, 100_000, 1_000_000][..], 60) } else { (&[2_000][..], 3) };
    for tasks in sizes {
        println!("{tasks} tasks");
        run(*tasks, scrapes);
    }
}

fn run(tasks: usize, scrapes: usize) {
    let (_responder, responder) = Process::start_own(&["respond"]);
    let interval = Duration::from_secs_f64(of(tasks) / of(DUE_PER_SECOND));
    let config = write_config(
        "bench-fleet",
        &format!(
            "global: {{ poll_interval: {}ms, retain_finished: 1d, max_tasks: 2000000 }}\n\
             providers: [{{ name: p, preset: mjdjourney, base_url: \"http://{responder}\", \
             max_in_flight: 64 }}]\n",
            interval.as_millis()
        ),
        (0..tasks).map(id),
    );
    let list = config.with_file_name("ids.txt");

    let begun = Instant::now();
    let (exporter, address) = Process::start_exporter(&config);
    let started = begun.elapsed();
    let bare = read_into_a_set(&list);
    println!(
        "  start                  {:>8.2} s       reading the IDs into a set {:.2} s, ratio {:.1}",
        started.as_secs_f64(),
        bare.as_secs_f64(),
        started.as_secs_f64() / bare.as_secs_f64()
    );
    thread::sleep(interval / 2);
    println!("  resident, polling      {:>8.0} MB", exporter.resident());
    let cpu = exporter.cpu();
    thread::sleep(interval * 6 / 10 + Duration::from_secs(1));
    let lag = Lag::read(&address);
    println!(
        "  polls within 0.25 s    {:>8.3} %      of {:.0}; {:.1} us of CPU for each since half time",
        lag.share("0.25") * 100.0,
        lag.count(),
        exporter.cpu_since(cpu).as_secs_f64() * 1e6 / (lag.count() / 2.0)
    );
    scrape_often(&exporter, &address, scrapes);
    reload(&exporter, &address, &list, tasks);
}

/// Measures memory and CPU time of scrapes, and the time that another request waits in the meantime.
fn scrape_often(exporter: &Process, address: &str, scrapes: usize) {
    let (cpu, waited) = (exporter.cpu(), AtomicBool::new(true));
    let slowest = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while waited.load(Ordering::Relaxed) {
                let asked = Instant::now();
                ask(address, "GET /-/healthy", "");
                slowest = slowest.max(asked.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            slowest
        });
        scrape(address, GZIP);
        waited.store(false, Ordering::Relaxed);
        others.join().unwrap()
    });
    println!(
        "  first scrape, gzip     {:>8.0} ms CPU  another request waited {:.0} ms at most",
        millis(exporter.cpu_since(cpu)),
        millis(slowest)
    );
    let mut table = HashMap::from([("gzip", Vec::new()), ("text", Vec::new())]);
    let mut resident = Vec::new();
    for round in 0..scrapes {
        let form = if round % 6 == 5 { "text" } else { "gzip" };
        let cpu = exporter.cpu();
        scrape(address, if form == "gzip" { GZIP } else { "" });
        table.get_mut(form).unwrap().push(millis(exporter.cpu_since(cpu)));
        resident.push(exporter.resident());
        thread::sleep(Duration::from_millis(100));
    }
    for form in ["gzip", "text"] {
        let times = table.remove(form).unwrap();
        if !times.is_empty() {
            println!("  each later one, {form}   {:>8.1} ms CPU", median(times));
        }
    }
    println!(
        "  resident, {scrapes} scrapes   {:>8.0} MB      {:.0} MB after the first",
        resident.last().unwrap(),
        resident.first().unwrap()
    );
}

/// Measures a reload that replaces one ID in a hundred, during scrapes.
fn reload(exporter: &Process, address: &str, list: &Path, tasks: usize) {
    let ids =
        (0..tasks).map(|number| if number % 100 == 50 { id(tasks + number) } else { id(number) });
    fs::write(list, ids.collect::<String>()).unwrap();
    let before = Lag::read(address);
    let reloading = AtomicBool::new(true);
    let (took, scrapes) = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut scrapes = 0;
            while reloading.load(Ordering::Relaxed) {
                // Panics if a scrape is refused.
                scrape(address, GZIP);
                scrapes += 1;
            }
            scrapes
        });
        let asked = Instant::now();
        ask(address, "POST /-/reload", "Content-Length: 0\r\n");
        let took = asked.elapsed();
        reloading.store(false, Ordering::Relaxed);
        (took, others.join().unwrap())
    });
    thread::sleep(Duration::from_secs(1));
    let lag = Lag::read(address).since(&before);
    println!(
        "  reload, 1 % replaced   {:>8.2} s       {scrapes} scrapes meanwhile; {:.2} % of {:.0} polls within 0.5 s",
        took.as_secs_f64(),
        lag.share("0.5") * 100.0,
        lag.count()
    );
    println!("  resident, reloaded     {:>8.0} MB", exporter.resident());
    assert!(number(address, "/metrics", POLLS) > 0.0);
}

/// Reads the IDs into a set of strings, which every start has to do at least.
fn read_into_a_set(list: &Path) -> Duration {
    let begun = Instant::now();
    let text = fs::read_to_string(list).unwrap();
    let ids: HashSet<Box<str>> = text.lines().map(Into::into).collect();
    black_box(ids);
    begun.elapsed()
}

/// Returns the histogram of the lag of polls, by upper bound.
struct Lag(HashMap<String, f64>);

impl Lag {
    fn read(address: &str) -> Self {
        let body = ask(address, "GET /metrics", "");
        let body = String::from_utf8_lossy(&body);
        let prefix = format!("{LAG}_bucket{{provider=\"p\",le=\"");
        let buckets = body.lines().filter_map(|line| line.strip_prefix(&prefix));
        let bucket = |line: &str| {
            let (bound, count) = line.split_once("\"} ").unwrap();
            (bound.to_owned(), count.parse().unwrap())
        };
        Self(buckets.map(bucket).collect())
    }

    fn since(mut self, before: &Self) -> Self {
        for (bound, count) in &mut self.0 {
            *count -= before.0.get(bound).unwrap();
        }
        self
    }

    fn count(&self) -> f64 {
        *self.0.get("+Inf").unwrap()
    }

    fn share(&self, bound: &str) -> f64 {
        self.0.get(bound).unwrap() / self.count().max(1.0)
    }
}

/// Returns the response for a task: one in a hundred IDs, the same at every size, is running.
fn answer(target: &str, body: &str) -> String {
    let answer = answer_one(target, body);
    let id = target.split('/').nth(4).unwrap_or_default();
    let end = id.get(id.len().saturating_sub(6)..).unwrap_or_default();
    let number = u32::from_str_radix(end, 16).unwrap_or_default();
    match number % 100 {
        0 => answer.replacen("\"completed\"", "\"running\"", 1),
        _ => answer,
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "small numbers")]
fn of(number: usize) -> f64 {
    number as f64
}
