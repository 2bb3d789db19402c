//! The turns of probes among the requests of one provider: polls come first. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::admission::Blocked;
use crate::config::Limits;

/// Without a rate limit a turn has no cost that could be shared, so that polls which are due have
/// those of so long to themselves.
const UNLIMITED_SPACING: Duration = Duration::from_secs(1);

/// The share of probes.
#[derive(Debug)]
pub struct ProbeShare {
    max_in_flight: usize,
    /// Requests of polls that come between two probes while polls are due.
    polls_between: u32,
    is_rate_limited: bool,
    in_flight: usize,
    /// Requests of polls since the last probe started.
    polls: u32,
    /// While polls are due no probe starts before this moment.
    next: Option<Instant>,
}

impl ProbeShare {
    /// A share of which nothing was used yet.
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

    /// Takes on new limits; what was used stays used.
    pub fn reconfigure(&mut self, limits: &Limits) {
        self.max_in_flight = limits.probe.max_in_flight;
        self.polls_between = limits.probe.polls_between();
        self.is_rate_limited = limits.rate_limit.is_some();
    }

    /// Returns the number of requests of polls that come between two probes while polls are due.
    pub fn polls_between(&self) -> u32 {
        self.polls_between
    }

    /// Checks whether a probe has the next turn.
    ///
    /// # Errors
    /// When it has not: what it has to wait for. [`Blocked::Busy`] is a probe that ends or a poll
    /// that starts.
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

    /// Counts a request of polls.
    pub fn poll_started(&mut self) {
        self.polls = self.polls.saturating_add(1);
    }

    /// Counts a probe that starts.
    pub fn probe_started(&mut self, now: Instant) {
        self.in_flight += 1;
        self.polls = 0;
        self.next = (!self.is_rate_limited).then(|| now + UNLIMITED_SPACING);
    }

    /// Counts a probe that has ended after `took`. Where polls have waited for it, they have the
    /// time of as many as come between two probes.
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

    #[test]
    fn where_nothing_is_due_only_their_number_limits_probes() {
        let now = Instant::now();
        let mut share = ProbeShare::new(&limits());
        assert_eq!(share.check(false, now), Ok(()));
        share.probe_started(now);
        assert_eq!(share.check(false, now), Err(Blocked::Busy));
        share.probe_ended(SECOND, false, now);
        assert_eq!(share.check(false, now), Ok(()));
    }

    #[test]
    fn while_polls_are_due_one_request_in_so_many_is_a_probe() {
        let rate_limit = crate::config::RateLimit { requests: 1, per: SECOND, burst: 1 };
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
    fn a_probe_that_held_polls_leaves_them_the_time_of_several() {
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
