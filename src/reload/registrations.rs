//! Registrations by applications, applied in groups: what waits is applied at once, and acknowledged
//! once the journal of the storage has it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::ConfigManager;
use crate::config::task_receiver::TaskReceiverConfig;
use crate::storage::Storage;
use crate::store::registrations::{RegistrationChange, RegistrationOutcome};

/// Maximum number of requests in a group. Each has [`MAX_CHANGES`] at most.
const MAX_GROUP: usize = 256;
/// Maximum number of changes in a request; a longer one is sent in parts.
const MAX_CHANGES: usize = 2_000;
/// Maximum number of changes in a group, so that the queue of the storage has room for them.
const MAX_GROUP_CHANGES: usize = 10_000;
/// Time that the storage has to take a group: more than a slow disk needs for one write.
const STORAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The flags that registrations depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceiverFlags {
    /// True if applications may register tasks.
    pub has_task_receiver: bool,
    /// True if there is a web configuration.
    pub has_web_config: bool,
}

/// The reason why a request may not have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The storage does not take what is written.
    #[error("the storage path does not take what is written")]
    Storage,
    /// The process is ending, or has panicked.
    #[error("the exporter is stopping or restarting a part of itself")]
    Stopping,
}

/// The outcome of each change of a request, in their order.
type Outcomes = Result<Vec<RegistrationOutcome>, RegistrationError>;

/// A request of an application.
#[derive(Debug)]
struct RegistrationRequest {
    changes: Vec<RegistrationChange>,
    reply: oneshot::Sender<Outcomes>,
}

/// A queue of the requests of applications.
#[derive(Debug)]
pub(super) struct RegistrationQueue {
    sender: mpsc::Sender<RegistrationRequest>,
    /// Locked by the task that applies the requests, and left to its successor if it panics.
    receiver: Mutex<mpsc::Receiver<RegistrationRequest>>,
}

impl RegistrationQueue {
    /// Creates an empty queue.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_GROUP);
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl ConfigManager {
    /// Reports whether applications may register tasks.
    pub fn has_task_receiver(&self) -> bool {
        self.flags.has_task_receiver
    }

    /// Applies changes for an application; returns once they survive the end of the process. If the
    /// caller stops waiting, the changes of the current part are still applied, and the later parts are
    /// not.
    ///
    /// # Errors
    /// Fails when the storage does not take them. Then they may have been applied, all or in part, and
    /// can be repeated.
    pub async fn register(&self, changes: Vec<RegistrationChange>) -> Outcomes {
        let (mut changes, mut outcomes) = (changes.into_iter().peekable(), Vec::new());
        while changes.peek().is_some() {
            let changes = changes.by_ref().take(MAX_CHANGES).collect();
            let (reply, wait) = oneshot::channel();
            let request = RegistrationRequest { changes, reply };
            let sent = self.registrations.sender.send(request).await;
            sent.map_err(|_| RegistrationError::Stopping)?;
            outcomes.extend(wait.await.unwrap_or(Err(RegistrationError::Stopping))?);
        }
        Ok(outcomes)
    }

    /// Applies the requests of applications. Does not return while the manager lives.
    pub async fn receive_registrations(&self) {
        let mut receiver = self.registrations.receiver.lock().await;
        let mut next = receiver.recv().await;
        while let Some(first) = next.take() {
            let (mut count, mut group) = (first.changes.len(), vec![first]);
            while group.len() < MAX_GROUP
                && let Ok(request) = receiver.try_recv()
            {
                if count + request.changes.len() > MAX_GROUP_CHANGES {
                    next = Some(request);
                    break;
                }
                count += request.changes.len();
                group.push(request);
            }
            self.apply_group(group).await;
            if next.is_none() {
                next = receiver.recv().await;
            }
        }
    }

    /// Applies a group, and replies to its requests once the storage has it. Meanwhile the next group
    /// can be applied.
    async fn apply_group(&self, group: Vec<RegistrationRequest>) {
        let (changes, replies): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|RegistrationRequest { changes, reply }| {
                let count = changes.len();
                (changes, (count, reply))
            })
            .unzip();
        let applied = self.apply_registrations(changes.into_iter().flatten().collect()).await;
        tokio::spawn(async move {
            let mut outcomes = match applied {
                Ok((outcomes, written)) => {
                    let is_written = timeout(STORAGE_TIMEOUT, written).await;
                    let is_written = matches!(is_written, Ok(Ok(true)));
                    is_written.then_some(outcomes).ok_or(RegistrationError::Storage)
                }
                Err(error) => Err(error),
            };
            for (count, reply) in replies {
                let own = outcomes.as_mut().map_err(|error| *error);
                // The client may have left.
                let _ = reply.send(own.map(|outcomes| outcomes.drain(..count).collect()));
            }
        });
    }

    /// Applies changes. Returns their outcomes, and a receiver of true once the journal has them.
    async fn apply_registrations(
        &self,
        changes: Vec<RegistrationChange>,
    ) -> Result<(Vec<RegistrationOutcome>, oneshot::Receiver<bool>), RegistrationError> {
        let storage = self.context.storage.clone().ok_or(RegistrationError::Storage)?;
        let _swapping = self.swapping.lock().await;
        if self.workers.read().is_none() {
            return Err(RegistrationError::Stopping);
        }
        let TaskReceiverConfig { limit, .. } = self.config().task_receiver;
        let store = Arc::clone(&self.store);
        let work = move || {
            let begun = storage.begin_changes().ok_or(RegistrationError::Storage)?;
            let are_queued = Cell::new(true);
            let (outcomes, changes) = store.apply_registrations(changes, limit, &|change| {
                are_queued.set(storage.save_listing(change, &store) && are_queued.get());
            });
            let written = are_queued.get().then(|| Storage::end_changes(&storage, begun));
            Ok((outcomes, changes, written))
        };
        let applied = tokio::task::spawn_blocking(work).await;
        let (outcomes, changes, written) = applied.map_err(|_| RegistrationError::Stopping)??;
        self.update_workers(changes, None).await;
        Ok((outcomes, written.ok_or(RegistrationError::Storage)?))
    }
}
