//! The schedule of one provider: when its tasks are polled, and with which requests. Pure: time is an
//! argument.

pub mod admission;
pub mod batches;
pub mod bisection;
mod budget;
pub mod cadence;
pub mod dispatch;
pub mod division;
mod lists;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::store::{FirstPoll, PollTarget, Slot};
use admission::{Admission, Blocked};
use batches::Batches;
use bisection::{Bisection, PartId};
use budget::{CatchUp, ProbeShare};
use cadence::{Cadence, QueueTime, TimerQueue};
use dispatch::{Dispatch, NextStep, PollStart};

/// Number of due tasks that are searched for those that fit into a batch, in batches.
const BATCH_SEARCH: usize = 4;

/// Delay from which a poll counts as late: a pause of the provider or of the process has held it back.
const LATE: Duration = Duration::from_secs(1);

/// The schedule of one provider.
#[derive(Debug)]
pub struct Schedule {
    cadence: Cadence,
    entries: Vec<Option<ScheduledTask>>,
    timers: TimerQueue,
    ready: VecDeque<Slot>,
    /// Number of tasks in `ready` that have not been removed.
    ready_count: usize,
    /// Number of tasks that are not final.
    open: usize,
    /// Hash of the provider.
    hash: u64,
    catch_up: CatchUp,
    batches: Batches,
    bisection: Bisection,
    probe_share: ProbeShare,
    /// True from the start of a request for a list until the next poll starts.
    is_turn_of_polls: bool,
    /// True while a due poll waits for the rate limit or the end of a pause.
    is_throttled: bool,
    /// Conditions for a due poll to start.
    pub admission: Admission,
}

/// A task in the schedule.
#[derive(Clone, Copy, Debug)]
struct ScheduledTask {
    generation: u32,
    hash: u64,
    /// Group of the task: a batch has tasks of one group only.
    group: u64,
    due: QueueTime,
    /// Number of consecutive failures.
    failures: u16,
    phase: Phase,
    /// True if the last poll was late.
    is_late: bool,
}

/// Phase of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the timer queue.
    Waiting,
    /// Due, in the queue of those that are ready.
    Ready,
    /// A request for it is in flight.
    InFlight,
    /// To be requested again in a smaller part of its batch, as part of the same poll.
    Divided,
    /// Final, and no longer polled.
    Done,
}

impl Schedule {
    /// Returns an empty schedule, with batches if the provider `has_batches`. `hash` is the hash of the
    /// provider.
    pub fn new(limits: &Limits, has_batches: bool, cadence: Cadence, hash: u64) -> Self {
        Self {
            hash,
            batches: Batches::new(limits, has_batches, hash),
            bisection: Bisection::default(),
            cadence: cadence.with_interval(limits.poll_interval),
            entries: Vec::new(),
            timers: TimerQueue::new(cadence.start()),
            ready: VecDeque::new(),
            ready_count: 0,
            open: 0,
            catch_up: CatchUp::default(),
            probe_share: ProbeShare::new(limits),
            is_turn_of_polls: false,
            is_throttled: false,
            admission: Admission::new(limits),
        }
    }

    /// Applies new limits. Tasks keep their offset in the interval, and what was learned about the provider
    /// stays: refused credentials, a pause that it asked for, failures, and batches.
    pub fn reconfigure(&mut self, old: &Limits, new: &Limits, has_batches: bool, now: Instant) {
        self.batches.reconfigure(new, has_batches);
        self.admission.reconfigure(old, new, now);
        self.probe_share.reconfigure(new);
        if old.poll_interval != new.poll_interval {
            self.cadence = self.cadence.with_interval(new.poll_interval);
            self.timers = TimerQueue::new(self.cadence.start());
            for (row, entry) in (0..).zip(&mut self.entries) {
                if let Some(entry) = entry.as_mut().filter(|entry| entry.phase == Phase::Waiting) {
                    let (hash, failures) = (entry.hash, entry.failures.into());
                    let due = match failures {
                        0 => self.timers.queue_time(self.cadence.next(hash, now)),
                        // A task that fails is not polled earlier than it would have been.
                        _ => self.timers.queue_time(self.cadence.backoff(hash, failures, now)),
                    };
                    entry.due = if failures == 0 { due } else { due.min(entry.due) };
                    self.timers.push(entry.due, Slot { row, generation: entry.generation });
                }
            }
        }
    }

    /// Reserves memory for `tasks` more tasks.
    pub fn reserve(&mut self, tasks: usize) {
        self.entries.reserve(tasks);
    }

    /// Adds a task, to be polled first as the target says, and then at its own offset in the interval. A
    /// known task stays as it is.
    pub fn add(&mut self, target: PollTarget, now: Instant) {
        let PollTarget { slot, hash, group, first_poll } = target;
        if self.entry(slot).is_some() {
            return;
        }
        if self.entries.len() <= slot.row_index() {
            self.entries.resize(slot.row_index() + 1, None);
        }
        let place = self.cadence.next(hash, now);
        let due = match first_poll {
            FirstPoll::AtPlace => place,
            FirstPoll::After(delay) => place.min(now + delay),
        };
        let (due, generation) = (self.timers.queue_time(due), slot.generation);
        if let Some(entry) = self.entries.get_mut(slot.row_index()) {
            let phase = Phase::Waiting;
            *entry = Some(ScheduledTask {
                generation,
                hash,
                group,
                due,
                failures: 0,
                phase,
                is_late: false,
            });
            self.open += 1;
        }
        self.timers.push(due, slot);
    }

    /// Moves a task to another group.
    pub fn regroup(&mut self, target: PollTarget) {
        if let Some(entry) = self.entry(target.slot) {
            entry.group = target.group;
        }
    }

    /// Removes a task. A poll of it still counts as in flight until it ends.
    pub fn remove(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot) else { return };
        let phase = entry.phase;
        self.ready_count -= usize::from(phase == Phase::Ready);
        self.open -= usize::from(phase != Phase::Done);
        self.batches.remove_task(slot);
        if let Some(entry) = self.entries.get_mut(slot.row_index()) {
            *entry = None;
        }
    }

    /// Returns the next step at `now`. A [`NextStep::Poll`] and a [`NextStep::Probe`] count as started.
    pub fn next(&mut self, now: Instant, has_probe: bool) -> NextStep {
        self.mark_due(now);
        self.is_throttled = false;
        let are_due = self.ready_count > 0 || self.bisection.is_ready();
        let probe = has_probe.then(|| self.probe_share.check(are_due, now));
        if probe == Some(Ok(())) {
            return self.next_probe(are_due, now);
        }
        let next = self.next_poll(now);
        match (next, probe) {
            (NextStep::Wait(until), Some(Err(Blocked::Throttled(turn)))) => {
                NextStep::Wait(until.min(turn))
            }
            (NextStep::Idle, Some(Err(Blocked::Throttled(turn)))) => NextStep::Wait(turn),
            (next, _) => next,
        }
    }

    /// Moves the tasks that have become due to the queue of ready ones.
    fn mark_due(&mut self, now: Instant) {
        let latest = self.timers.queue_time(now);
        while let Some(slot) = self.timers.pop_due(now) {
            // A task that was put off is in the queue with its earlier times as well.
            let is_due =
                |entry: &&mut ScheduledTask| entry.phase == Phase::Waiting && entry.due <= latest;
            if let Some(entry) = self.entry(slot).filter(is_due) {
                entry.phase = Phase::Ready;
                self.ready.push_back(slot);
                self.ready_count += 1;
            }
        }
    }

    /// Starts the next probe.
    fn next_probe(&mut self, polls_are_due: bool, now: Instant) -> NextStep {
        let admitted = if polls_are_due {
            self.admission.admit(now)
        } else {
            self.admission.admit_leaving_burst(self.probe_share.polls_between(), now)
        };
        match admitted {
            Ok(()) => {
                self.probe_share.probe_started(now);
                NextStep::Probe
            }
            Err(blocked) => self.wait_for(blocked, polls_are_due),
        }
    }

    /// Starts the next request for due tasks.
    fn next_poll(&mut self, now: Instant) -> NextStep {
        if let Some(next) = self.next_part(now) {
            return next;
        }
        let Some((slot, first)) = self.first_ready() else {
            self.catch_up.end();
            return self.next_timer();
        };
        let (batch, size) = self.batch(slot, &first, now);
        let full_by = self.timers.instant(first.due) + self.batches.wait(size);
        if batch.len() < size && full_by > now {
            return self.wait_until(full_by);
        }
        let requests = self.open / self.batches.size(now).max(1);
        let is_late = self.is_late(first.due, now);
        let interval = self.cadence.interval();
        if let Err(moment) = self.catch_up.check(is_late, interval, requests, now) {
            return self.wait_until(moment);
        }
        match self.admission.admit(now) {
            Ok(()) => {
                self.catch_up.spend(now);
                let starts = self.start(batch, Phase::Ready, now);
                let dispatch = self.dispatch(starts, size > 0, first.group, None);
                NextStep::Poll(dispatch)
            }
            Err(blocked) => self.wait_for(blocked, true),
        }
    }

    /// Puts a task back into the timer queue.
    fn requeue(&mut self, slot: Slot, due: Instant) {
        let due = self.timers.queue_time(due);
        if let Some(entry) = self.entry(slot) {
            entry.phase = Phase::Waiting;
            entry.due = due;
            self.timers.push(due, slot);
        }
    }

    /// Returns the number of due polls that have not started.
    pub fn ready(&self) -> usize {
        self.ready_count
    }

    /// Returns the time since which the first due poll has been waiting to start.
    pub fn oldest_due(&mut self) -> Option<Instant> {
        self.first_ready().map(|(_, entry)| self.timers.instant(entry.due))
    }

    /// Reports whether a due poll waits for the rate limit or the end of a pause.
    pub fn is_throttled(&self) -> bool {
        self.is_throttled
    }

    /// Waits until a blocked request may start, but not past the time of the next due task, which has to
    /// be counted.
    fn wait_for(&mut self, blocked: Blocked, polls_are_due: bool) -> NextStep {
        match blocked {
            Blocked::Busy => self.next_timer(),
            Blocked::NoCredentials(moment) => self.wait_until(moment),
            Blocked::Throttled(moment) => {
                self.is_throttled = polls_are_due;
                self.wait_until(moment)
            }
        }
    }

    /// Waits until `moment`, or until a task becomes due before it, which has to be counted.
    fn wait_until(&self, moment: Instant) -> NextStep {
        NextStep::Wait(self.timers.next_due().map_or(moment, |due| due.min(moment)))
    }

    fn next_timer(&self) -> NextStep {
        self.timers.next_due().map_or(NextStep::Idle, NextStep::Wait)
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut ScheduledTask> {
        let entry = self.entries.get_mut(slot.row_index())?.as_mut()?;
        (entry.generation == slot.generation).then_some(entry)
    }

    /// Returns the task that has been due the longest. Removes outdated slots before it from the queue.
    fn first_ready(&mut self) -> Option<(Slot, ScheduledTask)> {
        loop {
            let slot = *self.ready.front()?;
            match self.entry(slot).filter(|entry| entry.phase == Phase::Ready).copied() {
                Some(entry) => return Some((slot, entry)),
                None => self.ready.pop_front(),
            };
        }
    }

    fn is_late(&self, due: QueueTime, now: Instant) -> bool {
        let wait = self.batches.wait(self.batches.size(now));
        now.saturating_duration_since(self.timers.instant(due)) >= LATE + wait
    }

    /// Returns the due tasks that can be in a batch with `first`, and the size that the batch may have; 0 if
    /// `first` is requested alone. Tasks that fail are in batches with other failing tasks only, so that they
    /// do not affect the others.
    fn batch(&self, first: Slot, like: &ScheduledTask, now: Instant) -> (Vec<Slot>, usize) {
        let mut size = self.batches.size_with(first, now);
        let mut batch = Vec::new();
        for slot in self.ready.iter().take(size.max(1).saturating_mul(BATCH_SEARCH)) {
            if batch.len() >= size.max(1) {
                break;
            }
            let entry = self.entries.get(slot.row_index()).and_then(Option::as_ref);
            let fits = entry.is_some_and(|entry| {
                entry.generation == slot.generation
                    && entry.phase == Phase::Ready
                    && entry.group == like.group
                    && (entry.failures > 0) == (like.failures > 0)
            });
            let most = self.batches.size_with(*slot, now);
            if fits && most.max(1) > batch.len() {
                batch.push(*slot);
                size = size.min(most);
            }
        }
        (batch, size)
    }

    /// Returns the request for polls that start, and counts it.
    fn dispatch(
        &mut self,
        starts: Vec<PollStart>,
        is_batch: bool,
        group: u64,
        part: Option<PartId>,
    ) -> Dispatch {
        let planned = starts.len();
        self.is_turn_of_polls = false;
        self.probe_share.poll_started();
        if is_batch {
            self.batches.sent(planned);
        }
        Dispatch { starts, is_batch, planned, group, part }
    }

    /// Starts the polls of the tasks that are still in `phase`.
    fn start(&mut self, slots: Vec<Slot>, phase: Phase, now: Instant) -> Vec<PollStart> {
        let mut starts = Vec::with_capacity(slots.len());
        for slot in slots {
            // A slot that is in the queue twice starts once.
            let Some(entry) = self.entry(slot).filter(|entry| entry.phase == phase) else {
                continue;
            };
            entry.phase = Phase::InFlight;
            let (due, retry) = (entry.due, entry.failures > 0);
            if phase == Phase::Ready {
                self.ready_count -= 1;
                let is_late = self.is_late(due, now);
                if let Some(entry) = self.entry(slot) {
                    entry.is_late = is_late;
                }
            }
            let lag = now.saturating_duration_since(self.timers.instant(due));
            starts.push(PollStart { slot, lag, retry });
        }
        starts
    }
}

#[cfg(test)]
mod tests;
