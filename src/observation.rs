//! The outcome of a poll in terms that are the same for all providers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The normalised state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted by the provider, not started.
    Queued,
    /// In progress.
    Running,
    /// Waiting for the user, not for the provider; never stuck.
    Waiting,
    /// Completed; final.
    Succeeded,
    /// Failed at the provider; final.
    Failed,
    /// Cancelled; final.
    Cancelled,
    /// Unknown to the provider; final once the provider has said so for long enough.
    NotFound,
    /// Reported with a word that is not in the mapping; never final.
    Unknown,
    /// Not observed yet.
    Unpolled,
}

impl State {
    /// Every state, in the order in which the exposition lists them.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::NotFound,
        Self::Unknown,
        Self::Unpolled,
    ];

    /// The states in which a task can end.
    pub const FINAL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::NotFound];

    /// The states in which a task can be polled.
    pub const OPEN: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::NotFound, Self::Unknown, Self::Unpolled];

    /// Returns the value of the `state` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotFound => "not_found",
            Self::Unknown => "unknown",
            Self::Unpolled => "unpolled",
        }
    }

    /// Reports whether an observation of this state ends the task. It never does for `NotFound`, which
    /// one response does not make final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The content of a usable answer about one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The normalised state; never `NotFound` or `Unpolled`.
    pub state: State,
    /// The provider's own word for the state, unchanged.
    pub status: Arc<str>,
    /// Job type, if the API reports it.
    pub job_type: Option<Arc<str>>,
    /// Time at which the provider accepted the task, if the API reports it.
    pub enqueue_time: Option<Timestamp>,
    /// Time at which the task ended, if the API reports it; only of a final task.
    pub finish_time: Option<Timestamp>,
    /// Progress from 0 to 1, if the API reports it.
    pub progress: Option<f64>,
    /// The provider's code for the cause; only of a failed task.
    pub failure_code: Option<Arc<str>>,
    /// Implausible values, which are left unset.
    pub odd: Vec<Oddity>,
}

impl Observation {
    /// Creates an observation without optional fields.
    pub fn new(state: State, status: impl Into<Arc<str>>) -> Self {
        Self {
            state,
            status: status.into(),
            job_type: None,
            enqueue_time: None,
            finish_time: None,
            progress: None,
            failure_code: None,
            odd: Vec::new(),
        }
    }
}

/// An implausible value of an otherwise usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// The field of the value.
    pub field: OddField,
    /// The value, shortened; empty if it is not text.
    pub value: String,
    /// The oddity, one of a few fixed sentences.
    pub what: &'static str,
}

/// The fields whose values may be odd: the values of the `field` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OddField {
    /// The time at which the provider accepted the task.
    EnqueueTime,
    /// The time at which the task ended.
    FinishTime,
}

impl OddField {
    /// Every field, in the order of its declaration.
    pub const ALL: [Self; 2] = [Self::EnqueueTime, Self::FinishTime];

    /// Returns the value of the `field` label, which is the field's key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnqueueTime => "enqueue_time",
            Self::FinishTime => "finish_time",
        }
    }
}

impl fmt::Display for OddField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why a poll got no usable answer: the values of the `reason` label. The first that
/// applies is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The timeout of the whole request expired, at any stage.
    Timeout,
    /// The TLS handshake or a certificate failed.
    Tls,
    /// No connection could be made, or it broke before the response was complete.
    Connect,
    /// 401 or 403, unless with an HTML page, or a code that the mapping calls credentials or account.
    Auth,
    /// 429, or a code that the mapping calls a rate limit.
    RateLimited,
    /// 404, an empty array, or a code that the mapping calls not found.
    NotFound,
    /// Any other HTTP status that the mapping does not accept.
    Http,
    /// The body is larger than the limit.
    TooLarge,
    /// An accepted status has no body.
    Empty,
    /// The body is not JSON, too deeply nested or in an unknown coding, or the response is not HTTP.
    Decode,
    /// The code in a complete response is an error.
    Api,
    /// The JSON lacks what the mapping needs, has it with the wrong type, or is about another task.
    Mapping,
}

impl Reason {
    /// All reasons, of which the first that applies is used.
    pub const ALL: [Self; 12] = [
        Self::Timeout,
        Self::Tls,
        Self::Connect,
        Self::Auth,
        Self::RateLimited,
        Self::NotFound,
        Self::Http,
        Self::TooLarge,
        Self::Empty,
        Self::Decode,
        Self::Api,
        Self::Mapping,
    ];

    /// Returns the value of the `reason` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::Http => "http",
            Self::TooLarge => "too_large",
            Self::Empty => "empty",
            Self::Decode => "decode",
            Self::Api => "api",
            Self::Mapping => "mapping",
        }
    }

    /// Returns the reason in words for people, where a poll left no details.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Timeout => "no complete answer in time",
            Self::Tls => "the TLS handshake or a certificate failed",
            Self::Connect => "no connection, or it broke before the answer was complete",
            Self::Auth => "the provider rejects the credentials",
            Self::RateLimited => "the provider limits the rate of requests",
            Self::NotFound => "the provider does not know the task",
            Self::Http => "an HTTP status that the mapping does not accept",
            Self::TooLarge => "the answer is too large",
            Self::Empty => "the answer has no body",
            Self::Decode => "the answer cannot be read",
            Self::Api => "the answer reports an error",
            Self::Mapping => "the answer lacks what the mapping needs",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The failure of a poll to get a usable answer for a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// The `reason` label.
    pub reason: Reason,
    /// The `code` label: the code as the API gave it, else empty.
    pub code: Arc<str>,
    /// Details for people, without secrets and with at most a few words of the response.
    pub detail: Arc<str>,
}

impl Failure {
    /// Creates a failure without a code of the API.
    pub fn new(reason: Reason, detail: impl Into<Arc<str>>) -> Self {
        Self { reason, code: "".into(), detail: detail.into() }
    }
}

/// The outcome of a task's poll: what a usable answer says, or why there is none.
pub type PollOutcome = Result<Observation, Failure>;
