//! The worker that polls one provider: the handle to it, its commands, and its restart after a panic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::list::ListResult;
use super::list_turn::{ListObservations, ListReply, ListRequest, ListRequestError};
use super::probes::{MAX_PROBES, Probe, ProbeReply};
use super::status::{PollHistory, PollStatus};
use super::worker_state::WorkerState;
use super::{PollResult, ProbeError, ProviderClient};
use crate::clock::Clock;
use crate::fetch::resolver::Resolver;
use crate::history::FailureHistory;
use crate::storage::Storage;
use crate::store::TaskChanges;
use crate::store::provider_tasks::ProviderTasks;
use crate::supervisor::Restarts;
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::telemetry::provider::{Lateness, ProviderTelemetry};

/// Services that all workers share.
#[derive(Clone, Debug)]
pub struct Services {
    /// Runtime on which requests are sent and responses are read.
    pub runtime: Handle,
    /// Resolver of the host names of all providers.
    pub resolver: Resolver,
    /// The wall clock.
    pub clock: Clock,
    /// Storage of the tasks' history, if `--storage.path` is set.
    pub storage: Option<Arc<Storage>>,
    /// Metrics about the exporter's own work.
    pub telemetry: Arc<Telemetry>,
    /// History of recent failed polls, for the pages.
    pub history: Arc<FailureHistory>,
}

/// Handle to a running worker, which starts no more polls once the handle is dropped.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<WorkerCommand>,
    is_settled: Arc<AtomicBool>,
    telemetry: Arc<ProviderTelemetry>,
    status: Arc<PollStatus>,
}

/// A command to a worker.
pub enum WorkerCommand {
    /// Apply another configuration.
    Update(Box<Update>, oneshot::Sender<()>),
    /// Apply changes of the tasks alone, and then what a list shows of them.
    ChangeTasks(TaskChanges, Option<ListObservations>, oneshot::Sender<()>),
    /// Request a list, or a page of it.
    List(Box<ListRequest>, ListReply),
    /// Poll a task once.
    Probe(Probe),
    /// Start no more requests, wait for those in flight, and stop.
    Stop(oneshot::Sender<()>),
}

/// A provider's new configuration.
pub struct Update {
    /// Client of the provider.
    pub client: Arc<ProviderClient>,
    /// Changes of its tasks.
    pub changes: TaskChanges,
}

impl Worker {
    /// Spawns a worker that polls the tasks of `changes`.
    pub fn spawn(services: Services, client: Arc<ProviderClient>, changes: TaskChanges) -> Self {
        let runtime = services.runtime.clone();
        let (worker, context) = Self::new(services, client, &changes);
        runtime.spawn(supervise(context, changes, poll));
        worker
    }

    /// Returns a handle, and the context of the worker that it is connected to.
    fn new(
        services: Services,
        client: Arc<ProviderClient>,
        changes: &TaskChanges,
    ) -> (Self, WorkerContext) {
        let (commands, inbox) = mpsc::channel(MAX_PROBES);
        let is_settled = Arc::new(AtomicBool::new(false));
        // The provider's series exist from now on, not only from its first poll.
        let telemetry = services.telemetry.provider(&client.provider.name);
        let status = Arc::new(PollStatus::new(services.clock));
        let worker = Self {
            commands,
            is_settled: Arc::clone(&is_settled),
            telemetry: Arc::clone(&telemetry),
            status: Arc::clone(&status),
        };
        let tasks = Arc::clone(&changes.tasks);
        (worker, WorkerContext { services, telemetry, status, client, tasks, inbox, is_settled })
    }

    /// Applies another configuration; returns once it is in effect.
    pub async fn update(&self, client: Arc<ProviderClient>, changes: TaskChanges) {
        let (done, wait) = oneshot::channel();
        let command = WorkerCommand::Update(Box::new(Update { client, changes }), done);
        if self.commands.send(command).await.is_ok() {
            // The worker replies unless it panics, and then the restarted one begins with the update.
            let _ = wait.await;
        }
    }

    /// Applies changes of the tasks, and then what a list shows of them; returns once both are in
    /// effect.
    pub async fn change_tasks(&self, changes: TaskChanges, list: Option<ListObservations>) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(WorkerCommand::ChangeTasks(changes, list, done)).await.is_ok() {
            // The worker replies unless it panics, and then the restarted one begins with all tasks.
            let _ = wait.await;
        }
    }

    /// Polls `task` once, within the provider's limits and until `deadline`, without a record of it.
    ///
    /// # Errors
    /// Fails when no request was sent, or its response came too late.
    pub async fn probe(
        &self,
        task: Task,
        deadline: Option<Instant>,
    ) -> Result<PollResult, ProbeError> {
        let (client, wait) = oneshot::channel();
        let reply = ProbeReply::new(client, Arc::clone(&self.telemetry));
        let probe = Probe { task, deadline, asked: Instant::now(), reply };
        self.commands.send(WorkerCommand::Probe(probe)).await.map_err(|_| ProbeError::Stopped)?;
        wait.await.unwrap_or(Err(ProbeError::Restarting))
    }

    /// Requests a list, or a page of it, within the provider's limits and until the deadline.
    ///
    /// # Errors
    /// Fails when no request was sent.
    pub async fn list(&self, request: ListRequest) -> Result<ListResult, ListRequestError> {
        let (reply, wait) = oneshot::channel();
        let command = WorkerCommand::List(Box::new(request), reply);
        self.commands.send(command).await.map_err(|_| ListRequestError::Stopped)?;
        wait.await.unwrap_or(Err(ListRequestError::Restarting))
    }

    /// Reports whether a poll has ended, or none was due yet.
    pub fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// Returns the provider's polls so far.
    pub fn history(&self) -> PollHistory {
        self.status.history()
    }

    /// Returns how late the provider's polls are, if they are.
    pub fn lateness(&self) -> Option<Lateness> {
        self.telemetry.due.lateness(Instant::now())
    }

    /// Stops the worker: it starts no more polls and waits for those in flight.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(WorkerCommand::Stop(done)).await.is_ok() {
            // A worker that has panicked has stopped as well.
            let _ = wait.await;
        }
    }
}

/// Everything that a worker needs, kept when it is restarted after a panic.
pub struct WorkerContext {
    /// Services that all workers share.
    pub services: Services,
    /// Metrics of the provider.
    pub telemetry: Arc<ProviderTelemetry>,
    /// Status of the provider's polls.
    pub status: Arc<PollStatus>,
    /// Client of the provider.
    pub client: Arc<ProviderClient>,
    /// Tasks of the provider.
    pub tasks: Arc<ProviderTasks>,
    /// Commands to the worker.
    pub inbox: mpsc::Receiver<WorkerCommand>,
    /// True once a poll has ended, or none was due yet.
    pub is_settled: Arc<AtomicBool>,
}

impl WorkerContext {
    /// Replaces client and tasks by those of an update. Returns the client until now, and the changes
    /// of the tasks. Must be called before anything else is done with the update.
    pub fn update(&mut self, update: Update) -> (Arc<ProviderClient>, TaskChanges) {
        let Update { client, changes } = update;
        self.tasks = Arc::clone(&changes.tasks);
        (std::mem::replace(&mut self.client, client), changes)
    }

    /// Replies to commands until `until` without polling anything. Returns false if the worker is to
    /// stop.
    async fn wait_until(&mut self, until: Instant) -> bool {
        loop {
            let command = tokio::select! {
                command = self.inbox.recv() => command,
                () = tokio::time::sleep_until(until) => return true,
            };
            // The sender may have stopped waiting.
            match command {
                Some(WorkerCommand::Update(update, done)) => {
                    self.update(*update);
                    let _ = done.send(());
                }
                // The next worker begins with the tasks of the store.
                Some(WorkerCommand::ChangeTasks(_, _, done)) => {
                    let _ = done.send(());
                }
                Some(WorkerCommand::List(_, reply)) => {
                    let _ = reply.send(Err(ListRequestError::Restarting));
                }
                Some(WorkerCommand::Probe(probe)) => probe.reply.send(Err(ProbeError::Restarting)),
                Some(WorkerCommand::Stop(done)) => {
                    let _ = done.send(());
                    return false;
                }
                None => return false,
            }
        }
    }
}

fn poll(context: &mut WorkerContext, changes: TaskChanges) -> BoxFuture<'_, ()> {
    WorkerState::run(context, changes).boxed()
}

/// Runs a worker until it stops, and restarts it after each panic: the tasks and their records are in
/// the store.
async fn supervise(
    mut context: WorkerContext,
    mut changes: TaskChanges,
    run: impl for<'s> Fn(&'s mut WorkerContext, TaskChanges) -> BoxFuture<'s, ()>,
) {
    let mut restarts = Restarts::new(Instant::now());
    loop {
        let work = async { run(&mut context, changes).await };
        if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
            return;
        }
        // An exporter that never becomes ready would hide its other providers.
        context.is_settled.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let until = restarts.next(now);
        let (provider, seconds) = (&*context.client.provider.name, (until - now).as_secs());
        tracing::error!(provider, seconds, "the worker panicked; starting another one");
        if !context.wait_until(until).await {
            return;
        }
        changes = Arc::clone(&context.tasks).open_tasks_as_added();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config;
    use crate::store::Store;
    use crate::store::StoreConfig;
    use crate::store::sources::SourceSettings;

    type Run =
        Box<dyn for<'s> Fn(&'s mut WorkerContext, TaskChanges) -> BoxFuture<'s, ()> + Send + Sync>;

    fn client(interval: &str) -> Arc<ProviderClient> {
        crate::tls::install();
        let text = format!(
            "global: {{ poll_interval: {interval} }}\n\
             providers: [{{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n"
        );
        let loaded = config::load_text("x.yml", &text, Path::new("")).unwrap();
        let provider = Arc::clone(&loaded.config.providers[0]);
        Arc::new(ProviderClient::new(provider, None, &Resolver::system()).unwrap())
    }

    fn task(id: &str) -> Task {
        client("1h").task(id, &[]).unwrap()
    }

    fn context() -> Services {
        Services {
            runtime: Handle::current(),
            resolver: Resolver::system(),
            clock: Clock::starting_at(Timestamp::from_micros(0)),
            storage: None,
            telemetry: Arc::new(Telemetry::new()),
            history: Arc::new(FailureHistory::new(9)),
        }
    }

    /// A supervised worker in whose place `run` runs.
    fn supervised(services: Services, store: &Store, ids: &[&str], run: Run) -> Worker {
        let client = client("1h");
        let changes = apply(store, &client, ids);
        let runtime = services.runtime.clone();
        let (worker, context) = Worker::new(services, client, &changes);
        runtime.spawn(async move { supervise(context, changes, run).await });
        worker
    }

    fn apply(store: &Store, client: &ProviderClient, ids: &[&str]) -> TaskChanges {
        let tasks = ids.iter().map(|id| task(id)).collect();
        let key = crate::store::sources::CONFIG.into();
        let (keep_unlisted, refresh_interval) = (Duration::ZERO, Duration::ZERO);
        let config = StoreConfig {
            providers: &[Arc::clone(&client.provider)],
            config: SourceSettings { key, keep_unlisted, refresh_interval },
            sources: Vec::new(),
            max_tasks: 1_000,
            max_ttl: Duration::ZERO,
        };
        store.apply_config(&config, tasks, &|_| {}).remove(0)
    }

    /// A worker that panics while it has probes, an update and requests to reply to: each of them gets
    /// a reply, and another worker takes over with all tasks and the last configuration.
    #[tokio::test(start_paused = true)]
    async fn another_worker_takes_over_where_one_panics() {
        let (context, start) = (context(), Instant::now());
        let store = Store::new(context.clock);
        let telemetry = context.telemetry.provider("p");
        let begun = Arc::new(Mutex::new(Vec::new()));
        let run = {
            let begun = Arc::clone(&begun);
            move |context: &mut WorkerContext, changes: TaskChanges| {
                let interval = context.client.provider.limits.poll_interval;
                begun.lock().push((start.elapsed(), interval, changes.added.len()));
            }
        };
        let telemetry_of_run = Arc::clone(&telemetry);
        let run: Run = Box::new(move |context, changes| {
            run(context, changes);
            let telemetry = Arc::clone(&telemetry_of_run);
            async move {
                let _under_way = telemetry.request_started();
                match context.inbox.recv().await {
                    Some(WorkerCommand::Update(update, _done)) => drop(context.update(*update)),
                    Some(WorkerCommand::Stop(done)) => return done.send(()).unwrap(),
                    _ => {}
                }
                panic!("on purpose");
            }
            .boxed()
        });
        let worker = supervised(context, &store, &["a", "b"], run);
        assert!(!worker.is_settled());
        assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Restarting);
        // Until there is a worker, nothing waits for one.
        assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Restarting);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(worker.is_settled(), "other providers make the exporter ready");
        let slower = client("2h");
        worker.update(Arc::clone(&slower), apply(&store, &slower, &["a", "b", "c"])).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(5)).await;
        // And with an update that was lost on the way.
        let slowest = client("3h");
        worker.update(Arc::clone(&slowest), apply(&store, &slowest, &["b", "d"])).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let expected = [
            (Duration::ZERO, hours(1), 2),
            (Duration::from_secs(1), hours(2), 3),
            (Duration::from_secs(7), hours(3), 2),
        ];
        assert_eq!(*begun.lock(), expected);
        worker.stop().await;
        drop(telemetry.request_started());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_ends_while_it_rests() {
        let context = context();
        let store = Store::new(context.clock);
        let run: Run = Box::new(|_, _| async { panic!("on purpose") }.boxed());
        let worker = supervised(context, &store, &["a"], run);
        let start = Instant::now();
        worker.stop().await;
        assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Stopped);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    /// The real worker, after one that panicked, polls what it finds in the store.
    #[tokio::test(start_paused = true)]
    async fn the_successor_polls() {
        let context = context();
        let store = Store::new(context.clock);
        let is_first = AtomicBool::new(true);
        let run: Run = Box::new(move |context, changes| {
            if is_first.swap(false, Ordering::Relaxed) {
                return async { panic!("on purpose") }.boxed();
            }
            assert_eq!(changes.added.len(), 2);
            poll(context, changes)
        });
        let worker = supervised(context, &store, &["a", "b"], run);
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Nothing listens there, which is an outcome of its own.
        let polled = worker.probe(task("a"), None).await.unwrap();
        assert!(polled.outcomes[0].is_err());
        worker.stop().await;
    }
}
