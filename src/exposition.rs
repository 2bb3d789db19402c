//! The exposition, streamed: the families of the tasks and of the providers from a snapshot of the
//! store, then those of the registry, all through one writer.
//!
//! A family is written in one pass, because its samples must be contiguous; nothing is allocated
//! for a sample.

mod gzip;
mod text;

use std::io::{self, Write};
use std::time::Duration;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::family::{
    self, Family, MetricKind, SampleValue, ScrapeContext, TASK_FAMILIES, TaskFamily, TaskSample,
};
use crate::observation::State;
use crate::store::blocks::Block;
use crate::store::{ProviderSummary, Snapshot};
use crate::task::{Task, TaskCommon};
use gzip::GzipWriter;
use text::{SampleWriter, TextWriter, escape, write_value};

/// The syntax of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Returns the HTTP content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A writer of response bodies with or without compression. [`BodyWriter::finish`] completes the
/// body.
pub enum BodyWriter<W> {
    /// Writes the body unchanged.
    Plain(W),
    /// Compresses the body with gzip.
    Gzip(Box<GzipWriter<W>>),
}

impl<W: Write> BodyWriter<W> {
    /// Creates a writer to `out` that compresses if `gzip` is true.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn new(gzip: bool, out: W) -> io::Result<Self> {
        Ok(match gzip {
            true => Self::Gzip(Box::new(GzipWriter::new(out)?)),
            false => Self::Plain(out),
        })
    }

    /// Completes the body and returns the inner writer.
    ///
    /// # Errors
    /// Errors of the inner writer.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
        }
    }
}

impl<W: Write> Write for BodyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(gzip) => gzip.flush(),
        }
    }
}

/// Writes the whole exposition to `out`, in pieces of about 64 KiB.
///
/// # Errors
/// Errors of `out`.
pub fn write<W: Write>(
    format: Format,
    snapshot: &Snapshot,
    registry: &[MetricFamily],
    out: &mut BodyWriter<W>,
) -> io::Result<()> {
    let mut text = TextWriter::new(format, out);
    for (index, family) in TASK_FAMILIES.iter().enumerate() {
        write_task_family(&mut text, index, family, snapshot)?;
    }
    write_provider_families(&mut text, &snapshot.providers)?;
    for family in registry {
        write_registry_family(&mut text, family)?;
    }
    text.finish()
}

/// Writes a family of the tasks, from cached chunks where the text is compressed.
fn write_task_family<W: Write>(
    text: &mut TextWriter<'_, W>,
    index: usize,
    family: &TaskFamily,
    snapshot: &Snapshot,
) -> io::Result<()> {
    text.family(&family.family);
    for list in &snapshot.tasks {
        let scrape = ScrapeContext { now: snapshot.now, stuck_after: list.stuck_after };
        for block in &list.blocks {
            let write = |out: &mut _| write_task_lines(family, block, &scrape, out);
            let chunk = text.chunk_encoder().and_then(|encoder| {
                let key = family.cache_key(block.tasks(), &scrape)?;
                Some(block.cached_chunk(index)?.get_or_encode(&key, || encoder.encode(write)))
            });
            match chunk {
                Some(chunk) => text.chunk(&chunk)?,
                None => text.lines(write)?,
            }
        }
    }
    Ok(())
}

/// Writes the lines of a block's tasks in one family.
fn write_task_lines(family: &TaskFamily, block: &Block, scrape: &ScrapeContext, out: &mut Vec<u8>) {
    let mut line = TaskLineWriter::new(&family.family);
    for tracked in block.tasks() {
        if let Some(sample) = family.sample(tracked, scrape) {
            line.write(&tracked.task, sample, out);
        }
    }
}

/// A writer of task lines, with the pieces of a line that many tasks share.
struct TaskLineWriter<'a> {
    name: &'static str,
    /// The tasks' common part from which `before_id` and `after_id` were made.
    common: Option<&'a TaskCommon>,
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    /// Text between the values of the labels after the task's own ones.
    label_names: Vec<String>,
}

impl<'a> TaskLineWriter<'a> {
    fn new(family: &Family) -> Self {
        let label_names = family.labels.iter().skip(2).map(|name| format!("\",{name}=\""));
        Self {
            name: family.name,
            common: None,
            before_id: Vec::new(),
            after_id: Vec::new(),
            label_names: label_names.collect(),
        }
    }

    fn write(&mut self, task: &'a Task, sample: TaskSample<'_>, out: &mut Vec<u8>) {
        let common = &*task.common;
        if !self.common.is_some_and(|known| std::ptr::eq(known, common)) {
            self.prepare(common);
        }
        out.extend_from_slice(&self.before_id);
        escape(out, &task.id, true);
        out.extend_from_slice(&self.after_id);
        for (name, value) in self.label_names.iter().zip(sample.labels) {
            out.extend_from_slice(name.as_bytes());
            escape(out, value, true);
        }
        out.extend_from_slice(b"\"} ");
        write_value(out, sample.value);
        out.push(b'\n');
    }

    fn prepare(&mut self, common: &'a TaskCommon) {
        self.common = Some(common);
        self.before_id.clear();
        self.before_id.extend(self.name.as_bytes());
        self.before_id.extend(b"{provider=\"");
        escape(&mut self.before_id, &common.provider, true);
        self.before_id.extend(b"\",task_id=\"");
        self.after_id.clear();
        for (name, value) in &*common.labels {
            self.after_id.extend(b"\",");
            self.after_id.extend(name.as_bytes());
            self.after_id.extend(b"=\"");
            escape(&mut self.after_id, value, true);
        }
    }
}

/// Returns the ages of a provider's tasks, in the order of [`State::OPEN`].
type Ages = fn(&ProviderSummary) -> [Duration; State::OPEN.len()];

/// A number of tasks in the summary of a provider.
type Count = fn(&ProviderSummary) -> u64;

/// Writes the families of the providers that come from the store.
fn write_provider_families<W: Write>(
    text: &mut TextWriter<'_, W>,
    providers: &[ProviderSummary],
) -> io::Result<()> {
    text.family(&family::TASKS);
    for provider in providers {
        for (state, count) in State::ALL.into_iter().zip(provider.tasks) {
            write_state_sample(text, provider, state, SampleValue::Count(count))?;
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
                write_state_sample(text, provider, state, SampleValue::Duration(age))?;
            }
        }
    }
    let counts: [(Family, Count); 3] = [
        (family::OPEN_TASKS, |provider| provider.open),
        (family::STUCK_TASKS, |provider| provider.stuck),
        (family::UNLISTED_TASKS, |provider| provider.unlisted),
    ];
    for (family, count) in counts {
        text.family(&family);
        for provider in providers {
            let mut sample = text.sample("");
            sample.label("provider", &provider.name);
            sample.value(SampleValue::Count(count(provider)))?;
        }
    }
    Ok(())
}

fn write_state_sample<W: Write>(
    text: &mut TextWriter<'_, W>,
    provider: &ProviderSummary,
    state: State,
    value: SampleValue,
) -> io::Result<()> {
    let mut sample = text.sample("");
    sample.label("provider", &provider.name);
    sample.label("state", state.as_str());
    sample.value(value)
}

/// Writes a family of the registry, whose crate has no OpenMetrics. Summaries and untyped families
/// are skipped, because the tables of families have none.
fn write_registry_family<W: Write>(
    text: &mut TextWriter<'_, W>,
    family: &MetricFamily,
) -> io::Result<()> {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => MetricKind::Counter,
        MetricType::GAUGE => MetricKind::Gauge,
        MetricType::HISTOGRAM => MetricKind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    text.header(family.name(), kind, family.help());
    for metric in family.get_metric() {
        match kind {
            MetricKind::Counter => {
                let value = metric.get_counter().get_value();
                labelled_sample(text, "", metric).value(SampleValue::Float(value))?;
            }
            MetricKind::Gauge => {
                let value = metric.get_gauge().get_value();
                labelled_sample(text, "", metric).value(SampleValue::Float(value))?;
            }
            MetricKind::Histogram => write_histogram(text, metric)?,
        }
    }
    Ok(())
}

fn write_histogram<W: Write>(text: &mut TextWriter<'_, W>, metric: &Metric) -> io::Result<()> {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let buckets = histogram.get_bucket().iter();
    let finite = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (bound, count) in finite.chain([(f64::INFINITY, count)]) {
        let mut sample = labelled_sample(text, "_bucket", metric);
        sample.bound(bound);
        sample.value(SampleValue::Count(count))?;
    }
    let sum = histogram.get_sample_sum();
    labelled_sample(text, "_sum", metric).value(SampleValue::Float(sum))?;
    labelled_sample(text, "_count", metric).value(SampleValue::Count(count))
}

fn labelled_sample<'t, 'a, W: Write>(
    text: &'t mut TextWriter<'a, W>,
    suffix: &str,
    metric: &Metric,
) -> SampleWriter<'t, 'a, W> {
    let mut sample = text.sample(suffix);
    for label in metric.get_label() {
        sample.label(label.name(), label.value());
    }
    sample
}

#[cfg(test)]
pub(crate) mod tests;
