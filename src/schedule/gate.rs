//! Whether a provider may be sent a request now: requests under way, rate limit, pauses, and
//! credentials that were refused. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::cadence::Cadence;
use super::verdict::Verdict;
use crate::config::Limits;

/// The longest pause that an upstream can impose with `Retry-After`: a gateway that asks for a day
/// must not silence its alerts for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What stands between a due poll and its request.
#[derive(Debug)]
pub struct Gate {
    in_flight: usize,
    max_in_flight: usize,
    budget: Option<Budget>,
    /// Nothing starts before this moment: the provider has asked for it.
    paused_until: Option<Instant>,
    /// Nothing starts before this moment: there are no credentials to send.
    locked_until: Option<Instant>,
    /// While the credentials are refused.
    probing: Option<Probing>,
    /// Since when requests have been held back by the budget or a pause.
    throttled_since: Option<Instant>,
    throttled: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Probing {
    refusals: u32,
    next: Instant,
}

/// What a request has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// This moment.
    Until(Instant),
    /// The end of a request that is under way.
    Busy,
}

impl Gate {
    /// An open gate.
    pub fn new(limits: &Limits) -> Self {
        Self {
            in_flight: 0,
            max_in_flight: limits.max_in_flight,
            budget: limits.rate_limit.map(Budget::new),
            paused_until: None,
            locked_until: None,
            probing: None,
            throttled_since: None,
            throttled: Duration::ZERO,
        }
    }

    /// Takes on new limits. What the provider has asked for or refused stays.
    pub fn reconfigure(&mut self, old: &Limits, new: &Limits, now: Instant) {
        self.max_in_flight = new.max_in_flight;
        if old.rate_limit != new.rate_limit {
            let before = self.budget;
            self.budget = new.rate_limit.map(|limit| match before {
                Some(before) => before.with_limit(limit, now),
                None => Budget::new(limit),
            });
        }
    }

    /// Lets a request through, which counts as under way until [`Gate::leave`].
    ///
    /// # Errors
    /// When it may not start: what it has to wait for.
    pub fn enter(&mut self, now: Instant) -> Result<(), Closed> {
        if self.in_flight >= self.max_in_flight {
            // Slowness of the upstream, not a limit that somebody set on the rate.
            self.release(now);
            return Err(Closed::Busy);
        }
        if let Some(until) = self.locked_until.filter(|until| *until > now) {
            self.release(now);
            return Err(Closed::Until(until));
        }
        if let Some(until) = self.paused_until {
            if until > now {
                return Err(self.throttle(until, now));
            }
            self.paused_until = None;
        }
        if let Some(probing) = self.probing {
            if self.in_flight > 0 {
                self.release(now);
                return Err(Closed::Busy);
            }
            if probing.next > now {
                self.release(now);
                return Err(Closed::Until(probing.next));
            }
        }
        if let Some(Err(at)) = self.budget.as_mut().map(|budget| budget.spend(now)) {
            return Err(self.throttle(at, now));
        }
        self.release(now);
        self.in_flight += 1;
        Ok(())
    }

    /// A request has ended.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request that was let through is not sent: as if it had never entered.
    pub fn withdraw(&mut self) {
        self.leave();
        if let Some(budget) = &mut self.budget {
            budget.give_back();
        }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The provider has asked to be left alone for a while.
    pub fn retry_after(&mut self, delay: Duration, now: Instant) {
        let until = now + delay.min(MAX_RETRY_AFTER);
        self.paused_until = Some(self.paused_until.map_or(until, |already| already.max(until)));
    }

    /// There are no credentials to send before `until`, when it is looked for them again. Not a
    /// matter of rates.
    pub fn lock(&mut self, until: Instant) {
        self.locked_until = Some(until);
    }

    /// There are credentials to send.
    pub fn unlock(&mut self) {
        self.locked_until = None;
    }

    /// Another server is asked from now on: what the one until now has asked for does not bind it.
    pub fn end_pause(&mut self) {
        self.paused_until = None;
    }

    /// Whether the credentials were refused.
    pub fn is_probing(&self) -> bool {
        self.probing.is_some()
    }

    /// Forgets that credentials were refused: there are new ones.
    pub fn trust_again(&mut self) {
        self.probing = None;
    }

    /// Refused credentials close the gate but for one request at a time, ever more rarely; any
    /// answer that is not a refusal opens it. The time between them is the backoff of `cadence`
    /// for a task with this hash.
    pub fn judge_credentials(
        &mut self,
        verdict: Verdict,
        cadence: &Cadence,
        hash: u64,
        now: Instant,
    ) {
        match (verdict, &mut self.probing) {
            (Verdict::Refused, None) => {
                self.probing = Some(Probing { refusals: 1, next: cadence.backoff(hash, 1, now) });
            }
            // A refusal of a poll that began before the pause tells nothing new.
            (Verdict::Refused, Some(probing)) if probing.next <= now => {
                probing.refusals = probing.refusals.saturating_add(1);
                probing.next = cadence.backoff(hash, probing.refusals, now);
            }
            (Verdict::Refused | Verdict::Unreached, _) => {}
            (Verdict::Open | Verdict::Final | Verdict::Failed | Verdict::Denied(_), _) => {
                self.probing = None;
            }
        }
    }

    /// Nothing is due, so nothing is held back.
    pub fn release(&mut self, now: Instant) {
        if let Some(since) = self.throttled_since.take() {
            self.throttled += now.saturating_duration_since(since);
        }
    }

    /// The time that requests were held back since this was last asked.
    pub fn take_throttled(&mut self, now: Instant) -> Duration {
        if self.throttled_since.is_some() {
            self.release(now);
            self.throttled_since = Some(now);
        }
        std::mem::take(&mut self.throttled)
    }

    fn throttle(&mut self, until: Instant, now: Instant) -> Closed {
        self.throttled_since.get_or_insert(now);
        Closed::Until(until)
    }
}
