//! The `response` block of a provider, as the configuration writes it.
//! [`Mapping::compile`](super::Mapping::compile) checks it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::FieldName;
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{Either, OneOrMany, OrderedMap, Spanned};

/// The meaning of an answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawResponse {
    /// HTTP statuses whose body is read, such as 200 or 2xx. Default 2xx.
    pub accept: Spanned<RawWords>,
    /// `json`, or `ignored` if the HTTP status is the state and the body is never read. Default
    /// json.
    pub body: Spanned<String>,
    /// The body's own code.
    pub code: Spanned<RawField>,
    /// The body's own message; for people, never exported.
    pub message: Spanned<RawField>,
    /// The delay that an error asks for.
    pub retry_after: Spanned<RawField>,
    /// Codes that mean success. Default: any.
    pub success: Spanned<RawWords>,
    /// Meanings (`auth`, `rate_limited`, `not_found`, or a final state), each with its codes.
    #[schemars(extend("propertyNames" = { "enum": [
        "auth", "rate_limited", "not_found", "succeeded", "failed", "cancelled"
    ] }))]
    pub codes: Spanned<OrderedMap<RawWords>>,
    /// JSON Pointer to the task, or to an array of tasks. The paths below are relative to it.
    pub task: Spanned<String>,
    /// The task's ID.
    pub id: Spanned<RawField>,
    /// The provider's word for the state. The only field that every response has.
    pub status: Spanned<RawField>,
    /// States, each with the provider's words for it, which are compared trimmed and without case.
    #[schemars(extend("propertyNames" = { "enum": [
        "queued", "running", "waiting", "succeeded", "failed", "cancelled", "not_found"
    ] }))]
    pub states: Spanned<OrderedMap<RawWords>>,
    /// Exceptions from `states`.
    pub refine: Spanned<Vec<Spanned<RawRefine>>>,
    /// The kind of job.
    pub job_type: Spanned<RawField>,
    /// The time at which the provider accepted the task.
    pub enqueue_time: Spanned<RawField>,
    /// The time at which the task ended; read only if the state is final.
    pub finish_time: Spanned<RawField>,
    /// The progress of the task.
    pub progress: Spanned<RawField>,
    /// The provider's code for a failure; read only if the state is `failed`.
    pub failure_code: Spanned<RawField>,
    /// The provider's words for a failure; for `refine` and for people, never exported.
    pub failure_reason: Spanned<RawField>,
}

impl RawResponse {
    /// Returns the field `name`, if there is a valid one.
    pub(super) fn field(&self, name: FieldName) -> Option<&RawField> {
        let field = match name {
            FieldName::Code => &self.code,
            FieldName::Message => &self.message,
            FieldName::RetryAfter => &self.retry_after,
            FieldName::Id => &self.id,
            FieldName::Status => &self.status,
            FieldName::JobType => &self.job_type,
            FieldName::EnqueueTime => &self.enqueue_time,
            FieldName::FinishTime => &self.finish_time,
            FieldName::Progress => &self.progress,
            FieldName::FailureCode => &self.failure_code,
            FieldName::FailureReason => &self.failure_reason,
        };
        field.get()
    }
}

/// Words of an API; numbers are words too.
pub type RawWords = Vec<Spanned<PublicText>>;

/// Returns the valid words of a list.
pub(super) fn words(raw: &Spanned<RawWords>) -> Vec<&str> {
    raw.get()
        .into_iter()
        .flatten()
        .filter_map(Spanned::get)
        .map(|PublicText(word)| &**word)
        .collect()
}

/// Returns the keys of a table, each with its valid words.
pub(super) fn words_by_key(raw: &Spanned<OrderedMap<RawWords>>) -> Vec<(&str, Vec<&str>)> {
    let entries = raw.get().into_iter().flat_map(|table| &table.0);
    entries.filter_map(|(key, value)| Some((key.get()?.as_str(), words(value)))).collect()
}

/// A JSON Pointer, or a block that says more.
pub type RawField = Either<String, RawLongField>;

/// The source of a value and its format.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLongField {
    /// A JSON Pointer (RFC 6901), a list of them of which the first with a value counts, or
    /// `http_status`.
    pub path: Spanned<OneOrMany<String>>,
    /// A header of the answer, instead of a path.
    pub header: Spanned<String>,
    /// The value's format: `rfc3339`, `epoch_seconds`, `epoch_milliseconds`, `epoch`;
    /// `percent`, `ratio`; `seconds`, `milliseconds`.
    pub format: Spanned<String>,
    /// The offset from UTC of times without one, such as `+08:00`; for `rfc3339` alone. Default UTC.
    pub zone: Spanned<PublicText>,
    /// Only the text before this one counts.
    pub until: Spanned<PublicText>,
}

impl Either<String, RawLongField> {
    /// Returns the valid paths: JSON Pointers, or `http_status`.
    pub(super) fn paths(&self) -> Vec<&str> {
        match self {
            Self::Short(path) => vec![path],
            Self::Long(long) => match long.path.get() {
                Some(OneOrMany::One(path)) => vec![path],
                Some(OneOrMany::Many(paths)) => {
                    paths.iter().filter_map(Spanned::get).map(String::as_str).collect()
                }
                None => Vec::new(),
            },
        }
    }

    /// Returns the name of the header.
    pub(super) fn header(&self) -> Option<&str> {
        self.long()?.header.get().map(String::as_str)
    }

    /// Returns the name of the format.
    pub(super) fn format(&self) -> Option<&str> {
        self.long()?.format.get().map(String::as_str)
    }

    /// Returns the offset from UTC.
    pub(super) fn zone(&self) -> Option<&str> {
        self.long()?.zone.get().map(|PublicText(zone)| &**zone)
    }

    /// Returns the text before which the value ends.
    pub(super) fn until(&self) -> Option<&str> {
        self.long()?.until.get().map(|PublicText(until)| &**until)
    }

    fn long(&self) -> Option<&RawLongField> {
        match self {
            Self::Short(_) => None,
            Self::Long(long) => Some(long),
        }
    }
}

/// An exception from the table of states.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["if", "state"]))]
pub struct RawRefine {
    /// Fields and the text each must have.
    #[serde(rename = "if")]
    pub when: Spanned<OrderedMap<PublicText>>,
    /// The state if all of them have it.
    pub state: Spanned<String>,
}

/// Returns the first placeholder in a text, with its braces.
pub(crate) fn find_placeholder(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('{').find_map(|(start, _)| {
        let length = text.get(start..)?.find('}')? + 1;
        let placeholder = text.get(start..start + length)?;
        let name =
            placeholder.trim_start_matches('{').trim_start_matches('+').trim_end_matches('}');
        (!name.is_empty() && name.chars().all(is_part)).then_some(placeholder)
    })
}
