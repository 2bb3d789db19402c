//! What a task does when nobody wrote it a script: its ID tells, by its first word.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};
use jiff::SignedDuration;

use super::fault::Fault;
use super::life::{Status, Step};
use super::script::{Script, Trouble};
use super::text::Text;
use super::wire::slip::Slip;

/// The ID whose answer is the recorded one.
const RECORDED_ID: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";
const RECORDED_ANSWER: &[u8] = include_bytes!("seed-task.json");

/// A life that IDs can ask for.
struct Scenario {
    /// What such an ID begins with, up to its first `-`.
    word: &'static str,
    help: &'static str,
    /// Makes the script from what follows the word.
    script: fn(&str) -> Script,
}

const fn row(word: &'static str, help: &'static str, script: fn(&str) -> Script) -> Scenario {
    Scenario { word, help, script }
}

#[rustfmt::skip] // a row a line
const SCENARIOS: &[Scenario] = &[
    row("queued", "stays queued", |_| stays(Status::Queued)),
    row("running", "stays running", |_| stays(Status::Running)),
    row("waiting", "waits for the user for ever", |_| stays(Status::Waiting)),
    row("stuck", "queued since two hours", |_| since(2 * 3_600, Status::Queued)),
    row("ok", "queued 2 s, running 5 s, completed",
        |_| life([(Status::Queued, 2), (Status::Running, 5)], Status::Completed)),
    row("fail", "queued 2 s, running 3 s, failed",
        |_| life([(Status::Queued, 2), (Status::Running, 3)], Status::Failed)),
    row("cancel", "running 5 s, cancelled",
        |_| life([(Status::Running, 5)], Status::Cancelled)),
    row("done", "queued a minute before it was first asked for, completed by then",
        |_| over()),
    row("lost", "running 5 s, then missing", |_| life([(Status::Running, 5)], Status::Missing)),
    row("missing", "unknown: 404, or what the system says then", |_| stays(Status::Missing)),
    row("unauthorized", "401", |_| status(401)),
    row("forbidden", "403", |_| status(403)),
    row("throttled", "429 with Retry-After: 2", |_| trouble(later(StatusCode::TOO_MANY_REQUESTS))),
    row("busy", "503 with Retry-After: 2", |_| trouble(later(StatusCode::SERVICE_UNAVAILABLE))),
    row("broken", "500", |_| status(500)),
    row("redirect", "302 to another origin", |_| trouble(elsewhere())),
    row("flaky", "running, but every second answer is 500", |_| flaky()),
    row("code", "200 with the code 500, or the one it names (code-1203-x)", code),
    row("other", "a valid answer for another task", |_| trouble(Slip::Other)),
    row("weird", "an unknown status", |_| stays(Status::Word("levitating".to_owned()))),
    row("type", "fields of the wrong types", |_| trouble(Slip::Type)),
    row("null", "no data", |_| trouble(Slip::Null)),
    row("empty", "200 without a body", |_| trouble(Slip::Empty)),
    row("nothing", "204", |_| trouble(Slip::Nothing)),
    row("garbage", "a body that is not JSON", |_| trouble(Slip::Garbage)),
    row("deep", "JSON nested 10,000 deep", |_| trouble(Slip::Deep)),
    row("huge", "a body of 2 MB", |_| trouble(Slip::Huge)),
    row("half", "half of the declared body, then closed", |_| fault(Fault::Half)),
    row("endless", "a body without end", |_| fault(Fault::Endless)),
    row("trickle", "a byte of the body a second", |_| fault(Fault::Trickle)),
    row("slow", "no answer for 60 s", |_| fault(Fault::Slow)),
    row("hang", "never an answer", |_| fault(Fault::Hang)),
    row("reset", "closed without an answer", |_| fault(Fault::Reset)),
];

/// The script of the task `id`, the same at every call.
pub fn script(id: &str) -> Script {
    if id == RECORDED_ID {
        let answer = Some(Text(Bytes::from_static(RECORDED_ANSWER)));
        return Script { answer, ..stays(Status::Completed) };
    }
    let (word, rest) = id.split_once('-').unwrap_or((id, ""));
    match SCENARIOS.iter().find(|scenario| scenario.word == word) {
        Some(scenario) => (scenario.script)(rest),
        None => usual(id),
    }
}

/// The table for people.
pub fn describe() -> String {
    SCENARIOS.iter().fold(String::new(), |mut text, Scenario { word, help, .. }| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {word:<13} {help}");
        text
    })
}

fn stays(status: Status) -> Script {
    life([], status)
}

fn life<const N: usize>(steps: [(Status, u64); N], end: Status) -> Script {
    let step = |(status, seconds)| Step { status, lasts: Some(Duration::from_secs(seconds)) };
    let end = Step { status: end, lasts: None };
    Script { steps: steps.into_iter().map(step).chain([end]).collect(), ..Script::default() }
}

/// The life of an ordinary ID: how long it takes and how it ends follows from a hash of the ID.
fn usual(id: &str) -> Script {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let hash = hasher.finish();
    let step = |status, millis| Step { status, lasts: Some(Duration::from_millis(millis)) };
    let end = if (hash >> 32).is_multiple_of(10) { Status::Failed } else { Status::Completed };
    let steps = vec![
        step(Status::Queued, 2_000 + hash % 8_000),
        step(Status::Running, 5_000 + hash / 8_000 % 20_000),
        Step { status: end, lasts: None },
    ];
    Script { steps, ..Script::default() }
}

/// Ended ten seconds before it is first asked for.
fn over() -> Script {
    let steps = [(Status::Queued, 10), (Status::Running, 40)];
    let enqueued_ago = Some(SignedDuration::from_secs(60));
    Script { enqueued_ago, ..life(steps, Status::Completed) }
}

fn since(seconds: i64, status: Status) -> Script {
    Script { enqueued_ago: Some(SignedDuration::from_secs(seconds)), ..stays(status) }
}

fn flaky() -> Script {
    Script { trouble_every: NonZeroU64::new(2), ..status(500) }
}

fn code(rest: &str) -> Script {
    let number = rest.split('-').next().and_then(|code| code.parse::<i64>().ok());
    trouble(Slip::Code { code: number.unwrap_or(500).into(), message: None })
}

fn status(code: u16) -> Script {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    trouble(Slip::status(status, []))
}

fn later(status: StatusCode) -> Slip {
    Slip::status(status, [(RETRY_AFTER, "2")])
}

fn elsewhere() -> Slip {
    Slip::status(StatusCode::FOUND, [(LOCATION, "http://elsewhere.invalid/")])
}

fn trouble(slip: Slip) -> Script {
    Script { trouble: Some(Trouble::Slip(slip)), ..stays(Status::Running) }
}

fn fault(fault: Fault) -> Script {
    Script { trouble: Some(Trouble::Fault(fault)), ..stays(Status::Running) }
}
