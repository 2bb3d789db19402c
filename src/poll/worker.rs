//! The worker that polls one provider: a handle to it, its messages, and its successor if it panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::polling::Polling;
use super::probes::{MAX_PROBES, NoTurn, Probe, Reply};
use super::{Polled, Upstream};
use crate::clock::Clock;
use crate::fetch::resolver::Resolver;
use crate::history::FailureHistory;
use crate::storage::Storage;
use crate::store::TaskChanges;
use crate::store::provider_tasks::ProviderTasks;
use crate::supervisor::Restarts;
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::telemetry::provider::ProviderTelemetry;

/// Means that all workers share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Runtime on which requests are sent and answers are read.
    pub runtime: Handle,
    /// Looks up the names of the hosts of all providers.
    pub resolver: Resolver,
    /// The wall clock.
    pub clock: Clock,
    /// Storage of the history of the tasks, if it outlives the process.
    pub storage: Option<Arc<Storage>>,
    /// The collector's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// Recently failed polls.
    pub history: Arc<FailureHistory>,
}

/// A handle to a running worker, which starts no more polls once the handle is dropped.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
    settled: Arc<AtomicBool>,
    telemetry: Arc<ProviderTelemetry>,
}

/// A message to a worker.
pub enum Command {
    /// Take on another configuration.
    Update(Box<Update>, oneshot::Sender<()>),
    /// Poll a task once.
    Probe(Probe),
    /// Finish what is under way, and end.
    End(oneshot::Sender<()>),
}

/// Another configuration of a provider.
pub struct Update {
    /// The means to ask it.
    pub upstream: Arc<Upstream>,
    /// TaskChanges of its tasks.
    pub changes: TaskChanges,
}

impl Worker {
    /// Starts to poll the tasks of `changes`.
    pub fn spawn(context: Context, upstream: Arc<Upstream>, changes: TaskChanges) -> Self {
        let (commands, inbox) = mpsc::channel(MAX_PROBES);
        let settled = Arc::new(AtomicBool::new(false));
        let runtime = context.runtime.clone();
        let shard = Arc::clone(&changes.tasks);
        // The provider's series are there from now on, and not from its first poll.
        let telemetry = context.telemetry.provider(&upstream.provider.name);
        let worker =
            Self { commands, settled: Arc::clone(&settled), telemetry: Arc::clone(&telemetry) };
        let seat = Seat { context, telemetry, upstream, shard, inbox, settled };
        runtime.spawn(supervise(seat, changes, poll));
        worker
    }

    /// Takes on another configuration; returns once it is in force.
    pub async fn update(&self, upstream: Arc<Upstream>, changes: TaskChanges) {
        let (done, wait) = oneshot::channel();
        let command = Command::Update(Box::new(Update { upstream, changes }), done);
        if self.commands.send(command).await.is_ok() {
            // The worker answers unless it panics, and then its successor begins with the update.
            let _ = wait.await;
        }
    }

    /// Polls `task` once, within the provider's limits and until `deadline`, without any record of it.
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn probe(&self, task: Task, deadline: Option<Instant>) -> Result<Polled, NoTurn> {
        let (client, wait) = oneshot::channel();
        let reply = Reply::new(client, Arc::clone(&self.telemetry));
        let probe = Probe { task, deadline, asked: Instant::now(), reply };
        self.commands.send(Command::Probe(probe)).await.map_err(|_| NoTurn::Ended)?;
        wait.await.unwrap_or(Err(NoTurn::Restarting))
    }

    /// Whether a poll has ended, or none was due yet.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Starts no more polls and waits for those that are under way.
    pub async fn end(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::End(done)).await.is_ok() {
            // A worker that panicked has ended as well.
            let _ = wait.await;
        }
    }
}

/// Task of a worker, which outlives the worker if it panics.
pub struct Seat {
    /// Means that all workers share.
    pub context: Context,
    /// The provider's metrics.
    pub telemetry: Arc<ProviderTelemetry>,
    /// The means to ask the provider.
    pub upstream: Arc<Upstream>,
    /// The provider's tasks.
    pub shard: Arc<ProviderTasks>,
    /// Messages to the worker.
    pub inbox: mpsc::Receiver<Command>,
    /// Set once a poll has ended, or none was due yet.
    pub settled: Arc<AtomicBool>,
}

impl Seat {
    /// Takes over what an update says of the provider. Returns how it was asked until then. To be
    /// called before anything else is done with the update.
    pub fn take_over(&mut self, update: Update) -> (Arc<Upstream>, TaskChanges) {
        let Update { upstream, changes } = update;
        self.shard = Arc::clone(&changes.tasks);
        (std::mem::replace(&mut self.upstream, upstream), changes)
    }

    /// Answers messages until `until` without polling anything. Returns false where the worker is
    /// to end.
    async fn rest(&mut self, until: Instant) -> bool {
        loop {
            let command = tokio::select! {
                command = self.inbox.recv() => command,
                () = tokio::time::sleep_until(until) => return true,
            };
            // The one who waited may have left.
            match command {
                Some(Command::Update(update, done)) => {
                    self.take_over(*update);
                    let _ = done.send(());
                }
                Some(Command::Probe(probe)) => probe.reply.send(Err(NoTurn::Restarting)),
                Some(Command::End(done)) => {
                    let _ = done.send(());
                    return false;
                }
                None => return false,
            }
        }
    }
}

fn poll(seat: &mut Seat, changes: TaskChanges) -> BoxFuture<'_, ()> {
    Polling::run(seat, changes).boxed()
}

/// Runs a worker to its end, and another one after each panic: the tasks and what is known of them
/// are in the store.
async fn supervise(
    mut seat: Seat,
    mut changes: TaskChanges,
    run: impl for<'s> Fn(&'s mut Seat, TaskChanges) -> BoxFuture<'s, ()>,
) {
    let mut restarts = Restarts::new(Instant::now());
    loop {
        let work = async { run(&mut seat, changes).await };
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return;
        }
        // It was tried; an exporter that is never ready would hide its other providers.
        seat.settled.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let until = restarts.next(now);
        let (provider, seconds) = (&*seat.upstream.provider.name, (until - now).as_secs());
        tracing::error!(provider, seconds, "the worker has panicked: another one takes over");
        if !seat.rest(until).await {
            return;
        }
        changes = Arc::clone(&seat.shard).open_tasks_as_added();
    }
}

#[cfg(test)]
mod tests;
