//! Cost of mapping one response, compared with `serde_json::Value` and pointers on the same bodies.
//!
//! `cargo bench --bench mapping` measures; without `--bench`, as in `cargo test`, one short round
//! shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config;
use aitask_exporter::mapping::{Mapping, ProviderResponse, ReceivedBody};
use http::HeaderMap;
use serde_json::Value;

/// A body, its preset, its task, and the pointers to its fields.
struct Case {
    preset: &'static str,
    file: &'static str,
    id: &'static str,
    pointers: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case {
        preset: "mjdjourney",
        file: "simulator/src/recorded-response.json",
        id: "42a28dda-dc7a-4186-ac86-6e16c1fcef17",
        pointers: &[
            "/code",
            "/message",
            "/data/taskId",
            "/data/status",
            "/data/job_type",
            "/data/enqueue_time",
        ],
    },
    Case {
        preset: "midjourney-proxy",
        file: "tests/data/presets/midjourney-proxy/in-progress.json",
        id: "1320098173412546",
        pointers: &[
            "/code",
            "/description",
            "/id",
            "/status",
            "/action",
            "/submitTime",
            "/finishTime",
            "/progress",
            "/failReason",
        ],
    },
];

fn main() {
    let measure = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) =
        if measure { (25, Duration::from_millis(100)) } else { (1, Duration::from_millis(1)) };
    println!("preset            bytes  mapping  Value + pointers  ratio");
    for case in &CASES {
        let body = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(case.file)).unwrap();
        let mapping = mapping(case.preset);
        let response = ProviderResponse {
            status: 200,
            headers: HeaderMap::new(),
            sent: Timestamp::from_micros(1_796_022_000_000_000),
            body: ReceivedBody::Whole(body.clone().into()),
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // In turn, so that a slower machine slows down both.
        for _ in 0..rounds {
            ours.push(nanos(time, || map(&mapping, case, &response)));
            theirs.push(nanos(time, || pointers(case, &body)));
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        println!(
            "{:16} {:6} {:6.2} µs {:14.2} µs  {:.2}",
            case.preset,
            body.len(),
            ours / 1000.0,
            theirs / 1000.0,
            ours / theirs
        );
    }
}

fn mapping(preset: &str) -> Mapping {
    let text = format!(
        "providers: [{{ name: p, preset: {preset}, base_url: 'http://localhost' }}]\ntasks: []"
    );
    let loaded = config::load_text("bench.yml", &text, Path::new("")).unwrap();
    loaded.config.providers.first().unwrap().mapping.clone()
}

fn map(mapping: &Mapping, case: &Case, response: &ProviderResponse) {
    let mapped = mapping.map_response(response, &[case.id]);
    assert!(mapped.outcomes.iter().all(Result::is_ok));
    black_box(mapped);
}

/// Does the least that a mapping without a trie would have to do.
fn pointers(case: &Case, body: &[u8]) {
    let value: Value = serde_json::from_slice(body).unwrap();
    for pointer in case.pointers {
        black_box(value.pointer(pointer));
    }
}

/// Returns the duration of one call in nanoseconds, from calls during about `time`.
fn nanos(time: Duration, call: impl Fn()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < time {
        for _ in 0..64 {
            call();
        }
        calls += 64;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
