//! Budgets of requests: the rate limit, polls that catch up, and the share of probes. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::admission::Blocked;
use crate::config::{Limits, RateLimit};

/// Maximum time between two late polls, however few the tasks are.
const MAX_SPACING: Duration = Duration::from_millis(10);
/// Time in which evenly spaced polls add up to those that may start at once.
const SPACING_TOLERANCE: Duration = Duration::from_millis(100);
/// Time between two probes without a rate limit while polls are due.
const UNLIMITED_SPACING: Duration = Duration::from_secs(1);

/// Budget of a rate limit, by the generic cell rate algorithm. Time is an argument.
#[derive(Clone, Copy, Debug)]
pub struct RequestBudget {
    /// Time that one request uses.
    cost: Duration,
    /// Time by which requests may be early, which allows a burst.
    tolerance: Duration,
    /// Time at which the budget is full again.
    spent_until: Option<Instant>,
}

impl RequestBudget {
    /// Returns a full budget.
    pub fn new(limit: RateLimit) -> Self {
        let cost = limit.per / limit.requests.max(1);
        Self { cost, tolerance: cost * limit.burst.saturating_sub(1), spent_until: None }
    }

    /// Returns a full budget of one request every `cost`, with `tolerance` for bursts.
    pub fn even(cost: Duration, tolerance: Duration) -> Self {
        Self { cost, tolerance, spent_until: None }
    }

    /// Returns the budget under another limit. Spent requests stay spent, up to the whole new budget.
    #[must_use]
    pub fn with_limit(self, limit: RateLimit, now: Instant) -> Self {
        let new = Self::new(limit);
        let all = now + new.tolerance + new.cost;
        Self { spent_until: self.spent_until.map(|until| until.min(all)), ..new }
    }

    /// Spends one request.
    ///
    /// # Errors
    /// Fails when the budget is used up, with the time of the next request.
    pub fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now)?;
        let spent_until = self.spent_until.map_or(now, |until| until.max(now));
        self.spent_until = Some(spent_until + self.cost);
        Ok(())
    }

    /// Checks whether a request could be spent, with a part of the burst left over: that of `others`
    /// requests to one.
    ///
    /// # Errors
    /// As [`RequestBudget::spend`].
    pub fn check_leaving(&self, others: u32, now: Instant) -> Result<(), Instant> {
        let reserve = (self.tolerance + self.cost) / (others + 1) * others;
        let tolerance = self.tolerance.saturating_sub(reserve);
        Self { tolerance, ..*self }.check(now)
    }

    /// Returns a request to the budget that was not sent.
    pub fn give_back(&mut self) {
        self.spent_until = self.spent_until.and_then(|until| until.checked_sub(self.cost));
    }

    /// Checks whether a request could be spent.
    ///
    /// # Errors
    /// As [`RequestBudget::spend`].
    pub fn check(&self, now: Instant) -> Result<(), Instant> {
        match self.spent_until.and_then(|until| until.checked_sub(self.tolerance)) {
            Some(allowed_at) if allowed_at > now => Err(allowed_at),
            _ => Ok(()),
        }
    }
}

/// Pace of polls that catch up after a pause: at most twice the rate at which polls become due, since a
/// provider that has just asked for a pause must not receive a burst. `None` while no poll is late.
#[derive(Debug, Default)]
pub struct CatchUp(Option<RequestBudget>);

impl CatchUp {
    /// Checks whether a poll may start that `is_late`, or that became due while others catch up: it has to
    /// wait for its turn, or all of them would start at once. `requests` requests become due in each
    /// `interval`.
    ///
    /// # Errors
    /// Fails when it may not start yet, with the time at which it may.
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
        let even = || RequestBudget::even(spacing, SPACING_TOLERANCE);
        self.0.get_or_insert_with(even).check(now)
    }

    /// Counts a request that starts.
    pub fn spend(&mut self, now: Instant) {
        if let Some(budget) = &mut self.0 {
            let _ = budget.spend(now);
        }
    }

    /// Ends catching up, because no poll is due.
    pub fn end(&mut self) {
        self.0 = None;
    }
}

/// Share of probes in the requests of a provider: polls come first.
#[derive(Debug)]
pub struct ProbeShare {
    max_in_flight: usize,
    /// Number of poll requests between two probes while polls are due.
    polls_between: u32,
    is_rate_limited: bool,
    in_flight: usize,
    /// Number of poll requests since the start of the last probe.
    polls: u32,
    /// Earliest start of the next probe while polls are due.
    next: Option<Instant>,
}

impl ProbeShare {
    /// Returns an unused share.
    pub fn new(limits: &Limits) -> Self {
        let mut share = Self {
            max_in_flight: 1,
            polls_between: 1,
            is_rate_limited: false,
            in_flight: 0,
            polls: u32::MAX,
            next: None,
        };
        share.reconfigure(limits);
        share
    }

    /// Applies new limits; the used part stays used.
    pub fn reconfigure(&mut self, limits: &Limits) {
        self.max_in_flight = limits.probe.max_in_flight;
        self.polls_between = limits.probe.polls_between();
        self.is_rate_limited = limits.rate_limit.is_some();
    }

    /// Returns the number of poll requests between two probes while polls are due.
    pub fn polls_between(&self) -> u32 {
        self.polls_between
    }

    /// Checks whether a probe has the next turn.
    ///
    /// # Errors
    /// Fails when it has not, with the reason. [`Blocked::Busy`] means until a probe ends or a poll starts.
    pub fn check(&self, polls_are_due: bool, now: Instant) -> Result<(), Blocked> {
        if self.in_flight >= self.max_in_flight {
            return Err(Blocked::Busy);
        }
        if !polls_are_due {
            return Ok(());
        }
        if self.polls < self.polls_between {
            return Err(Blocked::Busy);
        }
        match self.next {
            Some(next) if next > now => Err(Blocked::Throttled(next)),
            _ => Ok(()),
        }
    }

    /// Counts a poll request.
    pub fn poll_started(&mut self) {
        self.polls = self.polls.saturating_add(1);
    }

    /// Counts a probe that starts.
    pub fn probe_started(&mut self, now: Instant) {
        self.in_flight += 1;
        self.polls = 0;
        self.next = (!self.is_rate_limited).then(|| now + UNLIMITED_SPACING);
    }

    /// Counts a probe that took `took`. If polls have waited for it, they get the time of as many requests
    /// as there are between two probes.
    pub fn probe_ended(&mut self, took: Duration, has_held_polls: bool, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if has_held_polls {
            let next = now + took.saturating_mul(self.polls_between);
            self.next = self.next.max(Some(next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProbeLimits;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits { probe: ProbeLimits { max_in_flight: 1, share: 0.25 }, ..Limits::default() }
    }

    fn spend_all(budget: &mut RequestBudget, now: Instant) -> (u32, Duration) {
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
        let mut budget = RequestBudget::new(RateLimit { requests: 20, per: second, burst: 40 });
        assert_eq!(spend_all(&mut budget, now), (40, Duration::from_millis(50)));
        assert_eq!(spend_all(&mut budget, now + second).0, 20);
        assert_eq!(spend_all(&mut budget, now + 60 * second).0, 40, "no more than a burst is kept");
    }

    #[test]
    fn another_limit_keeps_spent_requests() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut slow = RequestBudget::new(RateLimit { requests: 1, per: 60 * second, burst: 3 });
        assert_eq!(spend_all(&mut slow, now).0, 3);
        let limit = RateLimit { requests: 2, per: second, burst: 4 };
        let mut fast = slow.with_limit(limit, now);
        assert_eq!(spend_all(&mut fast, now), (0, second / 2), "spent, and soon earned again");
        assert_eq!(spend_all(&mut fast, now + second).0, 2);
        assert_eq!(spend_all(&mut RequestBudget::new(limit).with_limit(limit, now), now).0, 4);
    }

    #[test]
    fn less_than_one_a_second() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut budget = RequestBudget::new(RateLimit { requests: 2, per: minute, burst: 1 });
        assert_eq!(spend_all(&mut budget, now), (1, minute / 2));
        assert_eq!(spend_all(&mut budget, now + minute / 2), (1, minute / 2));
    }

    #[test]
    fn without_due_polls_only_max_in_flight_limits_probes() {
        let now = Instant::now();
        let mut share = ProbeShare::new(&limits());
        assert_eq!(share.check(false, now), Ok(()));
        share.probe_started(now);
        assert_eq!(share.check(false, now), Err(Blocked::Busy));
        share.probe_ended(SECOND, false, now);
        assert_eq!(share.check(false, now), Ok(()));
    }

    #[test]
    fn while_polls_are_due_probes_get_their_share() {
        let rate_limit = RateLimit { requests: 1, per: SECOND, burst: 1 };
        let now = Instant::now();
        for limit in [Some(rate_limit), None] {
            let mut share = ProbeShare::new(&Limits { rate_limit: limit, ..limits() });
            assert_eq!(share.check(true, now), Ok(()), "the first has its turn at once");
            share.probe_started(now);
            share.probe_ended(Duration::ZERO, false, now);
            for _ in 0..3 {
                assert_eq!(share.check(true, now), Err(Blocked::Busy));
                share.poll_started();
            }
            let expected =
                if limit.is_some() { Ok(()) } else { Err(Blocked::Throttled(now + SECOND)) };
            assert_eq!(share.check(true, now), expected);
            assert_eq!(share.check(true, now + SECOND), Ok(()));
        }
    }

    #[test]
    fn polls_that_waited_for_a_probe_get_the_time_of_several() {
        let now = Instant::now();
        let mut share = ProbeShare::new(&limits());
        share.probe_started(now);
        share.probe_ended(10 * SECOND, true, now + 10 * SECOND);
        (0..9).for_each(|_| share.poll_started());
        let until = now + 40 * SECOND;
        assert_eq!(share.check(true, now + 11 * SECOND), Err(Blocked::Throttled(until)));
        assert_eq!(share.check(true, until), Ok(()));
        assert_eq!(share.check(false, now + 11 * SECOND), Ok(()));
    }
}
