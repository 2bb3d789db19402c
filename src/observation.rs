//! The normalised words: what one poll learned, whatever system it asked.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The state of a task, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted by the provider, not begun.
    Queued,
    /// Being worked on.
    Running,
    /// Waiting for the user, not for the provider: never stuck.
    Waiting,
    /// Done; final.
    Succeeded,
    /// Given up by the provider; final.
    Failed,
    /// Withdrawn; final.
    Cancelled,
    /// The provider does not know the ID; final once it has said so for long enough.
    NotFound,
    /// The provider's word is not in the mapping; never final.
    Unknown,
    /// No answer yet.
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

    /// The value of the `state` label.
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

    /// Whether an answer in this state ends the task's life. `NotFound` is not among them: one
    /// answer never makes it final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a usable answer said of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The normalised state; never `NotFound` or `Unpolled`.
    pub state: State,
    /// The provider's own word, as it came.
    pub status: Arc<str>,
    /// The kind of job, where the API tells.
    pub job_type: Option<Arc<str>>,
    /// When the provider took the task, where the API tells.
    pub enqueue_time: Option<Timestamp>,
    /// When the task ended, where the API tells; only of a final task.
    pub finish_time: Option<Timestamp>,
    /// From 0 to 1, where the API tells.
    pub progress: Option<f64>,
    /// The provider's code for why the task failed; only of a failed task.
    pub failure_code: Option<Arc<str>>,
    /// Values that were not believed, and so left unset.
    pub odd: Vec<Oddity>,
}

impl Observation {
    /// One that says nothing else.
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

/// A value of an otherwise usable answer that was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// The field whose value it is.
    pub field: OddField,
    /// The value's text, cut; empty where it is no text.
    pub value: String,
    /// The oddity, one of a few fixed sentences.
    pub what: &'static str,
}

/// The fields whose values may be odd: the values of the `field` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OddField {
    /// When the provider took the task.
    EnqueueTime,
    /// When the task ended.
    FinishTime,
}

impl OddField {
    /// Every field, in the order of its declaration.
    pub const ALL: [Self; 2] = [Self::EnqueueTime, Self::FinishTime];

    /// The value of the `field` label, which is the field's key in the configuration.
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

/// Why a poll gave no usable answer: the values of the `reason` label, in the order in which
/// the first that fits is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The total time ran out, at any stage.
    Timeout,
    /// The TLS handshake or a certificate failed.
    Tls,
    /// No connection, or it broke before the whole answer was there.
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
    /// An accepted status without a body.
    Empty,
    /// The body is not JSON, nested too deeply or in an unknown coding, or what came is no HTTP.
    Decode,
    /// A whole answer whose own code says error.
    Api,
    /// JSON without what the mapping needs, of the wrong type, or of another task.
    Mapping,
}

impl Reason {
    /// Every reason, in the order in which the first that fits is taken.
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

    /// The value of the `reason` label.
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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A poll that gave no usable answer for a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// The `reason` label.
    pub reason: Reason,
    /// The `code` label: the code as the API gave it, else empty.
    pub code: Arc<str>,
    /// What happened, for a person: no secret, and no more than a few words of the answer.
    pub detail: String,
}

impl Failure {
    /// A failure that carries no code of the API.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, code: "".into(), detail: detail.into() }
    }
}
