//! The web configuration in force. Its files are checked when it is used, so that a renewed
//! certificate or a removed user requires neither a restart nor a signal.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::{WatchedFiles, WebConfig, load};
use crate::web::auth::PasswordVerifier;
use crate::yaml::diagnostic::Diagnostics;

/// Minimum time between two checks of the files: a few small files are read at most once in that
/// time, however many requests there are.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The web configuration in force, reloaded when its files have changed.
#[derive(Debug)]
pub struct ReloadableWebConfig {
    path: PathBuf,
    /// True if TLS is enabled, which does not change after the start.
    is_tls: bool,
    /// Verifier of passwords; its cache survives changes of the file.
    pub passwords: Arc<PasswordVerifier>,
    current: RwLock<Arc<WebConfig>>,
    last_check: Arc<Mutex<LastCheck>>,
    /// Time of the last log line about the check that hangs; `None` while none hangs.
    hang_logged: parking_lot::Mutex<Option<Instant>>,
    /// The refusal of the files as they are; `None` if they are in force.
    refusal: parking_lot::Mutex<Option<Refusal>>,
}

/// A web configuration that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Time of the first refusal since the configuration in force was loaded.
    pub since: Instant,
    /// Reason of the last refusal. Contains no secret.
    pub reason: String,
}

/// The last check of the files.
#[derive(Debug)]
struct LastCheck {
    at: Instant,
    files: WatchedFiles,
}

impl ReloadableWebConfig {
    /// Loads the files for the first time. Blocks on the file system.
    ///
    /// # Errors
    /// All diagnostics of the file and of the files that it names.
    pub fn load(path: PathBuf) -> Result<Self, Diagnostics> {
        let (config, files) = load(&path);
        let config = config?;
        Ok(Self {
            path,
            is_tls: config.tls.is_some(),
            passwords: Arc::new(PasswordVerifier::new()),
            current: RwLock::new(Arc::new(config)),
            last_check: Arc::new(Mutex::new(LastCheck { at: Instant::now(), files })),
            hang_logged: parking_lot::Mutex::default(),
            refusal: parking_lot::Mutex::default(),
        })
    }

    /// Logs the loaded configuration.
    pub fn log(&self) {
        let users = self.current.read().users.len();
        tracing::info!(tls = self.is_tls, users, "web configuration read");
    }

    /// Reports whether TLS is enabled.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Reports whether every client needs a password or a verified certificate.
    pub fn authenticates(&self) -> bool {
        let current = self.current.read();
        current.verifies_clients || !current.users.is_empty()
    }

    /// Returns the refusal of the files, if the configuration in force is another one.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().clone()
    }

    /// Returns the configuration in force, at most a second behind the files.
    ///
    /// A request that arrives during a check does not wait for it, so that a file system that hangs
    /// delays one request at a time.
    pub async fn current(self: &Arc<Self>) -> Arc<WebConfig> {
        match Arc::clone(&self.last_check).try_lock_owned() {
            Ok(last_check) if last_check.at.elapsed() >= CHECK_INTERVAL => {
                let this = Arc::clone(self);
                // The configuration in force stays if the check panics or hangs.
                let looking = tokio::task::spawn_blocking(move || this.check_files(last_check));
                if tokio::time::timeout(CHECK_TIMEOUT, looking).await.is_err() {
                    self.log_hang();
                }
            }
            Err(_) if self.hang_logged.lock().is_some() => self.log_hang(),
            _ => {}
        }
        Arc::clone(&self.current.read())
    }

    /// Logs that a check of the files hangs, repeatedly while it does.
    fn log_hang(&self) {
        let mut logged = self.hang_logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= HANG_LOG_INTERVAL) {
            let error = format!("a file system did not answer within {CHECK_TIMEOUT:?}");
            tracing::error!(error, "{KEPT}");
            *logged = Some(Instant::now());
        }
    }

    fn check_files(&self, mut last_check: OwnedMutexGuard<LastCheck>) {
        if last_check.files.have_changed() {
            let (config, files) = load(&self.path);
            last_check.files = files;
            match config {
                Ok(config) if config.tls.is_some() != self.is_tls => {
                    self.refuse(&"tls_server_config was added or removed, which needs a restart");
                }
                Ok(config) => {
                    let users = config.users.len();
                    tracing::info!(users, "web configuration reloaded");
                    *self.current.write() = Arc::new(config);
                    *self.refusal.lock() = None;
                }
                // Logged once, because the next check compares with these files.
                Err(error) => self.refuse(&error),
            }
        }
        *self.hang_logged.lock() = None;
        last_check.at = Instant::now();
    }

    fn refuse(&self, error: &dyn Display) {
        tracing::error!(%error, "{KEPT}");
        let mut refusal = self.refusal.lock();
        let since = refusal.as_ref().map_or_else(Instant::now, |before| before.since);
        *refusal = Some(Refusal { since, reason: error.to_string() });
    }
}

/// Maximum time for which a request waits for a check of the files.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Minimum time between two log lines about a check that hangs.
const HANG_LOG_INTERVAL: Duration = Duration::from_secs(60);

const KEPT: &str = "web configuration not reloaded; the old one stays in force";
