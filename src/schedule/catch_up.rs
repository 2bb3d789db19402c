//! The pace of polls that were held back. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;

/// However few the tasks, so much time between two late polls is enough.
const MAX_SPACING: Duration = Duration::from_millis(10);
/// As many polls may start at once as would start evenly in so much time.
const SPACING_TOLERANCE: Duration = Duration::from_millis(100);

/// While late polls are made up for: at no more than twice the rate at which polls come due, since
/// a burst is the last thing that a provider needs which has just asked for a pause.
#[derive(Debug, Default)]
pub struct CatchUp(Option<Budget>);

impl CatchUp {
    /// Checks whether a poll may start that `is_late`, or that has come due while others were made
    /// up for: it waits its turn, or all of them would start at once. A request comes due each
    /// `interval` divided by `requests`.
    ///
    /// # Errors
    /// When it may not: the moment at which it may.
    pub fn check(
        &mut self,
        is_late: bool,
        interval: Duration,
        requests: usize,
        now: Instant,
    ) -> Result<(), Instant> {
        if self.0.is_none() && !is_late {
            return Ok(());
        }
        let requests = u32::try_from(requests).unwrap_or(u32::MAX).max(1);
        let spacing = (interval / 2 / requests).min(MAX_SPACING);
        let even = || Budget::even(spacing, SPACING_TOLERANCE);
        self.0.get_or_insert_with(even).check(now)
    }

    /// A request starts that was found to be in budget.
    pub fn spend(&mut self, now: Instant) {
        if let Some(budget) = &mut self.0 {
            let _ = budget.spend(now);
        }
    }

    /// Nothing is due any more.
    pub fn end(&mut self) {
        self.0 = None;
    }
}
