//! Definition of a mapping, and the errors in it.

use super::fields::FieldName;

/// Definition of a mapping, with all values as text. The configuration fills it from YAML, and
/// [`Mapping::compile`](super::Mapping::compile) checks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// HTTP statuses whose body is mapped, such as `200` or `2xx`. Empty: `2xx`.
    pub accept: Vec<String>,
    /// `json` (the default) or `ignored`: the body is never read, the HTTP status tells the state.
    pub body: Option<String>,
    /// Code of the envelope.
    pub code: Option<Field>,
    /// Message of the envelope; for people, never exported.
    pub message: Option<Field>,
    /// Delay before the next request; read only if the response is a refusal.
    pub retry_after: Option<Field>,
    /// Codes that mean success. Empty: any.
    pub success: Vec<String>,
    /// Meanings (`auth`, `rate_limited`, `not_found`, or a final state), each with its codes.
    pub codes: Vec<(String, Vec<String>)>,
    /// JSON Pointer to the object of the task, or to an array of such objects. The fields below are
    /// relative to it.
    pub task: Option<String>,
    /// Task ID.
    pub id: Option<Field>,
    /// The provider's word for the state. The only required field.
    pub status: Option<Field>,
    /// Kind of job.
    pub job_type: Option<Field>,
    /// Time at which the provider accepted the task.
    pub enqueue_time: Option<Field>,
    /// Time at which the task ended; read only if the state is final.
    pub finish_time: Option<Field>,
    /// Progress of the task.
    pub progress: Option<Field>,
    /// The provider's code for the failure of a task; read only if the state is `failed`.
    pub failure_code: Option<Field>,
    /// The provider's words for the failure of a task; for `refine` and for people, never exported.
    pub failure_reason: Option<Field>,
    /// States, each with the provider's words for it, which are compared trimmed and without case.
    pub states: Vec<(String, Vec<String>)>,
    /// Exceptions from the table of states.
    pub refine: Vec<Refine>,
}

impl Definition {
    /// Returns the definition of the field `name`.
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

/// Definition of a field: its source and its format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// JSON Pointers (RFC 6901), of which the first with a value wins; or `http_status` alone.
    pub paths: Vec<String>,
    /// Name of a response header, instead of a path.
    pub header: Option<String>,
    /// For times `rfc3339`, `epoch_seconds`, `epoch_milliseconds`, `epoch`; for progress `percent`,
    /// `ratio`; for delays `seconds`, `milliseconds`.
    pub format: Option<String>,
    /// UTC offset of times without one, such as `+08:00`; only for `rfc3339`.
    pub zone: Option<String>,
    /// Text that ends the value.
    pub until: Option<String>,
}

/// Definition of an exception: if all of `when` hold, the state is `state` instead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refine {
    /// Fields of the definition (`status`, `failure_reason`, …), each with the value that it must have.
    pub when: Vec<(String, String)>,
    /// The state.
    pub state: String,
}
