//! Cost of a poll: CPU time of the exporter for each poll of a task that stays open, compared with a process
//! that only sends requests with the same HTTP client. Both send requests to the same responder as fast as
//! they can, with the same number in flight: for one task, and for a batch of 50.
//!
//! `cargo bench --bench poll` measures; without `--bench`, as in `cargo test`, one short round
//! shows that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::thread;
use std::time::Duration;

#[path = "harness/figures.rs"]
mod figures;
#[path = "harness/process.rs"]
mod process;

use figures::{id, median};
use process::{ANSWERED_ID, Process, answer_one, ask_and_count, number, write_config};

/// Number of requests in flight: the default of a provider.
const IN_FLIGHT: usize = 16;
/// Number of requests due in an interval: more than can be sent in it, so that the exporter is never idle.
const REQUESTS: usize = 60_000;
/// Number of tasks in a batch: the default.
const BATCH: usize = 50;

/// One task in the response to a batch.
const BATCHED: &str = r#"{"id":"ID","action":"IMAGINE","prompt":"a cat","promptEn":"a cat","description":"Submit success","state":null,"submitTime":1750402472303,"startTime":1750402474303,"finishTime":null,"imageUrl":null,"status":"IN_PROGRESS","progress":"31%","failReason":null}"#;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["respond", "one"] => process::respond(answer_one),
        ["respond", "batch"] => process::respond(answer_batch),
        ["ask", "one", address] => {
            let url = format!("http://{address}/api/mj/task/{ANSWERED_ID}/fetch");
            ask_and_count(&url, None, IN_FLIGHT);
        }
        ["ask", "batch", address] => {
            let ids: Vec<_> = (0..BATCH).map(|number| id(number).trim().to_owned()).collect();
            let body = serde_json::json!({ "ids": ids }).to_string();
            let url = format!("http://{address}/mj/task/list-by-condition");
            ask_and_count(&url, Some(&body), IN_FLIGHT);
        }
        _ => {
            let measure = arguments.iter().any(|argument| argument == "--bench");
            println!("                      ours us  bare request us  ratio");
            compare(measure, "one", 1, "mjdjourney", "{ running: [completed], succeeded: [] }");
            compare(measure, "batch", BATCH, "midjourney-proxy", "{}");
        }
    }
}

/// Compares the exporter with bare requests. `states` replaces states of the preset, so that no response
/// ends a task.
fn compare(measure: bool, form: &str, tasks: usize, preset: &str, states: &str) {
    let (rounds, time, listed) = match measure {
        true => (7, Duration::from_secs(4), (REQUESTS * tasks).min(1_000_000)),
        false => (1, Duration::from_millis(300), 2_000),
    };
    let (_responder, responder) = Process::start_own(&["respond", form]);
    let config = write_config(
        &format!("bench-poll-{form}"),
        &format!(
            "global: {{ poll_interval: 1s, per_task_series: none }}\n\
             providers: [{{ name: p, preset: {preset}, base_url: \"http://{responder}\", \
             max_in_flight: {IN_FLIGHT}, response: {{ states: {states} }} }}]\n"
        ),
        (0..listed).map(id),
    );
    let (exporter, metrics) = Process::start_exporter(&config);
    let (asker, count) = Process::start_own(&["ask", form, &responder]);
    // They take turns: one is stopped while the other works.
    let mut table = Vec::new();
    exporter.signal("STOP");
    for _ in 0..rounds {
        let bare = micros_per(&asker, time, || number(&count, "/", ""));
        asker.signal("STOP");
        exporter.signal("CONT");
        let polls = "aitask_polls_total{provider=\"p\"} ";
        let ours = micros_per(&exporter, time, || number(&metrics, "/metrics", polls));
        exporter.signal("STOP");
        asker.signal("CONT");
        table.push((ours, bare));
    }
    exporter.signal("CONT");
    let what = if tasks == 1 { "one poll" } else { "one task of a batch" };
    println!(
        "{what:<20}  {:>7.1}  {:>15.1}  {:>5.2}",
        median(table.iter().map(|(ours, _)| *ours).collect()),
        median(table.iter().map(|(_, bare)| *bare).collect()),
        median(table.iter().map(|(ours, bare)| ours / bare).collect()),
    );
}

/// Returns the CPU time of a process per unit of `count`, in microseconds.
fn micros_per(process: &Process, time: Duration, count: impl Fn() -> f64) -> f64 {
    while count() == 0.0 {
        thread::sleep(time / 4);
    }
    // By then a process that was stopped has caught up.
    thread::sleep(time / 4);
    let (cpu, done) = (process.cpu(), count());
    thread::sleep(time);
    let (cpu, done) = (process.cpu_since(cpu), count() - done);
    assert!(done > 0.0, "nothing was done");
    cpu.as_secs_f64() * 1e6 / done
}

/// Returns the response for the IDs in a body such as `{"ids":["1","2"]}`.
fn answer_batch(_: &str, body: &str) -> String {
    let ids = body.split('"').skip(3).step_by(2);
    let tasks: Vec<_> = ids.map(|id| BATCHED.replacen("ID", id, 1)).collect();
    format!("[{}]", tasks.join(","))
}
