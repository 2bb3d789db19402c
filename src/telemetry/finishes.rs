//! Totals of finished tasks: the values of `aitask_finished_total` and
//! `aitask_task_duration_seconds`.
//!
//! Unlike the counters of the `prometheus` crate, they can continue from the totals of a storage path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::{Bucket, Histogram, MetricFamily};
use serde::{Deserialize, Serialize};

use super::{counter_sample, family_of_samples, labelled_sample};
use crate::family::{FINISHED, TASK_DURATION};
use crate::observation::State;

/// Number of duration buckets, including `+Inf`. Changing it changes the format of the files of a
/// storage path.
const BUCKETS: usize = TASK_DURATION.buckets.len() + 1;

/// The finished tasks of each provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finishes(BTreeMap<Arc<str>, FinishTotals>);

impl Finishes {
    /// Adds a task of `provider` that ended in `state`, `duration` after it was enqueued, if that is
    /// known.
    pub fn add(&mut self, provider: &Arc<str>, state: State, duration: Option<Duration>) {
        self.of(provider).add(state, duration);
    }

    /// Adds the totals of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (provider, totals) in &other.0 {
            self.of(provider).merge(totals);
        }
    }

    /// Replaces the totals of a provider.
    pub fn insert(&mut self, provider: Arc<str>, totals: FinishTotals) {
        self.0.insert(provider, totals);
    }

    /// Returns the totals of a provider.
    pub fn get(&self, provider: &str) -> Option<&FinishTotals> {
        self.0.get(provider)
    }

    /// Returns the providers and their totals, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &FinishTotals)> {
        self.0.iter()
    }

    /// Removes the providers for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|provider, _| keep(provider));
    }

    /// Returns the number of providers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Reports whether there is no provider.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&mut self, provider: &Arc<str>) -> &mut FinishTotals {
        self.0.entry(Arc::clone(provider)).or_default()
    }
}

/// The finished tasks of one provider, by the state in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FinishTotals([StateTotals; State::FINAL.len()]);

/// The tasks that ended in one state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct StateTotals {
    /// Number of tasks.
    tasks: u64,
    /// Number of tasks whose duration is known, by the bucket of the duration.
    durations: [u64; BUCKETS],
    /// Sum of the durations, which is exact, so that it does not depend on their order.
    sum: Duration,
}

impl FinishTotals {
    /// Adds a task. States that are not in [`State::FINAL`] are ignored.
    pub fn add(&mut self, state: State, duration: Option<Duration>) {
        let known = State::FINAL.into_iter().zip(&mut self.0);
        for (_, totals) in known.filter(|(known, _)| *known == state) {
            totals.add(duration);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (totals, more) in self.0.iter_mut().zip(&other.0) {
            totals.merge(more);
        }
    }

    /// Reports whether these can be the totals of any tasks.
    pub fn is_plausible(&self) -> bool {
        self.0.iter().all(|totals| totals.timed() <= u128::from(totals.tasks))
    }

    /// Reports whether these can be later totals than `earlier`.
    pub fn continues(&self, earlier: &Self) -> bool {
        self.0.iter().zip(&earlier.0).all(|(totals, earlier)| {
            let mut counts = totals.durations.iter().zip(&earlier.durations);
            totals.tasks >= earlier.tasks
                && totals.sum >= earlier.sum
                && counts.all(|(count, earlier)| count >= earlier)
        })
    }

    /// Returns both families of the provider.
    pub(super) fn collect(&self, provider: &str) -> [MetricFamily; 2] {
        let (mut tasks, mut durations) = (Vec::new(), Vec::new());
        for (state, totals) in State::FINAL.into_iter().zip(&self.0) {
            let labels = [("provider", provider), ("state", state.as_str())];
            tasks.push(counter_sample(&labels, totals.tasks));
            let mut metric = labelled_sample(&labels);
            metric.set_histogram(totals.histogram());
            durations.push(metric);
        }
        [family_of_samples(&FINISHED, tasks), family_of_samples(&TASK_DURATION, durations)]
    }
}

impl StateTotals {
    fn add(&mut self, duration: Option<Duration>) {
        self.tasks = self.tasks.saturating_add(1);
        let Some(duration) = duration else { return };
        let seconds = duration.as_secs_f64();
        let bounds = TASK_DURATION.buckets.iter();
        let bucket = bounds.take_while(|bound| seconds > **bound).count();
        if let Some(count) = self.durations.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(duration);
    }

    fn merge(&mut self, other: &Self) {
        self.tasks = self.tasks.saturating_add(other.tasks);
        for (count, more) in self.durations.iter_mut().zip(other.durations) {
            *count = count.saturating_add(more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Returns the number of tasks whose duration is known.
    fn timed(&self) -> u128 {
        self.durations.iter().copied().map(u128::from).sum()
    }

    fn histogram(&self) -> Histogram {
        let mut count: u64 = 0;
        let mut buckets = Vec::with_capacity(TASK_DURATION.buckets.len());
        for (bound, more) in TASK_DURATION.buckets.iter().zip(self.durations) {
            count = count.saturating_add(more);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_sample_count(u64::try_from(self.timed()).unwrap_or(u64::MAX));
        histogram.set_sample_sum(self.sum.as_secs_f64());
        histogram.set_bucket(buckets);
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns buckets, sum and count of the histogram of succeeded tasks.
    fn histogram(totals: &FinishTotals) -> (Vec<u64>, f64, u64) {
        let [_, durations] = totals.collect("p");
        let histogram = durations.get_metric()[0].get_histogram();
        let buckets = histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        (buckets, histogram.get_sample_sum(), histogram.get_sample_count())
    }

    #[test]
    fn a_histogram_counts_as_the_library_does() {
        let mut totals = FinishTotals::default();
        let library = super::super::histogram(&TASK_DURATION, &[]);
        for millis in [0, 999, 1_000, 1_001, 5_000, 7_200_000, 7_200_001, 99_999_999] {
            let duration = Duration::from_millis(millis);
            totals.add(State::Succeeded, Some(duration));
            library.observe(duration.as_secs_f64());
        }
        totals.add(State::Succeeded, None);
        let (buckets, sum, count) = histogram(&totals);
        let family = &prometheus::core::Collector::collect(&library)[0];
        let expected = family.get_metric()[0].get_histogram();
        let expected_buckets: Vec<_> =
            expected.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert_eq!(buckets, expected_buckets);
        assert_eq!((sum, count), (expected.get_sample_sum(), expected.get_sample_count()));
        let [tasks, _] = totals.collect("p");
        assert_eq!(tasks.get_metric()[0].get_counter().get_value(), 9.0);
    }

    #[test]
    fn sums_do_not_depend_on_how_they_were_added() {
        let provider: Arc<str> = "p".into();
        let empty = FinishTotals::default();
        let durations = (0..50).map(|n| Duration::from_nanos(123_456_789 * n * n));
        let (mut all, mut odd, mut even) =
            (Finishes::default(), Finishes::default(), Finishes::default());
        for (n, duration) in durations.enumerate() {
            all.add(&provider, State::Failed, Some(duration));
            let half = if n % 2 == 0 { &mut even } else { &mut odd };
            half.add(&provider, State::Failed, Some(duration));
        }
        let totals = |finishes: &Finishes| finishes.get("p").unwrap().clone();
        assert!(totals(&all).continues(&totals(&odd)) && totals(&odd).continues(&empty));
        assert!(!totals(&odd).continues(&totals(&all)) && !empty.continues(&totals(&odd)));
        odd.merge(&even);
        assert_eq!(odd, all);
        all.add(&provider, State::Running, None);
        assert_eq!(odd, all, "it has not ended");
    }

    #[test]
    fn more_durations_than_tasks_are_not_plausible() {
        let mut totals = FinishTotals::default();
        totals.add(State::Failed, Some(Duration::ZERO));
        assert!(totals.is_plausible());
        totals.0[1].durations = [u64::MAX; BUCKETS];
        assert!(!totals.is_plausible());
        // And yet nothing overflows that shows them.
        totals.0[1].tasks = u64::MAX;
        totals.0[1].add(Some(Duration::MAX));
        let [_, durations] = totals.collect("p");
        assert_eq!(durations.get_metric()[1].get_histogram().get_sample_count(), u64::MAX);
    }
}
