//! The families with one series for each task: name, labels, help text and sample of each.

use std::time::Duration;

use SampleSource::{Age, Flag, Record};

use super::{Family, SampleValue, gauge};
use crate::clock::Timestamp;
use crate::record::TrackedTask;

/// Families with one series for each task, in the order of the exposition.
pub static TASK_FAMILIES: [TaskFamily; 12] = [
    TaskFamily {
        family: gauge(
            "aitask_info",
            &["provider", "task_id", "job_type"],
            "Always 1; its labels are facts about the task that never change. Absent before the \
             first answer; job_type is empty if the provider does not report it. After 64 distinct \
             job types of a provider, further ones are job_type=\"other\".",
        ),
        source: Record(|tracked| {
            Some(TaskSample { labels: [tracked.job_type()?, ""], value: SampleValue::ONE })
        }),
    },
    TaskFamily {
        family: gauge(
            "aitask_status",
            &["provider", "task_id", "state", "status"],
            "Always 1, one series per task: its current state, and the provider's own word for it. \
             After 64 distinct words of a provider, including those of the mapping, further ones \
             are status=\"other\".",
        ),
        source: Record(|tracked| {
            let labels = [tracked.state().as_str(), tracked.status()];
            Some(TaskSample { labels, value: SampleValue::ONE })
        }),
    },
    TaskFamily {
        family: gauge(
            "aitask_queue_age_seconds",
            &["provider", "task_id"],
            "Time since the task was enqueued, at the moment of the scrape. Absent once the task \
             is final.",
        ),
        source: Age(|tracked, now| tracked.queue_age(now)),
    },
    TaskFamily {
        family: gauge(
            "aitask_enqueue_timestamp_seconds",
            &["provider", "task_id", "since"],
            "When the task was enqueued: since=\"api\" is the time that the provider reports, \
             since=\"first_seen\" the moment at which the exporter first knew of the task.",
        ),
        source: Record(|tracked| {
            let labels = [tracked.enqueued_since(), ""];
            Some(TaskSample { labels, value: SampleValue::Timestamp(tracked.enqueued()) })
        }),
    },
    TaskFamily {
        family: gauge(
            "aitask_state_timestamp_seconds",
            &["provider", "task_id"],
            "When the task entered its current state.",
        ),
        source: Record(|tracked| Some(SampleValue::Timestamp(tracked.state_since()).into())),
    },
    TaskFamily {
        family: gauge(
            "aitask_progress_ratio",
            &["provider", "task_id"],
            "Progress of the task, from 0 to 1. Absent if the provider does not report it.",
        ),
        source: Record(|tracked| Some(SampleValue::Float(tracked.progress()?).into())),
    },
    TaskFamily {
        family: gauge(
            "aitask_duration_seconds",
            &["provider", "task_id"],
            "Time from enqueueing to the end. Only for final tasks whose end is known.",
        ),
        source: Record(|tracked| Some(SampleValue::Duration(tracked.duration()?).into())),
    },
    TaskFamily {
        family: gauge(
            "aitask_stuck",
            &["provider", "task_id"],
            "1 if the age of the task, without the time in which it waited for the user, exceeds \
             stuck_after, or if neither state nor progress has changed for that long, else 0; 0 \
             while it waits for the user. Absent once the task is final.",
        ),
        source: Flag(|tracked, scrape| {
            (!tracked.is_final()).then(|| tracked.is_stuck(scrape.stuck_after, scrape.now))
        }),
    },
    TaskFamily {
        family: gauge(
            "aitask_up",
            &["provider", "task_id"],
            "1 if the last poll of the task got a usable answer, else 0. Absent before the first poll.",
        ),
        source: Record(|tracked| Some(SampleValue::from(tracked.up()?).into())),
    },
    TaskFamily {
        family: gauge(
            "aitask_error",
            &["provider", "task_id", "reason", "code"],
            "1 if the last poll of the task failed, or, with reason=\"task\", if the task itself \
             has failed. The code is the provider's own, or empty. After 64 distinct codes of a \
             provider, including those of the mapping and of aitask_response_codes_total, further \
             ones are code=\"other\".",
        ),
        source: Record(|tracked| {
            let (reason, code) = tracked.error()?;
            Some(TaskSample { labels: [reason, code], value: SampleValue::ONE })
        }),
    },
    TaskFamily {
        family: gauge(
            "aitask_last_poll_timestamp_seconds",
            &["provider", "task_id"],
            "When the task was last polled, successfully or not.",
        ),
        source: Record(|tracked| Some(SampleValue::Timestamp(tracked.last_poll()?).into())),
    },
    TaskFamily {
        family: gauge(
            "aitask_last_success_timestamp_seconds",
            &["provider", "task_id"],
            "When a poll of the task last got a usable answer. If it is much older than the last \
             poll, the values of the task are stale.",
        ),
        source: Record(|tracked| Some(SampleValue::Timestamp(tracked.last_success()?).into())),
    },
];

/// A family with at most one series for each task.
#[derive(Clone, Copy, Debug)]
pub struct TaskFamily {
    /// Name, type, labels and help text. After the labels `provider` and `task_id` there are at
    /// most two.
    pub family: Family,
    /// Source of the samples.
    pub source: SampleSource,
}

/// Source of a family's samples: `None` leaves a task out of the family.
///
/// The variant limits what a sample can depend on. When cached text has become stale follows from
/// it: [`TaskFamily::has_changed`] compares the samples of a record before and after a poll,
/// [`TaskFamily::cache_key`] covers what else the text depends on.
#[derive(Clone, Copy, Debug)]
pub enum SampleSource {
    /// The record alone. The text is cached until a poll changes a sample.
    Record(for<'a> fn(&'a TrackedTask) -> Option<TaskSample<'a>>),
    /// The record and the time, as 1 or 0. The text is cached while no task's value changes.
    Flag(fn(&TrackedTask, &ScrapeContext) -> Option<bool>),
    /// The record and the time, as an age that differs at every scrape. The text is never cached.
    Age(fn(&TrackedTask, Timestamp) -> Option<Duration>),
}

/// A task's sample in one family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskSample<'a> {
    /// Values of the labels after `provider` and `task_id`; empty where the family has fewer.
    pub labels: [&'a str; 2],
    /// The value.
    pub value: SampleValue,
}

impl From<SampleValue> for TaskSample<'_> {
    fn from(value: SampleValue) -> Self {
        Self { labels: [""; 2], value }
    }
}

/// Everything besides the records that samples of tasks depend on.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeContext {
    /// Time of the scrape.
    pub now: Timestamp,
    /// Age above which a task of the provider counts as stuck.
    pub stuck_after: Duration,
}

impl TaskFamily {
    /// Returns the sample of a task.
    pub fn sample<'a>(
        &self,
        tracked: &'a TrackedTask,
        scrape: &ScrapeContext,
    ) -> Option<TaskSample<'a>> {
        match self.source {
            Record(sample) => sample(tracked),
            Flag(flag) => flag(tracked, scrape).map(|flag| SampleValue::from(flag).into()),
            Age(age) => age(tracked, scrape.now).map(|age| SampleValue::Duration(age).into()),
        }
    }

    /// Reports whether cached text of the family is stale after a poll has changed a record.
    pub(crate) fn has_changed(&self, before: &TrackedTask, after: &TrackedTask) -> bool {
        match self.source {
            Record(sample) => sample(before) != sample(after),
            // The cache key has all flags of a block, and ages are not cached.
            Flag(_) | Age(_) => false,
        }
    }

    /// Returns the key under which the text of these tasks is cached: everything that it depends
    /// on and that no poll changes. `None` if the text must not be cached.
    pub(crate) fn cache_key(
        &self,
        tasks: &[TrackedTask],
        scrape: &ScrapeContext,
    ) -> Option<Vec<u64>> {
        match self.source {
            Record(_) => Some(Vec::new()),
            Flag(flag) => {
                // Two bits for each task.
                let bits = |tracked: &TrackedTask| match flag(tracked, scrape) {
                    None => 0,
                    Some(false) => 1,
                    Some(true) => 2,
                };
                let word = |tasks: &[TrackedTask]| {
                    tasks.iter().fold(0, |word, tracked| word << 2 | bits(tracked))
                };
                Some(tasks.chunks(32).map(word).collect())
            }
            Age(_) => None,
        }
    }
}
