//! The life of a task at a moment: steps and a time in, a status out. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// How a task stands, before a gateway puts it into its own word.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Status {
    /// Accepted, not begun.
    Queued,
    /// Being worked on.
    Running,
    /// Waiting for the user.
    Waiting,
    /// Done.
    Completed,
    /// Given up by the gateway.
    Failed,
    /// Withdrawn by the user.
    Cancelled,
    /// Not, or no longer, known to the gateway.
    Missing,
    /// A word that belongs to no gateway; passed on as it is.
    Word(String),
}

impl From<String> for Status {
    fn from(word: String) -> Self {
        match word.as_str() {
            "queued" => Self::Queued,
            "running" => Self::Running,
            "waiting" => Self::Waiting,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "missing" => Self::Missing,
            _ => Self::Word(word),
        }
    }
}

/// One stretch of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How the task stands during the step.
    pub status: Status,
    /// How long; `None` is for ever.
    pub lasts: Option<Duration>,
}

/// What there is to tell of a task when somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How the task stands.
    pub status: Status,
    /// When its life began.
    pub enqueued: Timestamp,
    /// When it was first running.
    pub started: Option<Timestamp>,
    /// Since when it has stood as it does.
    pub changed: Timestamp,
    /// How far it is, from 0 to 100.
    pub percent: u8,
}

impl Moment {
    /// The moment `now` in a life of `steps` that began at `enqueued`. Before its beginning a
    /// life is in its first step, after its end in its last, and without steps it is queued.
    pub fn at(now: Timestamp, enqueued: Timestamp, steps: &[Step]) -> Self {
        let mut left = Duration::try_from(now.duration_since(enqueued)).unwrap_or_default();
        let status = Status::Queued;
        let mut moment = Self { status, enqueued, started: None, changed: enqueued, percent: 0 };
        let mut begun = enqueued;
        for step in steps {
            moment.status = step.status.clone();
            moment.changed = begun;
            moment.percent = percent(step, left);
            if step.status == Status::Running {
                moment.started.get_or_insert(begun);
            }
            let Some(lasts) = step.lasts.filter(|lasts| *lasts <= left) else { break };
            left -= lasts;
            begun += lasts;
        }
        moment
    }

    /// When the task ended, if it has.
    pub fn ended(&self) -> Option<Timestamp> {
        let ended = matches!(self.status, Status::Completed | Status::Failed | Status::Cancelled);
        ended.then_some(self.changed)
    }
}

/// How far a task is that has been in `step` for the time `spent`: half, where it has no end.
fn percent(step: &Step, spent: Duration) -> u8 {
    match (&step.status, step.lasts) {
        (Status::Completed, _) => 100,
        (Status::Running, None) => 50,
        (Status::Running, Some(lasts)) => {
            let percent = spent.as_millis().saturating_mul(100) / lasts.as_millis().max(1);
            u8::try_from(percent.min(100)).unwrap_or(100)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_through_its_steps() {
        let step = |status, seconds| Step { status, lasts: Some(Duration::from_secs(seconds)) };
        let steps = [
            step(Status::Queued, 2),
            step(Status::Running, 5),
            Step { status: Status::Completed, lasts: None },
            step(Status::Failed, 1),
        ];
        let at = |seconds: i64| {
            let now = Timestamp::from_second(1_000 + seconds).unwrap();
            Moment::at(now, Timestamp::from_second(1_000).unwrap(), &steps).status
        };
        assert_eq!(at(-5), Status::Queued);
        assert_eq!(at(1), Status::Queued);
        assert_eq!(at(2), Status::Running);
        assert_eq!(at(6), Status::Running);
        assert_eq!(at(7), Status::Completed);
        assert_eq!(at(1_000_000), Status::Completed);
    }

    #[test]
    fn the_last_step_stays_and_no_step_is_queued() {
        let steps = [Step { status: Status::Failed, lasts: Some(Duration::from_secs(1)) }];
        let at = |steps| Moment::at(Timestamp::now(), Timestamp::UNIX_EPOCH, steps).status;
        assert_eq!(at(&steps), Status::Failed);
        assert_eq!(at(&[]), Status::Queued);
    }

    #[test]
    fn a_moment_knows_what_was_before() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let step = |status, seconds| Step { status, lasts: Some(Duration::from_secs(seconds)) };
        let steps = [
            step(Status::Queued, 10),
            step(Status::Running, 40),
            Step { status: Status::Completed, lasts: None },
        ];
        let facts = |now| {
            let moment = Moment::at(second(now), second(100), &steps);
            (moment.started, moment.changed, moment.ended(), moment.percent)
        };
        assert_eq!(facts(105), (None, second(100), None, 0));
        assert_eq!(facts(120), (Some(second(110)), second(110), None, 25));
        let end = second(150);
        assert_eq!(facts(999), (Some(second(110)), end, Some(end), 100));
    }
}
