//! What a task does when nobody wrote it a script: its ID tells, by its first word.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use jiff::SignedDuration;

use super::lifecycle::{Status, Step};
use super::script::{NetworkFault, ResponseFault, Script, ScriptedBody, ScriptedFault};

/// The ID whose answer is the recorded one.
const RECORDED_ID: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";
const RECORDED_RESPONSE: &[u8] = include_bytes!("recorded-response.json");

/// A life that IDs can ask for.
struct Scenario {
    /// What such an ID begins with, up to its first `-`.
    name: &'static str,
    help: &'static str,
    /// Makes the script from what follows the word.
    build_script: fn(&str) -> Script,
}

const fn row(name: &'static str, help: &'static str, build_script: fn(&str) -> Script) -> Scenario {
    Scenario { name, help, build_script }
}

#[rustfmt::skip] // a row a line
const SCENARIOS: &[Scenario] = &[
    row("queued", "stays queued", |_| keep_status(Status::Queued)),
    row("running", "stays running", |_| keep_status(Status::Running)),
    row("waiting", "waits for the user for ever", |_| keep_status(Status::Waiting)),
    row("stuck", "queued since two hours", |_| keep_status_since(2 * 3_600, Status::Queued)),
    row("ok", "queued 2 s, running 5 s, completed",
        |_| run_steps([(Status::Queued, 2), (Status::Running, 5)], Status::Completed)),
    row("fail", "queued 2 s, running 3 s, failed",
        |_| run_steps([(Status::Queued, 2), (Status::Running, 3)], Status::Failed)),
    row("cancel", "running 5 s, cancelled",
        |_| run_steps([(Status::Running, 5)], Status::Cancelled)),
    row("done", "queued a minute before it was first asked for, completed by then",
        |_| complete_before_first_request()),
    row("lost", "running 5 s, then missing", |_| run_steps([(Status::Running, 5)], Status::Missing)),
    row("missing", "unknown: 404, or what the system says then", |_| keep_status(Status::Missing)),
    row("unauthorized", "401", |_| respond_with_status(401)),
    row("forbidden", "403", |_| respond_with_status(403)),
    row("throttled", "429 with Retry-After: 2", |_| respond_with_retry_after(429)),
    row("busy", "503 with Retry-After: 2", |_| respond_with_retry_after(503)),
    row("broken", "500", |_| respond_with_status(500)),
    row("redirect", "302 to another origin", |_| redirect_to_other_origin()),
    row("flaky", "running, but every second answer is 500", |_| fail_every_second_request()),
    row("code", "200 with the code 500, or the one it names (code-1203-x)", respond_with_code),
    row("other", "a valid answer for another task", |_| respond_with(ResponseFault::OtherTask)),
    row("weird", "an unknown status", |_| keep_status(Status::Custom("levitating".to_owned()))),
    row("type", "fields of the wrong types", |_| respond_with(ResponseFault::WrongTypes)),
    row("null", "no data", |_| respond_with(ResponseFault::NullTask)),
    row("empty", "200 without a body", |_| respond_with(ResponseFault::EmptyBody)),
    row("nothing", "204", |_| respond_with(ResponseFault::NoContent)),
    row("garbage", "a body that is not JSON", |_| respond_with(ResponseFault::InvalidJson)),
    row("deep", "JSON nested 10,000 deep", |_| respond_with(ResponseFault::DeepNesting)),
    row("huge", "a body of 2 MB", |_| respond_with(ResponseFault::HugeBody)),
    row("half", "half of the declared body, then closed", |_| transmit_with(NetworkFault::Half)),
    row("endless", "a body without end", |_| transmit_with(NetworkFault::Endless)),
    row("trickle", "a byte of the body a second", |_| transmit_with(NetworkFault::Trickle)),
    row("slow", "no answer for 60 s", |_| transmit_with(NetworkFault::Slow)),
    row("hang", "never an answer", |_| transmit_with(NetworkFault::Hang)),
    row("reset", "closed without an answer", |_| transmit_with(NetworkFault::Reset)),
];

/// The script of the task `id`, the same at every call.
pub(crate) fn build_script(id: &str) -> Script {
    if id == RECORDED_ID {
        let body = Some(ScriptedBody(Bytes::from_static(RECORDED_RESPONSE)));
        return Script { body, ..keep_status(Status::Completed) };
    }
    let (name, suffix) = id.split_once('-').unwrap_or((id, ""));
    match SCENARIOS.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => (scenario.build_script)(suffix),
        None => derive_script_from_hash(id),
    }
}

/// The table for people.
pub(crate) fn format_help() -> String {
    SCENARIOS.iter().fold(String::new(), |mut text, Scenario { name, help, .. }| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<13} {help}");
        text
    })
}

fn keep_status(status: Status) -> Script {
    run_steps([], status)
}

fn run_steps<const N: usize>(steps: [(Status, u64); N], final_status: Status) -> Script {
    let step = |(status, seconds)| Step { status, duration: Some(Duration::from_secs(seconds)) };
    let final_step = Step { status: final_status, duration: None };
    Script { steps: steps.into_iter().map(step).chain([final_step]).collect(), ..Script::default() }
}

/// The life of an ordinary ID: how long it takes and how it ends follows from a hash of the ID.
fn derive_script_from_hash(id: &str) -> Script {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let hash = hasher.finish();
    let step = |status, millis| Step { status, duration: Some(Duration::from_millis(millis)) };
    let end = if (hash >> 32).is_multiple_of(10) { Status::Failed } else { Status::Completed };
    let steps = vec![
        step(Status::Queued, 2_000 + hash % 8_000),
        step(Status::Running, 5_000 + hash / 8_000 % 20_000),
        Step { status: end, duration: None },
    ];
    Script { steps, ..Script::default() }
}

/// Ended ten seconds before it is first asked for.
fn complete_before_first_request() -> Script {
    let steps = [(Status::Queued, 10), (Status::Running, 40)];
    let enqueued_ago = Some(SignedDuration::from_secs(60));
    Script { enqueued_ago, ..run_steps(steps, Status::Completed) }
}

fn keep_status_since(seconds_ago: i64, status: Status) -> Script {
    Script { enqueued_ago: Some(SignedDuration::from_secs(seconds_ago)), ..keep_status(status) }
}

fn fail_every_second_request() -> Script {
    Script { fault_every: NonZeroU64::new(2), ..respond_with_status(500) }
}

fn respond_with_code(suffix: &str) -> Script {
    let number = suffix.split('-').next().and_then(|code| code.parse::<i64>().ok());
    respond_with(ResponseFault::Code { code: number.unwrap_or(500).into(), message: None })
}

fn respond_with_status(code: u16) -> Script {
    respond_with_headers(code, [])
}

fn respond_with_headers<const N: usize>(
    code: u16,
    headers: [(HeaderName, &'static str); N],
) -> Script {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond_with(ResponseFault::with_status(status, headers))
}

fn respond_with_retry_after(code: u16) -> Script {
    respond_with_headers(code, [(RETRY_AFTER, "2")])
}

fn redirect_to_other_origin() -> Script {
    respond_with_headers(302, [(LOCATION, "http://elsewhere.invalid/")])
}

fn respond_with(fault: ResponseFault) -> Script {
    Script { fault: Some(ScriptedFault::Response(fault)), ..keep_status(Status::Running) }
}

fn transmit_with(fault: NetworkFault) -> Script {
    Script { fault: Some(ScriptedFault::Network(fault)), ..keep_status(Status::Running) }
}
