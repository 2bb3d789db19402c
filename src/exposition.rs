//! The whole exposition, streamed: the families of the tasks and of the providers from a
//! snapshot of the store, then the registry's, all through one writer.
//!
//! One pass a family, because a family's samples must stand together; nothing is allocated for
//! a sample.

mod gzip;
pub mod out;
mod registry;
mod tasks;
mod text;

use std::io;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use crate::family::{self, Family};
use crate::observation::State;
use crate::store::facet::Facet;
use crate::store::{ProviderView, Snapshot};
use out::Out;
use tasks::Moment;
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

/// Returns the ages of a provider's tasks, in the order of [`State::OPEN`].
type Ages = fn(&ProviderView) -> [Duration; State::OPEN.len()];

/// Writes everything to `out`, in pieces of about 64 KiB.
///
/// # Errors
/// Those of `out`.
pub fn write<W: io::Write>(
    format: Format,
    snapshot: &Snapshot,
    registry: &[MetricFamily],
    out: &mut Out<W>,
) -> io::Result<()> {
    let mut text = Text::new(format, out);
    for facet in Facet::ALL {
        task_family(&mut text, facet, snapshot)?;
    }
    provider_families(&mut text, &snapshot.providers)?;
    for family in registry {
        registry::write(&mut text, family)?;
    }
    text.finish()
}

/// The lines of all tasks in one family. Compressed ones are made once and kept until they would
/// be others.
fn task_family<W: io::Write>(
    text: &mut Text<'_, W>,
    facet: Facet,
    snapshot: &Snapshot,
) -> io::Result<()> {
    let lines = tasks::family(facet);
    text.family(lines.family.name, lines.family.kind, lines.family.help);
    for view in &snapshot.tasks {
        let moment = Moment { now: snapshot.now, stuck_after: view.stuck_after };
        for block in &view.blocks {
            let kept = tasks::marks(facet, block, &moment).zip(block.kept(facet));
            let part = kept.zip(text.parts()).map(|((marks, kept), parts)| {
                kept.get(&marks, || parts.make(|out| lines.write(block, &moment, out)))
            });
            match part {
                Some(part) => text.part(&part)?,
                None => text.lines(|out| lines.write(block, &moment, out))?,
            }
        }
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
    let by_open_state: [(Family, Ages); 2] = [
        (family::OLDEST_QUEUE_AGE, |provider| provider.oldest),
        (family::OLDEST_NET_QUEUE_AGE, |provider| provider.oldest_net),
    ];
    for (family, ages) in by_open_state {
        text.family(family.name, family.kind, family.help);
        for provider in providers {
            for (state, age) in State::OPEN.into_iter().zip(ages(provider)) {
                by_state(text, provider, state, Value::Duration(age))?;
            }
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
