//! The scenarios: behaviour of tasks without a script, selected by the first part of the task ID.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use jiff::SignedDuration;

use super::lifecycle::{LifecycleStep, Status};
use super::script::{NetworkFault, ResponseFault, Script, ScriptedBody, ScriptedFault};

/// ID of the recorded task, for which every system returns the recorded response.
const RECORDED_ID: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";
/// Response of the gateway that `mjdjourney` simulates, as recorded.
const RECORDED_RESPONSE: &[u8] = include_bytes!("recorded-response.json");

/// Description of [`derive_script_from_hash`] on the help page.
const HASHED_HELP: &str = "queued 2 to 10 s, running 5 to 25 s, completed; one in ten failed";

/// A behaviour that task IDs can select.
struct Scenario {
    /// Start of the task IDs that select the scenario, up to their first `-`.
    name: &'static str,
    /// Description on the help page.
    help: &'static str,
    /// Builds the script from the part of the ID after the first `-`.
    build_script: fn(&str) -> Script,
}

const fn row(name: &'static str, help: &'static str, build_script: fn(&str) -> Script) -> Scenario {
    Scenario { name, help, build_script }
}

#[rustfmt::skip] // one row per line
const SCENARIOS: &[Scenario] = &[
    row("queued", "stays queued", |_| keep_status(Status::Queued)),
    row("running", "stays running", |_| keep_status(Status::Running)),
    row("waiting", "waits for the user forever", |_| keep_status(Status::Waiting)),
    row("stuck", "queued for two hours already, stays queued",
        |_| keep_status_since(2 * 3_600, Status::Queued)),
    row("ok", "queued 2 s, running 5 s, completed",
        |_| run_steps([(Status::Queued, 2), (Status::Running, 5)], Status::Completed)),
    row("fail", "queued 2 s, running 3 s, failed",
        |_| run_steps([(Status::Queued, 2), (Status::Running, 3)], Status::Failed)),
    row("cancel", "running 5 s, cancelled",
        |_| run_steps([(Status::Running, 5)], Status::Cancelled)),
    row("done", "queued 60 s before the first request, completed by then",
        |_| complete_before_first_request()),
    row("lost", "running 5 s, then missing",
        |_| run_steps([(Status::Running, 5)], Status::Missing)),
    row("missing", "unknown: 404, or the response of the system to an unknown ID",
        |_| keep_status(Status::Missing)),
    row("unauthorized", "401", |_| respond_with_status(401)),
    row("forbidden", "403", |_| respond_with_status(403)),
    row("throttled", "429 with Retry-After: 2", |_| respond_with_retry_after(429)),
    row("busy", "503 with Retry-After: 2", |_| respond_with_retry_after(503)),
    row("broken", "500", |_| respond_with_status(500)),
    row("redirect", "302 to another origin", |_| redirect_to_other_origin()),
    row("flaky", "running, but every second response is 500", |_| fail_every_second_request()),
    row("code", "200 with the code 500 in the body, or the code in the ID (code-1203-x)",
        respond_with_code),
    row("other", "a valid response about another task", |_| respond_with(ResponseFault::OtherTask)),
    row("weird", "an unknown status", |_| keep_status(Status::Custom("levitating".to_owned()))),
    row("type", "fields of the wrong types", |_| respond_with(ResponseFault::WrongTypes)),
    row("null", "200 without data", |_| respond_with(ResponseFault::NullTask)),
    row("empty", "200 without a body", |_| respond_with(ResponseFault::EmptyBody)),
    row("nothing", "204", |_| respond_with(ResponseFault::NoContent)),
    row("garbage", "a body that is not JSON", |_| respond_with(ResponseFault::InvalidJson)),
    row("deep", "JSON nested 10,000 levels deep", |_| respond_with(ResponseFault::DeepNesting)),
    row("huge", "a body of 2 MB", |_| respond_with(ResponseFault::HugeBody)),
    row("half", "half of the declared body, then the connection closes",
        |_| transmit_with(NetworkFault::Half)),
    row("endless", "a body that never ends", |_| transmit_with(NetworkFault::Endless)),
    row("trickle", "one byte of the body per second", |_| transmit_with(NetworkFault::Trickle)),
    row("slow", "no response for 60 s", |_| transmit_with(NetworkFault::Slow)),
    row("hang", "no response ever, the connection stays open",
        |_| transmit_with(NetworkFault::Hang)),
    row("reset", "no response, the connection closes", |_| transmit_with(NetworkFault::Reset)),
];

/// Builds the script of the task `id`, the same at every call.
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

/// Formats the table of scenarios for the help page.
pub(crate) fn format_help() -> String {
    let rows = SCENARIOS.iter().map(|scenario| (scenario.name, scenario.help));
    rows.chain([("any other ID", HASHED_HELP)]).fold(String::new(), |mut text, (name, help)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<13} {help}");
        text
    })
}

/// Returns the script of a task that the gateway does not know.
pub(crate) fn unknown_task() -> Script {
    keep_status(Status::Missing)
}

/// Returns the script of a task that keeps `status` forever.
fn keep_status(status: Status) -> Script {
    run_steps([], status)
}

/// Returns the script of a task that has each status for a number of seconds, then `final_status`.
fn run_steps<const N: usize>(steps: [(Status, u64); N], final_status: Status) -> Script {
    let step =
        |(status, seconds)| LifecycleStep { status, duration: Some(Duration::from_secs(seconds)) };
    let final_step = LifecycleStep { status: final_status, duration: None };
    Script { steps: steps.into_iter().map(step).chain([final_step]).collect(), ..Script::default() }
}

/// Derives the script of a task that selects no scenario from a hash of its ID.
///
/// The task is queued for 2 to 10 s and running for 5 to 25 s. One in ten such tasks fails, the
/// others complete.
fn derive_script_from_hash(id: &str) -> Script {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let hash = hasher.finish();
    let step =
        |status, millis| LifecycleStep { status, duration: Some(Duration::from_millis(millis)) };
    let final_status =
        if (hash >> 32).is_multiple_of(10) { Status::Failed } else { Status::Completed };
    let steps = vec![
        step(Status::Queued, 2_000 + hash % 8_000),
        step(Status::Running, 5_000 + hash / 8_000 % 20_000),
        LifecycleStep { status: final_status, duration: None },
    ];
    Script { steps, ..Script::default() }
}

/// Returns the script of a task that has completed ten seconds before its first request.
fn complete_before_first_request() -> Script {
    let steps = [(Status::Queued, 10), (Status::Running, 40)];
    let enqueued_ago = Some(SignedDuration::from_secs(60));
    Script { enqueued_ago, ..run_steps(steps, Status::Completed) }
}

/// Returns the script of a task that was enqueued `seconds_ago` before its first request, and keeps
/// `status` forever.
fn keep_status_since(seconds_ago: i64, status: Status) -> Script {
    Script { enqueued_ago: Some(SignedDuration::from_secs(seconds_ago)), ..keep_status(status) }
}

/// Returns the script of a running task that answers every second request with a 500.
fn fail_every_second_request() -> Script {
    Script { fault_every: NonZeroU64::new(2), ..respond_with_status(500) }
}

/// Returns the script of a task with an error code in the body: the number that `suffix` holds up to
/// its first `-`, or 500 if it holds none.
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

/// Returns the script of a running task with a fault in each response.
fn respond_with(fault: ResponseFault) -> Script {
    Script { fault: Some(ScriptedFault::Response(fault)), ..keep_status(Status::Running) }
}

/// Returns the script of a running task with a fault in the transmission of each response.
fn transmit_with(fault: NetworkFault) -> Script {
    Script { fault: Some(ScriptedFault::Network(fault)), ..keep_status(Status::Running) }
}
