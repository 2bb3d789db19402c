//! What there is to know of a system: a row of the table of systems.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::super::life::Status;
use super::refusal::Refusal;
use super::task::Telling;

/// A kind of gateway, and all that sets it apart from the others.
pub struct System {
    /// Also the first segment of the paths below which it is served.
    pub name: &'static str,
    /// How it is asked for tasks.
    pub queries: &'static [Query],
    /// The headers that may hold the credentials, and what stands before them there.
    pub credentials: &'static [(&'static str, &'static str)],
    /// A header without which a request is refused.
    pub requires: Option<&'static str>,
    /// The HTTP status for wrong credentials.
    pub unauthorized: StatusCode,
    /// Its words for queued, running, waiting, completed, failed and cancelled. Where it has none,
    /// what waits is called running and what is cancelled failed, as such systems do.
    pub words: [&'static str; 6],
    /// How it writes a time, and one that is not set.
    pub time: fn(Option<Timestamp>) -> Value,
    /// How it tells of tasks.
    pub speech: Speech,
    /// What it says of a single task that it does not know; from a list such a task is missing.
    pub unknown: Unknown,
    /// The body of an error; null for none.
    pub refusal: fn(&Refusal<'_>) -> Value,
}

/// A way to ask for tasks.
pub struct Query {
    /// The path, whose `{id}` is the task's and whose other placeholders take any segment.
    pub path: &'static str,
    /// Where the IDs stand.
    pub ids: Ids,
}

/// Where the IDs of a question stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// One, in the path.
    Path,
    /// One, in this parameter.
    Parameter(&'static str),
    /// Several between commas, in this parameter; answered by a list.
    List(&'static str),
    /// Several, under `ids` in the JSON that is posted; answered by a list.
    Body,
    /// The same, but all except the first are ignored.
    FirstOfBody,
}

/// How tasks are told.
pub enum Speech {
    /// In JSON: how a task is worded, and what is put around one, or around a list of them.
    Json { task: fn(&Telling<'_>) -> Value, around: fn(&Value) -> Value },
    /// By the HTTP status; the body of a 200 is what was made.
    Asset,
}

/// What is said of a single task that nobody knows.
pub enum Unknown {
    /// An error with this HTTP status.
    Refused(StatusCode),
    /// Success without a body.
    Silence,
    /// Success with null in place of the task.
    Null,
    /// A task with this status.
    Word(&'static str),
}

impl Query {
    /// The method of the question.
    pub fn method(&self) -> Method {
        match self.ids {
            Ids::Path | Ids::Parameter(_) | Ids::List(_) => Method::GET,
            Ids::Body | Ids::FirstOfBody => Method::POST,
        }
    }

    /// Whether the answer is a list, even of one task.
    pub fn is_listed(&self) -> bool {
        matches!(self.ids, Ids::List(_) | Ids::Body | Ids::FirstOfBody)
    }
}

impl System {
    /// The system's word for `status`.
    pub fn word<'a>(&self, status: &'a Status) -> &'a str {
        let [queued, running, waiting, completed, failed, cancelled] = self.words;
        match status {
            Status::Queued => queued,
            Status::Running => running,
            Status::Waiting => waiting,
            Status::Completed => completed,
            Status::Failed => failed,
            Status::Cancelled => cancelled,
            Status::Missing => "missing",
            Status::Word(word) => word,
        }
    }

    /// Whether `headers` hold the credentials `token`, and no second ones: of two a gateway may
    /// take the wrong one.
    pub fn admits(&self, headers: &HeaderMap, token: &str) -> bool {
        let sent = self.credentials.iter().flat_map(|(name, before)| {
            let values = headers.get_all(*name).iter();
            values.map(|value| value.as_bytes().strip_prefix(before.as_bytes()))
        });
        sent.collect::<Vec<_>>() == [Some(token.as_bytes())]
    }

    /// Whether `headers` have what every request needs.
    pub fn understands(&self, headers: &HeaderMap) -> bool {
        self.requires.is_none_or(|name| headers.contains_key(name))
    }
}
