//! Probes that wait for their turn at one provider.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Polled;
use crate::schedule::admission::{Pause, PauseReason};
use crate::task::Task;
use crate::telemetry::provider::{ProbeResult, ProviderTelemetry};

/// Probes that wait for their turn; more are refused.
pub const MAX_PROBES: usize = 64;

/// With less time left, or with less than half of its time, a probe is not sent any more.
const MIN_TIME: Duration = Duration::from_secs(1);

/// A request of a client to poll a task now.
pub struct Probe {
    /// The task.
    pub task: Task,
    /// Moment by which its poll has to end.
    pub deadline: Option<Instant>,
    /// Moment at which the client asked.
    pub asked: Instant,
    /// The way back to the client.
    pub reply: Reply,
}

/// The way back to the client of a probe. A probe that is dropped without an answer has found the
/// provider busy, and is counted so.
pub struct Reply {
    client: Option<oneshot::Sender<Result<Polled, NoTurn>>>,
    telemetry: Arc<ProviderTelemetry>,
}

/// Reasons for which a probe was not sent, or its answer not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// The provider is sent nothing for so much longer.
    Paused(PauseReason, Duration),
    /// There was no answer in time.
    TimedOut,
    /// Too many others wait.
    QueueFull,
    /// The provider's worker has panicked, and begins again after a while.
    Restarting,
    /// The provider has left the configuration, or the process is ending.
    Ended,
}

impl fmt::Display for NoTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paused(reason, left) => {
                let reason = match reason {
                    PauseReason::RetryAfter => "it has asked to be left alone",
                    PauseReason::Refused => {
                        "it refuses the credentials, which are tried from time to time"
                    }
                    PauseReason::Unreadable => "its credentials cannot be read",
                };
                let left = left.as_secs_f64();
                return write!(f, "the provider is paused for {left:.3} s more: {reason}");
            }
            Self::TimedOut => "the provider is busy; the probe did not get its turn",
            Self::QueueFull => "the provider is busy; too many probes wait for their turn",
            Self::Restarting => "the provider's worker has panicked and begins again after a while",
            Self::Ended => "the provider has left the configuration, or the exporter is stopping",
        })
    }
}

impl Probe {
    fn is_over(&self, now: Instant) -> bool {
        let has_time = |deadline: Instant| {
            let enough = MIN_TIME.min(deadline.saturating_duration_since(self.asked) / 2);
            deadline.saturating_duration_since(now) >= enough
        };
        self.reply.has_left() || !self.deadline.is_none_or(has_time)
    }
}

impl Reply {
    /// The way to a client that holds the other end.
    pub fn new(
        client: oneshot::Sender<Result<Polled, NoTurn>>,
        telemetry: Arc<ProviderTelemetry>,
    ) -> Self {
        Self { client: Some(client), telemetry }
    }

    /// Answers.
    pub fn send(mut self, answer: Result<Polled, NoTurn>) {
        let result = match &answer {
            Ok(polled) if polled.outcomes.iter().all(Result::is_ok) => ProbeResult::Success,
            Ok(_) => ProbeResult::Failure,
            Err(NoTurn::Paused(..)) => ProbeResult::Paused,
            Err(_) => ProbeResult::Busy,
        };
        self.telemetry.probed(result);
        if let Some(client) = self.client.take() {
            // The one who asked may have left.
            drop(client.send(answer));
        }
    }

    fn has_left(&self) -> bool {
        self.client.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.client.is_some() {
            self.telemetry.probed(ProbeResult::Busy);
        }
    }
}

/// The queue of probes, in the order in which they came.
#[derive(Default)]
pub struct Probes(VecDeque<Probe>);

impl Probes {
    /// Adds a probe, or refuses it where too many wait.
    pub fn push(&mut self, probe: Probe) {
        self.expire(Instant::now());
        if self.0.len() < MAX_PROBES {
            self.0.push_back(probe);
        } else {
            probe.reply.send(Err(NoTurn::QueueFull));
        }
    }

    /// Forgets those whose clients have left, and answers those that would have too little time left
    /// for a poll: it would cost the provider a request in vain.
    pub fn expire(&mut self, now: Instant) {
        if self.0.iter().any(|probe| probe.is_over(now)) {
            let all = std::mem::take(&mut self.0).into_iter();
            let (over, waiting): (VecDeque<_>, _) = all.partition(|probe| probe.is_over(now));
            self.0 = waiting;
            for probe in over {
                probe.reply.send(Err(NoTurn::TimedOut));
            }
        }
    }

    /// Reports whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Probe> {
        self.0.pop_front()
    }

    /// Answers all of them that the provider is in `pause`.
    pub fn refuse(&mut self, pause: Pause, now: Instant) {
        let left = pause.until.saturating_duration_since(now);
        for probe in self.0.drain(..) {
            probe.reply.send(Err(NoTurn::Paused(pause.reason, left)));
        }
    }
}
