//! Counters by a label whose values come from an API.
//!
//! `increase()` counts only from the first sample of a series on: a series that starts at 1 hides its
//! first event. So values that are known beforehand have a series from the start, and any other series
//! starts at 0 and shows its count [`BIRTH_DELAY`] later, whether or not it is scraped meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use tokio::time::Instant;

use super::{counter_sample, family_of_samples};
use crate::family::Family;
use crate::label::{MAX_DISTINCT, OTHER};

/// Time for which a series of a value that was not known beforehand stays at 0: longer than a scrape
/// interval of a minute, of which the second scrape may be late.
pub const BIRTH_DELAY: Duration = Duration::from_secs(75);

/// The counters of one family and provider, by the value of one label.
#[derive(Debug)]
pub struct DynamicCounters {
    family: &'static Family,
    label: &'static str,
    provider: Box<str>,
    series: Mutex<BTreeMap<Box<str>, Series>>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    count: u64,
    /// Time from which the series shows its count; `None` if its value was known beforehand.
    counts_from: Option<Instant>,
}

impl DynamicCounters {
    /// Creates a family without series.
    pub fn new(family: &'static Family, label: &'static str, provider: &str) -> Self {
        Self { family, label, provider: provider.into(), series: Mutex::default() }
    }

    /// Adds series of values that are known beforehand, which are never replaced by [`OTHER`].
    pub fn declare<T: AsRef<str>>(&self, values: impl IntoIterator<Item = T>) {
        let mut series = self.series.lock();
        for value in values {
            let declared = Series { count: 0, counts_from: None };
            series.entry(value.as_ref().into()).or_insert(declared);
        }
    }

    /// Increments the counter of this value.
    pub fn inc(&self, value: &str, now: Instant) {
        let mut series = self.series.lock();
        let known = series.keys().filter(|known| ***known != *OTHER).count();
        let is_known = series.contains_key(value);
        let value = if is_known || known < MAX_DISTINCT { value } else { OTHER };
        let born = || Series { count: 0, counts_from: Some(now + BIRTH_DELAY) };
        let series = match series.get_mut(value) {
            Some(series) => series,
            None => series.entry(value.into()).or_insert_with(born),
        };
        series.count = series.count.saturating_add(1);
    }

    /// Returns the family as of `now`.
    pub fn collect(&self, now: Instant) -> MetricFamily {
        let series = self.series.lock();
        let samples = series.iter().map(|(value, series)| {
            // A sample has its labels in the order of their names.
            let mut labels = [("provider", &*self.provider), (self.label, &**value)];
            labels.sort_unstable();
            counter_sample(&labels, series.shown(now))
        });
        family_of_samples(self.family, samples.collect())
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

    fn set() -> DynamicCounters {
        DynamicCounters::new(&RESPONSE_CODES, "code", "p")
    }

    /// Returns the values with the count that is shown of each.
    fn shown(set: &DynamicCounters, now: Instant) -> Vec<(String, f64)> {
        let metric = |metric: &prometheus::proto::Metric| {
            let label = metric.get_label().iter().find(|label| label.name() == "code").unwrap();
            (label.value().to_owned(), metric.get_counter().get_value())
        };
        set.collect(now).get_metric().iter().map(metric).collect()
    }

    fn value(set: &DynamicCounters, value: &str, now: Instant) -> Option<f64> {
        shown(set, now).into_iter().find(|(known, _)| known == value).map(|(_, count)| count)
    }

    #[test]
    fn a_series_starts_at_0_and_shows_its_count_later() {
        let (set, start) = (set(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        set.declare(["0"]);
        set.inc("0", start);
        set.inc("24", start);
        for moment in [at(0), at(30), at(74)] {
            assert_eq!(value(&set, "24", moment), Some(0.0));
            assert_eq!(value(&set, "0", moment), Some(1.0));
        }
        set.inc("24", at(60));
        assert_eq!(value(&set, "24", at(75)), Some(2.0));
        // No scrape is needed before.
        set.inc("7", at(75));
        assert_eq!(value(&set, "7", at(149)), Some(0.0));
        assert_eq!(value(&set, "7", at(150)), Some(1.0));
        set.inc("7", at(151));
        assert_eq!(value(&set, "7", at(151)), Some(2.0), "an older series counts at once");
        assert!(BIRTH_DELAY > Duration::from_secs(60) && BIRTH_DELAY < Duration::from_secs(120));
    }

    #[test]
    fn a_later_declaration_changes_no_existing_series() {
        let (set, start) = (set(), Instant::now());
        set.declare(["0"]);
        set.inc("24", start);
        set.inc("0", start);
        set.declare(["0", "24", "30"]);
        let expected = [("0", 1.0), ("24", 0.0), ("30", 0.0)];
        assert_eq!(shown(&set, start), expected.map(|(code, count)| (code.to_owned(), count)));
        assert_eq!(value(&set, "24", start + BIRTH_DELAY), Some(1.0));
    }

    #[test]
    fn declared_values_count_towards_the_limit_and_are_never_other() {
        let (set, start) = (set(), Instant::now());
        set.declare((0..60).map(|code| code.to_string()));
        for code in 1_000..1_010 {
            set.inc(&code.to_string(), start);
        }
        set.declare(["late"]);
        set.inc("late", start);
        set.inc("1003", start);
        let later = start + BIRTH_DELAY;
        assert_eq!(value(&set, OTHER, start), Some(0.0), "it starts at 0 like any other");
        assert_eq!(value(&set, OTHER, later), Some(6.0));
        assert_eq!(value(&set, "1003", later), Some(2.0));
        assert_eq!(value(&set, "1004", later), None);
        assert_eq!(value(&set, "late", start), Some(1.0));
        assert_eq!(shown(&set, start).len(), 60 + 4 + 2);
    }
}
