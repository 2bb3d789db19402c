//! Requests for the list of a provider, which its worker sends in their turn, and what the list shows of
//! the tasks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ProviderClient;
use super::list::{ListBudget, ListResult};
use crate::config::provider_list::ListSourceConfig;
use crate::observation::PollOutcome;
use crate::schedule::admission::{Pause, PauseReason};
use crate::task::TaskId;

/// A request for a list, or for a page of it.
#[derive(Debug)]
pub struct ListRequest {
    /// The client for which `url` was built: credentials go to no other server.
    pub client: Arc<ProviderClient>,
    /// The list.
    pub list: Arc<ListSourceConfig>,
    /// The index of the query in `list`.
    pub query: usize,
    /// The URL of the page.
    pub url: Url,
    /// The part of the list that may still be received.
    pub budget: ListBudget,
    /// True for the first request of a refresh.
    pub is_first: bool,
}

/// Error of a request for a list that was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListRequestError {
    /// The provider is paused, for this time from now on, and for this cause in words.
    Paused(PauseReason, Duration, Arc<str>),
    /// The deadline has passed.
    TimedOut,
    /// The provider's worker has panicked and is restarted after a while.
    Restarting,
    /// The provider has left the configuration, or the process is ending.
    Stopped,
}

impl fmt::Display for ListRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paused(_, _, cause) if !cause.is_empty() => cause,
            Self::Paused(PauseReason::RetryAfter, ..) => "the provider asked for a pause",
            Self::Paused(PauseReason::Refused, ..) => "the provider rejects the credentials",
            Self::Paused(PauseReason::Unreadable, ..) => "the credentials cannot be read",
            Self::TimedOut => "the provider is busy; the list got no turn in time",
            Self::Restarting => "the provider's worker panicked; it restarts after a delay",
            Self::Stopped => {
                "the provider was removed from the configuration, or the exporter is stopping"
            }
        })
    }
}

/// Channel to the sender of a request for a list.
pub type ListReply = oneshot::Sender<Result<ListResult, ListRequestError>>;

/// The request for a list that waits for its turn: a provider has one list, which is refreshed by one
/// request after another.
#[derive(Debug, Default)]
pub struct ListTurn(Option<(ListRequest, ListReply)>);

impl ListTurn {
    /// Sets the request that waits. One that waits already has lost its sender to a reload.
    pub fn set(&mut self, request: ListRequest, reply: ListReply) {
        self.0 = Some((request, reply));
    }

    /// Removes a request whose sender has gone, and fails one whose time is over.
    pub fn expire(&mut self, now: Instant) {
        if let Some((_, reply)) =
            self.0.take_if(|(request, reply)| reply.is_closed() || request.budget.deadline <= now)
        {
            // The sender may have gone.
            let _ = reply.send(Err(ListRequestError::TimedOut));
        }
    }

    /// Returns the time by which the request that waits has to be there; `None` if none waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|(request, _)| request.budget.deadline)
    }

    /// Removes the request.
    pub fn take(&mut self) -> Option<(ListRequest, ListReply)> {
        self.0.take()
    }

    /// Fails the request because of `pause`, with its cause in words.
    pub fn refuse(&mut self, pause: Pause, cause: &str, now: Instant) {
        if let Some((_, reply)) = self.0.take() {
            let left = pause.until.saturating_duration_since(now);
            let _ = reply.send(Err(ListRequestError::Paused(pause.reason, left, cause.into())));
        }
    }
}

/// The tasks that a list shows, which its worker takes in like the results of polls.
#[derive(Clone, Debug, Default)]
pub struct ListObservations {
    /// The tasks; no ID twice.
    pub tasks: Vec<ListObservation>,
    /// Time until the list is expected to have been refreshed again. Until then the tasks are not
    /// polled by their IDs.
    pub next_list: Duration,
}

/// A task that a list shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ListObservation {
    /// The task's ID.
    pub id: TaskId,
    /// Its observation.
    pub outcome: PollOutcome,
    /// Duration of the request for the page of the list.
    pub took: Duration,
}
