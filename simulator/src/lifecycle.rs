//! The lifecycle of a task: computes its state from its steps and a time. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// Status of a task, independent of the words of any system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Status {
    /// Accepted, not started.
    Queued,
    /// In progress.
    Running,
    /// Waiting for input from the user.
    Waiting,
    /// Finished with a result.
    Completed,
    /// Ended by the gateway without a result.
    Failed,
    /// Cancelled by the user.
    Cancelled,
    /// Unknown to the gateway, or no longer known.
    Missing,
    /// Any other word, which every system sends as it is.
    Custom(String),
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
            _ => Self::Custom(word),
        }
    }
}

/// One step of a lifecycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LifecycleStep {
    /// Status of the task during the step.
    pub(crate) status: Status,
    /// Duration of the step; `None` if it never ends.
    pub(crate) duration: Option<Duration>,
}

/// State of a task at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskState {
    /// Current status.
    pub(crate) status: Status,
    /// Start of the lifecycle.
    pub(crate) enqueued_at: Timestamp,
    /// Start of the first step in which the task was running.
    pub(crate) started_at: Option<Timestamp>,
    /// Start of the current step.
    pub(crate) changed_at: Timestamp,
    /// Progress, 0 to 100.
    pub(crate) progress_percent: u8,
}

impl TaskState {
    /// Computes the state at `now` of a task that began its `steps` at `enqueued_at`.
    ///
    /// Before `enqueued_at` the task is in its first step, after the end of all steps in its last.
    /// A task without steps is queued.
    pub(crate) fn compute(now: Timestamp, enqueued_at: Timestamp, steps: &[LifecycleStep]) -> Self {
        let mut elapsed = Duration::try_from(now.duration_since(enqueued_at)).unwrap_or_default();
        let status = Status::Queued;
        let mut state = Self {
            status,
            enqueued_at,
            started_at: None,
            changed_at: enqueued_at,
            progress_percent: 0,
        };
        let mut step_start = enqueued_at;
        for step in steps {
            state.status = step.status.clone();
            state.changed_at = step_start;
            state.progress_percent = compute_progress(step, elapsed);
            if step.status == Status::Running {
                state.started_at.get_or_insert(step_start);
            }
            let Some(duration) = step.duration.filter(|duration| *duration <= elapsed) else {
                break;
            };
            elapsed -= duration;
            step_start += duration;
        }
        state
    }

    /// Returns the time at which the task completed, failed or was cancelled, if it did.
    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        let ended = matches!(self.status, Status::Completed | Status::Failed | Status::Cancelled);
        ended.then_some(self.changed_at)
    }
}

/// Computes the progress, in percent, of a task at the time `elapsed` after the start of `step`.
///
/// A running task whose step never ends is at 50. A task that is neither running nor completed is
/// at 0.
fn compute_progress(step: &LifecycleStep, elapsed: Duration) -> u8 {
    match (&step.status, step.duration) {
        (Status::Completed, _) => 100,
        (Status::Running, None) => 50,
        (Status::Running, Some(duration)) => {
            let percent = elapsed.as_millis().saturating_mul(100) / duration.as_millis().max(1);
            u8::try_from(percent.min(100)).unwrap_or(100)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_changes_when_a_step_ends() {
        let step = |status, seconds| LifecycleStep {
            status,
            duration: Some(Duration::from_secs(seconds)),
        };
        let steps = [
            step(Status::Queued, 2),
            step(Status::Running, 5),
            LifecycleStep { status: Status::Completed, duration: None },
            step(Status::Failed, 1),
        ];
        let at = |seconds: i64| {
            let now = Timestamp::from_second(1_000 + seconds).unwrap();
            TaskState::compute(now, Timestamp::from_second(1_000).unwrap(), &steps).status
        };
        assert_eq!(at(-5), Status::Queued);
        assert_eq!(at(1), Status::Queued);
        assert_eq!(at(2), Status::Running);
        assert_eq!(at(6), Status::Running);
        assert_eq!(at(7), Status::Completed);
        assert_eq!(at(1_000_000), Status::Completed);
    }

    #[test]
    fn the_last_step_never_ends_and_no_steps_mean_queued() {
        let steps =
            [LifecycleStep { status: Status::Failed, duration: Some(Duration::from_secs(1)) }];
        let at = |steps| TaskState::compute(Timestamp::now(), Timestamp::UNIX_EPOCH, steps).status;
        assert_eq!(at(&steps), Status::Failed);
        assert_eq!(at(&[]), Status::Queued);
    }

    #[test]
    fn the_state_has_start_change_and_end_times() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let step = |status, seconds| LifecycleStep {
            status,
            duration: Some(Duration::from_secs(seconds)),
        };
        let steps = [
            step(Status::Queued, 10),
            step(Status::Running, 40),
            LifecycleStep { status: Status::Completed, duration: None },
        ];
        let times_and_progress = |now| {
            let state = TaskState::compute(second(now), second(100), &steps);
            (state.started_at, state.changed_at, state.ended_at(), state.progress_percent)
        };
        assert_eq!(times_and_progress(105), (None, second(100), None, 0));
        assert_eq!(times_and_progress(120), (Some(second(110)), second(110), None, 25));
        let end = second(150);
        assert_eq!(times_and_progress(999), (Some(second(110)), end, Some(end), 100));
    }
}
