//! A mapping as written, and what can be wrong with it.

use super::row::FieldName;

/// A mapping as written: everything still text, nothing resolved. The configuration fills it
/// from YAML; [`Mapping::compile`](super::Mapping::compile) checks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// HTTP statuses whose body is mapped, such as `200` or `2xx`. Empty: `2xx`.
    pub accept: Vec<String>,
    /// `json` (the default) or `ignored`: the body is never read, the HTTP status tells the state.
    pub body: Option<String>,
    /// Where the envelope's own code stands.
    pub code: Option<Field>,
    /// Where the envelope's message stands; for people, never exported.
    pub message: Option<Field>,
    /// For how long the provider asks to be left alone; read where the answer is a refusal.
    pub retry_after: Option<Field>,
    /// Codes that mean success. Empty: any.
    pub success: Vec<String>,
    /// A meaning (`auth`, `rate_limited`, `not_found`, or a final state) and the codes that have it.
    pub codes: Vec<(String, Vec<String>)>,
    /// Pointer to the task's object, or to an array of such. The fields below are relative to it.
    pub task: Option<String>,
    /// The task's ID.
    pub id: Option<Field>,
    /// The provider's word for the state. The only field that every mapping has.
    pub status: Option<Field>,
    /// The kind of job.
    pub job_type: Option<Field>,
    /// When the provider took the task.
    pub enqueue_time: Option<Field>,
    /// When the task ended; read only where the state is final.
    pub finish_time: Option<Field>,
    /// How far the task is.
    pub progress: Option<Field>,
    /// The provider's code for why the task failed; read only where the state is `failed`.
    pub failure_code: Option<Field>,
    /// The provider's words for why the task failed; for `refine` and for people, never exported.
    pub failure_reason: Option<Field>,
    /// A state and the provider's words for it; compared trimmed and without case.
    pub states: Vec<(String, Vec<String>)>,
    /// Exceptions from the table of states.
    pub refine: Vec<Refine>,
}

impl Definition {
    /// Where the value of `name` stands.
    pub fn field(&self, name: FieldName) -> Option<&Field> {
        match name {
            FieldName::Code => self.code.as_ref(),
            FieldName::Message => self.message.as_ref(),
            FieldName::RetryAfter => self.retry_after.as_ref(),
            FieldName::Id => self.id.as_ref(),
            FieldName::Status => self.status.as_ref(),
            FieldName::JobType => self.job_type.as_ref(),
            FieldName::EnqueueTime => self.enqueue_time.as_ref(),
            FieldName::FinishTime => self.finish_time.as_ref(),
            FieldName::Progress => self.progress.as_ref(),
            FieldName::FailureCode => self.failure_code.as_ref(),
            FieldName::FailureReason => self.failure_reason.as_ref(),
        }
    }
}

/// Where a value stands and how it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// JSON Pointers (RFC 6901), of which the first with a value counts; or `http_status` alone.
    pub paths: Vec<String>,
    /// The name of a response header, instead of a path.
    pub header: Option<String>,
    /// For times `rfc3339`, `epoch_seconds`, `epoch_milliseconds`, `epoch`; for progress `percent`,
    /// `ratio`; for delays `seconds`, `milliseconds`.
    pub format: Option<String>,
    /// The offset of times without one, such as `+08:00`; for `rfc3339` alone.
    pub zone: Option<String>,
    /// Only what stands before this text counts.
    pub until: Option<String>,
}

/// Where all of `when` hold, the state is `state` instead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refine {
    /// A field of the definition (`status`, `failure_reason`, …) and the text that it has.
    pub when: Vec<(String, String)>,
    /// The state.
    pub state: String,
}

/// A mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionError {
    /// The keys that lead to it below `response` (or `request`), an index as its decimal digits:
    /// `["states", "running", "0"]`.
    pub at: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl DefinitionError {
    /// A mistake at these keys, without a hint.
    pub fn new(at: &[&str], message: impl Into<String>) -> Self {
        let at = at.iter().map(|key| (*key).to_owned()).collect();
        Self { at, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
