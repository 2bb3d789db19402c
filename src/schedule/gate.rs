//! Whether a provider may be sent a request now: requests under way, rate limit, pauses, and
//! credentials that were refused. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::cadence::Cadence;
use super::verdict::Verdict;
use crate::config::{Limits, ProbeLimits};

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
    /// While polls are refused the credentials.
    refused: Option<Refused>,
    /// While probes are refused them and no poll has been since: the task may be one that is not
    /// ours, and whoever may ask for it must not stop the polls.
    refused_to_probes: Option<Refused>,
}

/// Refusals of the credentials in a row.
#[derive(Clone, Copy, Debug)]
struct Refused {
    times: u32,
    /// The moment at which they are tried again.
    next: Instant,
}

/// Those for whom a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The schedule.
    Poll,
    /// A client of `/probe`.
    Probe,
}

/// The reason for which a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The rate limit, or the provider has asked for a pause: until this moment.
    Throttled(Instant),
    /// There are no credentials that the provider accepts: until this moment.
    Locked(Instant),
    /// Another request is under way and has to end.
    Busy,
}

/// A pause in which a provider is sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its cause.
    pub cause: Cause,
    /// The moment of the next request.
    pub until: Instant,
}

/// The cause of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The provider has asked for it.
    RetryAfter,
    /// The provider refuses the credentials.
    Refused,
    /// The credentials cannot be read.
    Unreadable,
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
            refused: None,
            refused_to_probes: None,
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
        self.check(now)?;
        match self.budget.as_mut().map(|budget| budget.spend(now)) {
            Some(Err(at)) => Err(Closed::Throttled(at)),
            _ => {
                self.in_flight += 1;
                Ok(())
            }
        }
    }

    /// As [`Gate::enter`] for a probe while no poll is due: of a burst it leaves polls the part
    /// that is not the probes' own.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn enter_leaving_a_burst(
        &mut self,
        limits: ProbeLimits,
        now: Instant,
    ) -> Result<(), Closed> {
        self.check(now)?;
        let budget = self.budget.as_ref();
        match budget.map(|budget| budget.check_leaving(limits.polls_between, now)) {
            Some(Err(at)) => Err(Closed::Throttled(at)),
            _ => self.enter(now),
        }
    }

    /// Checks all but the rate limit.
    fn check(&mut self, now: Instant) -> Result<(), Closed> {
        if self.in_flight >= self.max_in_flight {
            return Err(Closed::Busy);
        }
        match self.pause(now) {
            None => Ok(()),
            // Until it is known how the one request ends that tries the credentials.
            Some(_) if self.is_trying(now) => Err(Closed::Busy),
            Some(Pause { cause: Cause::RetryAfter, until }) => Err(Closed::Throttled(until)),
            Some(Pause { until, .. }) => Err(Closed::Locked(until)),
        }
    }

    /// Returns the pause in which the provider is at `now`, if it is in one.
    pub fn pause(&self, now: Instant) -> Option<Pause> {
        let later = |until: &Instant| *until > now;
        let pause = |cause, until| Some(Pause { cause, until });
        if let Some(until) = self.locked_until.filter(later) {
            return pause(Cause::Unreadable, until);
        }
        if let Some(until) = self.paused_until.filter(later) {
            return pause(Cause::RetryAfter, until);
        }
        let refused = self.refused.filter(|refused| refused.next > now || self.in_flight > 0)?;
        pause(Cause::Refused, refused.next.max(now))
    }

    /// Returns the pause that a probe finds: as [`Gate::pause`], and while probes are refused.
    pub fn pause_of_probes(&self, now: Instant) -> Option<Pause> {
        let refused = self.refused_to_probes.filter(|refused| refused.next > now);
        let own = refused.map(|refused| Pause { cause: Cause::Refused, until: refused.next });
        self.pause(now).or(own)
    }

    /// Reports whether the credentials are being tried that were refused.
    fn is_trying(&self, now: Instant) -> bool {
        let is_later = |until: Option<Instant>| until.is_some_and(|until| until > now);
        !is_later(self.locked_until)
            && !is_later(self.paused_until)
            && self.in_flight > 0
            && self.refused.is_some()
    }

    /// Reports whether as many requests are under way as may be.
    pub fn is_full(&self) -> bool {
        self.in_flight >= self.max_in_flight
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

    /// Reports whether the credentials were refused.
    pub fn is_refused(&self) -> bool {
        self.refused.or(self.refused_to_probes).is_some()
    }

    /// Forgets that credentials were refused: there are new ones.
    pub fn trust_again(&mut self) {
        (self.refused, self.refused_to_probes) = (None, None);
    }

    /// Refused credentials close the gate but for one request at a time, ever more rarely; any
    /// answer that is not a refusal opens it. Those that a probe is refused close it to probes: a
    /// poll will show whether it is the credentials. The time between them is the back-off of
    /// `cadence` for a task with this hash.
    pub fn judge_credentials(
        &mut self,
        verdict: Verdict,
        asker: Asker,
        cadence: &Cadence,
        hash: u64,
        now: Instant,
    ) {
        let refused = match asker {
            Asker::Probe if self.refused.is_none() => &mut self.refused_to_probes,
            Asker::Probe | Asker::Poll => &mut self.refused,
        };
        match (verdict, &refused) {
            // A refusal of a request that began before the pause adds nothing.
            (Verdict::Refused, Some(refused)) if refused.next > now => {}
            (Verdict::Refused, _) => {
                let times = refused.map_or(0, |refused| refused.times).saturating_add(1);
                *refused = Some(Refused { times, next: cadence.backoff(hash, times, now) });
            }
            (Verdict::Unreached, _) => {}
            (Verdict::Open | Verdict::Final | Verdict::Failed | Verdict::Denied(_), _) => {
                self.trust_again();
            }
        }
    }
}
