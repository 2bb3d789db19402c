//! Counters by a label whose values an API chooses.
//!
//! `increase()` sees only what comes after the first sample of a series: a series that begins at 1
//! hides its first event. So the values that can be known beforehand have a series from the start,
//! and any other series begins at 0 and takes its count [`BIRTH`] later, whether or not anything
//! reads it meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use tokio::time::Instant;

use super::sample;
use crate::family::Family;
use crate::label::{MAX_DISTINCT, OTHER};

/// How long a series that could not be known beforehand stays at 0: longer than between two scrapes
/// of a minute's interval, of which the second may come late.
pub const BIRTH: Duration = Duration::from_secs(75);

/// Counters of one family and provider.
#[derive(Debug)]
pub struct OpenSet {
    family: &'static Family,
    label: &'static str,
    provider: Box<str>,
    series: Mutex<BTreeMap<Box<str>, Series>>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    count: u64,
    /// When the series takes its count; `None` where it was known beforehand.
    counts_from: Option<Instant>,
}

impl OpenSet {
    /// A set without series.
    pub fn new(family: &'static Family, label: &'static str, provider: &str) -> Self {
        Self { family, label, provider: provider.into(), series: Mutex::default() }
    }

    /// Adds the series of values that are known beforehand. They are never turned into [`OTHER`].
    pub fn expect<T: AsRef<str>>(&self, values: impl IntoIterator<Item = T>) {
        let mut series = self.series.lock();
        for value in values {
            let expected = Series { count: 0, counts_from: None };
            series.entry(value.as_ref().into()).or_insert(expected);
        }
    }

    /// Counts an answer with this value.
    pub fn inc(&self, value: &str, now: Instant) {
        let mut series = self.series.lock();
        let known = series.keys().filter(|known| ***known != *OTHER).count();
        let is_known = series.contains_key(value);
        let value = if is_known || known < MAX_DISTINCT { value } else { OTHER };
        let born = || Series { count: 0, counts_from: Some(now + BIRTH) };
        let series = match series.get_mut(value) {
            Some(series) => series,
            None => series.entry(value.into()).or_insert_with(born),
        };
        series.count = series.count.saturating_add(1);
    }

    /// Returns the family as it is shown at `now`.
    pub fn collect(&self, now: Instant) -> MetricFamily {
        let series = self.series.lock();
        let samples = series.iter().map(|(value, series)| {
            // In the order of their names.
            let mut labels = [("provider", &*self.provider), (self.label, &**value)];
            labels.sort_unstable();
            sample::counter(&labels, series.shown(now))
        });
        sample::family(self.family, samples.collect())
    }
}

impl Series {
    fn shown(&self, now: Instant) -> u64 {
        match self.counts_from {
            Some(moment) if now < moment => 0,
            _ => self.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::RESPONSE_CODES;

    fn set() -> OpenSet {
        OpenSet::new(&RESPONSE_CODES, "code", "p")
    }

    /// The values with what is shown of each.
    fn shown(set: &OpenSet, now: Instant) -> Vec<(String, f64)> {
        let metric = |metric: &prometheus::proto::Metric| {
            let label = metric.get_label().iter().find(|label| label.name() == "code").unwrap();
            (label.value().to_owned(), metric.get_counter().get_value())
        };
        set.collect(now).get_metric().iter().map(metric).collect()
    }

    fn value(set: &OpenSet, value: &str, now: Instant) -> Option<f64> {
        shown(set, now).into_iter().find(|(known, _)| known == value).map(|(_, count)| count)
    }

    #[test]
    fn a_series_begins_at_0_and_takes_its_count_later_whoever_reads() {
        let (set, start) = (set(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        set.expect(["0"]);
        set.inc("0", start);
        set.inc("24", start);
        for moment in [at(0), at(30), at(74)] {
            assert_eq!(value(&set, "24", moment), Some(0.0));
            assert_eq!(value(&set, "0", moment), Some(1.0));
        }
        set.inc("24", at(60));
        assert_eq!(value(&set, "24", at(75)), Some(2.0));
        // No reader had to come before.
        set.inc("7", at(75));
        assert_eq!(value(&set, "7", at(149)), Some(0.0));
        assert_eq!(value(&set, "7", at(150)), Some(1.0));
        set.inc("7", at(151));
        assert_eq!(value(&set, "7", at(151)), Some(2.0), "one that has been born counts at once");
        assert!(BIRTH > Duration::from_secs(60) && BIRTH < Duration::from_secs(120));
    }

    #[test]
    fn what_becomes_known_later_changes_no_series_that_is_there() {
        let (set, start) = (set(), Instant::now());
        set.expect(["0"]);
        set.inc("24", start);
        set.inc("0", start);
        set.expect(["0", "24", "30"]);
        let expected = [("0", 1.0), ("24", 0.0), ("30", 0.0)];
        assert_eq!(shown(&set, start), expected.map(|(code, count)| (code.to_owned(), count)));
        assert_eq!(value(&set, "24", start + BIRTH), Some(1.0));
    }

    #[test]
    fn what_is_expected_counts_among_the_values_and_is_never_other() {
        let (set, start) = (set(), Instant::now());
        set.expect((0..60).map(|code| code.to_string()));
        for code in 1_000..1_010 {
            set.inc(&code.to_string(), start);
        }
        set.expect(["late"]);
        set.inc("late", start);
        set.inc("1003", start);
        let later = start + BIRTH;
        assert_eq!(value(&set, OTHER, start), Some(0.0), "it is born like any other");
        assert_eq!(value(&set, OTHER, later), Some(6.0));
        assert_eq!(value(&set, "1003", later), Some(2.0));
        assert_eq!(value(&set, "1004", later), None);
        assert_eq!(value(&set, "late", start), Some(1.0));
        assert_eq!(shown(&set, start).len(), 60 + 4 + 2);
    }
}
