//! What there is to know of a system: a row of the table of systems.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::super::lifecycle::Status;
use super::error_json::ErrorView;
use super::task_json::TaskView;

/// A kind of gateway, and all that sets it apart from the others.
pub(crate) struct System {
    /// Also the first segment of the paths below which it is served.
    pub(crate) name: &'static str,
    /// How it is asked for tasks.
    pub(crate) endpoints: &'static [Endpoint],
    /// The headers that may hold the credentials, and what stands before them there.
    pub(crate) credential_headers: &'static [(&'static str, &'static str)],
    /// A header without which a request is refused.
    pub(crate) required_header: Option<&'static str>,
    /// The HTTP status for wrong credentials.
    pub(crate) unauthorized_status: StatusCode,
    /// Its words for queued, running, waiting, completed, failed and cancelled. Where it has none,
    /// what waits is called running and what is cancelled failed, as such systems do.
    pub(crate) status_words: [&'static str; 6],
    /// How it writes a time, and one that is not set.
    pub(crate) format_time: fn(Option<Timestamp>) -> Value,
    /// How it tells of tasks.
    pub(crate) body_format: BodyFormat,
    /// What it says of a single task that it does not know; from a list such a task is missing.
    pub(crate) unknown_task: UnknownTask,
    /// The body of an error; null for none.
    pub(crate) format_error: fn(&ErrorView<'_>) -> Value,
}

/// A way to ask for tasks.
pub(crate) struct Endpoint {
    /// The path, whose `{id}` is the task's and whose other placeholders take any segment.
    pub(crate) path: &'static str,
    /// Where the IDs stand.
    pub(crate) id_location: IdLocation,
}

/// Where the IDs of a question stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdLocation {
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
pub(crate) enum BodyFormat {
    /// In JSON: how a task is worded, and what is put around one, or around a list of them.
    Json { format_task: fn(&TaskView<'_>) -> Value, wrap: fn(&Value) -> Value },
    /// By the HTTP status; the body of a 200 is what was made.
    Asset,
}

/// What is said of a single task that nobody knows.
pub(crate) enum UnknownTask {
    /// An error with this HTTP status.
    Error(StatusCode),
    /// Success without a body.
    EmptyBody,
    /// Success with null in place of the task.
    Null,
    /// A task with this status.
    Status(&'static str),
}

impl Endpoint {
    /// The method of the question.
    pub(crate) fn method(&self) -> Method {
        match self.id_location {
            IdLocation::Path | IdLocation::Parameter(_) | IdLocation::List(_) => Method::GET,
            IdLocation::Body | IdLocation::FirstOfBody => Method::POST,
        }
    }

    /// Whether the answer is a list, even of one task.
    pub(crate) fn has_list_response(&self) -> bool {
        matches!(self.id_location, IdLocation::List(_) | IdLocation::Body | IdLocation::FirstOfBody)
    }
}

impl System {
    /// The system's word for `status`.
    pub(crate) fn status_word<'a>(&self, status: &'a Status) -> &'a str {
        let [queued, running, waiting, completed, failed, cancelled] = self.status_words;
        match status {
            Status::Queued => queued,
            Status::Running => running,
            Status::Waiting => waiting,
            Status::Completed => completed,
            Status::Failed => failed,
            Status::Cancelled => cancelled,
            Status::Missing => "missing",
            Status::Custom(word) => word,
        }
    }

    /// Whether `headers` hold the credentials `token`, and no second ones: of two a gateway may
    /// take the wrong one.
    pub(crate) fn is_authorized(&self, headers: &HeaderMap, token: &str) -> bool {
        let sent = self.credential_headers.iter().flat_map(|(name, prefix)| {
            let values = headers.get_all(*name).iter();
            values.map(|value| value.as_bytes().strip_prefix(prefix.as_bytes()))
        });
        sent.collect::<Vec<_>>() == [Some(token.as_bytes())]
    }

    /// Whether `headers` have what every request needs.
    pub(crate) fn has_required_header(&self, headers: &HeaderMap) -> bool {
        self.required_header.is_none_or(|name| headers.contains_key(name))
    }
}
