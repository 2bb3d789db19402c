//! Sources that consist of files: each keeps its last good list.

mod lists;
mod reader;
mod stamp;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::list::{MAX_ELEMENTS, Refresh, RefreshError, RefreshReason};
use crate::config::discovery::{FileSourceConfig, SourceConfig};
use crate::config::{LabelLimits, Provider};
use crate::observation::Reason;
use crate::single_flight::{SingleFlight, SingleFlightError};
use lists::FileLists;
use reader::{FileReader, FilesRead};

/// Time between two looks at the files.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks as a multiple of that of a look, so that ten thousand files, or a slow file
/// system, cost a twentieth of a processor at most.
const REST: u32 = 20;

/// A source that consists of files.
#[derive(Debug)]
pub struct FileSource {
    config: Arc<SourceConfig>,
    files: Arc<FileSourceConfig>,
    lists: Arc<Mutex<FileLists>>,
    reading: SingleFlight<Result<FilesRead, RefreshError>>,
    watching: SingleFlight<bool>,
    /// The version of the lists that was returned last.
    returned: Option<u64>,
    /// True if all files must be parsed, because what they are resolved with has changed.
    must_parse: bool,
    /// Time of the last refresh that read the files even if they seemed unchanged.
    last_full_read: Option<Instant>,
}

impl FileSource {
    /// Returns a source whose files have not been read yet.
    pub fn new(config: Arc<SourceConfig>, files: Arc<FileSourceConfig>) -> Self {
        Self {
            config,
            files,
            lists: Arc::default(),
            reading: SingleFlight::default(),
            watching: SingleFlight::default(),
            returned: None,
            must_parse: false,
            last_full_read: None,
        }
    }

    /// Replaces the configuration. The last good lists are kept for files that cannot be read.
    pub fn reconfigure(&mut self, config: Arc<SourceConfig>, files: Arc<FileSourceConfig>) {
        (self.config, self.files) = (config, files);
        self.forget_validators();
    }

    /// Makes the next refresh parse all files and return their list, even if they are unchanged.
    pub fn forget_validators(&mut self) {
        self.returned = None;
        self.must_parse = true;
    }

    /// Reads the files that have changed, in a configuration with `providers`.
    ///
    /// # Errors
    /// The files cannot be found, are too large together, take too long, or some cannot be read and
    /// the others have not changed.
    pub async fn refresh(
        &mut self,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
    ) -> Result<Refresh, RefreshError> {
        let started = Instant::now();
        let is_due = |last: Instant| started.duration_since(last) >= self.config.refresh_interval;
        let reader = FileReader {
            config: Arc::clone(&self.config),
            files: Arc::clone(&self.files),
            providers: providers.to_vec(),
            limits,
            now: SystemTime::now().into(),
            max_elements: MAX_ELEMENTS,
            must_parse: self.must_parse,
            must_read: self.last_full_read.is_none_or(is_due),
            returned: self.returned,
        };
        let (lists, must_read) = (Arc::clone(&self.lists), reader.must_read);
        let read = self.reading.run(self.config.timeout, move || reader.read(&mut lists.lock()));
        let FilesRead { version, list, error } = read.await.map_err(|error| {
            let reason = match error {
                SingleFlightError::TimedOut(_) => Reason::Timeout.into(),
                SingleFlightError::Panicked(_) => RefreshReason::Read,
            };
            RefreshError::new(reason, error.to_string())
        })??;
        self.must_parse = false;
        if must_read {
            self.last_full_read = Some(started);
        }
        match (list, error) {
            (None, None) => Ok(Refresh::Unchanged),
            (None, Some(error)) => Err(error),
            (Some(list), error) => {
                self.returned = Some(version);
                Ok(match error {
                    None => Refresh::List(list),
                    Some(error) => Refresh::Partial(list, error),
                })
            }
        }
    }

    /// Waits until the files seem to have changed since the last refresh: by the files that the globs
    /// match, and by their metadata. Safe to drop at any time.
    pub async fn changed(&self) {
        let mut rest = WATCH_INTERVAL;
        loop {
            sleep(rest).await;
            let started = Instant::now();
            let (lists, files) = (Arc::clone(&self.lists), Arc::clone(&self.files));
            let look = self.watching.run(self.config.timeout, move || {
                lists.lock().has_changed(&files, SystemTime::now())
            });
            // A refresh reports a file system that does not answer.
            if look.await.unwrap_or(false) {
                return;
            }
            rest = WATCH_INTERVAL.max(started.elapsed() * REST);
        }
    }
}
