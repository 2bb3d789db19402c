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

use crate::family::{self, Family, SampleValue, ScrapeContext, TASK_FAMILIES, TaskFamily};
use crate::observation::State;
use crate::store::{ProviderView, Snapshot};
use out::Out;
use tasks::write_lines;
use text::Text;

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
    for (index, family) in TASK_FAMILIES.iter().enumerate() {
        task_family(&mut text, index, family, snapshot)?;
    }
    provider_families(&mut text, &snapshot.providers)?;
    for family in registry {
        registry::write(&mut text, family)?;
    }
    text.finish()
}

/// Writes a family of the tasks. Compressed text is cached until it would be different.
fn task_family<W: io::Write>(
    text: &mut Text<'_, W>,
    index: usize,
    family: &TaskFamily,
    snapshot: &Snapshot,
) -> io::Result<()> {
    text.family(&family.family);
    for view in &snapshot.tasks {
        let scrape = ScrapeContext { now: snapshot.now, stuck_after: view.stuck_after };
        for block in &view.blocks {
            let write = |out: &mut _| write_lines(family, block, &scrape, out);
            let part = text.parts().and_then(|parts| {
                let key = family.cache_key(block.records(), &scrape)?;
                Some(block.kept(index)?.get(&key, || parts.make(write)))
            });
            match part {
                Some(part) => text.part(&part)?,
                None => text.lines(write)?,
            }
        }
    }
    Ok(())
}

fn provider_families<W: io::Write>(
    text: &mut Text<'_, W>,
    providers: &[ProviderView],
) -> io::Result<()> {
    text.family(&family::TASKS);
    for provider in providers {
        for (state, count) in State::ALL.into_iter().zip(provider.tasks) {
            by_state(text, provider, state, SampleValue::Count(count))?;
        }
    }
    let by_open_state: [(Family, Ages); 2] = [
        (family::OLDEST_QUEUE_AGE, |provider| provider.oldest),
        (family::OLDEST_NET_QUEUE_AGE, |provider| provider.oldest_net),
    ];
    for (family, ages) in by_open_state {
        text.family(&family);
        for provider in providers {
            for (state, age) in State::OPEN.into_iter().zip(ages(provider)) {
                by_state(text, provider, state, SampleValue::Duration(age))?;
            }
        }
    }
    text.family(&family::STUCK_TASKS);
    for provider in providers {
        let mut sample = text.sample("");
        sample.label("provider", &provider.name);
        sample.value(SampleValue::Count(provider.stuck))?;
    }
    Ok(())
}

fn by_state<W: io::Write>(
    text: &mut Text<'_, W>,
    provider: &ProviderView,
    state: State,
    value: SampleValue,
) -> io::Result<()> {
    let mut sample = text.sample("");
    sample.label("provider", &provider.name);
    sample.label("state", state.as_str());
    sample.value(value)
}

#[cfg(test)]
pub(crate) mod tests;
