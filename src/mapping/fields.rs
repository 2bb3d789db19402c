//! The fields of a response: their names, their values, and the formats of numbers. Pure.

use std::borrow::Cow;
use std::time::Duration;

/// Maximum delay: a year. A larger number is no delay but a Unix timestamp, and says nothing
/// reliable.
pub const MAX_DELAY: Duration = Duration::from_secs(365 * 86_400);

/// Kind of [`FieldValue::Boolean`], for messages.
pub const A_BOOLEAN: &str = "a boolean";

/// Kind of the status of a task that is in one response twice, with different ones.
pub(super) const TWO_STATUSES: &str = "different in two elements with the task's ID";

/// The fields that a mapping extracts from a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// Code of the envelope.
    Code,
    /// Message of the envelope.
    Message,
    /// Delay before the next request.
    RetryAfter,
    /// Task ID.
    Id,
    /// The provider's word for the state.
    Status,
    /// Kind of job.
    JobType,
    /// Time at which the provider accepted the task.
    EnqueueTime,
    /// Time at which the task ended.
    FinishTime,
    /// Progress of the task.
    Progress,
    /// The provider's code for the failure of a task.
    FailureCode,
    /// The provider's words for the failure of a task.
    FailureReason,
}

impl FieldName {
    /// All fields, in the order of an explanation.
    pub const ALL: [Self; 11] = [
        Self::Code,
        Self::Message,
        Self::RetryAfter,
        Self::Id,
        Self::Status,
        Self::JobType,
        Self::EnqueueTime,
        Self::FinishTime,
        Self::Progress,
        Self::FailureCode,
        Self::FailureReason,
    ];

    /// Returns the field's key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Message => "message",
            Self::RetryAfter => "retry_after",
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

    /// Returns the field's index in [`Self::ALL`].
    const fn index(self) -> usize {
        match self {
            Self::Code => 0,
            Self::Message => 1,
            Self::RetryAfter => 2,
            Self::Id => 3,
            Self::Status => 4,
            Self::JobType => 5,
            Self::EnqueueTime => 6,
            Self::FinishTime => 7,
            Self::Progress => 8,
            Self::FailureCode => 9,
            Self::FailureReason => 10,
        }
    }

    /// Reports whether the field is a time, a progress or a delay, which has a format, rather than a
    /// word.
    pub const fn is_quantity(self) -> bool {
        matches!(self, Self::RetryAfter | Self::EnqueueTime | Self::FinishTime | Self::Progress)
    }

    /// Reports whether the field belongs to the envelope rather than to a task.
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Code | Self::Message | Self::RetryAfter)
    }
}

/// Value at a path of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum FieldValue<'de> {
    /// Nothing.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A string, or a number in its own digits.
    Text(Cow<'de, str>),
    /// `true` or `false`, which only the code can have.
    Boolean(bool),
    /// A value that no field can have: "an object" or "an array".
    Other(&'static str),
}

impl FieldValue<'_> {
    /// Reports whether there is a value other than null, usable or not.
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Missing | Self::Null)
    }

    /// Returns the value without the body that it may borrow from.
    pub fn into_owned(self) -> FieldValue<'static> {
        match self {
            Self::Missing => FieldValue::Missing,
            Self::Null => FieldValue::Null,
            Self::Text(text) => FieldValue::Text(Cow::Owned(text.into_owned())),
            Self::Boolean(value) => FieldValue::Boolean(value),
            Self::Other(kind) => FieldValue::Other(kind),
        }
    }

    /// Returns the preference for this value among those at several paths: text that is not blank
    /// comes first, and unreadable values come before null, which must not hide them.
    fn preference(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Null => 1,
            Self::Text(text) if text.trim().is_empty() => 2,
            Self::Boolean(_) | Self::Other(_) => 3,
            Self::Text(_) => 4,
        }
    }
}

/// Value of a field that may have several paths, with the rank of the path at which it was found.
#[derive(Clone, Debug, Default)]
pub struct RankedValue<'de> {
    /// The value.
    pub value: FieldValue<'de>,
    /// Rank of its path: 0 for the first path of the field.
    pub rank: u8,
}

impl<'de> RankedValue<'de> {
    /// Stores the value at the path of this `rank`, unless the known value is preferred. The first path
    /// with a value wins, whatever their order in the response; of a repeated key the last value.
    pub fn offer(&mut self, rank: u8, value: FieldValue<'de>) {
        let (preference, known_preference) = (value.preference(), self.value.preference());
        let is_known_preferred =
            known_preference > preference || (known_preference == preference && self.rank < rank);
        if is_known_preferred && self.rank != rank {
            return;
        }
        *self = Self { value, rank };
    }
}

/// Values of all fields.
#[derive(Debug, Default)]
pub struct Fields<'de>([RankedValue<'de>; FieldName::ALL.len()]);

impl<'de> Fields<'de> {
    /// Returns the value of `field`.
    pub fn get(&self, field: FieldName) -> &FieldValue<'de> {
        self.0.get(field.index()).map_or(&FieldValue::Missing, |ranked| &ranked.value)
    }

    /// Returns the rank of the path at which `field` was found: 0 for its first path.
    pub fn rank(&self, field: FieldName) -> u8 {
        self.0.get(field.index()).map_or(0, |ranked| ranked.rank)
    }

    /// Merges the status of another element with the same ID. If they differ, neither is believed: one
    /// may end the task, and nothing shows which is right.
    pub fn merge_status(&mut self, other: &Self) {
        let (ours, theirs) = (self.get(FieldName::Status), other.get(FieldName::Status));
        if ours.is_present() && theirs.is_present() && ours != theirs {
            let rank = self.rank(FieldName::Status);
            self.set(FieldName::Status, rank, FieldValue::Other(TWO_STATUSES));
        }
    }

    /// Stores the value of `field` at its path of this `rank`, unless the known value is preferred.
    pub fn set(&mut self, field: FieldName, rank: u8, value: FieldValue<'de>) {
        if let Some(known) = self.0.get_mut(field.index()) {
            known.offer(rank, value);
        }
    }
}

/// Format of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressFormat {
    /// 0 to 100, with or without `%`.
    Percent,
    /// 0 to 1, or 0 to 100 with `%`.
    Ratio,
}

impl ProgressFormat {
    /// Names in the configuration.
    pub const NAMES: [(&str, Self); 2] = [("percent", Self::Percent), ("ratio", Self::Ratio)];

    /// Parses progress as a ratio from 0 to 1. Returns `None` for anything that is not a number, since
    /// gateways put any text there. A number with `%` is a percentage in either format.
    pub fn parse(self, text: &str) -> Option<f64> {
        let text = text.trim();
        let bare = text.trim_end_matches('%');
        let is_percentage = self == Self::Percent || bare.len() < text.len();
        let number: f64 = bare.trim_end().parse().ok()?;
        let ratio = if is_percentage { number / 100.0 } else { number };
        // Adding zero makes a negative zero positive.
        ratio.is_finite().then(|| ratio.clamp(0.0, 1.0) + 0.0)
    }
}

/// Format of a delay before the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayFormat {
    /// Seconds, with or without a fraction.
    Seconds,
    /// Milliseconds, likewise.
    Milliseconds,
}

impl DelayFormat {
    /// Names in the configuration.
    pub const NAMES: [(&str, Self); 2] =
        [("seconds", Self::Seconds), ("milliseconds", Self::Milliseconds)];

    /// Parses a delay, rounded up to whole seconds. Returns `None` for anything that is not a number,
    /// negative, or more than a year.
    pub fn parse(self, text: &str) -> Option<Duration> {
        let number: f64 = text.trim().parse().ok()?;
        let seconds = match self {
            Self::Seconds => number,
            Self::Milliseconds => number / 1_000.0,
        };
        let is_delay = (0.0..=MAX_DELAY.as_secs_f64()).contains(&seconds);
        is_delay.then(|| Duration::from_secs_f64(seconds.ceil()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_an_index_of_its_own() {
        let indices = FieldName::ALL.map(FieldName::index);
        assert!(indices.iter().copied().eq(0..FieldName::ALL.len()));
    }

    #[test]
    fn the_first_path_with_a_value_wins() {
        let text = |text: &'static str| FieldValue::Text(text.into());
        for (values, expected) in [
            (vec![(0, text("a")), (1, text("b"))], text("a")),
            (vec![(1, text("b")), (0, text("a"))], text("a")),
            (vec![(1, text("b")), (0, FieldValue::Null)], text("b")),
            (vec![(1, text("b")), (0, text(" "))], text("b")),
            (vec![(0, FieldValue::Other("an object")), (1, text("b"))], text("b")),
            (
                vec![(0, FieldValue::Other("an object")), (1, FieldValue::Null)],
                FieldValue::Other("an object"),
            ),
            (
                vec![(1, FieldValue::Null), (0, FieldValue::Boolean(false))],
                FieldValue::Boolean(false),
            ),
            (vec![(0, text(" ")), (1, FieldValue::Null)], text(" ")),
            (vec![(0, FieldValue::Null), (1, text(""))], text("")),
            (vec![(0, text("a")), (0, FieldValue::Null)], FieldValue::Null),
            (vec![(1, text("b")), (0, text("a")), (1, text("c"))], text("a")),
        ] {
            let mut fields = Fields::default();
            for (rank, value) in values.clone() {
                fields.set(FieldName::Code, rank, value);
            }
            assert_eq!(*fields.get(FieldName::Code), expected, "{values:?}");
        }
    }

    #[test]
    fn progress() {
        use ProgressFormat::{Percent, Ratio};
        for (format, text, expected) in [
            (Percent, "31%", Some(0.31)),
            (Percent, " 100 % ", Some(1.0)),
            (Percent, "250", Some(1.0)),
            (Percent, "", None),
            (Percent, "waiting", None),
            (Ratio, "0.5", Some(0.5)),
            (Ratio, "-3", Some(0.0)),
            (Ratio, "31%", Some(0.31)),
            (Ratio, "100 %", Some(1.0)),
            (Ratio, "50", Some(1.0)),
            (Ratio, "nan", None),
        ] {
            assert_eq!(format.parse(text), expected, "{format:?} {text:?}");
        }
        for text in ["-0.0", "-0", "-0%", "-1e-9"] {
            assert!(Ratio.parse(text).unwrap().is_sign_positive(), "{text}");
        }
    }

    #[test]
    fn delays() {
        use DelayFormat::{Milliseconds, Seconds};
        for (format, text, expected) in [
            (Seconds, "30", Some(30)),
            (Seconds, " 0.25 ", Some(1)),
            (Seconds, "0", Some(0)),
            (Seconds, "31536000", Some(31_536_000)),
            (Seconds, "1796022000", None),
            (Seconds, "-1", None),
            (Seconds, "NaN", None),
            (Seconds, "soon", None),
            (Milliseconds, "1500", Some(2)),
            (Milliseconds, "1796022000", Some(1_796_022)),
        ] {
            assert_eq!(
                format.parse(text),
                expected.map(Duration::from_secs),
                "{format:?} {text:?}"
            );
        }
    }
}
