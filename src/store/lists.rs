//! The lists of sources, applied to the table of a provider: what comes, what stays, what leaves.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::row_set::RowSet;
use super::sources::{ListTiming, SourceRegistry};
use super::table::{Partition, TaskTable};
use super::{FirstPoll, ListingChange, PollTarget, TaskChanges};
use crate::clock::Timestamp;
use crate::listing::{Claim, Listing, SourceId};
use crate::record::{TaskRecord, TrackedTask};
use crate::task::Task;

/// Number of new tasks of a list that are polled at once, not at their places in the interval: a
/// list of many new tasks is rather the first of an application than work that was just submitted.
pub const MAX_POLLED_AT_ONCE: usize = 1_000;
/// Number of tasks up to which all are polled at the same time; more are spread over a second.
pub const MAX_POLLED_TOGETHER: usize = 16;

/// Number of entries of a list that are handled while the table is locked.
const PART: usize = 1_024;

/// The tasks of one provider that a source names; no ID twice.
#[derive(Clone, Debug, Default)]
pub struct ListedTasks {
    /// The tasks, with the properties that the source gives them.
    pub tasks: Vec<Task>,
    /// Their times of enqueueing as the source gives them: none at all, or one entry for each task.
    pub enqueue_times: Vec<Option<Timestamp>>,
}

/// The difference between a list and the table, by row.
#[derive(Debug, Default)]
pub struct ListDiff {
    /// Known tasks whose claim by the source is new or another one.
    claimed: Vec<(u32, Task, Option<Timestamp>)>,
    /// Unknown tasks.
    added: ListedTasks,
    /// Rows that the source no longer names.
    left: Vec<u32>,
}

/// The circumstances in which a list is applied.
pub struct ListContext<'c> {
    /// The source.
    pub source: SourceId,
    /// The time.
    pub now: Timestamp,
    /// The time by which tasks leave, which the host's clock does not change.
    pub monotonic: Timestamp,
    /// The way in which new tasks are taken in.
    pub timing: ListTiming,
    /// True if the list has only the newest tasks, so that open tasks cannot leave it.
    pub is_window: bool,
    /// The registry of sources.
    pub registry: &'c SourceRegistry,
    /// Number of tasks that may be added before `max_tasks` of all providers is reached.
    pub room: usize,
    /// Called with every change before it is visible.
    pub save: &'c dyn Fn(ListingChange<'_>),
    /// The first polls of new tasks.
    pub first_polls: FirstPolls,
    /// Time at which what the source says ends by itself.
    pub ends: Option<Timestamp>,
}

/// The first polls of the new tasks of a list.
#[derive(Clone, Copy, Debug)]
pub struct FirstPolls {
    left: usize,
    range: Duration,
}

impl ListContext<'_> {
    /// Returns what the source says of a task that it names.
    fn claim(&self, task: &Task, enqueue_time: Option<Timestamp>) -> Claim {
        let (source, common, ends) = (self.source, Arc::clone(&task.common), self.ends);
        Claim { source, is_current: true, common, enqueue_time, ends }
    }

    /// Does `work` as if the source had given no list before: the provider may be new, and its tasks
    /// old.
    pub fn as_first_list(&mut self, work: impl FnOnce(&mut Self)) {
        let (newness, first_polls) = (self.timing.newness.take(), self.first_polls);
        self.first_polls.left = 0;
        work(self);
        (self.timing.newness, self.first_polls) = (newness, first_polls);
    }
}

impl ListedTasks {
    /// Returns the tasks with their times of enqueueing.
    fn into_entries(self) -> impl Iterator<Item = (Task, Option<Timestamp>)> {
        let times = self.enqueue_times.into_iter().chain(std::iter::repeat(None));
        self.tasks.into_iter().zip(times)
    }
}

impl ListDiff {
    /// Returns the number of tasks that are unknown.
    pub fn new_tasks(&self) -> usize {
        self.added.tasks.len()
    }

    /// Compares a part of a list with the table, and adds the rows that it names to `named`.
    /// `has_times` is true if the list has times of enqueueing.
    fn compare(
        &mut self,
        table: &TaskTable,
        source: SourceId,
        entries: impl Iterator<Item = (Task, Option<Timestamp>)>,
        has_times: bool,
        named: &mut RowSet,
    ) {
        let members = table.members.get(&source);
        for (task, time) in entries {
            let Some(row) = table.find(&task.id) else {
                self.added.tasks.push(task);
                if has_times {
                    self.added.enqueue_times.push(time);
                }
                continue;
            };
            named.insert(row);
            let is_known = members.is_some_and(|members| members.contains(row))
                && table.at(row).is_some_and(|tracked| is_same(tracked, source, &task, time));
            if !is_known {
                self.claimed.push((row, task, time));
            }
        }
    }

    /// Compares a list with the table: `lock` is called again and again, so that polls of the same
    /// provider wait for no more than a part of the comparison.
    pub fn of<T: Deref<Target = TaskTable>>(
        lock: impl Fn() -> T,
        source: SourceId,
        tasks: ListedTasks,
    ) -> Self {
        if lock().is_empty() {
            // A million tasks at the start are not copied.
            return Self { added: tasks, ..Self::default() };
        }
        let has_times = !tasks.enqueue_times.is_empty();
        let (mut diff, mut named) = (Self::default(), RowSet::default());
        let mut entries = tasks.into_entries().peekable();
        while entries.peek().is_some() {
            let part = entries.by_ref().take(PART);
            diff.compare(&lock(), source, part, has_times, &mut named);
        }
        let table = lock();
        let members = table.members.get(&source);
        diff.left = members.map(|rows| rows.without(&named).collect()).unwrap_or_default();
        diff
    }
}

/// Applies what has left. `lock` is called again and again, so that polls of the same provider wait
/// for no more than a part of the changes.
pub fn apply_departures<T: DerefMut<Target = TaskTable>>(
    lock: impl Fn() -> T,
    diff: &mut ListDiff,
    context: &mut ListContext<'_>,
    changes: &mut TaskChanges,
) {
    for part in std::mem::take(&mut diff.left).chunks(PART) {
        let mut table = lock();
        for row in part {
            if !context.is_window || table.partition(*row) != Some(Partition::Open) {
                table.leave(*row, context, changes);
            }
        }
    }
}

/// Applies what has come or changed, in the same way. Records of added tasks come from `recovered`,
/// if it has them.
pub fn apply_arrivals<T: DerefMut<Target = TaskTable>>(
    lock: impl Fn() -> T,
    diff: ListDiff,
    recovered: &mut HashMap<Arc<str>, TaskRecord>,
    context: &mut ListContext<'_>,
    changes: &mut TaskChanges,
) {
    let ListDiff { claimed, added, .. } = diff;
    let mut claimed = claimed.into_iter();
    while claimed.len() > 0 {
        let mut table = lock();
        for (row, task, time) in claimed.by_ref().take(PART) {
            table.claim(row, &task, time, context, changes);
        }
    }
    // In the order of the list, which is then the order in /metrics.
    lock().reserve(added.tasks.len());
    changes.added.reserve(added.tasks.len());
    let mut added = added.into_entries().peekable();
    while added.peek().is_some() {
        let mut table = lock();
        for (task, time) in added.by_ref().take(PART) {
            let record = recovered.remove(&*task.id);
            table.come(task, time, record, context, changes);
        }
    }
}

/// Reports whether a source says the same of a task as before.
fn is_same(tracked: &TrackedTask, source: SourceId, task: &Task, time: Option<Timestamp>) -> bool {
    let (common, ends) = (Arc::clone(&task.common), None);
    let claim = Claim { source, is_current: true, common, enqueue_time: time, ends };
    tracked.listing.has(&claim, &tracked.task.common) && !tracked.lacks_source_time(time)
}

impl FirstPolls {
    /// Returns the first polls of the new tasks of a list, of which there are `count`.
    pub fn new(timing: ListTiming, count: usize) -> Self {
        let left = if timing.is_first { 0 } else { MAX_POLLED_AT_ONCE };
        let is_many = count > MAX_POLLED_TOGETHER;
        Self { left, range: Duration::from_secs(u64::from(is_many)) }
    }

    /// Takes from `budget`, which others share. What this leaves is for [`FirstPolls::give_back`].
    pub fn take_from(mut self, budget: &mut usize) -> Self {
        self.left = self.left.min(*budget);
        *budget -= self.left;
        self
    }

    /// Gives back to `budget` what was not used.
    pub const fn give_back(self, budget: &mut usize) {
        *budget += self.left;
    }

    /// Returns the time of the first poll of a new task.
    fn next(&mut self, target: PollTarget) -> PollTarget {
        let Some(left) = self.left.checked_sub(1) else { return target };
        self.left = left;
        let micros = u64::try_from(self.range.as_micros()).unwrap_or_default();
        let delay = Duration::from_micros(target.hash.checked_rem(micros).unwrap_or_default());
        PollTarget { first_poll: FirstPoll::After(delay), ..target }
    }
}

impl TaskTable {
    /// Takes in a task that a source names and that is unknown; its record is `recovered`, if there is
    /// one.
    pub fn come(
        &mut self,
        task: Task,
        time: Option<Timestamp>,
        recovered: Option<TaskRecord>,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        if !self.has_room(context) {
            changes.over_limit += 1;
            return;
        }
        let newness = context.timing.newness.filter(|_| recovered.is_none());
        let mut record = recovered.unwrap_or_else(|| TaskRecord::new(context.now));
        self.vocabulary.limit_record(&mut record);
        record.set_source_time(time);
        if let Some(newness) = newness {
            record.set_newness(newness);
        }
        let listing = Listing::of(context.claim(&task, time));
        let tracked = TrackedTask { task, record, listing };
        (context.save)(ListingChange::Saved(&tracked));
        let partition = if tracked.is_final() { Partition::Retained } else { Partition::Open };
        let Some(row) = self.add(partition, tracked) else { return };
        self.members.entry(context.source).or_default().insert(row);
        context.room -= 1;
        if partition == Partition::Open {
            let target = self.target(row).map(|target| context.first_polls.next(target));
            changes.added.extend(target);
        }
    }

    /// Notes that a source names a known task.
    pub fn claim(
        &mut self,
        row: u32,
        task: &Task,
        time: Option<Timestamp>,
        context: &mut ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        let Some(before) = self.partition(row) else { return };
        let is_dormant = before == Partition::Dormant;
        if is_dormant && !self.has_room(context) {
            changes.over_limit += 1;
            return;
        }
        let (source, claim) = (context.source, context.claim(task, time));
        let rank = |source| context.registry.rank(source);
        let newness = context.timing.newness.filter(|_| source == SourceId::REGISTRATION);
        let adopted = self.update_listing(row, |tracked| {
            if let Some(newness) = newness {
                tracked.record.set_newness(newness);
            }
            let was_listed = tracked.listing.is_listed();
            let first = tracked.listing.claim(claim, &tracked.task.common, rank);
            (adopt(tracked, first), was_listed)
        });
        let Some((has_changed, was_listed)) = adopted else { return };
        self.members.entry(source).or_default().insert(row);
        if before == Partition::Open && !was_listed {
            self.unlisted -= 1;
        }
        if is_dormant {
            context.room -= 1;
            if let Some(partition) = self.at(row).map(|tracked| self.partition_for(tracked)) {
                self.move_to(row, partition);
            }
        }
        self.save(row, context);
        let target = self.target(row);
        if is_dormant && self.partition(row) == Some(Partition::Open) {
            changes.added.extend(target.map(|target| context.first_polls.next(target)));
        } else if has_changed {
            changes.changed.extend(target);
        }
    }

    /// Notes that a source no longer names a task.
    fn leave(&mut self, row: u32, context: &mut ListContext<'_>, changes: &mut TaskChanges) {
        let count = self.count();
        self.end_claim(row, context.source, context, changes);
        context.room += count - self.count();
    }

    /// Ends what a source says of a task.
    pub fn end_claim(
        &mut self,
        row: u32,
        source: SourceId,
        context: &ListContext<'_>,
        changes: &mut TaskChanges,
    ) {
        let Some(partition) = self.partition(row) else { return };
        let (now, registry) = (context.monotonic, context.registry);
        let left = self.update_listing(row, |tracked| {
            let common = Arc::clone(&tracked.task.common);
            let rank = |source| registry.rank(source);
            let first = tracked.listing.leave(source, &common, now, rank);
            first.map(|first| adopt(tracked, first))
        });
        self.members.get_mut(&source).map(|rows| rows.remove(row));
        match left {
            None => return,
            Some(Some(has_changed)) => {
                self.save(row, context);
                changes.changed.extend(self.target(row).filter(|_| has_changed));
                return;
            }
            Some(None) => {}
        }
        // No source names it any more.
        let is_configured =
            self.at(row).is_some_and(|tracked| tracked.listing.is_only_configured());
        match partition {
            Partition::Open if !is_configured => self.unlisted += 1,
            Partition::Retained if !is_configured => {}
            Partition::Open | Partition::Retained | Partition::Retired => {
                changes.removed.extend(self.slot(row));
                self.move_to(row, Partition::Dormant);
            }
            Partition::Dormant => {}
        }
        self.save(row, context);
        self.expire(row, context, changes);
    }

    /// Restores a task of an earlier life.
    pub fn restore(&mut self, mut tracked: TrackedTask) {
        self.vocabulary.limit_record(&mut tracked.record);
        let is_configured = tracked.listing.is_only_configured();
        let is_listed = tracked.listing.is_listed();
        let partition = match tracked.is_final() {
            _ if is_configured && !is_listed => Partition::Dormant,
            true => Partition::Retained,
            false => Partition::Open,
        };
        let sources: Vec<_> = tracked.listing.sources().collect();
        let Some(row) = self.add(partition, tracked) else { return };
        for (source, is_current) in sources {
            if is_current {
                self.members.entry(source).or_default().insert(row);
            }
        }
        if !is_listed {
            self.expiry.insert(Timestamp::from_micros(0), row);
        }
    }

    fn has_room(&self, context: &ListContext<'_>) -> bool {
        context.room > 0 && self.limits.max_tasks.is_none_or(|most| self.count() < most)
    }

    fn save(&self, row: u32, context: &ListContext<'_>) {
        if let Some(tracked) = self.at(row) {
            (context.save)(ListingChange::Saved(tracked));
        }
    }
}

/// Gives a task the properties of a claim. Returns true if they are others than before.
fn adopt(tracked: &mut TrackedTask, claim: Claim) -> bool {
    tracked.set_source_time(claim.enqueue_time);
    let has_changed = *tracked.task.common != *claim.common;
    if has_changed {
        tracked.task.common = claim.common;
    }
    has_changed
}
