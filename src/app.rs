//! The composition root: builds everything, runs it and stops it.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aitask_simulator::{self as simulator, Simulator};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::cli::{DemoFlags, ExporterFlags, ListenAddress, SimulateFlags, WebFlags};
use crate::clock::Clock;
use crate::config::ConfigFiles;
use crate::fetch::resolver::Resolver;
use crate::history::FailureHistory;
use crate::logging;
use crate::poll::worker::Services;
use crate::reload::registrations::ReceiverFlags;
use crate::reload::{self, Built, ConfigManager, ConfigSource, ReloadError, Reloads};
use crate::signals::{Signals, abort_on_second};
use crate::single_flight::{SingleFlight, SingleFlightError};
use crate::storage::files::StorageError;
use crate::storage::{self, Storage};
use crate::store::Store;
use crate::supervisor::restart_on_panic;
use crate::telemetry::Telemetry;
use crate::tls;
use crate::web::config::reloadable::ReloadableWebConfig;
use crate::web::connections::{FdReserve, OpenConnections, raise_open_files_limit};
use crate::web::listen::WebServer;
use crate::web::middleware::Authentication;
use crate::web::stream::ComputePermits;
use crate::web::{self, WebState, listen};
use crate::yaml::diagnostic::Diagnostics;

/// Address of the simulated gateway in `config/demo.yml`.
const DEMO_GATEWAY: &str = "127.0.0.1:10055";
/// Number of failed polls that the demo keeps: the exporter's default.
const DEMO_HISTORY: usize = 100;
/// Maximum number of threads that read the files of secrets, including those that hang; each
/// provider uses one at a time. The threads do nothing else; names are looked up elsewhere.
const MAX_FILE_THREADS: usize = 512;
/// Maximum time for polls and responses in flight after the request to stop. A process manager
/// often waits for ten seconds, and the documentation promises five.
const DRAIN: Duration = Duration::from_secs(4);
/// Maximum time for the data that must still reach the disk.
const FLUSH: Duration = Duration::from_millis(900);

/// The reason why the process failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration or the web configuration has errors.
    #[error(transparent)]
    Files(#[from] Diagnostics),
    /// The files were not read in time.
    #[error("the configuration: {0}")]
    SingleFlight(#[from] SingleFlightError),
    /// Polling cannot start.
    #[error(transparent)]
    ConfigManager(#[from] ReloadError),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(String, std::io::Error),
    /// A listener ended without a request to stop.
    #[error("a listener has stopped: see the log")]
    ListenerEnded,
    /// The storage path cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The system reports another error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs the exporter until a signal ends it.
///
/// # Errors
/// The configuration is invalid, or an address cannot be listened on.
pub async fn run(flags: ExporterFlags) -> Result<(), AppError> {
    let signals = Signals::install()?;
    let interval = flags.enable_auto_reload.then_some(flags.auto_reload_interval);
    let source = ConfigSource::File(flags.config_file.clone());
    let retention = Retention {
        history: flags.history_limit,
        storage: flags.storage_path(),
        has_task_receiver: flags.enable_task_receiver,
    };
    run_exporter(source, &flags.web, retention, interval, signals, |_, _| {}).await
}

/// Runs a simulated gateway and an exporter that polls it.
///
/// # Errors
/// An address cannot be listened on.
pub async fn demo(flags: DemoFlags) -> Result<(), AppError> {
    let signals = Signals::install()?;
    let gateway = TcpListener::bind("127.0.0.1:0").await?;
    let address = gateway.local_addr()?.to_string();
    let simulator = Simulator::new(simulator::Options::default());
    let serving = tokio::spawn(simulator::serve(gateway, simulator, std::future::pending()));
    let text = include_str!("../config/demo.yml").replace(DEMO_GATEWAY, &address);
    let source = ConfigSource::Text("config/demo.yml", text);
    let announce = |bound: &[SocketAddr], scheme: &str| {
        let Some(exporter) = bound.first() else { return };
        let (path, exporter) = (&flags.web.telemetry_path, reachable(*exporter));
        println!(
            "A simulated gateway is running on {address}, and an exporter that polls its tasks.\n\
             Within half a minute, there are tasks in every state, and jobs of an application that\n\
             come and go:\n\
             \x20 curl {scheme}://{exporter}{path}\n\
             \x20 {scheme}://{exporter}/ in a browser\n\
             Ctrl-C stops both."
        );
    };
    let retention = Retention { history: DEMO_HISTORY, storage: None, has_task_receiver: false };
    let ended = run_exporter(source, &flags.web, retention, None, signals, announce).await;
    serving.abort();
    ended
}

/// Runs the simulated gateway.
///
/// # Errors
/// An address cannot be listened on.
pub async fn simulate(flags: SimulateFlags) -> Result<(), AppError> {
    let mut signals = Signals::install()?;
    let simulator = Simulator::new(simulator::Options::default());
    let (stop, stopped) = watch::channel(false);
    let mut servers = JoinSet::new();
    for (listener, address) in bind(&flags.listen_addresses).await? {
        tracing::info!(%address, "Listening on");
        let mut stopped = stopped.clone();
        servers.spawn(simulator::serve(listener, simulator.clone(), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
    }
    signals.stop().await;
    stop.send_replace(true);
    let served = async { while servers.join_next().await.is_some() {} };
    abort_on_second(signals, within(DRAIN, served)).await;
    Ok(())
}

async fn run_exporter(
    source: ConfigSource,
    flags: &WebFlags,
    retention: Retention<'_>,
    auto_reload: Option<Duration>,
    mut signals: Signals,
    announce: impl FnOnce(&[SocketAddr], &str),
) -> Result<(), AppError> {
    let receiver = ReceiverFlags {
        has_task_receiver: retention.has_task_receiver,
        has_web_config: flags.config_file().is_some(),
    };
    let open_files = raise_open_files_limit();
    let reserve = Arc::new(FdReserve::new(open_files, std::io::stderr()));
    let start = async {
        let LoadedFiles { web_config, built, resolver } =
            LoadedFiles::read_in_time(&source, flags).await?;
        web_config.iter().for_each(ReloadableWebConfig::log);
        let listeners = bind(&flags.listen_addresses).await?;
        let started = start_polling(source, built, resolver, retention, receiver).await?;
        Ok::<_, AppError>((web_config.map(Arc::new), listeners, started))
    };
    let (web_config, listeners, Started { services, manager }) = tokio::select! {
        started = start => started?,
        // If anything hangs, what has started ends with the process, and loses no more than if it
        // were killed.
        () = signals.stop() => return Ok(()),
    };
    let storage = services.storage.clone();
    let connections = OpenConnections::new(open_files, Arc::clone(&services.telemetry));
    let web = Arc::new(web_state(Arc::clone(&manager), services, web_config.clone(), flags));
    let guard = authentication(&web, flags);
    let router = web::router(Arc::clone(&web), flags.max_requests, guard);
    let (stop, stopped) = watch::channel(false);
    let is_tls = web_config.as_ref().is_some_and(|web_config| web_config.is_tls());
    let bound: Vec<_> = listeners.iter().map(|(_, address)| *address).collect();
    if receiver.has_task_receiver && web.is_open_to(&bound) {
        tracing::warn!("every client can register and delete tasks without a password");
    }
    announce(&bound, if is_tls { "https" } else { "http" });
    let server = WebServer { router, web_config, connections, reserve, stop: stopped };
    let mut servers = JoinSet::new();
    for (listener, address) in listeners {
        tracing::info!(%address, "Listening on");
        servers.spawn(listen::serve(listener, server.clone()));
    }
    let background =
        spawn_background_tasks(&manager, &web.reloads, storage.clone(), auto_reload, &mut signals);
    // A process that no longer listens must end, so that the service manager restarts it.
    let result = tokio::select! {
        () = signals.stop() => Ok(()),
        Some(_) = servers.join_next() => Err(AppError::ListenerEnded),
    };
    tracing::info!("stopping");
    web.stopping.store(true, Ordering::Relaxed);
    background.iter().for_each(JoinHandle::abort);
    stop.send_replace(true);
    abort_on_second(signals, drain(&manager, servers, storage)).await;
    tracing::info!("stopped");
    result
}

fn web_state(
    manager: Arc<ConfigManager>,
    services: Services,
    web_config: Option<Arc<ReloadableWebConfig>>,
    flags: &WebFlags,
) -> WebState {
    WebState {
        reloads: manager.reloads(),
        manager,
        telemetry: services.telemetry,
        history: services.history,
        telemetry_path: flags.telemetry_path.clone(),
        compute_permits: ComputePermits::new(),
        web_config,
        stopping: AtomicBool::new(false),
    }
}

fn authentication(web: &WebState, flags: &WebFlags) -> Authentication {
    // Like exporter-toolkit, which exempts no path, unless the flag is set.
    let unauthenticated_paths: &[_] =
        if flags.unauthenticated_health { &[web::HEALTHY, web::READY] } else { &[] };
    let (web_config, telemetry) = (web.web_config.clone(), Arc::clone(&web.telemetry));
    Authentication { web_config, unauthenticated_paths, telemetry }
}

/// Starts the tasks that reload the configuration and check the storage path.
fn spawn_background_tasks(
    manager: &Arc<ConfigManager>,
    reloads: &Arc<Reloads>,
    storage: Option<Arc<Storage>>,
    auto_reload: Option<Duration>,
    signals: &mut Signals,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![signals.reload(Arc::clone(reloads))];
    let refreshing = Arc::clone(manager);
    let refresh = move || Arc::clone(&refreshing).refresh_sources();
    tasks.push(tokio::spawn(restart_on_panic("sources", refresh)));
    let sweeping = Arc::clone(manager);
    let sweep = move || {
        let manager = Arc::clone(&sweeping);
        async move { manager.sweep_unlisted().await }
    };
    tasks.push(tokio::spawn(restart_on_panic("departures", sweep)));
    if manager.has_task_receiver() {
        let receiving = Arc::clone(manager);
        let receive = move || {
            let manager = Arc::clone(&receiving);
            async move { manager.receive_registrations().await }
        };
        tasks.push(tokio::spawn(restart_on_panic("registrations", receive)));
    }
    if let Some(interval) = auto_reload {
        let (manager, reloads) = (Arc::clone(manager), Arc::clone(reloads));
        let follow = move || {
            let (manager, reloads) = (Arc::clone(&manager), Arc::clone(&reloads));
            async move { manager.follow_files(interval, &reloads).await }
        };
        tasks.push(tokio::spawn(restart_on_panic("auto-reload", follow)));
    }
    if let Some(storage) = storage {
        tasks.push(tokio::spawn(async move { storage.watch().await }));
    }
    tasks
}

/// Waits for the polls and responses in flight, and writes the remaining data to the disk.
async fn drain(manager: &ConfigManager, mut servers: JoinSet<()>, storage: Option<Arc<Storage>>) {
    let served = async { while servers.join_next().await.is_some() {} };
    let ended = async {
        tokio::join!(manager.end(), served);
    };
    within(DRAIN, ended).await;
    if let Some(storage) = storage {
        // If it panicked, it has ended as well.
        let end = async { drop(tokio::task::spawn_blocking(move || storage.end()).await) };
        within(FLUSH, end).await;
    }
}

/// The configurations that were loaded from the files.
#[derive(Debug)]
pub struct LoadedFiles {
    /// The web configuration, if there is one.
    pub web_config: Option<ReloadableWebConfig>,
    /// The configuration and the clients of its providers.
    pub built: Built,
    /// The resolver of the providers' host names.
    pub resolver: Resolver,
}

impl LoadedFiles {
    /// Reads both configurations and the files that they name, and builds the clients. A check does
    /// only this, and a start begins with it. Blocks on the file system.
    ///
    /// # Errors
    /// All diagnostics of all files.
    pub fn read(source: &ConfigSource, web: Option<PathBuf>) -> Result<Self, Diagnostics> {
        tls::install();
        let resolver = Resolver::system();
        let (clients, files) = (reload::ProviderClients::new(), ConfigFiles::default());
        let built = reload::load(source, &clients, &files, &resolver);
        let built =
            built.and_then(|built| built.0.config.check_flags(web.is_some()).map(|()| built));
        match (built, web.map(ReloadableWebConfig::load).transpose()) {
            (Ok(built), Ok(web_config)) => Ok(Self { web_config, built, resolver }),
            (Err(config), Err(web)) => Err(config.and(web)),
            (Err(diagnostics), _) | (_, Err(diagnostics)) => Err(diagnostics),
        }
    }

    /// Reads a configuration as [`LoadedFiles::read`] does, without the providers that have errors of
    /// their own.
    ///
    /// # Errors
    /// All other diagnostics of all files.
    pub fn read_valid_providers(source: &ConfigSource) -> Result<Built, Diagnostics> {
        tls::install();
        reload::load_valid_providers(source, &Resolver::system())
    }

    /// Reads the files on a thread that may block, with a timeout.
    async fn read_in_time(source: &ConfigSource, flags: &WebFlags) -> Result<Self, AppError> {
        let (source, web) = (source.clone(), flags.config_file());
        let read = move || Self::read(&source, web);
        Ok(SingleFlight::default().run(reload::READ_TIMEOUT, read).await??)
    }
}

/// The settings of what is kept.
struct Retention<'a> {
    /// Number of failed polls that are kept for the pages.
    history: usize,
    /// Directory of the data that survives a restart.
    storage: Option<&'a Path>,
    /// True if applications may register tasks.
    has_task_receiver: bool,
}

/// The parts that poll.
struct Started {
    services: Services,
    manager: Arc<ConfigManager>,
}

/// Recovers the stored data and starts to poll. Takes as long as the storage does.
async fn start_polling(
    source: ConfigSource,
    built: Built,
    resolver: Resolver,
    retention: Retention<'_>,
    receiver: ReceiverFlags,
) -> Result<Started, AppError> {
    let telemetry = Arc::new(Telemetry::new());
    logging::on_panic({
        let telemetry = Arc::clone(&telemetry);
        move || telemetry.panicked()
    });
    let clock = Clock::system();
    let store = Arc::new(Store::new(clock));
    let storage = match retention.storage {
        Some(dir) => {
            let (dir, store, telemetry) = (dir.to_owned(), Arc::clone(&store), telemetry.clone());
            let open = move || open_storage(&dir, &store, &telemetry);
            let opened = tokio::task::spawn_blocking(open).await;
            Some(Arc::new(opened.map_err(std::io::Error::other)??))
        }
        None => None,
    };
    let history = Arc::new(FailureHistory::new(retention.history));
    let runtime = polling_thread()?;
    let services = Services { runtime, resolver, clock, storage, telemetry, history };
    let manager = ConfigManager::start(source, built, store, services.clone(), receiver).await?;
    let manager = Arc::new(manager);
    Ok(Started { services, manager })
}

fn open_storage(
    dir: &Path,
    store: &Arc<Store>,
    telemetry: &Arc<Telemetry>,
) -> Result<Storage, AppError> {
    let mut opened = storage::open(dir)?;
    let tasks: usize = opened.tasks.values().map(HashMap::len).sum();
    let lost_bytes = opened.lost;
    tracing::info!(tasks, "loaded the history from the storage path");
    if lost_bytes > 0 {
        tracing::warn!(
            lost_bytes,
            "the storage path is damaged: using the intact records; finished tasks are counted \
             from 0"
        );
    }
    store.set_recovered(std::mem::take(&mut opened.tasks));
    Ok(opened.start(Arc::clone(store), telemetry)?)
}

/// Starts a runtime on a thread of its own, which runs until the process ends.
///
/// No thread has to be woken between a connection and the worker that waits for it, which would
/// cost as much as the rest of a poll, and a scrape never delays a poll.
fn polling_thread() -> std::io::Result<Handle> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(MAX_FILE_THREADS).build()?;
    let handle = runtime.handle().clone();
    let work = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("polls".to_owned()).spawn(work)?;
    Ok(handle)
}

/// Returns the address at which a person on this machine reaches what listens on `bound`.
fn reachable(bound: SocketAddr) -> String {
    match bound.ip().is_unspecified() {
        true => format!("localhost:{}", bound.port()),
        false => bound.to_string(),
    }
}

async fn bind(addresses: &[ListenAddress]) -> Result<Vec<(TcpListener, SocketAddr)>, AppError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address.candidates.as_slice()).await;
        let listener = listener.map_err(|error| AppError::Listen(address.text.clone(), error))?;
        let bound = listener.local_addr()?;
        listeners.push((listener, bound));
    }
    Ok(listeners)
}

/// Does `work`, but for no longer than `patience`.
async fn within(patience: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(patience, work).await.is_err() {
        tracing::warn!("stopped before all requests had finished");
    }
}
