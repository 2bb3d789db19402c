//! The history of a task as JSON.

use serde_json::{Value, json};

use super::seconds;
use crate::clock::Timestamp;
use crate::history::task_history::{PollRun, PollSummary, StateSpan, TaskHistory};

/// Describes the history of a task, kept since `started`; null if the task has none.
pub fn describe(history: Option<&TaskHistory>, started: Timestamp) -> Value {
    let Some(history) = history else { return Value::Null };
    let ends = history.states().iter().skip(1).map(|span| Some(span.since)).chain([None]);
    let states = history.states().iter().zip(ends).map(|(span, end)| describe_state(span, end));
    json!({
        "since_timestamp_seconds": seconds(started),
        "states": states.collect::<Value>(),
        "polls": history.polls().iter().map(describe_polls).collect::<Value>(),
        "cut": history.states().is_cut() || history.polls().is_cut(),
    })
}

fn describe_state(span: &StateSpan, end: Option<Timestamp>) -> Value {
    json!({
        "state": span.state.as_str(),
        "status": &*span.status,
        "from_timestamp_seconds": seconds(span.since),
        "to_timestamp_seconds": end.map(seconds),
    })
}

fn describe_polls(run: &PollRun) -> Value {
    let (answer, failure) = match &run.result {
        PollSummary::Answered(state, status) => (Some((state, status)), None),
        PollSummary::Failed(reason, code, detail) => (None, Some((reason, code, detail))),
    };
    json!({
        "first_timestamp_seconds": seconds(run.first),
        "last_timestamp_seconds": seconds(run.last),
        "count": run.count,
        "state": answer.map(|(state, _)| state.as_str()),
        "status": answer.map(|(_, status)| &**status),
        "error": failure.map(|(reason, code, _)| json!({"reason": reason.as_str(), "code": &**code})),
        "error_detail": failure.map(|(_, _, detail)| &**detail),
    })
}
