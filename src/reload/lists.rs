//! Lists of sources, applied to the configuration in force. A reload and a list never overlap.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{ConfigManager, ReloadError};
use crate::config::Config;
use crate::config::discovery::SourceConfig;
use crate::poll::list_turn::ListObservations;
use crate::storage::Storage;
use crate::store::{ListingChange, SaveChange, Store, StoreConfig, StoreList, TaskChanges};
use crate::task::Task;

/// Time between two looks for tasks that no source names and whose time has come.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Number of changes at once from which the storage writes all tasks, rather than each change. Its
/// queue holds twice as many.
const MAX_SAVED_ONE_BY_ONE: usize = 50_000;

impl ConfigManager {
    /// Applies providers, sources and tasks of a configuration to the store. What a start finds is
    /// saved as a whole, and so is what a removed provider leaves behind.
    pub(super) async fn apply_config(
        &self,
        config: &Arc<Config>,
        tasks: Vec<Task>,
        save_all: bool,
    ) -> Result<Vec<TaskChanges>, ReloadError> {
        let config = Arc::clone(config);
        self.change_tasks(save_all, move |store, save| {
            store.apply_config(&StoreConfig::of(&config), tasks, save)
        })
        .await
    }

    /// Applies the list of a source, unless that has left the configuration, and then what it shows of
    /// the tasks of its provider. Returns the number of tasks that `max_tasks` leaves out.
    ///
    /// # Errors
    /// Fails when the process is ending.
    pub async fn apply_list(
        &self,
        source: &Arc<SourceConfig>,
        list: StoreList,
        shown: Option<ListObservations>,
    ) -> Result<usize, ReloadError> {
        let _swapping = self.swapping.lock().await;
        if !self.has_source(source) {
            return Ok(0);
        }
        let key = source.key();
        let changes =
            self.change_tasks(false, move |store, save| store.apply_list(&key, list, save)).await?;
        let over_limit: u64 = changes.iter().map(|changes| changes.over_limit).sum();
        let shown = shown.map(|shown| (&*source.name, shown));
        self.update_workers(changes, shown).await;
        Ok(usize::try_from(over_limit).unwrap_or(usize::MAX))
    }

    /// Notes that a source has the same list as before.
    pub(super) async fn confirm_list(&self, source: &Arc<SourceConfig>) {
        let _swapping = self.swapping.lock().await;
        if self.has_source(source) {
            self.store.confirm_list(&source.key());
        }
    }

    /// Drops tasks that no source names when their time has come. Never returns.
    pub async fn sweep_unlisted(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let _swapping = self.swapping.lock().await;
            match self.change_tasks(false, |store, save| store.sweep(save)).await {
                Ok(changes) => self.update_workers(changes, None).await,
                Err(error) => tracing::error!(%error, "cannot look for tasks to drop"),
            }
        }
    }

    /// Reports whether the configuration in force has this source, with the same settings.
    fn has_source(&self, source: &Arc<SourceConfig>) -> bool {
        self.config().discovery.iter().any(|known| Arc::ptr_eq(known, source))
    }

    /// Changes the tasks of the store on a thread where that may take long: with a million tasks it
    /// does. The storage gets each change, or a snapshot afterwards: of many changes, and if
    /// `save_all`.
    async fn change_tasks<T: Send + 'static>(
        &self,
        save_all: bool,
        change: impl FnOnce(&Store, &SaveChange<'_>) -> T + Send + 'static,
    ) -> Result<T, ReloadError> {
        let (store, storage) = (Arc::clone(&self.store), self.context.storage.clone());
        let work = move || {
            let saved = Cell::new(0_usize);
            let result = change(&store, &|change| {
                saved.set(saved.get() + 1);
                // A task that has gone must not come back before the snapshot is written.
                let is_gone = matches!(change, ListingChange::Removed(_));
                if (is_gone || !save_all) && saved.get() <= MAX_SAVED_ONE_BY_ONE {
                    save(storage.as_deref(), change, &store);
                }
            });
            if let Some(storage) = &storage
                && (save_all || saved.get() > MAX_SAVED_ONE_BY_ONE)
            {
                storage.compact();
            }
            result
        };
        let changed = tokio::task::spawn_blocking(work).await;
        changed.map_err(|error| ReloadError::Internal(error.to_string()))
    }

    /// Counts the tasks that were dropped before their end was seen, and logs the first of them.
    pub(super) fn count_lost(&self, changes: &TaskChanges) {
        let provider = &*changes.tasks.name;
        for task_id in &changes.first_lost {
            tracing::warn!(provider, %task_id, "lost: no list names it any more, and its end was not seen");
        }
        self.context.telemetry.provider(provider).count_lost(changes.lost);
    }

    /// Gives each worker the changes of its tasks, and what the list of this provider shows, and counts
    /// those that were lost.
    pub(super) async fn update_workers(
        &self,
        changes: Vec<TaskChanges>,
        mut shown: Option<(&str, ListObservations)>,
    ) {
        let workers = self.workers.read().clone().unwrap_or_default();
        let updates = changes.into_iter().filter_map(|changes| {
            let name = &changes.tasks.name;
            self.count_lost(&changes);
            let worker = Arc::clone(&workers.get(name)?.worker);
            let shown = shown.take_if(|(provider, _)| **name == **provider).map(|(_, shown)| shown);
            let has_work = !changes.is_empty() || shown.is_some();
            has_work.then_some(async move { worker.change_tasks(changes, shown).await })
        });
        join_all(updates.collect::<Vec<_>>()).await;
    }
}

fn save(storage: Option<&Storage>, change: ListingChange<'_>, store: &Store) {
    if let Some(storage) = storage {
        storage.save_listing(change, store);
    }
}
