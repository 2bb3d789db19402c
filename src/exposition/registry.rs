//! The registry's families through the same writer: its crate has no OpenMetrics.

use std::io::{self, Write};

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::text::{Sample, Text};
use crate::family::{Kind, SampleValue};

/// Writes `family`. Summaries and untyped families are left out, because the table of families
/// has none.
pub fn write<W: Write>(text: &mut Text<'_, W>, family: &MetricFamily) -> io::Result<()> {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    text.header(family.name(), kind, family.help());
    for metric in family.get_metric() {
        match kind {
            Kind::Counter => {
                let value = metric.get_counter().get_value();
                labelled(text, "", metric).value(SampleValue::Float(value))?;
            }
            Kind::Gauge => {
                let value = metric.get_gauge().get_value();
                labelled(text, "", metric).value(SampleValue::Float(value))?;
            }
            Kind::Histogram => histogram(text, metric)?,
        }
    }
    Ok(())
}

fn histogram<W: Write>(text: &mut Text<'_, W>, metric: &Metric) -> io::Result<()> {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let buckets = histogram.get_bucket().iter();
    let finite = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    for (bound, count) in finite.chain([(f64::INFINITY, count)]) {
        let mut sample = labelled(text, "_bucket", metric);
        sample.bound(bound);
        sample.value(SampleValue::Count(count))?;
    }
    let sum = histogram.get_sample_sum();
    labelled(text, "_sum", metric).value(SampleValue::Float(sum))?;
    labelled(text, "_count", metric).value(SampleValue::Count(count))
}

fn labelled<'t, 'a, W: Write>(
    text: &'t mut Text<'a, W>,
    suffix: &str,
    metric: &Metric,
) -> Sample<'t, 'a, W> {
    let mut sample = text.sample(suffix);
    for label in metric.get_label() {
        sample.label(label.name(), label.value());
    }
    sample
}
