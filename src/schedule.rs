//! What is due, and when next: the schedule of one provider. Pure: time is an argument.

pub mod budget;
pub mod cadence;
pub mod gate;
pub mod queue;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::observation::{Failure, Reason};
use crate::store::record::Change;
use crate::store::{Placed, Slot};
use budget::Budget;
use cadence::Cadence;
use gate::{Closed, Gate};
use queue::{Moment, Queue};

/// How far down the queue of due tasks one is looked for that fits into a batch, in batches.
const BATCH_SEARCH: usize = 4;

/// Polls that are as late as this were held back, by a pause of the provider or of the process.
/// They are made up for at no more than twice the rate at which polls come due, since a burst is
/// the last thing that a provider needs which has just asked for a pause.
const LATE: Duration = Duration::from_secs(1);
/// However few the tasks, so much time between two late polls is enough.
const MAX_SPACING: Duration = Duration::from_millis(10);
/// What may start at once: what would start evenly in so much time.
const SPACING_TOLERANCE: Duration = Duration::from_millis(100);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send a request for these tasks: one, or as many as a batch holds.
    Poll(Vec<Start>),
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing before a poll ends or the tasks change.
    Idle,
}

/// A poll that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whose poll.
    pub slot: Slot,
    /// How late it is.
    pub lag: Duration,
    /// Whether the task's last poll failed.
    pub retry: bool,
}

/// How a poll ended, as far as the schedule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A usable answer; the task goes on.
    Open,
    /// The task is polled no more.
    Final,
    /// No usable answer, though the credentials were not what was wrong.
    Failed,
    /// The provider denied the task; one denial more ends it, if it comes after this time.
    Denied(Duration),
    /// The provider was not reached, so nothing is known of the credentials.
    Unreached,
    /// The provider refused the credentials.
    Refused,
}

/// The schedule of one provider.
#[derive(Debug)]
pub struct Schedule {
    cadence: Cadence,
    entries: Vec<Option<Entry>>,
    timers: Queue,
    ready: VecDeque<Slot>,
    /// How many of `ready` are still wanted.
    ready_count: usize,
    /// Tasks that are not final.
    open: usize,
    /// While late polls are made up for.
    catching_up: Option<Budget>,
    /// How many tasks a request asks for at the most, and how long the first waits for others.
    batch_size: usize,
    batch_wait: Duration,
    /// What stands between a due poll and its request.
    pub gate: Gate,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    generation: u32,
    hash: u64,
    /// Only tasks of one group can be asked for together.
    group: u64,
    due: Moment,
    /// In a row.
    failures: u16,
    phase: Phase,
    /// Whether its last poll was late.
    is_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the timer queue.
    Waiting,
    /// Due, in the queue of those that are ready.
    Ready,
    /// Being polled.
    InFlight,
    /// Polled no more.
    Done,
}

impl Schedule {
    /// An empty schedule; of single tasks, unless the provider `has_batches`.
    pub fn new(limits: &Limits, has_batches: bool, cadence: Cadence) -> Self {
        let (batch_size, batch_wait) = batches(limits, has_batches);
        Self {
            batch_size,
            batch_wait,
            cadence: cadence.with_interval(limits.poll_interval),
            entries: Vec::new(),
            timers: Queue::new(cadence.start()),
            ready: VecDeque::new(),
            ready_count: 0,
            open: 0,
            catching_up: None,
            gate: Gate::new(limits),
        }
    }

    /// Takes on new limits. Tasks keep their place in the interval.
    pub fn reconfigure(&mut self, old: &Limits, new: &Limits, has_batches: bool, now: Instant) {
        (self.batch_size, self.batch_wait) = batches(new, has_batches);
        self.gate.reconfigure(old, new);
        if old.poll_interval != new.poll_interval {
            self.cadence = self.cadence.with_interval(new.poll_interval);
            self.timers = Queue::new(self.cadence.start());
            for (index, entry) in (0..).zip(&mut self.entries) {
                if let Some(entry) = entry.as_mut().filter(|entry| entry.phase == Phase::Waiting) {
                    entry.due = self.timers.moment(self.cadence.next(entry.hash, now));
                    self.timers.push(entry.due, Slot { index, generation: entry.generation });
                }
            }
        }
    }

    /// Makes room for so many tasks more, at once instead of bit by bit.
    pub fn reserve(&mut self, tasks: usize) {
        self.entries.reserve(tasks);
    }

    /// Adds a task, to be polled at its own place in the interval.
    pub fn add(&mut self, placed: Placed, now: Instant) {
        let Placed { slot, hash, group } = placed;
        if self.entries.len() <= slot.position() {
            self.entries.resize(slot.position() + 1, None);
        }
        let due = self.timers.moment(self.cadence.next(hash, now));
        let generation = slot.generation;
        if let Some(entry) = self.entries.get_mut(slot.position()) {
            let phase = Phase::Waiting;
            *entry =
                Some(Entry { generation, hash, group, due, failures: 0, phase, is_late: false });
            self.open += 1;
        }
        self.timers.push(due, slot);
    }

    /// The task goes with another group from now on.
    pub fn regroup(&mut self, placed: Placed) {
        if let Some(entry) = self.entry(placed.slot) {
            entry.group = placed.group;
        }
    }

    /// Forgets a task. A poll of it that is under way still counts as in flight until it ends.
    pub fn remove(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot) else { return };
        let phase = entry.phase;
        self.ready_count -= usize::from(phase == Phase::Ready);
        self.open -= usize::from(phase != Phase::Done);
        if let Some(entry) = self.entries.get_mut(slot.position()) {
            *entry = None;
        }
    }

    /// What to do at `now`. A [`Next::Poll`] counts as started.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some(slot) = self.timers.pop_due(now) {
            if let Some(entry) = self.entry(slot).filter(|entry| entry.phase == Phase::Waiting) {
                entry.phase = Phase::Ready;
                self.ready.push_back(slot);
                self.ready_count += 1;
            }
        }
        if let Some(first) = self.first_ready() {
            let batch = self.batch(first.group);
            let whole = batch.len() >= self.batch_size;
            let patience = self.timers.instant(first.due) + self.batch_wait;
            if !whole && patience > now {
                return self.wait_until(patience);
            }
            if let Err(moment) = self.make_up(first.due, now) {
                return self.wait_until(moment);
            }
            return match self.gate.enter(now) {
                Ok(()) => {
                    if let Some(budget) = &mut self.catching_up {
                        // It has just been found to be in budget.
                        let _ = budget.spend(now);
                    }
                    Next::Poll(self.start(batch, now))
                }
                // Until a request ends, what comes due meanwhile has to be counted.
                Err(Closed::Busy) => self.next_timer(),
                Err(Closed::Until(moment)) => Next::Wait(moment),
            };
        }
        self.catching_up = None;
        self.gate.release(now);
        self.next_timer()
    }

    /// A request for tasks has ended, with a verdict for each. `retry_after` is what the provider
    /// asked for.
    pub fn finish(
        &mut self,
        verdicts: &[(Slot, Verdict)],
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.gate.leave();
        if let Some(delay) = retry_after {
            self.gate.retry_after(delay, now);
        }
        let Some((first, verdict)) = verdicts.first().copied() else { return };
        let cadence = self.cadence;
        let hash = self.entry(first).map_or(0, |entry| entry.hash);
        self.gate.judge_credentials(verdict, &cadence, hash, now);
        let failed = |(_, verdict): &(Slot, Verdict)| verdict.is_failure();
        if verdicts.len() > 1 && verdicts.iter().all(failed) {
            return self.back_off_as_one(verdicts, now);
        }
        for (slot, verdict) in verdicts {
            let Some(entry) = self.entry(*slot) else { continue };
            if *verdict == Verdict::Final {
                entry.phase = Phase::Done;
                self.open -= 1;
                continue;
            }
            let due = if verdict.is_failure() {
                entry.failures = entry.failures.saturating_add(1);
                verdict.retry(&cadence, entry.hash, entry.failures, now)
            } else {
                entry.failures = 0;
                // Its own place may be a moment away, where nothing new can be learned.
                let pause = if entry.is_late { cadence.interval() / 2 } else { Duration::ZERO };
                cadence.next(entry.hash, now + pause)
            };
            self.wait(*slot, due);
        }
    }

    /// The provider could not answer for so many tasks at once: from now on a request asks for
    /// `size` at the most, and the tasks of `slots` are due again at once. Their polls have not ended.
    pub fn shrink_batches(
        &mut self,
        size: usize,
        slots: impl IntoIterator<Item = Slot>,
        now: Instant,
    ) {
        self.gate.leave();
        self.batch_size = self.batch_size.min(size.max(1));
        if self.batch_size == 1 {
            self.batch_wait = Duration::ZERO;
        }
        for slot in slots {
            self.wait(slot, now);
        }
    }

    /// The tasks of a failed batch come back together, so that they can be a batch again.
    fn back_off_as_one(&mut self, verdicts: &[(Slot, Verdict)], now: Instant) {
        let entries = verdicts.iter().filter_map(|(slot, _)| self.entry(*slot).copied());
        let (hash, failures) = entries
            .map(|entry| (entry.hash, entry.failures.saturating_add(1)))
            .reduce(|(hash, most), (_, failures)| (hash, most.max(failures)))
            .unwrap_or((0, 1));
        let retry =
            |(_, verdict): &(Slot, Verdict)| verdict.retry(&self.cadence, hash, failures, now);
        let due = verdicts.iter().map(retry).min().unwrap_or(now);
        for (slot, _) in verdicts {
            if let Some(entry) = self.entry(*slot) {
                entry.failures = failures;
                self.wait(*slot, due);
            }
        }
    }

    fn wait(&mut self, slot: Slot, due: Instant) {
        let due = self.timers.moment(due);
        if let Some(entry) = self.entry(slot) {
            entry.phase = Phase::Waiting;
            entry.due = due;
            self.timers.push(due, slot);
        }
    }

    /// Due polls that have not started.
    pub fn ready(&self) -> usize {
        self.ready_count
    }

    /// Until `moment`, or until a task comes due before it, which has to be counted.
    fn wait_until(&self, moment: Instant) -> Next {
        Next::Wait(self.timers.next_due().map_or(moment, |due| due.min(moment)))
    }

    fn next_timer(&self) -> Next {
        self.timers.next_due().map_or(Next::Idle, Next::Wait)
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(slot.position())?.as_mut()?;
        (entry.generation == slot.generation).then_some(entry)
    }

    /// The task that has been due the longest. What is no longer wanted is cleared away.
    fn first_ready(&mut self) -> Option<Entry> {
        loop {
            let slot = *self.ready.front()?;
            match self.entry(slot).filter(|entry| entry.phase == Phase::Ready).copied() {
                Some(entry) => return Some(entry),
                None => self.ready.pop_front(),
            };
        }
    }

    /// Whether a poll that was due at `due` may start, as far as it or others before it were held
    /// back. What has come due meanwhile waits its turn, or all of it would start at once.
    fn make_up(&mut self, due: Moment, now: Instant) -> Result<(), Instant> {
        if self.catching_up.is_none() && !self.is_late(due, now) {
            return Ok(());
        }
        let tasks = u32::try_from(self.open / self.batch_size).unwrap_or(u32::MAX).max(1);
        let spacing = (self.cadence.interval() / 2 / tasks).min(MAX_SPACING);
        let even = || Budget::even(spacing, SPACING_TOLERANCE);
        self.catching_up.get_or_insert_with(even).check(now)
    }

    fn is_late(&self, due: Moment, now: Instant) -> bool {
        now.saturating_duration_since(self.timers.instant(due)) >= LATE + self.batch_wait
    }

    /// Due tasks of a group, as many as fit into a batch.
    fn batch(&self, group: u64) -> Vec<Slot> {
        let is_peer = |slot: &&Slot| {
            let entry = self.entries.get(slot.position()).and_then(Option::as_ref);
            entry.is_some_and(|entry| {
                entry.generation == slot.generation
                    && entry.phase == Phase::Ready
                    && entry.group == group
            })
        };
        let near = self.ready.iter().take(self.batch_size * BATCH_SEARCH);
        near.filter(is_peer).take(self.batch_size).copied().collect()
    }

    fn start(&mut self, batch: Vec<Slot>, now: Instant) -> Vec<Start> {
        let mut starts = Vec::with_capacity(batch.len());
        for slot in batch {
            // A slot that stands in the queue twice starts once.
            let ready = self.entry(slot).filter(|entry| entry.phase == Phase::Ready);
            let Some(entry) = ready else { continue };
            entry.phase = Phase::InFlight;
            let (due, retry) = (entry.due, entry.failures > 0);
            let is_late = self.is_late(due, now);
            if let Some(entry) = self.entry(slot) {
                entry.is_late = is_late;
            }
            let lag = now.saturating_duration_since(self.timers.instant(due));
            starts.push(Start { slot, lag, retry });
            self.ready_count -= 1;
        }
        starts
    }
}

impl Verdict {
    /// What a failure, if it was one, and what changed mean for the schedule.
    pub fn of(failure: Option<&Failure>, change: Option<Change>) -> Self {
        let denied = change.and_then(|change| change.final_denial_in);
        match failure.map(|failure| failure.reason) {
            _ if change.is_some_and(|change| change.is_final) => Self::Final,
            None => Self::Open,
            Some(Reason::Auth) => Self::Refused,
            Some(Reason::Timeout | Reason::Tls | Reason::Connect) => Self::Unreached,
            Some(_) => denied.map_or(Self::Failed, Self::Denied),
        }
    }

    fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Denied(_) | Self::Unreached | Self::Refused)
    }

    /// Returns the moment of a task's next poll after `failures` failed ones in a row: that of its
    /// back-off, or the one at which a denial ends it, if that is earlier and an interval away.
    fn retry(self, cadence: &Cadence, hash: u64, failures: u16, now: Instant) -> Instant {
        let backoff = cadence.backoff(hash, failures.into(), now);
        match self {
            Self::Denied(wait) => backoff.min(now + wait.max(cadence.interval())),
            _ => backoff,
        }
    }
}

fn batches(limits: &Limits, has_batches: bool) -> (usize, Duration) {
    if has_batches { (limits.batch_size.max(1), limits.batch_wait) } else { (1, Duration::ZERO) }
}

#[cfg(test)]
mod tests;
