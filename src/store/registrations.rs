//! Registrations by applications, applied to the tasks of all providers. Each costs the same among ten
//! and among a million tasks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::lists::{FirstPolls, ListContext, MAX_POLLED_AT_ONCE};
use super::provider_tasks::ProviderTasks;
use super::sources::ListTiming;
use super::table::{Partition, TaskTable};
use super::{ListingChange, SaveChange, Store, TaskChanges};
use crate::clock::Timestamp;
use crate::listing::SourceId;
use crate::record::Newness;
use crate::task::{Task, TaskId};

/// The way in which registered tasks are taken in: an application that registers a task says that it
/// is new, so that its end counts whatever the times in an answer are.
const TIMING: ListTiming = ListTiming {
    is_first: false,
    newness: Some(Newness { since: Timestamp::from_micros(0), needs_time: false }),
};

/// A request of an application.
#[derive(Clone, Debug)]
pub enum RegistrationChange {
    /// Follow a task, or follow it for longer.
    Register(Registration),
    /// End the registration of a task.
    Delete {
        /// The provider's name.
        provider: Arc<str>,
        /// The task's ID.
        id: TaskId,
    },
}

/// A task that an application registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The task.
    pub task: Task,
    /// Time at which it was accepted, if the application says so.
    pub enqueue_time: Option<Timestamp>,
    /// Time after which the registration ends by itself.
    pub ttl: Duration,
}

/// The outcome of a request of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// The task is registered, and was not before.
    Created,
    /// The task was registered already: the registration is replaced.
    Renewed,
    /// The registration has ended, or a task that nothing lists any more has gone.
    Deleted,
    /// There was nothing to delete.
    Absent,
    /// The registrations of open tasks have reached their limit.
    OverLimit,
    /// The provider, or the exporter, follows as many tasks as `max_tasks` allows.
    OverMaxTasks,
    /// The configuration does not have the provider.
    UnknownProvider,
}

/// Time in which at most [`MAX_POLLED_AT_ONCE`] registered tasks are polled at once.
const BUDGET_INTERVAL: Duration = Duration::from_secs(1);

/// The number of registered tasks that may still be polled at once, not at their places.
#[derive(Debug)]
pub(super) struct FirstPollBudget {
    since: Timestamp,
    left: usize,
}

impl Default for FirstPollBudget {
    fn default() -> Self {
        Self { since: Timestamp::from_micros(0), left: MAX_POLLED_AT_ONCE }
    }
}

impl FirstPollBudget {
    /// Returns what is left at `now`.
    fn at(&mut self, now: Timestamp) -> &mut usize {
        if now.since(self.since) >= BUDGET_INTERVAL {
            *self = Self { since: now, left: MAX_POLLED_AT_ONCE };
        }
        &mut self.left
    }
}

/// The number of registered tasks, and their limit.
#[derive(Clone, Copy, Debug)]
struct RegisteredCount {
    open: usize,
    limit: usize,
}

impl Store {
    /// Applies requests of applications in their order, and calls `save` with every change of a task
    /// before it is visible. At most `limit` open tasks are registered.
    pub fn apply_registrations(
        &self,
        requests: Vec<RegistrationChange>,
        limit: usize,
        save: &SaveChange<'_>,
    ) -> (Vec<RegistrationOutcome>, Vec<TaskChanges>) {
        let all = self.providers();
        let index: HashMap<_, _> =
            all.iter().enumerate().map(|(at, tasks)| (Arc::clone(&tasks.name), at)).collect();
        let registry = self.sources.read();
        let mut context = self.context(SourceId::REGISTRATION, TIMING, &all, &[], &registry, save);
        let mut budget = self.registration_polls.lock();
        let budget = budget.at(context.monotonic);
        context.first_polls = FirstPolls::new(TIMING, requests.len()).take_from(budget);
        let mut count = RegisteredCount { open: registered(&all), limit };
        let mut changes: Vec<_> = all.into_iter().map(TaskChanges::none).collect();
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            let changes = index.get(request.provider()).and_then(|at| changes.get_mut(*at));
            outcomes.push(match changes {
                Some(changes) => count.apply(&request, &mut context, changes),
                None => RegistrationOutcome::UnknownProvider,
            });
        }
        context.first_polls.give_back(budget);
        changes.iter_mut().for_each(TaskChanges::forget_short_lived);
        changes.retain(|changes| !changes.is_empty());
        (outcomes, changes)
    }

    /// Returns the number of open tasks that are registered.
    pub fn registered_count(&self) -> usize {
        registered(&self.providers())
    }
}

fn registered(all: &[Arc<ProviderTasks>]) -> usize {
    all.iter().map(|tasks| tasks.registered_count()).sum()
}

impl RegistrationChange {
    /// Returns the name of the task's provider.
    fn provider(&self) -> &str {
        match self {
            Self::Register(Registration { task, .. }) => &task.common.provider,
            Self::Delete { provider, .. } => provider,
        }
    }
}

impl RegisteredCount {
    /// Applies a request to the tasks of its provider.
    fn apply(
        &mut self,
        request: &RegistrationChange,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) -> RegistrationOutcome {
        let tasks = Arc::clone(&changes.tasks);
        tasks.change_registrations(|table| {
            let before = table.registered;
            let outcome = match request {
                RegistrationChange::Register(registration) => {
                    let is_full = self.open >= self.limit;
                    table.register(registration, is_full, context, changes)
                }
                RegistrationChange::Delete { id, .. } => table.deregister(id, context, changes),
            };
            self.open = (self.open + table.registered).saturating_sub(before);
            outcome
        })
    }
}

impl TaskChanges {
    /// Forgets tasks that have come and gone: a worker removes tasks before it adds others.
    fn forget_short_lived(&mut self) {
        if !self.removed.is_empty() {
            let removed: HashSet<_> = self.removed.iter().collect();
            self.added.retain(|target| !removed.contains(&target.slot));
            self.changed.retain(|target| !removed.contains(&target.slot));
        }
    }
}

impl TaskTable {
    /// Registers a task. `is_full` is true if no further open task can be registered.
    fn register(
        &mut self,
        registration: &Registration,
        is_full: bool,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) -> RegistrationOutcome {
        let Registration { task, enqueue_time, ttl } = registration;
        let row = self.find(&task.id);
        let known = row.and_then(|row| self.at(row));
        let is_registered =
            known.is_some_and(|tracked| tracked.listing.registered_until().is_some());
        let is_final = known.is_some_and(|tracked| tracked.is_final());
        if is_full && !is_registered && !is_final {
            return RegistrationOutcome::OverLimit;
        }
        let over_limit = changes.over_limit;
        context.ends = Some(context.monotonic + *ttl);
        match row {
            Some(row) => self.claim(row, task, *enqueue_time, context, changes),
            None => self.come(task.clone(), *enqueue_time, None, context, changes),
        }
        // Refusals are answered, so that they are no tasks that the configuration has too many of.
        match std::mem::replace(&mut changes.over_limit, over_limit) > over_limit {
            true => RegistrationOutcome::OverMaxTasks,
            false if is_registered => RegistrationOutcome::Renewed,
            false => RegistrationOutcome::Created,
        }
    }

    /// Ends the registration of a task. The task leaves at once, with its record, unless a source still
    /// names it.
    fn deregister(
        &mut self,
        id: &str,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) -> RegistrationOutcome {
        let Some(row) = self.find(id) else { return RegistrationOutcome::Absent };
        let Some(tracked) = self.at(row) else { return RegistrationOutcome::Absent };
        let is_registered = tracked.listing.registered_until().is_some();
        let is_other = |(source, is_current)| is_current && source != SourceId::REGISTRATION;
        let is_listed = tracked.listing.sources().any(is_other);
        if is_listed {
            if !is_registered {
                return RegistrationOutcome::Absent;
            }
            self.end_claim(row, SourceId::REGISTRATION, context, changes);
            return RegistrationOutcome::Deleted;
        }
        let was_followed = self.partition(row) != Some(Partition::Dormant);
        if let Some((slot, tracked)) = self.remove(row) {
            (context.save)(ListingChange::Removed(&tracked.task));
            context.room += usize::from(was_followed);
            changes.removed.push(slot);
        }
        RegistrationOutcome::Deleted
    }

    /// Ends the registrations whose time has come.
    pub(super) fn end_registrations(
        &mut self,
        context: &ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        while let Some(row) = self.registrations.pop_due(context.monotonic) {
            self.end_claim(row, SourceId::REGISTRATION, context, changes);
        }
    }
}
