//! The fields that a mapping looks for, and what was found for each.

use std::borrow::Cow;

/// The kind of [`Found::Boolean`], for a sentence.
pub const A_BOOLEAN: &str = "a boolean";

/// What a mapping looks for in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// The envelope's own code.
    Code,
    /// The envelope's message.
    Message,
    /// For how long the provider asks to be left alone.
    RetryAfter,
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

    /// The field's key in the configuration.
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

    /// The field's index in [`Self::ALL`].
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

    /// Whether the field belongs to the whole answer rather than to a task in it.
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Code | Self::Message | Self::RetryAfter)
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
    /// `true` or `false`, which no field can have but the code.
    Boolean(bool),
    /// A value that no field can have: "an object" or "an array".
    Other(&'static str),
}

impl Found<'_> {
    /// Reports whether something stands there, be it of any use or not.
    pub const fn is_something(&self) -> bool {
        !matches!(self, Self::Missing | Self::Null)
    }

    /// Returns the rank of a value among those of several places: text that is not blank goes before
    /// what cannot be read, and null must not hide that.
    fn weight(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Null => 1,
            Self::Text(text) if text.trim().is_empty() => 2,
            Self::Boolean(_) | Self::Other(_) => 3,
            Self::Text(_) => 4,
        }
    }
}

/// One value a field, and at which of its places it was found.
#[derive(Debug, Default)]
pub struct Row<'de> {
    found: [Found<'de>; FieldName::ALL.len()],
    ranks: [u8; FieldName::ALL.len()],
}

impl<'de> Row<'de> {
    /// What was found for `field`.
    pub fn get(&self, field: FieldName) -> &Found<'de> {
        self.found.get(field.index()).unwrap_or(&Found::Missing)
    }

    /// The place at which the value of `field` was found: 0 for the first that the mapping names.
    pub fn rank(&self, field: FieldName) -> u8 {
        self.ranks.get(field.index()).copied().unwrap_or_default()
    }

    /// Takes down what was found for `field` at the place `rank`. The first place with a value
    /// counts, in whatever order they stand in the answer; of a key that stands twice, the last.
    pub fn set(&mut self, field: FieldName, rank: u8, found: Found<'de>) {
        let (old, old_rank) = (self.get(field), self.rank(field));
        let (weight, old_weight) = (found.weight(), old.weight());
        let is_better = old_weight > weight || (old_weight == weight && old_rank < rank);
        if is_better && old_rank != rank {
            return;
        }
        if let Some(place) = self.found.get_mut(field.index()) {
            *place = found;
        }
        if let Some(place) = self.ranks.get_mut(field.index()) {
            *place = rank;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_place() {
        let places = FieldName::ALL.map(FieldName::index);
        assert!(places.iter().copied().eq(0..FieldName::ALL.len()));
    }

    #[test]
    fn the_first_place_with_a_value_counts() {
        let text = |text: &'static str| Found::Text(text.into());
        for (founds, expected) in [
            (vec![(0, text("a")), (1, text("b"))], text("a")),
            (vec![(1, text("b")), (0, text("a"))], text("a")),
            (vec![(1, text("b")), (0, Found::Null)], text("b")),
            (vec![(1, text("b")), (0, text(" "))], text("b")),
            (vec![(0, Found::Other("an object")), (1, text("b"))], text("b")),
            (vec![(0, Found::Other("an object")), (1, Found::Null)], Found::Other("an object")),
            (vec![(1, Found::Null), (0, Found::Boolean(false))], Found::Boolean(false)),
            (vec![(0, text(" ")), (1, Found::Null)], text(" ")),
            (vec![(0, Found::Null), (1, text(""))], text("")),
            (vec![(0, text("a")), (0, Found::Null)], Found::Null),
            (vec![(1, text("b")), (0, text("a")), (1, text("c"))], text("a")),
        ] {
            let mut row = Row::default();
            for (rank, found) in founds.clone() {
                row.set(FieldName::Code, rank, found);
            }
            assert_eq!(*row.get(FieldName::Code), expected, "{founds:?}");
        }
    }
}
