//! All metric families of the exporter. The exposition, the registry and `docs/metrics.md` are
//! made from these tables.

mod discovery;
mod exporter;
mod provider;
mod task;

use std::fmt;
use std::time::Duration;

pub use discovery::*;
pub use exporter::*;
pub use provider::*;
pub use task::{SampleSource, ScrapeContext, TASK_FAMILIES, TaskFamily, TaskSample};

use crate::clock::Timestamp;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up, and starts at 0 with the process unless its help text says otherwise.
    Counter,
    /// Observations counted by size.
    Histogram,
}

impl MetricKind {
    /// Returns the word in the `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A family of samples.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name, including `_total`.
    pub name: &'static str,
    /// Type.
    pub kind: MetricKind,
    /// Names of the labels; a task's own labels are after the first two.
    pub labels: &'static [&'static str],
    /// Text of the `# HELP` line and description in docs/metrics.md.
    pub help: &'static str,
    /// Upper bounds of the buckets of a histogram, without `+Inf`; empty for other types.
    pub buckets: &'static [f64],
}

type LabelNames = &'static [&'static str];

const fn gauge(name: &'static str, labels: LabelNames, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Gauge, labels, help, buckets: &[] }
}

const fn counter(name: &'static str, labels: LabelNames, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, labels, help, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    labels: LabelNames,
    buckets: &'static [f64],
    help: &'static str,
) -> Family {
    Family { name, kind: MetricKind::Histogram, labels, help, buckets }
}

/// The value of a sample. Two values are equal if they are written alike.
#[derive(Clone, Copy, Debug)]
pub enum SampleValue {
    /// A whole number.
    Count(u64),
    /// Any number.
    Float(f64),
    /// Written in seconds, with as many digits of the microseconds as needed.
    Duration(Duration),
    /// Written as its `Display` writes it.
    Timestamp(Timestamp),
}

impl SampleValue {
    /// The value of a series whose labels carry the information.
    pub const ONE: Self = Self::Count(1);
}

impl From<bool> for SampleValue {
    fn from(flag: bool) -> Self {
        Self::Count(u64::from(flag))
    }
}

impl PartialEq for SampleValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Count(value), Self::Count(other)) => value == other,
            // 0 and -0 are written differently.
            (Self::Float(value), Self::Float(other)) => value.to_bits() == other.to_bits(),
            (Self::Duration(value), Self::Duration(other)) => value == other,
            (Self::Timestamp(value), Self::Timestamp(other)) => value == other,
            _ => false,
        }
    }
}

/// Returns every family that the exporter can show.
pub fn all() -> impl Iterator<Item = Family> {
    let of_tasks = TASK_FAMILIES.into_iter().map(|family| family.family);
    let others = [PROVIDER_FAMILIES, DISCOVERY_FAMILIES, EXPORTER_FAMILIES, PROBE_FAMILIES];
    of_tasks.chain(others.concat())
}

/// Reports whether a family has the label `name`, so that a task's own label cannot have it. The
/// labels of sources are not reserved: lists written for Prometheus may well contain them.
pub(crate) fn has_label(name: &str) -> bool {
    let is_of_source = |family: &Family| family.name.starts_with("aitask_sd_");
    let mut reserving = all().filter(|family| !is_of_source(family));
    name == "le" || reserving.any(|family| family.labels.contains(&name))
}

#[cfg(test)]
mod tests;
