//! The fields that a mapping looks for, and what was found for each.

use std::borrow::Cow;

/// What a mapping looks for in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// The envelope's own code.
    Code,
    /// The envelope's message.
    Message,
    /// The task's ID.
    Id,
    /// The provider's word for the state.
    Status,
    /// The kind of job.
    JobType,
    /// When the provider took the task.
    EnqueueTime,
    /// When the task ended.
    FinishTime,
    /// How far the task is.
    Progress,
    /// The provider's code for why the task failed.
    FailureCode,
    /// The provider's words for why the task failed.
    FailureReason,
}

impl FieldName {
    /// Every field, in the order in which an answer is explained.
    pub const ALL: [Self; 10] = [
        Self::Code,
        Self::Message,
        Self::Id,
        Self::Status,
        Self::JobType,
        Self::EnqueueTime,
        Self::FinishTime,
        Self::Progress,
        Self::FailureCode,
        Self::FailureReason,
    ];

    /// The field's key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Message => "message",
            Self::Id => "id",
            Self::Status => "status",
            Self::JobType => "job_type",
            Self::EnqueueTime => "enqueue_time",
            Self::FinishTime => "finish_time",
            Self::Progress => "progress",
            Self::FailureCode => "failure_code",
            Self::FailureReason => "failure_reason",
        }
    }

    /// Whether the field belongs to the whole answer rather than to a task in it.
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Code | Self::Message)
    }
}

/// What stood where a field was looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Found<'de> {
    /// Nothing.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A string, or a number in its own digits.
    Text(Cow<'de, str>),
    /// A value that no field can have: "an object", "an array" or "a boolean".
    Other(&'static str),
}

/// One value a field.
#[derive(Debug, Default)]
pub struct Row<'de> {
    code: Found<'de>,
    message: Found<'de>,
    id: Found<'de>,
    status: Found<'de>,
    job_type: Found<'de>,
    enqueue_time: Found<'de>,
    finish_time: Found<'de>,
    progress: Found<'de>,
    failure_code: Found<'de>,
    failure_reason: Found<'de>,
}

impl<'de> Row<'de> {
    /// What was found for `field`.
    pub fn get(&self, field: FieldName) -> &Found<'de> {
        match field {
            FieldName::Code => &self.code,
            FieldName::Message => &self.message,
            FieldName::Id => &self.id,
            FieldName::Status => &self.status,
            FieldName::JobType => &self.job_type,
            FieldName::EnqueueTime => &self.enqueue_time,
            FieldName::FinishTime => &self.finish_time,
            FieldName::Progress => &self.progress,
            FieldName::FailureCode => &self.failure_code,
            FieldName::FailureReason => &self.failure_reason,
        }
    }

    /// Takes down what was found for `field`.
    pub fn set(&mut self, field: FieldName, found: Found<'de>) {
        let place = match field {
            FieldName::Code => &mut self.code,
            FieldName::Message => &mut self.message,
            FieldName::Id => &mut self.id,
            FieldName::Status => &mut self.status,
            FieldName::JobType => &mut self.job_type,
            FieldName::EnqueueTime => &mut self.enqueue_time,
            FieldName::FinishTime => &mut self.finish_time,
            FieldName::Progress => &mut self.progress,
            FieldName::FailureCode => &mut self.failure_code,
            FieldName::FailureReason => &mut self.failure_reason,
        };
        *place = found;
    }
}
