//! The configuration in force: it is read, validated and swapped as a whole, or not at all.

mod lists;
mod load;
pub mod registrations;
mod sources;
pub mod status;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use crate::clock::Timestamp;
use crate::coalesce::Coalesced;
use crate::config::{Config, ConfigFiles, Input, Loaded};
use crate::discovery::status::SourceStatuses;
use crate::fetch::resolver::Resolver;
use crate::poll::worker::{Services, Worker};
use crate::poll::{PollResult, ProbeError, ProviderClient};
use crate::single_flight::{SingleFlight, SingleFlightError};
use crate::store::Store;
use crate::task::Task;
use crate::yaml::diagnostic::Diagnostics;
pub use load::{load, load_valid_providers};
use registrations::{ReceiverFlags, RegistrationQueue};
use status::ConfigStatus;

/// Time that a probe waits for its turn, besides the time of the poll itself, where the client does
/// not say how long it waits: most give up after ten seconds or so.
const PROBE_QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
/// A poll with a deadline ends this much earlier, or a tenth of the remaining time, so that its
/// outcome is known by the deadline.
const PROBE_MARGIN: Duration = Duration::from_millis(50);

/// Maximum time for reading the files: a list of a million tasks takes a second or two.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The source of the configuration.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file, which can change.
    File(PathBuf),
    /// A text with a name for its diagnostics.
    Text(&'static str, String),
}

impl ConfigSource {
    fn input(&self) -> Input<'_> {
        match self {
            Self::File(path) => Input::File(path),
            Self::Text(name, text) => Input::Text { name, text, dir: Path::new("") },
        }
    }
}

/// The reason why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Errors in the files.
    #[error("{0}")]
    Config(Diagnostics),
    /// The process is ending, or the reader of the files panicked.
    #[error("{0}")]
    Internal(String),
}

/// Reloads, for every kind of trigger. One runs at a time; requests meanwhile share the next one.
pub type Reloads = Coalesced<Result<(), Arc<ReloadError>>>;

/// A configuration, and the means to ask each of its providers, in their order.
pub type Built = (Loaded, Vec<Arc<ProviderClient>>);

/// The means to ask each provider, by its name.
pub type ProviderClients = HashMap<Arc<str>, Arc<ProviderClient>>;

/// The configuration in force and the workers that poll for it.
#[derive(Debug)]
pub struct ConfigManager {
    source: ConfigSource,
    reading: SingleFlight<Result<Built, Diagnostics>>,
    /// The look whether the files have changed.
    checking: SingleFlight<u64>,
    context: Services,
    /// The records of the tasks.
    pub store: Arc<Store>,
    /// The status of each source of tasks.
    pub sources: SourceStatuses,
    config: watch::Sender<Arc<Config>>,
    /// Held during a swap, so that one follows the other.
    swapping: Mutex<()>,
    /// Requests of applications that wait.
    registrations: RegistrationQueue,
    /// The flags that a configuration depends on.
    flags: ReceiverFlags,
    /// `None` once the process is ending.
    workers: RwLock<Option<HashMap<Arc<str>, RunningProvider>>>,
    ready: AtomicBool,
    status: RwLock<ConfigStatus>,
    /// Number of failures that the status has recorded.
    error_count: AtomicU64,
}

/// The outcome of a probe.
#[derive(Debug)]
pub struct ProbeOutcome {
    /// The provider.
    pub client: Arc<ProviderClient>,
    /// The task.
    pub task: Task,
    /// The result of the request, or the reason for which there is none.
    pub polled: Result<PollResult, ProbeError>,
}

#[derive(Clone, Debug)]
struct RunningProvider {
    client: Arc<ProviderClient>,
    worker: Arc<Worker>,
}

impl ConfigManager {
    /// Starts to poll for a configuration that was read from `source`.
    ///
    /// # Errors
    /// The process is ending.
    pub async fn start(
        source: ConfigSource,
        built: Built,
        store: Arc<Store>,
        context: Services,
        flags: ReceiverFlags,
    ) -> Result<Self, ReloadError> {
        let (Loaded { config, tasks }, clients) = built;
        let config = Arc::new(config);
        let manager = Self {
            source,
            reading: SingleFlight::default(),
            checking: SingleFlight::default(),
            store,
            sources: SourceStatuses::default(),
            config: watch::Sender::new(Arc::clone(&config)),
            swapping: Mutex::default(),
            registrations: RegistrationQueue::new(),
            flags,
            workers: RwLock::new(Some(HashMap::new())),
            ready: AtomicBool::new(false),
            status: RwLock::new(ConfigStatus::new(context.clock.now())),
            error_count: AtomicU64::new(0),
            context,
        };
        let count = tasks.len();
        manager.swap(Arc::clone(&config), tasks, clients).await?;
        log_loaded(&config, count, flags, "configuration loaded");
        Ok(manager)
    }

    /// Reloads of this configuration. If the files have an error, or a client cannot be built, the
    /// old one stays in force, and the outcome is the error.
    pub fn reloads(self: &Arc<Self>) -> Arc<Reloads> {
        let manager = Arc::clone(self);
        Coalesced::new(move || {
            let manager = Arc::clone(&manager);
            async move { manager.reload().await.map_err(Arc::new) }.boxed()
        })
    }

    async fn reload(&self) -> Result<(), ReloadError> {
        let result = async {
            let (before, files) = (self.clients(), self.config().files.clone());
            let resolver = self.context.resolver.clone();
            let (Loaded { config, tasks }, clients) =
                read(&self.reading, &self.source, before, files, resolver).await?;
            config.check_flags(self.flags.has_web_config).map_err(ReloadError::Config)?;
            let (config, count) = (Arc::new(config), tasks.len());
            self.swap(Arc::clone(&config), tasks, clients).await.map(|()| (config, count))
        };
        let result = result.await;
        match &result {
            Ok((config, tasks)) => {
                log_loaded(config, *tasks, self.flags, "configuration reloaded");
            }
            Err(error) => {
                self.record_error(error);
                tracing::error!(%error, "configuration not reloaded; the old one stays in force");
            }
        }
        result.map(|_| ())
    }

    /// Records the reason for which the configuration in force may differ from the files.
    fn record_error(&self, error: &impl std::fmt::Display) {
        self.context.telemetry.reload_failed();
        let (reason, now) = (error.to_string().into(), self.now());
        self.status.write().record_failure(reason, now);
        self.error_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports whether the last reload, or look at the files, has failed.
    fn has_failed(&self) -> bool {
        self.status.read().failure.is_some()
    }

    /// Looks at the files: returns the hash that a configuration read from them now would have.
    async fn current_hash(&self) -> Result<u64, SingleFlightError> {
        let files = self.config().files.clone();
        self.checking.run(READ_TIMEOUT, move || files.current_hash()).await
    }

    /// Looks at the files every `interval`, and asks for a reload when they differ from those in force.
    pub async fn follow_files(&self, interval: Duration, reloads: &Arc<Reloads>) {
        let mut tried = Some(self.config().files.hash);
        let (mut errors, mut is_blind) = (self.error_count.load(Ordering::Relaxed), false);
        loop {
            tokio::time::sleep(interval).await;
            let hash = match self.current_hash().await {
                Ok(hash) => hash,
                Err(error) => {
                    if !std::mem::replace(&mut is_blind, true) {
                        tracing::error!(%error, "cannot check the configuration for changes");
                        self.record_error(&format!(
                            "cannot check the configuration for changes: {error}"
                        ));
                    }
                    continue;
                }
            };
            is_blind = false;
            // Files that are wrong are reported once, not at every look: again only when they are
            // others, or when something else has asked for a reload that failed, or a look has failed.
            // When they are again what is in force, a reload says that all is well.
            let error_count = self.error_count.load(Ordering::Relaxed);
            if std::mem::replace(&mut errors, error_count) != error_count {
                tried = None;
            }
            let in_force = hash == self.config().files.hash;
            if Some(hash) == tried || (in_force && !self.has_failed()) {
                continue;
            }
            tracing::info!("configuration files have changed");
            // Its outcome is logged and counted there.
            let _ = reloads.run().await;
            errors = self.error_count.load(Ordering::Relaxed);
            // What was rejected may have been half of a change that has ended since.
            let is_unchanged =
                !self.has_failed() || self.current_hash().await.is_ok_and(|after| after == hash);
            tried = is_unchanged.then_some(hash);
        }
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// Returns the configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Reports whether each provider has been tried once, or its first poll is due later, and each
    /// source has been tried once. Stays true.
    pub fn is_ready(&self) -> bool {
        if !self.ready.load(Ordering::Relaxed) {
            let workers = self.workers.read();
            let mut running = workers.iter().flat_map(HashMap::values);
            let are_settled = running.all(|running| running.worker.is_settled());
            self.ready.store(are_settled && self.are_sources_tried(), Ordering::Relaxed);
        }
        self.ready.load(Ordering::Relaxed)
    }

    /// Polls a task at a configured provider now, within the provider's limits. `params` serve an
    /// ID that is not in the configuration. Whatever happens is known by `deadline`.
    ///
    /// # Errors
    /// A message about the request.
    pub async fn probe(
        &self,
        provider: &str,
        id: &str,
        params: &[(String, String)],
        deadline: Option<Instant>,
    ) -> Result<ProbeOutcome, String> {
        let running = self.workers.read().as_ref().and_then(|workers| {
            let running = workers.get(provider)?;
            Some((Arc::clone(&running.client), Arc::clone(&running.worker)))
        });
        let Some((client, worker)) = running else {
            self.config().find_provider(provider)?;
            return Err("the exporter is stopping, or reloads its configuration".to_owned());
        };
        let task = client.requested_task(self.find(provider, id).await, id, params)?;
        let now = Instant::now();
        let given_up = now + client.provider.limits.poll_timeout + PROBE_QUEUE_TIMEOUT;
        let end_poll = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            now + left.saturating_sub(PROBE_MARGIN.min(left / 10))
        });
        let until = deadline.map_or(given_up, |deadline| deadline.min(given_up));
        let polled = timeout_at(until, worker.probe(task.clone(), end_poll)).await;
        Ok(ProbeOutcome { client, task, polled: polled.unwrap_or(Err(ProbeError::TimedOut)) })
    }

    /// Finds the task of a provider with this ID on a thread of its own: among a million tasks that
    /// takes some milliseconds.
    async fn find(&self, provider: &str, id: &str) -> Option<Task> {
        let (store, provider, id) = (Arc::clone(&self.store), provider.to_owned(), id.to_owned());
        tokio::task::spawn_blocking(move || store.find(&provider, &id)).await.ok().flatten()
    }

    /// Starts no more polls, and waits for those in flight.
    pub async fn end(&self) {
        let _swapping = self.swapping.lock().await;
        let workers = self.workers.write().take().unwrap_or_default();
        join_all(workers.values().map(|running| running.worker.stop())).await;
    }

    /// Returns the client of each provider.
    fn clients(&self) -> ProviderClients {
        let workers = self.workers.read();
        let running = workers.iter().flatten();
        running.map(|(name, running)| (Arc::clone(name), Arc::clone(&running.client))).collect()
    }

    async fn swap(
        &self,
        config: Arc<Config>,
        tasks: Vec<Task>,
        clients: Vec<Arc<ProviderClient>>,
    ) -> Result<(), ReloadError> {
        let _swapping = self.swapping.lock().await;
        let Some(mut before) = self.workers.read().clone() else {
            return Err(ReloadError::Internal("the exporter is stopping".to_owned()));
        };
        let is_kept = |name: &Arc<str>| clients.iter().any(|kept| kept.provider.name == *name);
        let save_all = before.is_empty() || !before.keys().all(is_kept);
        let changes = self.apply_config(&config, tasks, save_all).await?;
        for changes in &changes {
            self.count_lost(changes);
        }
        let over_limit: u64 = changes.iter().map(|changes| changes.over_limit).sum();
        let over_limit = usize::try_from(over_limit).unwrap_or(usize::MAX);
        let (mut workers, mut updates) = (HashMap::new(), Vec::new());
        for (client, changes) in clients.into_iter().zip(changes) {
            let name = Arc::clone(&client.provider.name);
            let worker = match before.remove(&name) {
                Some(RunningProvider { worker, .. }) => {
                    let (running, client) = (Arc::clone(&worker), Arc::clone(&client));
                    updates.push(async move { running.update(client, changes).await });
                    worker
                }
                None => {
                    let context = self.context.clone();
                    Arc::new(Worker::spawn(context, Arc::clone(&client), changes))
                }
            };
            workers.insert(name, RunningProvider { client, worker });
        }
        // All workers are updated at once, so that a slow one does not delay the others, which would go
        // on polling removed tasks.
        join_all(updates).await;
        *self.workers.write() = Some(workers);
        for name in before.keys() {
            self.context.telemetry.remove_provider(name);
        }
        let telemetry = &self.context.telemetry;
        self.sources.apply(&config.discovery, telemetry);
        let (over_limit, now) = (config.dropped_tasks.saturating_add(over_limit), self.now());
        telemetry.tasks_over_limit(over_limit);
        telemetry.reload_succeeded(now, config.files.hash);
        warn_of_absent_tasks(&config);
        self.config.send_replace(config);
        self.status.write().record_load(over_limit, now);
        Ok(())
    }
}

/// Logs which tasks of a configuration cannot be polled, or may be missing from it.
fn warn_of_absent_tasks(config: &Config) {
    for (glob, missing) in config.files.unmatched() {
        let why = missing.map(|directory| format!("no such directory: {}", directory.display()));
        tracing::warn!(glob, why, "no file matches a glob of task_files");
    }
    if config.dropped_tasks > 0 {
        tracing::warn!(tasks = config.dropped_tasks, "max_tasks drops tasks, which are not polled");
    }
}

/// Logs the size of a configuration that is in force now.
fn log_loaded(config: &Config, tasks: usize, flags: ReceiverFlags, message: &str) {
    let (providers, sources) = (config.providers.len(), config.discovery.len());
    tracing::info!(providers, tasks, sources, "{message}");
    if tasks == 0 && sources == 0 && !flags.has_task_receiver {
        tracing::warn!("no task and no source of tasks is configured: nothing new is polled");
    }
}

async fn read(
    reading: &SingleFlight<Result<Built, Diagnostics>>,
    source: &ConfigSource,
    before: ProviderClients,
    files: ConfigFiles,
    resolver: Resolver,
) -> Result<Built, ReloadError> {
    let source = source.clone();
    let read = reading.run(READ_TIMEOUT, move || load(&source, &before, &files, &resolver)).await;
    let read =
        read.map_err(|error| ReloadError::Internal(format!("the configuration: {error}")))?;
    read.map_err(ReloadError::Config)
}
