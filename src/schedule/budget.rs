//! How many requests a provider may be sent: the generic cell rate algorithm with time as an
//! argument. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::RateLimit;

/// What is left of a rate limit.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The time that one request uses up.
    cost: Duration,
    /// How far requests may run ahead of their time.
    tolerance: Duration,
    /// When all that was spent will have been earned again.
    spent_until: Option<Instant>,
}

impl Budget {
    /// A whole budget.
    pub fn new(limit: RateLimit) -> Self {
        let cost = limit.per / limit.requests.max(1);
        Self { cost, tolerance: cost * limit.burst.saturating_sub(1), spent_until: None }
    }

    /// A whole budget of one request every `cost`, with `tolerance` for what comes at once.
    pub fn even(cost: Duration, tolerance: Duration) -> Self {
        Self { cost, tolerance, spent_until: None }
    }

    /// The budget under another limit. What was spent stays spent, up to all that there is.
    #[must_use]
    pub fn with_limit(self, limit: RateLimit, now: Instant) -> Self {
        let new = Self::new(limit);
        let all = now + new.tolerance + new.cost;
        Self { spent_until: self.spent_until.map(|until| until.min(all)), ..new }
    }

    /// Spends one request.
    ///
    /// # Errors
    /// When nothing is left: the moment at which there will be.
    pub fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now)?;
        let spent_until = self.spent_until.map_or(now, |until| until.max(now));
        self.spent_until = Some(spent_until + self.cost);
        Ok(())
    }

    /// Checks whether a request could be spent of which `others` to one are left of a burst.
    ///
    /// # Errors
    /// As [`Budget::spend`].
    pub fn check_leaving(&self, others: u32, now: Instant) -> Result<(), Instant> {
        let reserve = (self.tolerance + self.cost) / (others + 1) * others;
        let tolerance = self.tolerance.saturating_sub(reserve);
        Self { tolerance, ..*self }.check(now)
    }

    /// Takes back a request that was spent and not sent.
    pub fn give_back(&mut self) {
        self.spent_until = self.spent_until.and_then(|until| until.checked_sub(self.cost));
    }

    /// Whether a request could be spent.
    ///
    /// # Errors
    /// As [`Budget::spend`].
    pub fn check(&self, now: Instant) -> Result<(), Instant> {
        match self.spent_until.and_then(|until| until.checked_sub(self.tolerance)) {
            Some(allowed_at) if allowed_at > now => Err(allowed_at),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_all(budget: &mut Budget, now: Instant) -> (u32, Duration) {
        let mut spent = 0;
        loop {
            match budget.spend(now) {
                Ok(()) => spent += 1,
                Err(at) => return (spent, at - now),
            }
        }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut budget = Budget::new(RateLimit { requests: 20, per: second, burst: 40 });
        assert_eq!(spend_all(&mut budget, now), (40, Duration::from_millis(50)));
        assert_eq!(spend_all(&mut budget, now + second).0, 20);
        assert_eq!(spend_all(&mut budget, now + 60 * second).0, 40, "no more than a burst is kept");
    }

    #[test]
    fn another_limit_is_no_new_budget() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut slow = Budget::new(RateLimit { requests: 1, per: 60 * second, burst: 3 });
        assert_eq!(spend_all(&mut slow, now).0, 3);
        let limit = RateLimit { requests: 2, per: second, burst: 4 };
        let mut fast = slow.with_limit(limit, now);
        assert_eq!(spend_all(&mut fast, now), (0, second / 2), "spent, and soon earned again");
        assert_eq!(spend_all(&mut fast, now + second).0, 2);
        assert_eq!(spend_all(&mut Budget::new(limit).with_limit(limit, now), now).0, 4);
    }

    #[test]
    fn less_than_one_a_second() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut budget = Budget::new(RateLimit { requests: 2, per: minute, burst: 1 });
        assert_eq!(spend_all(&mut budget, now), (1, minute / 2));
        assert_eq!(spend_all(&mut budget, now + minute / 2), (1, minute / 2));
    }
}
