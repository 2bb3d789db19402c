//! The `response` block of a provider, as the configuration writes it.
//! [`Mapping::compile`](super::Mapping::compile) checks it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::FieldName;
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{Either, OneOrMany, OrderedMap, Spanned};

/// The default of `accept`.
pub(super) const DEFAULT_ACCEPT: [&str; 1] = ["2xx"];
/// The default of `body`.
pub(super) const DEFAULT_BODY: &str = "json";

/// The meaning of an answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawResponse {
    /// HTTP statuses whose body is read, such as `200` or `2xx`. An empty list means the default.
    #[schemars(extend("default" = DEFAULT_ACCEPT))]
    pub accept: Spanned<RawWords>,
    /// `json`, or `ignored`: the body is never read, and `status` and the other fields come from
    /// `http_status` and headers.
    #[schemars(extend("default" = DEFAULT_BODY))]
    pub body: Spanned<String>,
    /// Field: the answer's own code. Absent and null mean no code. A boolean is the code `true` or
    /// `false`, an object the code `an object`, an array the code `an array`, and if `success` is
    /// given, blank text is the code `blank`.
    pub code: Spanned<RawField>,
    /// Field: the answer's own message, for people; never exported.
    pub message: Spanned<RawField>,
    /// Field: the pause that an error asks for. Read if the answer as a whole is a failed poll. A
    /// value that is not a number, is negative or is more than a year is ignored; fractions of a
    /// second are rounded up. If a header also gives a time, the longer one counts.
    pub retry_after: Spanned<RawField>,
    /// Codes that mean success. An answer without a code is a success. Default: any.
    pub success: Spanned<RawWords>,
    /// The meaning of codes: `auth` (credentials or account), `rate_limited`, `not_found`, or a
    /// final state (`succeeded`, `failed`, `cancelled`) that ends the task.
    #[schemars(extend("propertyNames" = { "enum": [
        "auth", "rate_limited", "not_found", "succeeded", "failed", "cancelled"
    ] }))]
    pub codes: Spanned<OrderedMap<RawWords>>,
    /// Pointer to the task's object, or to an array of such objects. Default: the whole body.
    pub task: Spanned<String>,
    /// Field: the task's ID.
    pub id: Spanned<RawField>,
    /// Field: the API's word for the state. The only required field.
    pub status: Spanned<RawField>,
    /// The API's words for `queued`, `running`, `waiting` (for the user), `succeeded`, `failed`,
    /// `cancelled` and `not_found`. They are compared trimmed and without case.
    #[schemars(extend("propertyNames" = { "enum": [
        "queued", "running", "waiting", "succeeded", "failed", "cancelled", "not_found"
    ] }))]
    pub states: Spanned<OrderedMap<RawWords>>,
    /// Exceptions: if all fields of `if` have the given texts, the state is `state`. The last
    /// exception that matches is used.
    pub refine: Spanned<Vec<Spanned<RawRefine>>>,
    /// Field: the kind of job. Becomes a label of `aitask_info`, so it must not change in a task's
    /// life.
    pub job_type: Spanned<RawField>,
    /// Field: the time at which the task was accepted.
    pub enqueue_time: Spanned<RawField>,
    /// Field: the time at which it ended. Read in final states only.
    pub finish_time: Spanned<RawField>,
    /// Field: the progress of the task.
    pub progress: Spanned<RawField>,
    /// Field: the API's code for a failure. Read if the state is `failed`; becomes the label `code`
    /// of `aitask_error`, whose values [are bounded](meaning.md#how-many-series).
    pub failure_code: Spanned<RawField>,
    /// Field: the API's words for a failure; for `refine`, never exported.
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
    /// The pointer, or a list of pointers, of which the first that leads to a non-blank value is
    /// used; or `http_status`.
    pub path: Spanned<OneOrMany<String>>,
    /// A header of the answer, instead of a path.
    pub header: Spanned<String>,
    /// Times need `rfc3339`, `epoch_seconds`, `epoch_milliseconds` or `epoch`; `progress` needs
    /// `percent` (0–100) or `ratio` (0–1); `retry_after` can have `seconds` or `milliseconds`. An
    /// error for other fields. Default: `seconds` for `retry_after`.
    pub format: Spanned<String>,
    /// The UTC offset of times without one, such as `"+08:00"`. Only with `rfc3339`. Default: UTC.
    pub zone: Spanned<PublicText>,
    /// Only the text before this one is used: `until: "."` turns `SAFETY.INPUT` into `SAFETY`.
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
