//! Admission of requests to a provider: requests in flight, the rate limit, pauses, and refused
//! credentials. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::RequestBudget;
use super::cadence::Cadence;
use super::dispatch::ScheduleOutcome;
use crate::config::Limits;

/// Maximum pause that a provider can ask for with `Retry-After`: a gateway that asks for a day must
/// not silence its alerts for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Conditions for a request to start.
#[derive(Debug)]
pub struct Admission {
    in_flight: usize,
    max_in_flight: usize,
    budget: Option<RequestBudget>,
    /// End of the pause that the provider has asked for.
    paused_until: Option<Instant>,
    /// End of the pause during which there are no credentials to send.
    held_until: Option<Instant>,
    /// Set while the credentials of polls are refused.
    auth_backoff: Option<AuthBackoff>,
    /// Set while the credentials of probes are refused, and no poll's have been since: the task of a probe may
    /// belong to another account, which must not stop the polls.
    probe_auth_backoff: Option<AuthBackoff>,
    /// Set while the credentials are refused for lists: an account may be allowed to ask for single tasks
    /// alone.
    list_auth_backoff: Option<AuthBackoff>,
}

/// Back-off after refused credentials.
#[derive(Clone, Copy, Debug)]
struct AuthBackoff {
    /// Number of consecutive rejections.
    rejections: u32,
    /// Time at which the credentials are tried again.
    next: Instant,
}

/// Origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The schedule.
    Poll,
    /// A client of `/probe`.
    Probe,
    /// The refresh of a list.
    List,
}

/// Reason why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The rate limit, or a pause that the provider has asked for: until this time.
    Throttled(Instant),
    /// No credentials that the provider accepts: until this time.
    NoCredentials(Instant),
    /// Another request in flight has to end first.
    Busy,
}

/// A pause during which no requests are sent to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Reason of the pause.
    pub reason: PauseReason,
    /// Time of the next request.
    pub until: Instant,
}

/// Reason of a pause.
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
    /// Returns an admission without any restriction but the limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            in_flight: 0,
            max_in_flight: limits.max_in_flight,
            budget: limits.rate_limit.map(RequestBudget::new),
            paused_until: None,
            held_until: None,
            auth_backoff: None,
            probe_auth_backoff: None,
            list_auth_backoff: None,
        }
    }

    /// Applies new limits. Pauses and refused credentials stay.
    pub fn reconfigure(&mut self, old: &Limits, new: &Limits, now: Instant) {
        self.max_in_flight = new.max_in_flight;
        if old.rate_limit != new.rate_limit {
            let before = self.budget;
            self.budget = new.rate_limit.map(|limit| match before {
                Some(before) => before.with_limit(limit, now),
                None => RequestBudget::new(limit),
            });
        }
    }

    /// Admits a request, which counts as in flight until [`Admission::complete`].
    ///
    /// # Errors
    /// Fails when it may not start yet, with the reason.
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

    /// Admits a probe while no poll is due, as [`Admission::admit`], but leaves a part of the burst: that of
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

    /// Checks everything but the rate limit.
    fn check(&mut self, now: Instant) -> Result<(), Blocked> {
        if self.is_full() {
            return Err(Blocked::Busy);
        }
        match self.pause(now) {
            None => Ok(()),
            // Until the request that tries the credentials ends.
            Some(Pause { reason: PauseReason::Refused, .. }) if self.in_flight > 0 => {
                Err(Blocked::Busy)
            }
            Some(Pause { reason: PauseReason::RetryAfter, until }) => {
                Err(Blocked::Throttled(until))
            }
            Some(Pause { until, .. }) => Err(Blocked::NoCredentials(until)),
        }
    }

    /// Returns the provider's pause at `now`, if there is one.
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

    /// Returns the pause that people should see at `now`. After credentials that are refused or cannot
    /// be read it lasts until a request, or a read, shows that they are well: attempts do not interrupt
    /// it.
    pub fn lasting_pause(&self, now: Instant) -> Option<Pause> {
        let pause = |reason| move |until: Instant| Pause { reason, until: until.max(now) };
        let asked = self.paused_until.filter(|until| *until > now);
        let refused = self.auth_backoff.map(|refused| refused.next);
        let unreadable = self.held_until.map(pause(PauseReason::Unreadable));
        let asked = asked.map(pause(PauseReason::RetryAfter));
        unreadable.or(asked).or(refused.map(pause(PauseReason::Refused)))
    }

    /// Returns the pause for probes: that of the provider, or one after refused credentials of probes.
    pub fn pause_of_probes(&self, now: Instant) -> Option<Pause> {
        let refused = self.probe_auth_backoff.filter(|refused| refused.next > now);
        let own =
            refused.map(|refused| Pause { reason: PauseReason::Refused, until: refused.next });
        self.pause(now).or(own)
    }

    /// Returns the pause for lists: that of the provider, or one after refused credentials of lists.
    pub fn pause_of_lists(&self, now: Instant) -> Option<Pause> {
        let refused = self.list_auth_backoff.filter(|refused| refused.next > now);
        let own =
            refused.map(|refused| Pause { reason: PauseReason::Refused, until: refused.next });
        self.pause(now).or(own)
    }

    /// Reports whether the maximal number of requests is in flight.
    pub fn is_full(&self) -> bool {
        self.in_flight >= self.max_in_flight
    }

    /// Counts a request that has ended.
    pub fn complete(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Cancels an admitted request that is not sent.
    pub fn cancel(&mut self) {
        self.complete();
        if let Some(budget) = &mut self.budget {
            budget.give_back();
        }
    }

    /// Returns the number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Pauses the provider for `delay`, as it has asked for, or longer if it has before.
    pub fn retry_after(&mut self, delay: Duration, now: Instant) {
        let until = now + delay.min(MAX_RETRY_AFTER);
        self.paused_until = Some(self.paused_until.map_or(until, |already| already.max(until)));
    }

    /// Pauses the provider until the next attempt to read its credentials.
    pub fn hold_until(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// Ends the pause because there are credentials to send.
    pub fn end_hold(&mut self) {
        self.held_until = None;
    }

    /// Ends the pause that the provider has asked for, because another server is used from now on.
    pub fn end_pause(&mut self) {
        self.paused_until = None;
    }

    /// Reports whether the credentials are refused.
    pub fn has_refused_credentials(&self) -> bool {
        self.auth_backoff.or(self.probe_auth_backoff).or(self.list_auth_backoff).is_some()
    }

    /// Ends the back-off after refused credentials, because there are new ones.
    pub fn reset_auth_backoff(&mut self) {
        (self.auth_backoff, self.probe_auth_backoff, self.list_auth_backoff) = (None, None, None);
    }

    /// Updates the back-off after a request. Refused credentials block all requests but one at a time, at
    /// increasing intervals; any response that is no rejection ends the back-off. A rejection of a probe
    /// blocks only probes, and one of a list only lists, until a poll shows whether the credentials are the
    /// cause. The interval is the back-off of `cadence` for a task with this hash.
    pub fn observe_auth(
        &mut self,
        outcome: ScheduleOutcome,
        requester: Requester,
        cadence: &Cadence,
        hash: u64,
        now: Instant,
    ) {
        let are_all_refused = self.auth_backoff.is_some();
        let refused = match requester {
            Requester::Probe if self.auth_backoff.is_none() => &mut self.probe_auth_backoff,
            Requester::List if self.auth_backoff.is_none() => &mut self.list_auth_backoff,
            Requester::Probe | Requester::List | Requester::Poll => &mut self.auth_backoff,
        };
        match (outcome, &refused) {
            // A request that started before the back-off adds nothing to it.
            (ScheduleOutcome::Refused, Some(refused)) if refused.next > now => {}
            (ScheduleOutcome::Refused, _) => {
                let rejections = refused.map_or(0, |refused| refused.rejections).saturating_add(1);
                *refused =
                    Some(AuthBackoff { rejections, next: cadence.backoff(hash, rejections, now) });
            }
            // While only those of a probe or a list are refused, a poll says nothing about them.
            (ScheduleOutcome::Unreached, _) | (_, None) => {}
            _ if are_all_refused => self.reset_auth_backoff(),
            _ => *refused = None,
        }
    }
}
