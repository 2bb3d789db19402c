//! Admission of requests to a provider: those under way, the rate limit, pauses, and credentials
//! that were refused. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::cadence::Cadence;
use super::outcome::PollOutcome;
use crate::config::Limits;

/// The longest pause that an upstream can impose with `Retry-After`: a gateway that asks for a day
/// must not silence its alerts for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The conditions under which a request may start.
#[derive(Debug)]
pub struct Admission {
    in_flight: usize,
    max_in_flight: usize,
    budget: Option<Budget>,
    /// Nothing starts before this moment: the provider has asked for it.
    paused_until: Option<Instant>,
    /// Nothing starts before this moment: there are no credentials to send.
    held_until: Option<Instant>,
    /// While polls are refused the credentials.
    auth_backoff: Option<AuthBackoff>,
    /// While probes are refused them and no poll has been since: the task may be one that is not
    /// ours, and whoever may ask for it must not stop the polls.
    probe_auth_backoff: Option<AuthBackoff>,
}

/// Refusals of the credentials in a row.
#[derive(Clone, Copy, Debug)]
struct AuthBackoff {
    times: u32,
    /// The moment at which they are tried again.
    next: Instant,
}

/// Those for whom a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The schedule.
    Poll,
    /// A client of `/probe`.
    Probe,
}

/// The reason for which a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The rate limit, or the provider has asked for a pause: until this moment.
    Throttled(Instant),
    /// There are no credentials that the provider accepts: until this moment.
    NoCredentials(Instant),
    /// Another request is under way and has to end.
    Busy,
}

/// A pause in which a provider is sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its reason.
    pub reason: PauseReason,
    /// The moment of the next request.
    pub until: Instant,
}

/// The reason of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// The provider has asked for it.
    RetryAfter,
    /// The provider refuses the credentials.
    Refused,
    /// The credentials cannot be read.
    Unreadable,
}

impl Admission {
    /// An open admission.
    pub fn new(limits: &Limits) -> Self {
        Self {
            in_flight: 0,
            max_in_flight: limits.max_in_flight,
            budget: limits.rate_limit.map(Budget::new),
            paused_until: None,
            held_until: None,
            auth_backoff: None,
            probe_auth_backoff: None,
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

    /// Lets a request through, which counts as under way until [`Admission::complete`].
    ///
    /// # Errors
    /// When it may not start: what it has to wait for.
    pub fn admit(&mut self, now: Instant) -> Result<(), Blocked> {
        self.check(now)?;
        match self.budget.as_mut().map(|budget| budget.spend(now)) {
            Some(Err(at)) => Err(Blocked::Throttled(at)),
            _ => {
                self.in_flight += 1;
                Ok(())
            }
        }
    }

    /// Admits a probe while no poll is due, as [`Admission::admit`] but for a part of a burst: that of
    /// `polls` requests to one probe.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub fn admit_leaving_burst(&mut self, polls: u32, now: Instant) -> Result<(), Blocked> {
        self.check(now)?;
        let budget = self.budget.as_ref();
        match budget.map(|budget| budget.check_leaving(polls, now)) {
            Some(Err(at)) => Err(Blocked::Throttled(at)),
            _ => self.admit(now),
        }
    }

    /// Checks all but the rate limit.
    fn check(&mut self, now: Instant) -> Result<(), Blocked> {
        if self.is_full() {
            return Err(Blocked::Busy);
        }
        match self.pause(now) {
            None => Ok(()),
            // Until it is known how the one request ends that tries the credentials.
            Some(Pause { reason: PauseReason::Refused, .. }) if self.in_flight > 0 => {
                Err(Blocked::Busy)
            }
            Some(Pause { reason: PauseReason::RetryAfter, until }) => {
                Err(Blocked::Throttled(until))
            }
            Some(Pause { until, .. }) => Err(Blocked::NoCredentials(until)),
        }
    }

    /// Returns the pause in which the provider is at `now`, if it is in one.
    pub fn pause(&self, now: Instant) -> Option<Pause> {
        let later = |until: &Instant| *until > now;
        let pause = |reason, until| Some(Pause { reason, until });
        if let Some(until) = self.held_until.filter(later) {
            return pause(PauseReason::Unreadable, until);
        }
        if let Some(until) = self.paused_until.filter(later) {
            return pause(PauseReason::RetryAfter, until);
        }
        let refused =
            self.auth_backoff.filter(|refused| refused.next > now || self.in_flight > 0)?;
        pause(PauseReason::Refused, refused.next.max(now))
    }

    /// Returns the pause that a probe finds: as [`Admission::pause`], and while probes are refused.
    pub fn pause_of_probes(&self, now: Instant) -> Option<Pause> {
        let refused = self.probe_auth_backoff.filter(|refused| refused.next > now);
        let own =
            refused.map(|refused| Pause { reason: PauseReason::Refused, until: refused.next });
        self.pause(now).or(own)
    }

    /// Reports whether as many requests are under way as may be.
    pub fn is_full(&self) -> bool {
        self.in_flight >= self.max_in_flight
    }

    /// A request has ended.
    pub fn complete(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request that was let through is not sent: as if it had never entered.
    pub fn cancel(&mut self) {
        self.complete();
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
    pub fn hold_until(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// There are credentials to send.
    pub fn end_hold(&mut self) {
        self.held_until = None;
    }

    /// Another server is asked from now on: what the one until now has asked for does not bind it.
    pub fn end_pause(&mut self) {
        self.paused_until = None;
    }

    /// Reports whether the credentials were refused.
    pub fn has_refused_credentials(&self) -> bool {
        self.auth_backoff.or(self.probe_auth_backoff).is_some()
    }

    /// Forgets that credentials were refused: there are new ones.
    pub fn reset_auth_backoff(&mut self) {
        (self.auth_backoff, self.probe_auth_backoff) = (None, None);
    }

    /// Refused credentials close the admission but for one request at a time, ever more rarely; any
    /// answer that is not a refusal opens it. Those that a probe is refused close it to probes: a
    /// poll will show whether it is the credentials. The time between them is the back-off of
    /// `cadence` for a task with this hash.
    pub fn observe_auth(
        &mut self,
        verdict: PollOutcome,
        requester: Requester,
        cadence: &Cadence,
        hash: u64,
        now: Instant,
    ) {
        let refused = match requester {
            Requester::Probe if self.auth_backoff.is_none() => &mut self.probe_auth_backoff,
            Requester::Probe | Requester::Poll => &mut self.auth_backoff,
        };
        match (verdict, &refused) {
            // A refusal of a request that began before the pause adds nothing.
            (PollOutcome::Refused, Some(refused)) if refused.next > now => {}
            (PollOutcome::Refused, _) => {
                let times = refused.map_or(0, |refused| refused.times).saturating_add(1);
                *refused = Some(AuthBackoff { times, next: cadence.backoff(hash, times, now) });
            }
            (PollOutcome::Unreached, _) => {}
            // Polls were not refused, so that what probes are refused is not the credentials.
            (_, None) if requester == Requester::Poll => {}
            _ => self.reset_auth_backoff(),
        }
    }
}
