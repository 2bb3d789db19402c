//! The description of a system, as a row of the table of systems.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::super::lifecycle::Status;
use super::error_json::ErrorView;
use super::task_json::TaskView;
use super::task_list::TaskList;

/// A kind of gateway: its endpoints, its credentials and its wire format.
pub(crate) struct System {
    /// Name, which is also the first segment of the paths of the system.
    pub(crate) name: &'static str,
    /// Endpoints that return tasks.
    pub(crate) endpoints: &'static [Endpoint],
    /// Headers that may hold the credentials, each with the prefix of its value.
    pub(crate) credential_headers: &'static [(&'static str, &'static str)],
    /// Header without which the system rejects a request.
    pub(crate) required_header: Option<&'static str>,
    /// HTTP status of the response to wrong credentials.
    pub(crate) unauthorized_status: StatusCode,
    /// Words for queued, running, waiting, completed, failed and cancelled.
    ///
    /// A system without a word for waiting reports such a task as running, one without a word for
    /// cancelled reports such a task as failed.
    pub(crate) status_words: [&'static str; 6],
    /// Formats a timestamp, or the absence of one.
    pub(crate) format_time: fn(Option<Timestamp>) -> Value,
    /// Format of a successful response.
    pub(crate) body_format: BodyFormat,
    /// Response about a single unknown task. A list leaves out unknown tasks.
    pub(crate) unknown_task: UnknownTask,
    /// Formats the body of an error; null for no body.
    pub(crate) format_error: fn(&ErrorView<'_>) -> Value,
}

/// An endpoint that returns tasks.
pub(crate) struct Endpoint {
    /// Pattern of the path. `{id}` is the task ID; other placeholders match any segment that is not
    /// empty.
    pub(crate) path: &'static str,
    /// Location of the task IDs.
    pub(crate) id_location: IdLocation,
}

/// Location of the task IDs in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdLocation {
    /// One ID, in the path.
    Path,
    /// One ID, in this query parameter.
    Parameter(&'static str),
    /// IDs separated by commas, in this query parameter. The response is a list.
    List(&'static str),
    /// IDs under `ids` in the JSON body. The response is a list.
    Body,
    /// IDs as in `Body`, of which the system ignores all but the first.
    FirstOfBody,
    /// Nowhere: the response is a list of tasks that the gateway holds.
    Held(TaskList),
}

/// Format of a successful response.
pub(crate) enum BodyFormat {
    /// JSON body.
    Json {
        /// Formats one task.
        format_task: fn(&TaskView<'_>) -> Value,
        /// Wraps a formatted task, or a list of them, in the body.
        wrap: fn(&Value) -> Value,
    },
    /// HTTP status for the status of the task; the body of a 200 is the asset.
    Asset,
}

/// Response about a single task that the system does not know.
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
    /// Returns the HTTP method.
    pub(crate) fn method(&self) -> Method {
        match self.id_location {
            IdLocation::Path
            | IdLocation::Parameter(_)
            | IdLocation::List(_)
            | IdLocation::Held(_) => Method::GET,
            IdLocation::Body | IdLocation::FirstOfBody => Method::POST,
        }
    }

    /// Reports whether the response is a list, even of one task.
    pub(crate) fn has_list_response(&self) -> bool {
        matches!(self.id_location, IdLocation::List(_) | IdLocation::Body | IdLocation::FirstOfBody)
    }
}

impl System {
    /// Returns the system's word for `status`.
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

    /// Reports whether `headers` hold the credentials `token` and no others.
    ///
    /// Of two credentials a gateway may use the wrong one.
    pub(crate) fn is_authorized(&self, headers: &HeaderMap, token: &str) -> bool {
        let sent = self.credential_headers.iter().flat_map(|(name, prefix)| {
            let values = headers.get_all(*name).iter();
            values.map(|value| value.as_bytes().strip_prefix(prefix.as_bytes()))
        });
        sent.collect::<Vec<_>>() == [Some(token.as_bytes())]
    }

    /// Reports whether `headers` have the required header, if the system requires one.
    pub(crate) fn has_required_header(&self, headers: &HeaderMap) -> bool {
        self.required_header.is_none_or(|name| headers.contains_key(name))
    }
}
