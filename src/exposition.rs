//! The whole exposition, streamed: the families of the tasks and of the providers from a
//! snapshot of the store, then the registry's, all through one writer.
//!
//! One pass a family, because a family's samples must stand together; nothing is allocated for
//! a sample.

mod registry;
mod text;

use std::io;

use prometheus::proto::MetricFamily;

use crate::clock::Timestamp;
use crate::family::{self, Family};
use crate::observation::State;
use crate::store::{ProviderView, Snapshot, TaskView};
use text::{Text, Value};

/// In which syntax an exposition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The HTTP content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes everything to `out`, in pieces of about 64 KiB.
///
/// # Errors
/// Those of `out`.
pub fn write(
    format: Format,
    snapshot: &Snapshot,
    registry: &[MetricFamily],
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut text = Text::new(format, out);
    for (family, sample) in TASK {
        task_family(&mut text, &family, sample, snapshot)?;
    }
    provider_families(&mut text, &snapshot.providers)?;
    for family in registry {
        registry::write(&mut text, family)?;
    }
    text.finish()
}

/// What a task shows in a family: the values of the labels after `provider` and `task_id`, and
/// the sample's value.
type Shown<'a> = ([&'a str; 2], Value);

/// A family's rule: what a task shows at a moment, if anything.
type Rule = for<'a> fn(&'a TaskView, Timestamp) -> Option<Shown<'a>>;

const NO_LABELS: [&str; 2] = [""; 2];

const TASK: [(Family, Rule); family::TASK.len()] = [
    (family::INFO, |task, _| Some(([task.job_type.as_deref()?, ""], Value::ONE))),
    (family::STATUS, |task, _| Some(([task.state.as_str(), &*task.status], Value::ONE))),
    (family::QUEUE_AGE, |task, now| {
        (!task.is_final).then(|| (NO_LABELS, Value::Duration(now.since(task.enqueued))))
    }),
    (family::ENQUEUE_TIMESTAMP, |task, _| {
        let since = if task.enqueued_by_api { "api" } else { "first_seen" };
        Some(([since, ""], Value::Timestamp(task.enqueued)))
    }),
    (family::STATE_TIMESTAMP, |task, _| Some((NO_LABELS, Value::Timestamp(task.state_since)))),
    (family::PROGRESS, |task, _| Some((NO_LABELS, Value::Float(task.progress?)))),
    (family::DURATION, |task, _| Some((NO_LABELS, Value::Duration(task.duration?)))),
    (family::STUCK, |task, _| {
        (!task.is_final).then_some((NO_LABELS, Value::Count(u64::from(task.stuck))))
    }),
    (family::UP, |task, _| Some((NO_LABELS, Value::Count(u64::from(task.up?))))),
    (family::ERROR, |task, _| {
        let (reason, code) = task.error.as_ref()?;
        Some(([*reason, &**code], Value::ONE))
    }),
    (family::LAST_POLL_TIMESTAMP, |task, _| Some((NO_LABELS, Value::Timestamp(task.last_poll?)))),
    (family::LAST_SUCCESS_TIMESTAMP, |task, _| {
        Some((NO_LABELS, Value::Timestamp(task.last_success?)))
    }),
];

fn task_family<W: io::Write>(
    text: &mut Text<'_, W>,
    family: &Family,
    rule: Rule,
    snapshot: &Snapshot,
) -> io::Result<()> {
    text.family(family.name, family.kind, family.help);
    for view in &snapshot.tasks {
        let Some((values, value)) = rule(view, snapshot.now) else { continue };
        let task = &*view.task;
        let mut sample = text.sample("");
        sample.label("provider", &task.provider);
        sample.label("task_id", &task.id);
        for (name, value) in &*task.labels {
            sample.label(name, value);
        }
        for (name, value) in family.labels.iter().skip(2).zip(values) {
            sample.label(name, value);
        }
        sample.value(value)?;
    }
    Ok(())
}

fn provider_families<W: io::Write>(
    text: &mut Text<'_, W>,
    providers: &[ProviderView],
) -> io::Result<()> {
    text.family(family::TASKS.name, family::TASKS.kind, family::TASKS.help);
    for provider in providers {
        for (state, count) in State::ALL.into_iter().zip(provider.tasks) {
            by_state(text, provider, state, Value::Count(count))?;
        }
    }
    let family = family::OLDEST_QUEUE_AGE;
    text.family(family.name, family.kind, family.help);
    for provider in providers {
        for (state, age) in State::OPEN.into_iter().zip(provider.oldest) {
            by_state(text, provider, state, Value::Duration(age))?;
        }
    }
    text.family(family::STUCK_TASKS.name, family::STUCK_TASKS.kind, family::STUCK_TASKS.help);
    for provider in providers {
        let mut sample = text.sample("");
        sample.label("provider", &provider.name);
        sample.value(Value::Count(provider.stuck))?;
    }
    Ok(())
}

fn by_state<W: io::Write>(
    text: &mut Text<'_, W>,
    provider: &ProviderView,
    state: State,
    value: Value,
) -> io::Result<()> {
    let mut sample = text.sample("");
    sample.label("provider", &provider.name);
    sample.label("state", state.as_str());
    sample.value(value)
}

#[cfg(test)]
pub(crate) mod tests;
