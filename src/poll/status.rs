//! The status of a provider's polls, for the pages: the last usable answer, the failures since then,
//! and the pause.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::observation::{Failure, Reason};
use crate::schedule::admission::{Pause, PauseReason};

/// The polls of a provider so far, as of the moment at which they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollHistory {
    /// End of the last request with a usable answer.
    pub last_answer: Option<Timestamp>,
    /// The requests since then; `None` if there was none.
    pub failing: Option<FailingPolls>,
    /// The pause of the provider.
    pub pause: Option<CurrentPause>,
}

/// Requests in a row without a usable answer about any task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingPolls {
    /// End of the first of them.
    pub since: Timestamp,
    /// Number of them.
    pub count: u64,
    /// The failure of the last one.
    pub failure: Failure,
}

/// A pause that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentPause {
    /// Reason of the pause.
    pub reason: PauseReason,
    /// Start of the pause. Attempts to end it, one after the other, do not interrupt it.
    pub since: Timestamp,
    /// Time of the next request or attempt.
    pub until: Timestamp,
    /// Cause in words, without secrets; empty if there is none.
    pub cause: String,
}

/// The details of the last failures that led to a pause.
#[derive(Debug, Default)]
pub struct PauseCauses {
    /// Those of refused credentials.
    pub refused: Arc<str>,
    /// Those of a failure with which the provider asked for a pause.
    pub retry_after: Arc<str>,
}

impl PauseCauses {
    /// Notes the failure of a request, if it leads to a pause.
    pub fn note(&mut self, failure: Option<&Failure>, has_retry_after: bool) {
        let Some(failure) = failure else { return };
        if failure.reason == Reason::Auth {
            self.refused = Arc::clone(&failure.detail);
        }
        if has_retry_after {
            self.retry_after = Arc::clone(&failure.detail);
        }
    }
}

/// The status of the polls of one provider. Its worker writes it, and pages read it.
#[derive(Debug)]
pub struct PollStatus {
    clock: Clock,
    current: Mutex<CurrentStatus>,
}

#[derive(Debug, Default)]
struct CurrentStatus {
    last_answer: Option<Timestamp>,
    failing: Option<FailingPolls>,
    pause: Option<(Pause, Timestamp, String)>,
}

impl PollStatus {
    /// Creates the status of a provider that has not been polled.
    pub fn new(clock: Clock) -> Self {
        Self { clock, current: Mutex::default() }
    }

    /// Records the end of a request for tasks, with the failure if it had no usable answer.
    pub fn record_request(&self, failure: Option<&Failure>) {
        let now = self.clock.now();
        let mut current = self.current.lock();
        match (failure, &mut current.failing) {
            (None, _) => (current.last_answer, current.failing) = (Some(now), None),
            (Some(failure), Some(failing)) => {
                failing.count = failing.count.saturating_add(1);
                failing.failure.clone_from(failure);
            }
            (Some(failure), failing @ None) => {
                *failing = Some(FailingPolls { since: now, count: 1, failure: failure.clone() });
            }
        }
    }

    /// Sets the pause. One for the same reason as before goes on.
    pub fn set_pause(&self, pause: Option<Pause>, cause: &str) {
        let mut current = self.current.lock();
        match (pause, &mut current.pause) {
            (None, held) => *held = None,
            (Some(pause), Some((held, _, held_cause))) if held.reason == pause.reason => {
                *held = pause;
                if held_cause != cause {
                    cause.clone_into(held_cause);
                }
            }
            (Some(pause), held) => *held = Some((pause, self.clock.now(), cause.to_owned())),
        }
    }

    /// Returns the polls so far.
    pub fn history(&self) -> PollHistory {
        let (now, instant) = (self.clock.now(), Instant::now());
        let current = self.current.lock();
        let pause = current.pause.as_ref().filter(|(pause, ..)| {
            // The worker may have nothing to do at the end of the pause.
            pause.reason != PauseReason::RetryAfter || pause.until > instant
        });
        let pause = pause.map(|(pause, since, cause)| CurrentPause {
            reason: pause.reason,
            since: *since,
            until: now + pause.until.saturating_duration_since(instant),
            cause: cause.clone(),
        });
        PollHistory { last_answer: current.last_answer, failing: current.failing.clone(), pause }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_from_the_last_usable_answer() {
        let status = PollStatus::new(Clock::starting_at(at(0)));
        assert_eq!(status.history(), PollHistory::default());
        let refused = Failure::new(Reason::Connect, "connection refused");
        let late = Failure::new(Reason::Timeout, "no complete answer within 10s");
        status.record_request(Some(&refused));
        tokio::time::advance(5 * SECOND).await;
        status.record_request(Some(&late));
        let failing = FailingPolls { since: at(0), count: 2, failure: late };
        let expected = PollHistory { failing: Some(failing), ..PollHistory::default() };
        assert_eq!(status.history(), expected);
        status.record_request(None);
        let expected = PollHistory { last_answer: Some(at(5)), ..PollHistory::default() };
        assert_eq!(status.history(), expected);
        tokio::time::advance(SECOND).await;
        status.record_request(Some(&refused));
        let again = status.history();
        let failing = again.failing.unwrap();
        assert_eq!((again.last_answer, failing.since, failing.count), (Some(at(5)), at(6), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_lasts_while_its_reason_does() {
        let status = PollStatus::new(Clock::starting_at(at(0)));
        let pause = |reason, seconds: u32| {
            let until = Instant::now() + seconds * SECOND;
            status.set_pause(Some(Pause { reason, until }), "HTTP status 401");
        };
        pause(PauseReason::Refused, 30);
        tokio::time::advance(10 * SECOND).await;
        let shown = status.history().pause.unwrap();
        assert_eq!((shown.since, shown.until), (at(0), at(30)));
        assert_eq!(shown.cause, "HTTP status 401");
        // Between two attempts.
        tokio::time::advance(25 * SECOND).await;
        assert_eq!(status.history().pause.unwrap().until, at(35));
        pause(PauseReason::Refused, 60);
        let shown = status.history().pause.unwrap();
        assert_eq!((shown.since, shown.until), (at(0), at(95)));
        pause(PauseReason::RetryAfter, 10);
        assert_eq!(status.history().pause.unwrap().since, at(35));
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(status.history().pause, None, "it ends by itself");
        pause(PauseReason::Unreadable, 5);
        status.set_pause(None, "");
        assert_eq!(status.history().pause, None);
    }
}
