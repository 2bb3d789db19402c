//! The status of the configuration in force, for the pages.

use std::sync::Arc;

use super::ConfigManager;
use crate::clock::Timestamp;
use crate::config::Provider;
use crate::poll::status::PollHistory;
use crate::storage::status::StorageFailure;
use crate::telemetry::provider::Lateness;

/// A configuration that was refused, or files that cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadFailure {
    /// Time of the first failure since the configuration in force was loaded.
    pub since: Timestamp,
    /// Reason of the last failure. Contains no secret.
    pub reason: Arc<str>,
}

/// Tasks of the configuration that are not polled because of `max_tasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TasksOverLimit {
    /// Number of tasks; never 0.
    pub tasks: usize,
    /// Time since which every configuration in force has had such tasks.
    pub since: Timestamp,
}

/// The status of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigStatus {
    /// Time at which the configuration in force was loaded.
    pub loaded: Timestamp,
    /// Reason why the configuration in force may differ from the files.
    pub failure: Option<ReloadFailure>,
    /// Tasks that `max_tasks` leaves out.
    pub over_limit: Option<TasksOverLimit>,
}

impl ConfigStatus {
    /// Creates the status before the first configuration is in force.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { loaded: now, failure: None, over_limit: None }
    }

    /// Records that a configuration is in force from `now` on, without so many of its tasks.
    pub(super) fn record_load(&mut self, over_limit: usize, now: Timestamp) {
        (self.loaded, self.failure) = (now, None);
        let since = self.over_limit.map_or(now, |before| before.since);
        self.over_limit = (over_limit > 0).then_some(TasksOverLimit { tasks: over_limit, since });
    }

    /// Records a failure to load the files.
    pub(super) fn record_failure(&mut self, reason: Arc<str>, now: Timestamp) {
        let since = self.failure.as_ref().map_or(now, |before| before.since);
        self.failure = Some(ReloadFailure { since, reason });
    }
}

/// The status of a provider.
#[derive(Clone, Debug)]
pub struct ProviderStatus {
    /// The provider's name.
    pub name: Arc<str>,
    /// Number of tasks that are not final.
    pub open: usize,
    /// The polls so far.
    pub polls: PollHistory,
    /// The delay of late polls, if there are any.
    pub lateness: Option<Lateness>,
}

impl ConfigManager {
    /// Returns the status of the configuration in force.
    pub fn config_status(&self) -> ConfigStatus {
        self.status.read().clone()
    }

    /// Returns the failure of the storage path, if it does not work.
    pub fn storage_failure(&self) -> Option<StorageFailure> {
        self.context.storage.as_ref()?.failure()
    }

    /// Returns the status of each provider, in the order of the configuration. Locks what is polled
    /// only to copy a few words.
    pub fn provider_statuses(&self) -> Vec<ProviderStatus> {
        let (config, open) = (self.config(), self.store.open_counts());
        let workers = self.workers.read();
        let workers = workers.as_ref();
        let status = |provider: &Arc<Provider>| {
            let worker = &workers?.get(&provider.name)?.worker;
            Some(ProviderStatus {
                name: Arc::clone(&provider.name),
                open: open.get(&provider.name).copied().unwrap_or_default(),
                polls: worker.history(),
                lateness: worker.lateness(),
            })
        };
        config.providers.iter().filter_map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn times_are_those_of_the_first_of_a_row() {
        let mut status = ConfigStatus::new(at(0));
        status.record_load(0, at(1));
        assert_eq!((status.loaded, status.over_limit), (at(1), None));
        status.record_failure("no such file".into(), at(2));
        status.record_failure("unknown key".into(), at(3));
        let failure = status.failure.clone().unwrap();
        assert_eq!((failure.since, &*failure.reason), (at(2), "unknown key"));
        status.record_load(7, at(4));
        status.record_load(8, at(5));
        assert_eq!(status.over_limit, Some(TasksOverLimit { tasks: 8, since: at(4) }));
        assert_eq!(status.failure, None);
        status.record_load(0, at(6));
        assert_eq!((status.loaded, status.over_limit), (at(6), None));
    }
}
