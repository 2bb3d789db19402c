//! Cost of a scrape, within this process and without sending: the exposition of 10,000, 100,000 and
//! 1,000,000 tasks, 1 in 100 of them open and polled since the last scrape.
//!
//! Text is compared with a copy of the same bytes into fresh memory, and gzip with the same text through a
//! compressor, as in an exporter without a cache.
//!
//! `cargo bench --bench scrape` measures; without `--bench`, as in `cargo test`, one short round
//! shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aitask_exporter::clock::Clock;
use aitask_exporter::config::{self, Loaded};
use aitask_exporter::exposition::{self, BodyWriter, Format};
use aitask_exporter::observation::{Observation, State};
use aitask_exporter::store::{Store, StoreConfig, TaskChanges};
use flate2::Compression;
use flate2::write::GzEncoder;

#[path = "harness/figures.rs"]
mod figures;

use figures::{id, median};

/// Share of open tasks.
const OPEN: usize = 100;

fn main() {
    let measure = std::env::args().any(|argument| argument == "--bench");
    let (sizes, rounds) = if measure {
        (&[(10_000, 9), (100_000, 9), (1_000_000, 3)][..], None)
    } else {
        (&[(1_000, 1)][..], Some(1))
    };
    println!("  tasks  form               ours ms  alternative ms  ratio");
    for (tasks, most) in sizes {
        compare(*tasks, rounds.unwrap_or(*most));
    }
}

fn compare(tasks: usize, rounds: usize) {
    let mut first = Vec::new();
    let mut fleet = Fleet::new(tasks);
    for round in 0..rounds {
        if round > 0 {
            fleet = Fleet::new(tasks);
        }
        first.push((fleet.scrape(true), through_a_compressor(&fleet.store)));
    }
    report(tasks, "gzip, first", first);
    let (mut plain, mut later) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    write(&fleet.store, false, &mut bytes);
    for _ in 0..rounds {
        plain.push((fleet.scrape(false), copied(&bytes)));
        fleet.poll_open();
        later.push((fleet.scrape(true), through_a_compressor(&fleet.store)));
    }
    report(tasks, "text", plain);
    report(tasks, "gzip, 1 % polled", later);
}

fn report(tasks: usize, form: &str, times: Vec<(Duration, Duration)>) {
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let ratio = times.iter().map(|(ours, other)| millis(*ours) / millis(*other)).collect();
    let (ours, others): (Vec<_>, Vec<_>) =
        times.into_iter().map(|(ours, other)| (millis(ours), millis(other))).unzip();
    println!(
        "{tasks:>7}  {form:<17}  {:>7.1}  {:>14.1}  {:>5.2}",
        median(ours),
        median(others),
        median(ratio)
    );
}

fn write(store: &Store, gzip: bool, to: &mut dyn Write) {
    let mut out = BodyWriter::new(gzip, to).unwrap();
    exposition::write(Format::Text, &store.snapshot(), &[], &mut out).unwrap();
    out.finish().unwrap();
}

/// Returns the duration of a copy into memory that the process does not have yet.
fn copied(bytes: &[u8]) -> Duration {
    let start = Instant::now();
    black_box(bytes.to_vec());
    start.elapsed()
}

fn through_a_compressor(store: &Store) -> Duration {
    let start = Instant::now();
    let mut encoder = GzEncoder::new(Sink, Compression::new(1));
    write(store, false, &mut encoder);
    encoder.finish().unwrap();
    start.elapsed()
}

/// Receives the response in the chunks in which it would be sent.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        black_box(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a store in which every task has been polled once.
struct Fleet {
    store: Store,
    changes: Vec<TaskChanges>,
}

impl Fleet {
    fn new(tasks: usize) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-scrape");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ids.txt"), (0..tasks).map(id).collect::<String>()).unwrap();
        let text = "providers: [{ name: mjdjourney, preset: mjdjourney }]\ntask_files: [ids.txt]\n";
        let Loaded { config, tasks } = config::load_text("bench.yml", text, &folder).unwrap();
        let store = Store::new(Clock::system());
        let changes = store.apply_config(&StoreConfig::of(&config), tasks, &|_| {});
        let fleet = Self { store, changes };
        fleet.poll(1);
        fleet
    }

    fn poll_open(&self) {
        self.poll(OPEN);
    }

    /// Polls one task in every `step`.
    fn poll(&self, step: usize) {
        for changes in &self.changes {
            for (number, placed) in changes.added.iter().enumerate().step_by(step) {
                let runs = number % OPEN == 0;
                let now = Clock::system().now();
                let observation = Observation {
                    state: if runs { State::Running } else { State::Succeeded },
                    status: Arc::from(if runs { "running" } else { "completed" }),
                    job_type: Some(Arc::from("vid_1.1_i2v_render")),
                    enqueue_time: Some(now - Duration::from_micros(hash(number) % 600_000_000)),
                    finish_time: None,
                    progress: None,
                    failure_code: None,
                    odd: Vec::new(),
                };
                changes.tasks.record_poll(placed.slot, &Ok(observation), |_, _| ()).unwrap();
            }
        }
    }

    fn scrape(&self, gzip: bool) -> Duration {
        let start = Instant::now();
        write(&self.store, gzip, &mut Sink);
        start.elapsed()
    }
}

fn hash(number: usize) -> u64 {
    aitask_exporter::task::stable_hash([number.to_le_bytes().as_slice()])
}
