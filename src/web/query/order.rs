//! The orders of lists of tasks.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::observation::State;
use crate::record::TrackedTask;

/// A task and whether it is stuck.
#[derive(Clone, Copy, Debug)]
pub struct TaskRow<'a> {
    /// Task and record.
    pub tracked: &'a TrackedTask,
    /// Age above which the task counts as stuck.
    pub stuck_after: Duration,
    /// True if the task is stuck.
    pub is_stuck: bool,
}

impl<'a> TaskRow<'a> {
    /// Creates the row of a task at the time `now`.
    pub fn new(tracked: &'a TrackedTask, stuck_after: Duration, now: Timestamp) -> Self {
        Self { tracked, stuck_after, is_stuck: tracked.is_stuck(stuck_after, now) }
    }

    /// Reports whether the task needs attention: whether it is stuck, failed or lost.
    pub fn is_bad(self) -> bool {
        matches!(Severity::of(self), Severity::Stuck | Severity::Failed)
    }
}

/// The severity of the condition of a task, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// Stuck; the oldest first.
    Stuck,
    /// Failed, or lost by the provider; the newest first.
    Failed,
    /// The last poll failed, so the values may be outdated; the oldest first.
    Unanswered,
    /// Open; the oldest first.
    Open,
    /// Waiting for its user; the oldest first.
    Waiting,
    /// Finished; the newest first.
    Ended,
}

impl Severity {
    const fn rank(self) -> u8 {
        match self {
            Self::Stuck => 0,
            Self::Failed => 1,
            Self::Unanswered => 2,
            Self::Open => 3,
            Self::Waiting => 4,
            Self::Ended => 5,
        }
    }

    fn of(TaskRow { tracked, is_stuck, .. }: TaskRow<'_>) -> Self {
        match tracked.state() {
            _ if is_stuck => Self::Stuck,
            State::Failed => Self::Failed,
            State::NotFound if tracked.is_final() => Self::Failed,
            _ if tracked.is_final() => Self::Ended,
            _ if tracked.up() == Some(false) => Self::Unanswered,
            State::Waiting => Self::Waiting,
            _ => Self::Open,
        }
    }
}

/// A property of tasks by which they can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortColumn {
    /// The severity of the condition, the most severe first.
    Worst,
    /// Name of the provider.
    Provider,
    /// ID of the task.
    TaskId,
    /// State, in the order of [`State::ALL`].
    State,
    /// The provider's word for the state.
    Status,
    /// Queue age, the smallest first; ended tasks have none.
    Age,
    /// Progress, the smallest first; some tasks have none.
    Progress,
    /// Reason and code of the last failure; most tasks have none.
    Error,
    /// Time of the last poll, the earliest first; a task that was never polled has none.
    LastPoll,
}

impl SortColumn {
    /// Every column.
    pub const ALL: [Self; 9] = [
        Self::Worst,
        Self::Provider,
        Self::TaskId,
        Self::State,
        Self::Status,
        Self::Age,
        Self::Progress,
        Self::Error,
        Self::LastPoll,
    ];

    /// Returns the name of the column in queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worst => "worst",
            Self::Provider => "provider",
            Self::TaskId => "task_id",
            Self::State => "state",
            Self::Status => "status",
            Self::Age => "age",
            Self::Progress => "progress",
            Self::Error => "error",
            Self::LastPoll => "last_poll",
        }
    }
}

/// An order of tasks. Provider and ID decide between tasks that are otherwise equal, so that no two
/// have the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// The property that is compared.
    pub column: SortColumn,
    /// True if the largest comes first. Tasks without the property are last in any case.
    pub is_descending: bool,
}

impl TaskOrder {
    /// The order of a list for a person on call.
    pub const WORST_FIRST: Self = Self { column: SortColumn::Worst, is_descending: false };

    /// Parses the name of a column, which `-` in front reverses.
    ///
    /// # Errors
    /// There is no such column; the error is a sentence that names all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, is_descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let column = SortColumn::ALL.into_iter().find(|column| column.as_str() == name);
        let column = column.ok_or_else(|| {
            let all = SortColumn::ALL.map(SortColumn::as_str).join(", ");
            format!("unknown order {text:?}: sort is one of {all}, or one of them with - in front")
        })?;
        Ok(Self { column, is_descending })
    }

    /// Returns the direction in words.
    pub const fn direction(self) -> &'static str {
        if self.is_descending { "descending" } else { "ascending" }
    }

    /// Returns the place of a task.
    pub fn key(self, row: TaskRow<'_>) -> SortKey<'_> {
        let tracked = row.tracked;
        let (provider, id) = (&*tracked.task.common.provider, &*tracked.task.id);
        SortKey {
            value: value(self.column, row),
            provider: Cow::Borrowed(provider),
            id: Cow::Borrowed(id),
        }
    }

    /// Compares the places of two tasks.
    pub fn compare(self, a: &SortKey<'_>, b: &SortKey<'_>) -> Ordering {
        let by_value = match (&a.value, &b.value) {
            (SortValue::Missing, _) | (_, SortValue::Missing) => a.value.cmp(&b.value),
            (a, b) if self.is_descending => b.cmp(a),
            (a, b) => a.cmp(b),
        };
        by_value.then_with(|| (&a.provider, &a.id).cmp(&(&b.provider, &b.id)))
    }
}

/// Writes the order as [`TaskOrder::parse`] reads it.
impl fmt::Display for TaskOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_descending { "-" } else { "" })?;
        f.write_str(self.column.as_str())
    }
}

/// The place of a task in an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey<'a> {
    value: SortValue<'a>,
    provider: Cow<'a, str>,
    id: Cow<'a, str>,
}

/// The value of a property. In one order, all tasks have the same kind of value, or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum SortValue<'a> {
    /// A group, and a number in it.
    Number(u8, i64),
    /// One or two texts.
    Text(Cow<'a, str>, Cow<'a, str>),
    /// The task does not have the property.
    Missing,
}

impl SortKey<'_> {
    /// Returns the same key without a reference to the task.
    pub fn into_owned(self) -> SortKey<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        SortKey {
            value: match self.value {
                SortValue::Number(group, number) => SortValue::Number(group, number),
                SortValue::Text(first, second) => SortValue::Text(owned(first), owned(second)),
                SortValue::Missing => SortValue::Missing,
            },
            provider: owned(self.provider),
            id: owned(self.id),
        }
    }
}

fn value(column: SortColumn, row: TaskRow<'_>) -> SortValue<'_> {
    let tracked = row.tracked;
    let text = |text| SortValue::Text(Cow::Borrowed(text), Cow::Borrowed(""));
    let number = |number: Option<i64>| {
        number.map_or(SortValue::Missing, |number| SortValue::Number(0, number))
    };
    match column {
        SortColumn::Worst => {
            let severity = Severity::of(row);
            let moment = match severity {
                Severity::Failed | Severity::Ended => {
                    tracked.state_since().micros().saturating_neg()
                }
                _ => tracked.enqueued().micros(),
            };
            SortValue::Number(severity.rank(), moment)
        }
        SortColumn::Provider => text(&tracked.task.common.provider),
        SortColumn::TaskId => text(&tracked.task.id),
        SortColumn::State => {
            let position = State::ALL.iter().position(|state| *state == tracked.state());
            number(position.and_then(|position| i64::try_from(position).ok()))
        }
        SortColumn::Status => match tracked.status() {
            "" => SortValue::Missing,
            status => text(status),
        },
        // By the enqueue time, which does not change while a reader turns the pages.
        SortColumn::Age => {
            number((!tracked.is_final()).then(|| tracked.enqueued().micros().saturating_neg()))
        }
        // Numbers from 0 to 1 have the order of their bits.
        SortColumn::Progress => {
            number(tracked.progress().map(|progress| progress.abs().to_bits().cast_signed()))
        }
        SortColumn::Error => tracked.error().map_or(SortValue::Missing, |(reason, code)| {
            SortValue::Text(Cow::Borrowed(reason), Cow::Borrowed(code))
        }),
        SortColumn::LastPoll => number(tracked.last_poll().map(Timestamp::micros)),
    }
}
