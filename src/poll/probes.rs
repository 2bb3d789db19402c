//! The probes that wait for their turn at one provider.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::PollResult;
use crate::schedule::admission::{Pause, PauseReason};
use crate::task::Task;
use crate::telemetry::provider::{ProbeResult, ProviderTelemetry};

/// Maximum number of probes that wait for their turn; more are refused.
pub const MAX_PROBES: usize = 64;

/// Least time that a probe needs to be sent, unless half of its time is shorter.
const MIN_TIME: Duration = Duration::from_secs(1);

/// A request of a client to poll a task now.
pub struct Probe {
    /// The task to poll.
    pub task: Task,
    /// Time by which the poll has to end.
    pub deadline: Option<Instant>,
    /// Time of the client's request.
    pub asked: Instant,
    /// Channel to the client.
    pub reply: ProbeReply,
}

/// Channel to the client of a probe. A probe that is dropped without a reply is counted as `busy`.
pub struct ProbeReply {
    client: Option<oneshot::Sender<Result<PollResult, ProbeError>>>,
    telemetry: Arc<ProviderTelemetry>,
}

/// Error of a probe that was not sent, or whose response came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// The provider is paused, for this time from now on.
    Paused(PauseReason, Duration),
    /// The deadline has passed.
    TimedOut,
    /// Too many other probes wait.
    QueueFull,
    /// The provider's worker has panicked and is restarted after a while.
    Restarting,
    /// The provider has left the configuration, or the process is ending.
    Stopped,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paused(reason, left) => {
                let reason = match reason {
                    PauseReason::RetryAfter => "the provider asked for a pause",
                    PauseReason::Refused => {
                        "the provider rejects the credentials, which are retried from time to time"
                    }
                    PauseReason::Unreadable => "the credentials cannot be read",
                };
                let left = left.as_secs_f64();
                return write!(f, "the provider is paused for {left:.3} s more: {reason}");
            }
            Self::TimedOut => "the provider is busy; the probe got no turn in time",
            Self::QueueFull => "the provider is busy; too many probes are waiting for a turn",
            Self::Restarting => "the provider's worker panicked; it restarts after a delay",
            Self::Stopped => {
                "the provider was removed from the configuration, or the exporter is stopping"
            }
        })
    }
}

impl Probe {
    /// Reports whether the client has gone, or too little time is left for a poll.
    fn is_expired(&self, now: Instant) -> bool {
        let has_time = |deadline: Instant| {
            let enough = MIN_TIME.min(deadline.saturating_duration_since(self.asked) / 2);
            deadline.saturating_duration_since(now) >= enough
        };
        self.reply.is_closed() || !self.deadline.is_none_or(has_time)
    }
}

impl ProbeReply {
    /// Returns the channel to a client that holds the receiver.
    pub fn new(
        client: oneshot::Sender<Result<PollResult, ProbeError>>,
        telemetry: Arc<ProviderTelemetry>,
    ) -> Self {
        Self { client: Some(client), telemetry }
    }

    /// Sends a reply, and counts the probe by it.
    pub fn send(mut self, reply: Result<PollResult, ProbeError>) {
        let result = match &reply {
            Ok(result) if result.outcomes.iter().all(Result::is_ok) => ProbeResult::Success,
            Ok(_) => ProbeResult::Failure,
            Err(ProbeError::Paused(..)) => ProbeResult::Paused,
            Err(_) => ProbeResult::Busy,
        };
        self.telemetry.count_probe(result);
        if let Some(client) = self.client.take() {
            // The client may have gone.
            drop(client.send(reply));
        }
    }

    fn is_closed(&self) -> bool {
        self.client.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Drop for ProbeReply {
    fn drop(&mut self) {
        if self.client.is_some() {
            self.telemetry.count_probe(ProbeResult::Busy);
        }
    }
}

/// Queue of probes, in the order of their arrival.
#[derive(Default)]
pub struct ProbeQueue(VecDeque<Probe>);

impl ProbeQueue {
    /// Adds a probe, or refuses it if the queue is full.
    pub fn push(&mut self, probe: Probe) {
        self.expire(Instant::now());
        if self.0.len() < MAX_PROBES {
            self.0.push_back(probe);
        } else {
            probe.reply.send(Err(ProbeError::QueueFull));
        }
    }

    /// Removes the probes whose clients have gone, and fails those that have too little time left for
    /// a poll, which would cost the provider a request in vain.
    pub fn expire(&mut self, now: Instant) {
        if self.0.iter().any(|probe| probe.is_expired(now)) {
            let all = std::mem::take(&mut self.0).into_iter();
            let (expired, waiting): (VecDeque<_>, _) = all.partition(|probe| probe.is_expired(now));
            self.0 = waiting;
            for probe in expired {
                probe.reply.send(Err(ProbeError::TimedOut));
            }
        }
    }

    /// Reports whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the first probe.
    pub fn pop(&mut self) -> Option<Probe> {
        self.0.pop_front()
    }

    /// Fails all probes because of `pause`.
    pub fn refuse(&mut self, pause: Pause, now: Instant) {
        let left = pause.until.saturating_duration_since(now);
        for probe in self.0.drain(..) {
            probe.reply.send(Err(ProbeError::Paused(pause.reason, left)));
        }
    }
}
