//! The configuration in force: read, checked and swapped as a whole, or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::clock::Timestamp;
use crate::coalesce::Coalesced;
use crate::config::diagnostic::Diagnostics;
use crate::config::{self, Config, Loaded};
use crate::lock;
use crate::poll::worker::{Context, Worker};
use crate::poll::{Polled, Upstream};
use crate::reading::Reading;
use crate::store::Store;
use crate::task::Task;

/// How long a probe waits for its turn, besides the time of the poll itself: who asks gives up
/// after ten seconds or so.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the files may take: a list of a million tasks takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which can change.
    File(PathBuf),
    /// A text with a name for its diagnostics.
    Text(&'static str, String),
}

/// Why a configuration was not taken on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Mistakes in the files.
    #[error("{0}")]
    Config(Diagnostics),
    /// A client that cannot be built.
    #[error("provider {0:?}: {1}")]
    Client(String, crate::fetch::client::BuildError),
    /// The process is ending, or the reader of the files panicked.
    #[error("{0}")]
    Internal(String),
}

/// Reloads, whatever asks for them. One is done at a time, and those who ask meanwhile share the next.
pub type Reloads = Coalesced<Result<(), Arc<ReloadError>>>;

/// A configuration, and whom it asks.
type Loading = Result<(Loaded, Vec<Arc<Upstream>>), ReloadError>;

/// The configuration in force and the workers that poll for it.
#[derive(Debug)]
pub struct Live {
    source: Source,
    reading: Reading<Loading>,
    /// Whether the files are others.
    looking: Reading<u64>,
    context: Context,
    /// What is known of the tasks.
    pub store: Arc<Store>,
    config: RwLock<Arc<Config>>,
    /// `None` once the process is ending. Held during a swap, so that one follows the other.
    workers: Mutex<Option<HashMap<Arc<str>, Running>>>,
    ready: AtomicBool,
    /// Whether the last reload was refused.
    refused: AtomicBool,
}

/// What a probe came to.
#[derive(Debug)]
pub struct Probed {
    /// Who was asked.
    pub upstream: Arc<Upstream>,
    /// For what.
    pub task: Task,
    /// The answer; `None` where the provider is paused or busy.
    pub polled: Option<Polled>,
}

#[derive(Debug)]
struct Running {
    upstream: Arc<Upstream>,
    worker: Arc<Worker>,
}

impl Live {
    /// Reads the configuration for the first time and starts to poll.
    ///
    /// # Errors
    /// When the configuration has mistakes, or a client cannot be built.
    pub async fn start(
        source: Source,
        store: Arc<Store>,
        context: Context,
    ) -> Result<Self, ReloadError> {
        let reading = Reading::default();
        let (Loaded { config, tasks }, upstreams) = read(&reading, &source).await?;
        let config = Arc::new(config);
        let live = Self {
            source,
            reading,
            looking: Reading::default(),
            store,
            config: RwLock::new(Arc::clone(&config)),
            workers: Mutex::new(Some(HashMap::new())),
            ready: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            context,
        };
        live.swap(config, tasks, upstreams).await?;
        Ok(live)
    }

    /// Reloads of this configuration. Where the files have a mistake, or a client cannot be built, the
    /// old one stays in force, and the outcome is the error.
    pub fn reloads(self: &Arc<Self>) -> Arc<Reloads> {
        let live = Arc::clone(self);
        Coalesced::new(move || {
            let live = Arc::clone(&live);
            async move { live.reload().await.map_err(Arc::new) }.boxed()
        })
    }

    async fn reload(&self) -> Result<(), ReloadError> {
        let result = async {
            let (Loaded { config, tasks }, upstreams) = read(&self.reading, &self.source).await?;
            let count = tasks.len();
            self.swap(Arc::new(config), tasks, upstreams).await.map(|()| count)
        };
        let result = result.await;
        self.refused.store(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(tasks) => tracing::info!(tasks, "configuration reloaded"),
            Err(error) => {
                self.context.telemetry.reload_failed();
                tracing::error!(%error, "configuration not reloaded, the old one stays in force");
            }
        }
        result.map(|_| ())
    }

    /// Asks for a reload whenever the files are others than those in force, looking every `interval`.
    pub async fn follow_files(&self, interval: Duration, reloads: &Arc<Reloads>) {
        let mut tried = self.config().sources.hash;
        loop {
            tokio::time::sleep(interval).await;
            let sources = self.config().sources.clone();
            let look = move || sources.current_hash();
            let hash = match self.looking.read(PATIENCE, look).await {
                Ok(hash) => hash,
                Err(error) => {
                    tracing::error!(%error, "cannot tell whether the configuration has changed");
                    continue;
                }
            };
            // Files that are wrong are reported once, not at every look. When they are again what
            // is in force, a reload says that all is well.
            let in_force = hash == self.config().sources.hash;
            if hash != tried && (!in_force || self.refused.load(Ordering::Relaxed)) {
                tracing::info!("the configuration's files have changed");
                // Its outcome is logged and counted there.
                let _ = reloads.run().await;
            }
            tried = hash;
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock::read(&self.config))
    }

    /// Whether each provider has been tried once, or its first poll is due later. Stays true.
    pub async fn is_ready(&self) -> bool {
        if !self.ready.load(Ordering::Relaxed) {
            let workers = self.workers.lock().await;
            let mut running = workers.iter().flat_map(HashMap::values);
            self.ready.store(running.all(|running| running.worker.is_settled()), Ordering::Relaxed);
        }
        self.ready.load(Ordering::Relaxed)
    }

    /// Polls a task at a configured provider now, within the provider's limits. `params` serve an
    /// ID that is not in the configuration.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub async fn probe(
        &self,
        provider: &str,
        id: &str,
        params: &[(String, String)],
    ) -> Result<Probed, String> {
        let running = self.workers.lock().await.as_ref().and_then(|workers| {
            let running = workers.get(provider)?;
            Some((Arc::clone(&running.upstream), Arc::clone(&running.worker)))
        });
        let (upstream, worker) =
            running.ok_or_else(|| format!("no provider {provider:?} is configured"))?;
        let task = match self.find(provider, id).await {
            Some(task) => task,
            None => upstream.task(id, params)?,
        };
        let patience = upstream.provider.limits.poll_timeout + PROBE_PATIENCE;
        let polled = tokio::time::timeout(patience, worker.probe(task.clone())).await;
        Ok(Probed { upstream, task, polled: polled.ok().flatten() })
    }

    /// The task of a provider with this ID. Among a million that takes some milliseconds, for
    /// which nobody else has to wait.
    async fn find(&self, provider: &str, id: &str) -> Option<Task> {
        let (store, provider, id) = (Arc::clone(&self.store), provider.to_owned(), id.to_owned());
        tokio::task::spawn_blocking(move || store.find(&provider, &id)).await.ok().flatten()
    }

    /// Starts no more polls and waits for those that are under way.
    pub async fn end(&self) {
        let workers = self.workers.lock().await.take().unwrap_or_default();
        let ends = workers.into_values().map(|running| async move { running.worker.end().await });
        ends.collect::<JoinSet<()>>().join_all().await;
    }

    async fn swap(
        &self,
        config: Arc<Config>,
        tasks: Vec<Task>,
        upstreams: Vec<Arc<Upstream>>,
    ) -> Result<(), ReloadError> {
        let mut guard = self.workers.lock().await;
        let Some(workers) = guard.as_mut() else {
            return Err(ReloadError::Internal("the process is ending".to_owned()));
        };
        // On a thread where it may take long: with a million tasks it does.
        let (store, providers) = (Arc::clone(&self.store), config.providers.clone());
        let changes = tokio::task::spawn_blocking(move || store.apply(&providers, tasks)).await;
        let changes = changes.map_err(|error| ReloadError::Internal(error.to_string()))?;
        let mut before = std::mem::take(workers);
        // Which tasks came, and when, is to outlive the process; and so is which have left.
        if let Some(storage) = &self.context.storage {
            storage.renew();
        }
        for (upstream, changes) in upstreams.into_iter().zip(changes) {
            let name = Arc::clone(&upstream.provider.name);
            let worker = match before.remove(&name) {
                Some(running) => {
                    running.worker.update(Arc::clone(&upstream), changes).await;
                    running.worker
                }
                None => {
                    let context = self.context.clone();
                    Arc::new(Worker::spawn(context, Arc::clone(&upstream), changes))
                }
            };
            workers.insert(name, Running { upstream, worker });
        }
        for name in before.keys() {
            self.context.telemetry.remove_provider(name);
        }
        let telemetry = &self.context.telemetry;
        telemetry.tasks_over_limit(config.dropped_tasks);
        telemetry.reload_succeeded(self.context.clock.now(), config.sources.hash);
        if config.dropped_tasks > 0 {
            tracing::warn!(tasks = config.dropped_tasks, "max_tasks leaves tasks unpolled");
        }
        *lock::write(&self.config) = config;
        Ok(())
    }
}

async fn read(reading: &Reading<Loading>, source: &Source) -> Loading {
    let source = source.clone();
    let read = reading.read(PATIENCE, move || load(source)).await;
    read.map_err(|error| ReloadError::Internal(format!("the configuration: {error}")))?
}

/// Reads the files, secrets and certificates among them.
fn load(source: Source) -> Loading {
    let loaded = match source {
        Source::File(path) => config::load(&path),
        Source::Text(name, text) => config::load_text(name, &text, Path::new("")),
    };
    let loaded = loaded.map_err(ReloadError::Config)?;
    let upstreams = upstreams(&loaded.config)?;
    Ok((loaded, upstreams))
}

fn upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, ReloadError> {
    let build = |provider: &Arc<config::Provider>| {
        let upstream = Upstream::new(Arc::clone(provider));
        upstream
            .map(Arc::new)
            .map_err(|error| ReloadError::Client(provider.name.to_string(), error))
    };
    config.providers.iter().map(build).collect()
}
