//! Answers that a provider does not know a task, in a row. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// Denials in a row that are believed: several APIs answer 404 for a while.
const ENOUGH: u32 = 3;
/// Time from the first of them to the last, at least, where the provider once knew the task. Where
/// it never did, it is `stuck_after`: the gateway may learn of a new task as late as that.
const SPAN_ONCE_KNOWN: Duration = Duration::from_secs(60);

/// Denials of one task in a row, in one life of the exporter. Measured by the steady clock: a step
/// of the wall clock must not end a task that is missing for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denials {
    /// Number of denials.
    pub count: u32,
    /// The first of them, by the steady clock.
    first: Timestamp,
}

/// Consequence of a denial for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The task is lost.
    Final,
    /// One more makes the task final, if it comes after at least this time.
    FinalIn(Duration),
    /// One more does not suffice.
    Open,
}

impl Denials {
    /// Returns the run with one denial more; `before` is `None` where there was none.
    pub fn one_more(before: Option<Self>, steady: Timestamp) -> Self {
        let Self { count, first } = before.unwrap_or(Self { count: 0, first: steady });
        Self { count: count.saturating_add(1), first }
    }

    /// Returns the consequence of the last of them, which came at `steady`. `stuck_after` is the
    /// provider's.
    pub fn weigh(self, was_known: bool, stuck_after: Duration, steady: Timestamp) -> Weight {
        let span = if was_known { SPAN_ONCE_KNOWN } else { stuck_after };
        let left = span.saturating_sub(steady.since(self.first));
        if self.count >= ENOUGH && left.is_zero() {
            Weight::Final
        } else if self.count.saturating_add(1) >= ENOUGH {
            Weight::FinalIn(left)
        } else {
            Weight::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_three_of_them_and_a_while() {
        let at = |second| Timestamp::from_micros(0) + Duration::from_secs(second);
        let weights = |was_known: bool, seconds: &[u64]| {
            let mut denials = None;
            let weigh = |second: &u64| {
                let denied = Denials::one_more(denials, at(*second));
                denials = Some(denied);
                denied.weigh(was_known, Duration::from_secs(600), at(*second))
            };
            seconds.iter().map(weigh).collect::<Vec<_>>()
        };
        let left = |seconds| Weight::FinalIn(Duration::from_secs(seconds));
        let known = [Weight::Open, left(30), left(1), Weight::Final];
        assert_eq!(weights(true, &[10, 40, 69, 70]), known);
        let unknown = [Weight::Open, left(540), left(1), Weight::Final];
        assert_eq!(weights(false, &[10, 70, 609, 610]), unknown);
        // However late the second is, it takes a third.
        for was_known in [true, false] {
            let late = [Weight::Open, left(0), Weight::Final];
            assert_eq!(weights(was_known, &[10, 9_000, 9_001]), late);
        }
    }
}
