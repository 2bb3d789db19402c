//! What a scrape costs: the exposition of 10,000, 100,000 and 1,000,000 tasks, taken and written,
//! beside a copy of the same bytes into fresh memory.
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
use aitask_exporter::config;
use aitask_exporter::exposition::{self, Format};
use aitask_exporter::observation::{Observation, State};
use aitask_exporter::store::Store;

fn main() {
    let measure = std::env::args().any(|argument| argument == "--bench");
    let (sizes, rounds) =
        if measure { (&[10_000, 100_000, 1_000_000][..], 9) } else { (&[1_000][..], 1) };
    println!("tasks      MB  snapshot ms  writing ms  copy ms  ratio of both to the copy");
    for tasks in sizes {
        compare(*tasks, rounds);
    }
}

fn compare(tasks: usize, rounds: usize) {
    let store = filled(tasks);
    let mut bytes = Vec::new();
    exposition::write(Format::Text, &store.snapshot(), &[], &mut bytes).unwrap();
    let mut figures = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let start = Instant::now();
        let snapshot = store.snapshot();
        let taken = start.elapsed();
        let start = Instant::now();
        exposition::write(Format::Text, &snapshot, &[], &mut Sink).unwrap();
        let writing = start.elapsed();
        drop(snapshot);
        let copy = copied(&bytes);
        let ratio = (taken + writing).as_secs_f64() / copy.as_secs_f64();
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        for (figure, value) in
            figures.iter_mut().zip([millis(taken), millis(writing), millis(copy), ratio])
        {
            figure.push(value);
        }
    }
    let [taken, writing, copy, ratio] = figures.map(median);
    let megabytes = bytes.len() / 1_000_000;
    println!("{tasks:>7}  {megabytes:>4}  {taken:>11.1}  {writing:>10.1}  {copy:>7.1}  {ratio:.2}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

/// How long it takes to copy into memory that the process does not have yet.
fn copied(bytes: &[u8]) -> Duration {
    let start = Instant::now();
    black_box(bytes.to_vec());
    start.elapsed()
}

/// Takes the text in the pieces in which it would be sent.
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

/// A store in which every task has been polled once: 1 in 100 runs, the others have succeeded.
fn filled(tasks: usize) -> Store {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-scrape");
    fs::create_dir_all(&folder).unwrap();
    let ids: Vec<_> = (0..tasks).map(|task| format!("{task:08}-4b1c-9d2e-aaaa-5ac6")).collect();
    fs::write(folder.join("ids.txt"), ids.join("\n")).unwrap();
    let text = "providers: [{ name: midjourney, preset: mjdjourney }]\ntask_files: [ids.txt]\n";
    let config = config::load_text("bench.yml", text, &folder).unwrap();
    let clock = Clock::System;
    let store = Store::new(clock);
    for changes in store.apply(&config) {
        for (number, (slot, _)) in changes.added.iter().enumerate() {
            let runs = number % 100 == 0;
            let observation = Observation {
                state: if runs { State::Running } else { State::Succeeded },
                status: Arc::from(if runs { "running" } else { "completed" }),
                job_type: Some(Arc::from("vid_1.1_i2v_render")),
                enqueue_time: Some(clock.now()),
                finish_time: None,
                progress: None,
                failure_code: None,
            };
            changes.shard.record(*slot, &Ok(observation)).unwrap();
        }
    }
    store
}
