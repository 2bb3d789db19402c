//! The tasks of one provider, under a lock of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::area::{Area, Block};
use super::vocabulary::Vocabulary;
use super::{Changes, Placed, Slot, TasksView, position};
use crate::clock::{Clock, Timestamp};
use crate::config::{Limits, Provider};
use crate::observation::{Failure, Observation, State};
use crate::record::PollTime;
use crate::record::{Change, Known, Record};
use crate::task::Task;
use crate::task::TaskIndex;

/// How a poll ended.
type Outcome = Result<Observation, Failure>;

/// By how much time goes back where somebody has set the clock, or `retain_finished` has grown.
const STEP: Duration = Duration::from_secs(1);

/// The tasks of one provider.
#[derive(Debug)]
pub struct Shard {
    /// The provider's name.
    pub name: Arc<str>,
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    limits: Limits,
    rows: Vec<Row>,
    free: Vec<u32>,
    /// Tasks that are polled.
    open: Area,
    /// Final tasks whose series are shown, apart from those that still change.
    retained: Area,
    /// Final tasks whose series are no longer shown.
    retired: Area,
    /// How many are in each state, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    vocabulary: Vocabulary,
    /// Final tasks are shown if their end was not before this moment.
    shown_since: Timestamp,
}

/// Where the record of a row stands. The generation tells the row's tenants apart.
#[derive(Clone, Copy, Debug)]
struct Row {
    generation: u32,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    home: Home,
    index: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Open,
    Retained,
    Retired,
}

/// A provider's tasks at one moment.
#[derive(Debug)]
pub struct Taken {
    /// The provider's numbers.
    pub limits: Limits,
    /// How many tasks are in each state, in the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// Tasks that are polled.
    pub open: Vec<Arc<Block>>,
    /// Final tasks whose series are shown.
    pub retained: Vec<Arc<Block>>,
}

/// What a new configuration changes, by row.
#[derive(Debug)]
pub struct Diff {
    removed: Vec<u32>,
    changed: Vec<(u32, Task)>,
    added: Vec<Task>,
}

impl Shard {
    /// No tasks.
    pub fn new(name: Arc<str>, clock: Clock, limits: Limits) -> Self {
        Self { name, clock, table: Mutex::new(Table::new(limits)) }
    }

    /// Takes in how a poll of `slot` ended. `None` where the task has left meanwhile. `tell` hears
    /// of it before anybody else can see it.
    pub fn record(
        &self,
        slot: Slot,
        outcome: &Outcome,
        tell: impl FnOnce(&Record, &Change),
    ) -> Option<Change> {
        let at = PollTime { now: self.clock.now(), steady: self.clock.steady() };
        let mut table = self.table.lock();
        let place = table.place(slot)?;
        let stuck_after = table.limits.stuck_after;
        let mut outcome = outcome.clone();
        table.vocabulary.admit(&mut outcome);
        table.record(slot.index, place, |record| {
            let change = record.take_in(&outcome, at, stuck_after);
            tell(record, &change);
            change
        })
    }

    /// Puts the words that are shown in the place of those of an answer.
    pub fn admit_words(&self, outcome: &mut Outcome) {
        self.table.lock().vocabulary.admit(outcome);
    }

    /// Returns the code that is shown for one of an answer.
    pub fn admit_code(&self, code: &Arc<str>) -> Arc<str> {
        let mut code = Arc::clone(code);
        self.table.lock().vocabulary.admit_code(&mut code);
        code
    }

    /// The task of a slot, unless it has left.
    pub fn task(&self, slot: Slot) -> Option<Task> {
        self.table.lock().get(slot).map(|record| record.task.clone())
    }

    /// The number of tasks that are polled.
    pub fn open_count(&self) -> usize {
        self.table.lock().open.count()
    }

    /// Lists every task that is polled as one that has come: for a worker that begins.
    pub fn all_as_new(self: Arc<Self>) -> Changes {
        let table = self.table.lock();
        let rows = table.open.blocks().iter().flat_map(|block| block.rows());
        let placed = rows.filter_map(|(row, record)| {
            let slot = table.slot(row)?;
            Some(Placed::new(slot, &record.task))
        });
        let added = placed.collect();
        drop(table);
        Changes { shard: self, removed: Vec::new(), added, changed: Vec::new() }
    }

    /// The task with this ID.
    pub fn find(&self, id: &str) -> Option<Task> {
        self.all().find(id).map(|record| record.task.clone())
    }

    /// All tasks, whether or not their series are shown.
    pub fn all(&self) -> TasksView {
        let table = self.table.lock();
        let blocks = table.areas().flat_map(Area::blocks).cloned().collect();
        TasksView { stuck_after: table.limits.stuck_after, blocks }
    }

    /// The tasks as they stand. What is no longer to be shown is put aside first.
    pub fn take(&self, now: Timestamp) -> Taken {
        let mut table = self.table.lock();
        table.retire(now);
        Taken {
            limits: table.limits.clone(),
            states: table.states,
            open: table.open.blocks().to_vec(),
            retained: table.retained.blocks().to_vec(),
        }
    }

    /// What `tasks` would change. Takes long for many, and keeps nobody waiting. Only a reload
    /// changes which tasks there are, so it is still true when it is applied.
    pub fn diff(&self, tasks: Vec<Task>) -> Diff {
        let blocks = self.all().blocks;
        let (mut removed, mut changed) = (Vec::new(), Vec::new());
        if blocks.is_empty() {
            return Diff { removed, changed, added: tasks };
        }
        let wanted = TaskIndex::of(&tasks);
        let mut is_known = vec![false; tasks.len()];
        for (row, record) in blocks.iter().flat_map(|block| block.rows()) {
            let at = wanted.find(&record.task, &tasks);
            let found = at.and_then(|at| tasks.get(at).zip(is_known.get_mut(at)));
            let Some((task, is_known)) = found else {
                removed.push(row);
                continue;
            };
            *is_known = true;
            if *task != record.task {
                changed.push((row, task.clone()));
            }
        }
        let added = tasks.into_iter().zip(is_known).filter(|(_, known)| !known);
        Diff { removed, changed, added: added.map(|(task, _)| task).collect() }
    }

    /// Takes on what a configuration says of the provider and what a diff found. Tasks that stay
    /// keep their history and their row. Of those that come, `remembered` has what an earlier life
    /// knew.
    pub fn apply(
        self: Arc<Self>,
        provider: &Provider,
        diff: Diff,
        remembered: &mut HashMap<Arc<str>, Known>,
        now: Timestamp,
    ) -> Changes {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        table.limits = provider.limits.clone();
        table.vocabulary.declare(&provider.mapping);
        let removed = diff.removed.into_iter().filter_map(|row| table.remove(row)).collect();
        let changed = diff.changed.into_iter();
        let changed = changed.filter_map(|(row, task)| table.change(row, task)).collect();
        // In the order of the configuration, which a reader of /metrics finds again.
        let mut added = Vec::with_capacity(diff.added.len());
        table.rows.reserve(diff.added.len());
        added.extend(diff.added.into_iter().filter_map(|task| {
            let mut known = remembered.remove(&*task.id).unwrap_or_else(|| Known::new(now));
            table.vocabulary.admit_known(&mut known);
            table.add(Record { task, known })
        }));
        drop(guard);
        Changes { shard: self, removed, added, changed }
    }

    /// Forgets all tasks, because the provider has left: a poll that is still under way finds its
    /// task gone.
    pub fn clear(&self) {
        let empty = |table: &mut Table| std::mem::replace(table, Table::new(table.limits.clone()));
        // Many tasks take long to drop: not while the lock is held.
        let left = empty(&mut self.table.lock());
        drop(left);
    }
}

impl Table {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            rows: Vec::new(),
            free: Vec::new(),
            open: Area::default(),
            retained: Area::default(),
            retired: Area::default(),
            states: Default::default(),
            vocabulary: Vocabulary::default(),
            shown_since: Timestamp::from_micros(i64::MIN),
        }
    }

    fn place(&self, slot: Slot) -> Option<Place> {
        let row = self.rows.get(position(slot.index))?;
        row.place.filter(|_| row.generation == slot.generation)
    }

    fn get(&self, slot: Slot) -> Option<&Record> {
        let Place { home, index } = self.place(slot)?;
        self.area(home).get(position(index))
    }

    fn slot(&self, row: u32) -> Option<Slot> {
        let generation = self.rows.get(position(row))?.generation;
        Some(Slot { index: row, generation })
    }

    fn areas(&self) -> impl Iterator<Item = &Area> {
        [&self.open, &self.retained, &self.retired].into_iter()
    }

    fn area(&self, home: Home) -> &Area {
        match home {
            Home::Open => &self.open,
            Home::Retained => &self.retained,
            Home::Retired => &self.retired,
        }
    }

    fn area_mut(&mut self, home: Home) -> &mut Area {
        match home {
            Home::Open => &mut self.open,
            Home::Retained => &mut self.retained,
            Home::Retired => &mut self.retired,
        }
    }

    /// A task has come from one state to another: `None` is the outside.
    fn count(&mut self, from: Option<State>, to: Option<State>) {
        for (known, count) in State::ALL.into_iter().zip(&mut self.states) {
            *count -= u64::from(from == Some(known));
            *count += u64::from(to == Some(known));
        }
    }

    fn record(
        &mut self,
        row: u32,
        place: Place,
        take_in: impl FnOnce(&mut Record) -> Change,
    ) -> Option<Change> {
        let change = self.area_mut(place.home).update(position(place.index), take_in)?;
        if change.from != change.to {
            self.count(Some(change.from), Some(change.to));
        }
        if change.is_final && place.home == Home::Open {
            self.rehouse(row, Home::Retained);
        }
        Some(change)
    }

    /// Puts aside the final tasks whose series have been shown for long enough. Takes back what
    /// has to be shown for longer: `retain_finished` has grown, or our clock, which ran ahead, was
    /// set back.
    fn retire(&mut self, now: Timestamp) {
        let shown_since = now - self.limits.retain_finished;
        let back = self.shown_since.since(shown_since);
        // Readers who come at once do not get their turns in the order of their moments.
        if back >= STEP {
            for row in self.retired.not_moved_before(shown_since) {
                self.rehouse(row, Home::Retained);
            }
        }
        if back.is_zero() || back >= STEP {
            self.shown_since = shown_since;
        }
        for row in self.retained.moved_before(shown_since) {
            self.rehouse(row, Home::Retired);
        }
    }

    fn rehouse(&mut self, row: u32, home: Home) {
        if let Some(record) = self.evict(row) {
            self.house(row, home, record);
        }
    }

    fn house(&mut self, row: u32, home: Home, record: Record) {
        let index = self.area_mut(home).push(row, record);
        self.set_place(row, Some((home, index)));
    }

    /// Takes the record of a row out of its area.
    fn evict(&mut self, row: u32) -> Option<Record> {
        let Place { home, index } = self.rows.get(position(row))?.place?;
        let (record, moved) = self.area_mut(home).swap_remove(position(index))?;
        if let Some(moved) = moved {
            self.set_place(moved, Some((home, position(index))));
        }
        self.set_place(row, None);
        Some(record)
    }

    fn set_place(&mut self, row: u32, place: Option<(Home, usize)>) {
        if let Some(row) = self.rows.get_mut(position(row)) {
            row.place = place
                .and_then(|(home, index)| Some(Place { home, index: u32::try_from(index).ok()? }));
        }
    }

    fn remove(&mut self, row: u32) -> Option<Slot> {
        let slot = self.slot(row)?;
        let record = self.evict(row)?;
        self.count(Some(record.state()), None);
        if let Some(row) = self.rows.get_mut(position(row)) {
            row.generation = row.generation.wrapping_add(1);
        }
        self.free.push(row);
        Some(slot)
    }

    fn change(&mut self, row: u32, task: Task) -> Option<Placed> {
        let slot = self.slot(row)?;
        let Place { home, index } = self.place(slot)?;
        let placed = Placed::new(slot, &task);
        self.area_mut(home).update(position(index), |record| record.task = task)?;
        Some(placed)
    }

    /// Adds a task. Where it is to be polled if it is, which a final one is not.
    fn add(&mut self, record: Record) -> Option<Placed> {
        let row = match self.free.pop() {
            Some(row) => row,
            None => {
                self.rows.push(Row { generation: 0, place: None });
                u32::try_from(self.rows.len() - 1).ok()?
            }
        };
        let placed = Placed::new(self.slot(row)?, &record.task);
        self.count(None, Some(record.state()));
        let home = if record.is_final() { Home::Retained } else { Home::Open };
        self.house(row, home, record);
        (home == Home::Open).then_some(placed)
    }
}
