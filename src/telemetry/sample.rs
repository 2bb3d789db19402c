//! Families made by hand, of values that the metrics of the `prometheus` crate cannot have.

use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use crate::family::{Family, Kind};

/// Returns a family that has these samples.
pub fn family(family: &Family, metrics: Vec<Metric>) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(match family.kind {
        Kind::Gauge => MetricType::GAUGE,
        Kind::Counter => MetricType::COUNTER,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    out.set_metric(metrics);
    out
}

/// Returns a sample of a counter.
pub fn counter(labels: super::LabelPairs<'_>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(float(value));
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

/// Returns a sample without a value. The labels have to be in the order of their names.
pub fn labelled(labels: super::LabelPairs<'_>) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "exact up to 2^53, as every sample of Prometheus is"
)]
fn float(count: u64) -> f64 {
    count as f64
}
