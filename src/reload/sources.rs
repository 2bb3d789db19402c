//! Refreshes of the sources of tasks: one loop for each source of the configuration in force.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

use super::ConfigManager;
use crate::config::Config;
use crate::config::discovery::{SourceConfig, SourceKind};
use crate::discovery::list::{ListedTask, Refresh, RefreshError, SourceList};
use crate::discovery::provider_list::ProviderAccess;
use crate::discovery::source::Source;
use crate::discovery::status::{ListSummary, SourceStatus};
use crate::poll::list_turn::ListObservations;
use crate::store::StoreList;
use crate::supervisor::restart_on_panic;

/// Longest time for which a source can put off the next refresh, as for polls.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The loop of a source, which ends when this is dropped.
struct RefreshLoop {
    /// The source, which the loop holds while it runs, and leaves to the loop after it.
    source: Arc<Mutex<Option<Source>>>,
    _stop: watch::Sender<()>,
}

/// The circumstances of the loop of a source.
#[derive(Clone)]
struct LoopContext {
    manager: Arc<ConfigManager>,
    config: Arc<SourceConfig>,
    status: Arc<SourceStatus>,
    stopped: watch::Receiver<()>,
}

impl ConfigManager {
    /// Refreshes all sources as their settings say: at once after a start and after a reload, then
    /// after each interval, and when files change. Does not return while the manager lives.
    pub async fn refresh_sources(self: Arc<Self>) {
        let mut loops = HashMap::new();
        // What was in force when this began is no change.
        let mut configs = self.config.subscribe();
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            loops = self.start_loops(&config, loops);
            drop(config);
            if configs.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts a loop for each source of a configuration, in place of those `before`, which end.
    fn start_loops(
        self: &Arc<Self>,
        config: &Config,
        mut before: HashMap<Arc<str>, RefreshLoop>,
    ) -> HashMap<Arc<str>, RefreshLoop> {
        let (mut loops, statuses) = (HashMap::new(), self.sources.all());
        for config in &config.discovery {
            let Some(status) = statuses.iter().find(|status| status.is_of(config)) else {
                continue;
            };
            let source = before.remove(&config.key()).map(|before| before.source);
            let (stop, stopped) = watch::channel(());
            let context = LoopContext {
                manager: Arc::clone(self),
                config: Arc::clone(config),
                status: Arc::clone(status),
                stopped,
            };
            let source = source.unwrap_or_default();
            let held = Arc::clone(&source);
            let run = move || run_loop(context.clone(), Arc::clone(&held));
            self.context.runtime.spawn(restart_on_panic("refreshes of a source", run));
            loops.insert(config.key(), RefreshLoop { source, _stop: stop });
        }
        loops
    }

    /// Returns the way to the provider whose list a source is.
    fn list_access(&self, source: &SourceConfig) -> Option<ProviderAccess> {
        let SourceKind::List(_) = source.kind else { return None };
        let workers = self.workers.read();
        let running = workers.as_ref()?.get(&source.name)?;
        let (client, worker) = (Arc::clone(&running.client), Arc::clone(&running.worker));
        Some(ProviderAccess { client, worker: Some(worker) })
    }

    /// Reports whether every source has been tried.
    pub(super) fn are_sources_tried(&self) -> bool {
        self.sources.all().iter().all(|status| status.history().last_try.is_some())
    }
}

/// Refreshes a source until the loop is stopped.
async fn run_loop(context: LoopContext, source: Arc<Mutex<Option<Source>>>) {
    let mut stopped = context.stopped.clone();
    let mut held = tokio::select! {
        held = source.lock() => held,
        () = ended(&mut stopped) => return,
    };
    let (mut is_current, mut failures) = (false, 0);
    loop {
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = context.refresh(&mut held, &mut is_current) => outcome,
            () = ended(&mut stopped) => return,
        };
        // Not interrupted, so that a list is applied as a whole.
        let error = context.take_in(outcome, &mut held, started.elapsed()).await;
        failures = if error.is_some() { failures + 1 } else { 0 };
        let delay = context.delay(failures, error.as_ref());
        let next = started.max(Instant::now().checked_sub(delay).unwrap_or(started)) + delay;
        context.status.set_next_try(context.manager.now() + (next - Instant::now()));
        tokio::select! {
            () = sleep_until(next) => {}
            () = changed(held.as_ref()) => {}
            () = ended(&mut stopped) => return,
        }
    }
}

/// Waits until the sender has gone.
async fn ended(stopped: &mut watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn changed(source: Option<&Source>) {
    match source {
        Some(source) => source.changed().await,
        None => std::future::pending().await,
    }
}

impl LoopContext {
    /// Reads the list. `is_current` is true if `source` has the settings of the configuration; if
    /// not, it is the source before.
    async fn refresh(
        &self,
        source: &mut Option<Source>,
        is_current: &mut bool,
    ) -> Result<Refresh, RefreshError> {
        if !*is_current {
            let resolver = &self.manager.context.resolver;
            *source = Some(Source::new(&self.config, source.take(), resolver)?);
            *is_current = true;
        }
        let config = self.manager.config();
        let access = self.manager.list_access(&self.config);
        match source {
            Some(source) => {
                source.refresh(&config.providers, config.label_limits, access.as_ref()).await
            }
            None => Ok(Refresh::Unchanged),
        }
    }

    /// Applies the outcome of a refresh that took `took`, and records it. Returns the error, if there
    /// is one.
    async fn take_in(
        &self,
        outcome: Result<Refresh, RefreshError>,
        source: &mut Option<Source>,
        took: Duration,
    ) -> Option<RefreshError> {
        let (list, error) = match outcome {
            Ok(Refresh::Unchanged) => {
                self.manager.confirm_list(&self.config).await;
                (None, None)
            }
            Ok(Refresh::List(list)) => (Some(self.apply(list, true).await), None),
            Ok(Refresh::Partial(list, error)) => (Some(self.apply(list, false).await), Some(error)),
            Err(error) => (None, Some(error)),
        };
        if list.as_ref().is_some_and(|list| list.rejected.has_limited())
            && let Some(source) = source
        {
            // There may be room for more of the same list later.
            source.forget_validators();
        }
        self.log(error.as_ref());
        self.status.record_refresh(list, error.as_ref(), self.manager.now(), took);
        error
    }

    /// Applies a list. `is_whole` is false if it has parts of an earlier one.
    async fn apply(&self, mut list: SourceList, is_whole: bool) -> ListSummary {
        let (store, limit) = (Arc::clone(&self.manager.store), self.config.limit);
        let limited = tokio::task::spawn_blocking(move || {
            list.add_known(|task| store.is_open(&task.common.provider, &task.id));
            let is_followed =
                |task: &crate::task::Task| store.is_followed(&task.common.provider, &task.id);
            list.limit(limit, is_followed);
            list
        });
        let Ok(SourceList { tasks, mut rejected, observations, .. }) = limited.await else {
            return ListSummary::default();
        };
        let discovered = tasks.len();
        let times: Vec<_> = match tasks.iter().any(|listed| listed.enqueue_time.is_some()) {
            true => tasks.iter().map(|listed| listed.enqueue_time).collect(),
            false => Vec::new(),
        };
        let tasks = tasks.into_iter().map(|ListedTask { task, .. }| task).collect();
        let (is_window, shown) = match &self.config.kind {
            SourceKind::List(list) => {
                let next_list = self.config.refresh_interval + self.config.timeout;
                (list.is_window, Some(ListObservations { tasks: observations, next_list }))
            }
            SourceKind::Http(_) | SourceKind::File(_) | SourceKind::Sql(_) => (false, None),
        };
        let list = StoreList { tasks, times, is_whole, is_window };
        match self.manager.apply_list(&self.config, list, shown).await {
            Ok(over_limit) => {
                rejected.add_limited(over_limit);
                ListSummary { discovered: discovered.saturating_sub(over_limit), rejected }
            }
            // The process is ending.
            Err(_) => ListSummary { discovered, rejected },
        }
    }

    fn log(&self, error: Option<&RefreshError>) {
        let source = &*self.config.key();
        let before = self.status.history().error;
        match (error, before) {
            (Some(error), before) => {
                let is_known = before
                    .is_some_and(|it| it.reason == error.reason && it.message == error.message);
                if !is_known {
                    let (reason, detail) = (error.reason.as_str(), &*error.message);
                    tracing::warn!(source, reason, detail, "cannot read a list of tasks");
                }
            }
            (None, Some(_)) => tracing::info!(source, "the list of tasks can be read again"),
            (None, None) => {}
        }
    }

    /// Returns the time from one refresh to the next after so many failures in a row.
    fn delay(&self, failures: u32, error: Option<&RefreshError>) -> Duration {
        let interval = self.config.refresh_interval;
        let Some(doublings) = failures.checked_sub(1) else { return interval };
        let retry_after = error.and_then(|error| error.retry_after).unwrap_or_default();
        let backoff = Duration::from_secs(1 << doublings.min(9)).min(interval);
        backoff.max(retry_after.min(MAX_RETRY_AFTER))
    }
}
