//! The work of one provider's worker: it starts requests when the schedule hands them out, and takes
//! in their results.

mod lists;
mod secrets;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use self::lists::ListState;
use super::assessment::assess;
use super::held_tasks::HeldTasks;
use super::list::ListResult;
use super::list_turn::ListReply;
use super::log::{PollLog, record_batch_change};
use super::probes::{Probe, ProbeQueue, ProbeReply};
use super::status::PauseCauses;
use super::worker::{Update, WorkerCommand, WorkerContext};
use super::{PollResult, poll_once};
use crate::fetch::Fetched;
use crate::observation::{Failure, PollOutcome, Reason, State};
use crate::record::Transition;
use crate::schedule::Schedule;
use crate::schedule::bisection::Abandoned;
use crate::schedule::cadence::Cadence;
use crate::schedule::dispatch::{Dispatch, NextStep, PollStart, ScheduleOutcome};
use crate::schedule::division::{Assessment, Consequences};
use crate::storage::queue::QueuedChange;
use crate::store::{Slot, TaskChanges};
use crate::task::{Task, TaskGroup, stable_hash};
use crate::telemetry::provider::{DuePolls, ProviderTelemetry, RequestInFlight};

/// Time between two attempts to read a secret that is missing or was refused.
const SECRETS_RETRY: Duration = Duration::from_secs(5);

/// State of a worker.
pub struct WorkerState<'s> {
    context: &'s mut WorkerContext,
    telemetry: Arc<ProviderTelemetry>,
    schedule: Schedule,
    /// Requests in flight. They run within the worker: waking another thread for each response would
    /// cost more than everything else that is done with it.
    in_flight: FuturesUnordered<BoxFuture<'static, Completed>>,
    probes: ProbeQueue,
    list: ListState,
    secrets_read: Instant,
    /// Reason for which the secrets cannot be read, as it was logged.
    secrets_error: Option<String>,
    held: HeldTasks,
    causes: PauseCauses,
    log: PollLog,
}

/// A request that has ended, and its result; `None` if the exporter panicked.
type Completed = (InFlight, Option<RequestResult>);

/// The result of a request.
enum RequestResult {
    Poll(PollResult),
    List(ListResult),
}

/// A request in flight, counted as such until it is dropped.
struct InFlight {
    purpose: RequestPurpose,
    _counted: RequestInFlight,
}

/// The purpose of a request.
enum RequestPurpose {
    Poll(Dispatch, Arc<TaskGroup>),
    Probe(ProbeReply),
    List(ListReply),
}

impl<'s> WorkerState<'s> {
    /// Polls the tasks of `changes`, and those of later updates, until the worker is stopped.
    pub async fn run(context: &'s mut WorkerContext, changes: TaskChanges) {
        let now = Instant::now();
        let mut state = Self::new(context, now);
        state.apply(changes, now);
        state.work().await;
    }

    fn new(context: &'s mut WorkerContext, now: Instant) -> Self {
        let (services, provider) = (&context.services, &context.client.provider);
        let cadence = Cadence::new(provider.limits.poll_interval, now, services.clock.now());
        let hash = stable_hash([provider.name.as_bytes()]);
        let telemetry = Arc::clone(&context.telemetry);
        telemetry.declare(&provider.mapping);
        Self {
            held: HeldTasks::new(&services.telemetry, &telemetry),
            telemetry,
            schedule: Schedule::new(&provider.limits, provider.batch.is_some(), cadence, hash),
            in_flight: FuturesUnordered::new(),
            probes: ProbeQueue::default(),
            list: ListState::default(),
            secrets_read: now,
            secrets_error: None,
            causes: PauseCauses::default(),
            log: PollLog::new(services.clock, Arc::clone(&services.history)),
            context,
        }
    }

    async fn work(mut self) {
        loop {
            let wake = self.start_due().await;
            tokio::select! {
                Some(completed) = self.in_flight.next() => self.complete(completed),
                command = self.context.inbox.recv() => match command {
                    Some(WorkerCommand::Update(update, done)) => {
                        self.update(*update);
                        // The sender may have stopped waiting.
                        let _ = done.send(());
                    }
                    Some(WorkerCommand::ChangeTasks(changes, list, done)) => {
                        let now = Instant::now();
                        self.apply(changes, now);
                        list.inspect(|list| self.take_in_list(list, now));
                        let _ = done.send(());
                    }
                    Some(WorkerCommand::List(request, reply)) => self.list.turn.set(*request, reply),
                    Some(WorkerCommand::Probe(probe)) => self.probes.push(probe),
                    Some(WorkerCommand::Stop(done)) => return self.drain(Some(done)).await,
                    None => return self.drain(None).await,
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Waits for the requests in flight.
    async fn drain(mut self, done: Option<oneshot::Sender<()>>) {
        while let Some(completed) = self.in_flight.next().await {
            self.complete(completed);
        }
        self.held.set(0);
        if let Some(done) = done {
            // The sender may have stopped waiting.
            let _ = done.send(());
        }
    }

    fn update(&mut self, update: Update) {
        let now = Instant::now();
        let (old, changes) = self.context.update(update);
        let new = Arc::clone(&self.context.client);
        let limits = &new.provider.limits;
        let has_batches = new.provider.batch.is_some();
        self.telemetry.declare(&new.provider.mapping);
        self.list.end_refresh();
        self.schedule.reconfigure(&old.provider.limits, limits, has_batches, now);
        if !new.fetcher.is_same_account(&old.fetcher) {
            self.schedule.admission.reset_auth_backoff();
        }
        if old.provider.base_url != new.provider.base_url {
            self.schedule.admission.end_pause();
        }
        if !new.has_same_batches(&old) {
            self.schedule.forget_batches(now);
        }
        self.apply(changes, now);
        // The new credentials were read just now.
        self.end_hold();
    }

    fn apply(&mut self, changes: TaskChanges, now: Instant) {
        for slot in changes.removed {
            self.schedule.remove(slot);
        }
        for target in changes.changed {
            self.schedule.regroup(target);
        }
        self.schedule.reserve(changes.added.len());
        for target in changes.added {
            self.schedule.add(target, now);
        }
    }

    /// Starts every request that may start now. Returns the moment at which to check again.
    async fn start_due(&mut self) -> Option<Instant> {
        if !self.read_secrets().await {
            self.context.is_settled.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        self.probes.expire(now);
        let mut list_wake = None;
        let wake = loop {
            list_wake = self.start_list(now).or(list_wake);
            if let Some(pause) = self.schedule.admission.pause_of_probes(now) {
                self.probes.refuse(pause, now);
            }
            match self.schedule.next(now, !self.probes.is_empty()) {
                NextStep::Poll(dispatch) => self.start_poll(dispatch),
                NextStep::Probe => self.start_probe(),
                NextStep::Wait(until) => break Some(until),
                NextStep::Idle => break None,
            }
        };
        let wake = wake.into_iter().chain(list_wake).min();
        self.show_due(now);
        if self.schedule.admission.in_flight() == 0 && self.schedule.ready() == 0 {
            self.context.is_settled.store(true, Ordering::Relaxed);
        }
        // Credentials that are refused or missing may be replaced long before the next poll tries
        // them.
        let admission = &self.schedule.admission;
        let are_credentials_bad =
            admission.has_refused_credentials() || self.secrets_error.is_some();
        if are_credentials_bad && self.context.client.fetcher.credentials().can_change() {
            let retry = now + SECRETS_RETRY;
            return Some(wake.map_or(retry, |wake| wake.min(retry)));
        }
        wake
    }

    /// Sends a request for the tasks of `dispatch` that have not been removed since they became due.
    fn start_poll(&mut self, mut dispatch: Dispatch) {
        let mut tasks = Vec::with_capacity(dispatch.starts.len());
        dispatch.starts.retain(|start| {
            let task = self.context.tasks.task(start.slot);
            let is_listed = task.is_some();
            tasks.extend(task);
            is_listed
        });
        let Some(tasks) = TaskGroup::collect(tasks) else {
            return self.schedule.withdraw(&dispatch);
        };
        if !dispatch.is_part() {
            for PollStart { lag, retry, .. } in &dispatch.starts {
                self.telemetry.poll_started(*lag, *retry);
            }
        }
        let (tasks, is_batch) = (Arc::new(tasks), dispatch.is_batch);
        self.send(Arc::clone(&tasks), is_batch, None, RequestPurpose::Poll(dispatch, tasks));
    }

    /// Sends a request for the first probe in the queue.
    fn start_probe(&mut self) {
        if let Some(Probe { task, deadline, reply, .. }) = self.probes.pop() {
            self.send(
                Arc::new(TaskGroup::one(task)),
                false,
                deadline,
                RequestPurpose::Probe(reply),
            );
        }
    }

    fn send(
        &mut self,
        tasks: Arc<TaskGroup>,
        is_batch: bool,
        deadline: Option<Instant>,
        purpose: RequestPurpose,
    ) {
        let in_flight = InFlight { purpose, _counted: self.telemetry.request_started() };
        let client = Arc::clone(&self.context.client);
        let poll = async move { poll_once(&client, &tasks, is_batch, deadline).await };
        let poll = AssertUnwindSafe(poll).catch_unwind();
        self.in_flight
            .push(async move { (in_flight, poll.await.ok().map(RequestResult::Poll)) }.boxed());
    }

    fn show_due(&mut self, now: Instant) {
        let (count, oldest) = (self.schedule.ready(), self.schedule.oldest_due());
        let due = DuePolls { count, oldest, is_throttled: self.schedule.is_throttled() };
        self.telemetry.due.set(due, now);
        let pause = self.schedule.admission.lasting_pause(now);
        let cause = pause.map(|pause| self.pause_cause(pause.reason));
        self.context.status.set_pause(pause, cause.unwrap_or_default());
    }

    fn complete(&mut self, (in_flight, result): Completed) {
        self.context.is_settled.store(true, Ordering::Relaxed);
        // A panic is a bug of the exporter and must not cost the tasks their place in the schedule.
        let panicked = |tasks| {
            let failure = Failure::new(Reason::Mapping, "the exporter panicked: please report");
            PollResult::failed(tasks, failure)
        };
        let (result, list) = match result {
            Some(RequestResult::Poll(result)) => (Some(result), None),
            Some(RequestResult::List(list)) => (None, Some(list)),
            None => (None, None),
        };
        match in_flight.purpose {
            RequestPurpose::List(reply) => self.complete_list(reply, list),
            RequestPurpose::Poll(dispatch, tasks) => {
                let result = result.unwrap_or_else(|| panicked(tasks.count()));
                self.complete_poll(&dispatch, &tasks, &result);
            }
            RequestPurpose::Probe(reply) => {
                let result = result.unwrap_or_else(|| panicked(1));
                let failure = result.failure();
                self.causes.note(failure, result.pause().is_some());
                let outcome = ScheduleOutcome::of(failure, None);
                let now = Instant::now();
                self.schedule.complete_probe(outcome, result.pause(), result.took, now);
                reply.send(Ok(result));
            }
        }
    }

    /// Counts the result of a request, updates the record of each task, and schedules the next polls.
    fn complete_poll(&mut self, dispatch: &Dispatch, tasks: &TaskGroup, result: &PollResult) {
        self.count_answer(result.fetched.as_ref(), result.code.as_ref());
        let now = Instant::now();
        let assessment = assess(result, dispatch.is_batch);
        let consequences = self.adapt_batches(dispatch, &assessment, now);
        let mut outcomes = Vec::with_capacity(tasks.count());
        let polls = dispatch.slots().zip(tasks.iter()).zip(&result.outcomes);
        for (index, ((slot, task), outcome)) in polls.enumerate() {
            // The poll continues with another request.
            if consequences.are_retried && assessment.is_unread(index) {
                continue;
            }
            let message = result.message.as_deref();
            self.list.note_poll(slot);
            outcomes.push((slot, self.complete_task(slot, task, outcome, result.took, message)));
        }
        if !outcomes.is_empty() {
            let is_usable = result.outcomes.iter().any(Result::is_ok);
            self.telemetry.set_up(is_usable);
            self.context.status.record_request(result.failure().filter(|_| !is_usable));
        }
        self.causes.note(result.failure(), result.pause().is_some());
        self.schedule.complete(&outcomes, result.pause(), now);
        for abandoned in consequences.abandoned {
            self.abandon(abandoned, now);
        }
    }

    /// Counts a response by its HTTP status and its own code.
    fn count_answer(&self, fetched: Option<&Fetched>, code: Option<&Arc<str>>) {
        if let Some(fetched) = fetched {
            self.telemetry.count_response(fetched.response.status);
        }
        if let Some(code) = code {
            self.telemetry.count_code(&self.context.tasks.limit_code(code));
        }
    }

    /// Lets the schedule adapt its batches to the result, and logs the changes.
    fn adapt_batches(
        &mut self,
        dispatch: &Dispatch,
        assessment: &Assessment<'_>,
        now: Instant,
    ) -> Consequences {
        let consequences = self.schedule.adapt_batches(dispatch, assessment, now);
        let provider = &self.context.client.provider.name;
        if let Assessment::Unread { failure, .. } = assessment
            && consequences.are_retried
        {
            self.log.record_unread_batch(provider, dispatch.starts.len(), failure);
        }
        for change in &consequences.changes {
            let task = |slot| self.context.tasks.task(slot);
            record_batch_change(provider, change, task);
        }
        consequences
    }

    /// Ends polls that were to continue with another request, with the failure of the first one.
    fn abandon(&mut self, abandoned: Abandoned, now: Instant) {
        let Abandoned { slots, failure, took } = abandoned;
        let outcome = Err(failure);
        let mut outcomes = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(task) = self.context.tasks.task(slot) {
                self.list.note_poll(slot);
                outcomes.push((slot, self.complete_task(slot, &task, &outcome, took, None)));
            }
        }
        self.schedule.reschedule(&outcomes, now);
    }

    /// Counts and logs the outcome of one task's poll, and updates its record.
    fn complete_task(
        &mut self,
        slot: Slot,
        task: &Task,
        outcome: &PollOutcome,
        took: Duration,
        message: Option<&str>,
    ) -> ScheduleOutcome {
        let failure = outcome.as_ref().err();
        self.telemetry.count_poll(took, failure.map(|failure| failure.reason));
        if outcome.as_ref().is_ok_and(|observation| observation.state == State::Unknown) {
            self.telemetry.count_unknown_status();
        }
        for oddity in outcome.iter().flat_map(|observation| &observation.odd) {
            self.telemetry.count_odd_value(oddity.field);
        }
        let change = self.update_record(slot, outcome);
        self.log.record(task, outcome, message, change);
        ScheduleOutcome::of(failure, change)
    }

    /// Updates the record of a task, and queues what a restart must not lose for the storage, before
    /// the change is visible to others. Returns `None` if the task has been removed.
    fn update_record(&mut self, slot: Slot, outcome: &PollOutcome) -> Option<Transition> {
        let storage = self.context.services.storage.as_deref();
        let change = self.context.tasks.record_poll(slot, outcome, |tracked, change| {
            if let Some(storage) = storage.filter(|_| change.should_persist) {
                storage.save(QueuedChange::of_poll(tracked, change));
            }
        })?;
        // With a storage path a finished task is shown once it is durable.
        if let (None, Some(finished)) = (storage, change.finished) {
            self.telemetry.count_finished(change.to, finished.duration);
        }
        Some(change)
    }
}
