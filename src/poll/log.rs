//! Records of polls: log lines, and the history for the pages.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::history::{FailureEntry, FailureHistory};
use crate::observation::{Failure, OddField, Oddity, PollOutcome, Reason, State};
use crate::record::Transition;
use crate::schedule::batches::BatchChange;
use crate::store::Slot;
use crate::task::Task;

/// Time after which the same failure is logged again, and maximum number of distinct lines in that
/// time: responses that vary endlessly must not fill a disk.
const LOG_AGAIN: Duration = Duration::from_secs(600);
const MAX_LOGGED: usize = 256;

/// Log of the polls of one provider.
#[derive(Debug)]
pub struct PollLog {
    clock: Clock,
    history: Arc<FailureHistory>,
    logged: HashSet<String>,
    logged_since: Instant,
    /// Unknown statuses already logged.
    statuses: HashSet<Arc<str>>,
    /// Fields and oddities already logged; there are few of both.
    odd: HashSet<(OddField, &'static str)>,
}

impl PollLog {
    /// Returns an empty log.
    pub fn new(clock: Clock, history: Arc<FailureHistory>) -> Self {
        Self {
            clock,
            history,
            logged: HashSet::new(),
            logged_since: Instant::now(),
            statuses: HashSet::new(),
            odd: HashSet::new(),
        }
    }

    /// Records the outcome of a task's poll. `message` is the envelope's, for the level `debug`; it is
    /// logged as `api_message`, since a field `message` would replace the message of the line.
    pub fn record(
        &mut self,
        task: &Task,
        outcome: &PollOutcome,
        message: Option<&str>,
        change: Option<Transition>,
    ) {
        let (provider, task_id) = (&*task.common.provider, &*task.id);
        let api_message = message.unwrap_or_default();
        match outcome {
            Ok(observation) => {
                let status = &*observation.status;
                if observation.state == State::Unknown && self.is_new_status(&observation.status) {
                    tracing::warn!(provider, task_id, status, "status not in the mapping");
                }
                for Oddity { field, value, what } in &observation.odd {
                    if self.odd.insert((*field, what)) {
                        let field = field.as_str();
                        tracing::warn!(
                            provider,
                            task_id,
                            field,
                            value,
                            what,
                            "implausible value in an answer"
                        );
                    }
                }
                if let Some(change) = change.filter(|change| change.from != change.to) {
                    let (from, to) = (change.from.as_str(), change.to.as_str());
                    tracing::debug!(provider, task_id, from, to, status, "state changed");
                }
            }
            Err(failure) => {
                let (reason, code, detail) =
                    (failure.reason.as_str(), &*failure.code, &*failure.detail);
                if self.is_new(format!("{reason} {code} {detail}")) {
                    tracing::warn!(provider, task_id, reason, code, detail, "poll failed");
                } else {
                    tracing::debug!(
                        provider,
                        task_id,
                        reason,
                        code,
                        detail,
                        api_message,
                        "poll failed"
                    );
                }
                self.history.push(FailureEntry {
                    at: self.clock.now(),
                    provider: provider.to_owned(),
                    task_id: task_id.to_owned(),
                    failure: failure.clone(),
                });
            }
        }
    }

    /// Records that the response to a batch of `tasks` tasks could not be read, so that smaller batches
    /// follow.
    pub fn record_unread_batch(&mut self, provider: &str, tasks: usize, failure: &Failure) {
        let (reason, code, detail) = (failure.reason.as_str(), &*failure.code, &*failure.detail);
        let message = "the answer to a batch is unreadable: requesting fewer tasks at once";
        if self.is_new(format!("batch {reason} {code} {detail}")) {
            tracing::warn!(provider, tasks, reason, code, detail, "{message}");
        } else {
            tracing::debug!(provider, tasks, reason, code, detail, "{message}");
        }
    }

    fn is_new_status(&mut self, status: &Arc<str>) -> bool {
        self.statuses.len() < MAX_LOGGED && self.statuses.insert(Arc::clone(status))
    }

    /// Reports whether a line has not been logged for [`LOG_AGAIN`].
    fn is_new(&mut self, line: String) -> bool {
        if self.logged_since.elapsed() >= LOG_AGAIN {
            self.logged.clear();
            self.logged_since = Instant::now();
        }
        self.logged.len() < MAX_LOGGED && self.logged.insert(line)
    }
}

/// Records a change of the batches. `find` returns the task of a slot.
pub fn record_batch_change(
    provider: &str,
    change: &BatchChange,
    find: impl FnMut(Slot) -> Option<Task>,
) {
    match change {
        BatchChange::Refused { is_new: true } => {
            let message =
                "the gateway does not support batches: requesting each task alone for some time";
            tracing::warn!(provider, "{message}");
        }
        BatchChange::Refused { is_new: false } => {
            tracing::debug!(provider, "the gateway still does not support batches");
        }
        BatchChange::Shrunk { size, reason, is_new: true } => {
            let message = match (*size, *reason) {
                (0, _) => "no batch is readable: requesting each task alone for some time",
                (_, Reason::TooLarge) => {
                    "the answer to a batch is too large: sending smaller batches for some time"
                }
                _ => "larger batches are unreadable: sending smaller batches for some time",
            };
            let reason = reason.as_str();
            tracing::warn!(provider, size, reason, "{message}");
        }
        BatchChange::Shrunk { size, reason, is_new: false } => {
            let reason = reason.as_str();
            tracing::debug!(provider, size, reason, "larger batches are still unreadable");
        }
        BatchChange::Restored => {
            tracing::info!(provider, "batches have their configured size again");
        }
        BatchChange::Isolated(slots) => {
            let tasks = slots.len();
            let task = slots.iter().copied().find_map(find);
            let task_id = task.as_ref().map(|task| &*task.id);
            let message = "these tasks make every batch unreadable: requesting them separately";
            tracing::warn!(provider, tasks, task_id, "{message}");
        }
        BatchChange::GaveUp => {
            let message = "no part of a batch is readable: not splitting batches for some time";
            tracing::warn!(provider, "{message}");
        }
    }
}
