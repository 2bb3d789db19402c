//! The work of one provider's worker: it polls tasks when they are due.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::journal::Journal;
use super::probes::{Probe, Probes, Reply};
use super::worker::{Command, Seat, Update};
use super::{Polled, Upstream, once_until};
use crate::observation::{Failure, Reason};
use crate::schedule::Schedule;
use crate::schedule::cadence::Cadence;
use crate::schedule::dispatch::{Dispatch, Next, Start};
use crate::schedule::outcome::PollOutcome;
use crate::store::TaskChanges;
use crate::task::TaskGroup;
use crate::task::stable_hash;
use crate::telemetry::Telemetry;
use crate::telemetry::provider::DuePolls;
use crate::telemetry::provider::{ProviderTelemetry, RequestInFlight};

/// Shortest time between two readings of the secret files.
const SECRETS_EVERY: Duration = Duration::from_secs(1);
/// Time until the next look for a secret that is gone or was refused.
const SECRETS_RETRY: Duration = Duration::from_secs(5);

/// The state of a worker.
pub struct Polling<'s> {
    pub(super) seat: &'s mut Seat,
    pub(super) telemetry: Arc<ProviderTelemetry>,
    pub(super) schedule: Schedule,
    /// Requests that are under way. They run within the worker, since waking one thread from
    /// another for each answer would cost more than all else that we do with it.
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    probes: Probes,
    secrets_read: Instant,
    held: HeldTasks,
    pub(super) journal: Journal,
}

/// A request that has ended, and its answer; `None` where the exporter panicked.
type Ended = (UnderWay, Option<Polled>);

/// A request that is under way, which is counted for as long.
struct UnderWay {
    asked: Asked,
    _counted: RequestInFlight,
}

enum Asked {
    Poll(Dispatch, Arc<TaskGroup>),
    Probe(Reply),
}

impl<'s> Polling<'s> {
    /// Polls the tasks of `changes` and all that come, until the worker is to end.
    pub async fn run(seat: &'s mut Seat, changes: TaskChanges) {
        let now = Instant::now();
        let mut polling = Self::new(seat, now);
        polling.apply(changes, now);
        polling.work().await;
    }

    fn new(seat: &'s mut Seat, now: Instant) -> Self {
        let (context, provider) = (&seat.context, &seat.upstream.provider);
        let cadence = Cadence::new(provider.limits.poll_interval, now, context.clock.now());
        let hash = stable_hash([provider.name.as_bytes()]);
        let telemetry = Arc::clone(&seat.telemetry);
        telemetry.declare(&provider.mapping);
        Self {
            telemetry,
            schedule: Schedule::new(&provider.limits, provider.batch.is_some(), cadence, hash),
            under_way: FuturesUnordered::new(),
            probes: Probes::default(),
            secrets_read: now,
            held: HeldTasks { telemetry: Arc::clone(&context.telemetry), count: 0 },
            journal: Journal::new(context.clock, Arc::clone(&context.history)),
            seat,
        }
    }

    async fn work(mut self) {
        loop {
            let wake = self.start_due().await;
            tokio::select! {
                Some(ended) = self.under_way.next() => self.ended(ended),
                command = self.seat.inbox.recv() => match command {
                    Some(Command::Update(update, done)) => {
                        self.update(*update);
                        // The one who waited may have left.
                        let _ = done.send(());
                    }
                    Some(Command::Probe(probe)) => self.probes.push(probe),
                    Some(Command::End(done)) => return self.drain(Some(done)).await,
                    None => return self.drain(None).await,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn drain(mut self, done: Option<oneshot::Sender<()>>) {
        while let Some(ended) = self.under_way.next().await {
            self.ended(ended);
        }
        self.held.set(0);
        if let Some(done) = done {
            // The one who waited may have left.
            let _ = done.send(());
        }
    }

    fn update(&mut self, update: Update) {
        let now = Instant::now();
        let (old, changes) = self.seat.take_over(update);
        let new = Arc::clone(&self.seat.upstream);
        let limits = &new.provider.limits;
        let has_batches = new.provider.batch.is_some();
        self.telemetry.declare(&new.provider.mapping);
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
        self.unlock();
    }

    fn apply(&mut self, changes: TaskChanges, now: Instant) {
        for slot in changes.removed {
            self.schedule.remove(slot);
        }
        for placed in changes.changed {
            self.schedule.regroup(placed);
        }
        self.schedule.reserve(changes.added.len());
        for placed in changes.added {
            self.schedule.add(placed, now);
        }
    }

    /// Starts every poll that may start now. Returns when to look again.
    async fn start_due(&mut self) -> Option<Instant> {
        if !self.read_secrets().await {
            self.seat.settled.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        self.probes.expire(now);
        let wake = loop {
            if let Some(pause) = self.schedule.admission.pause_of_probes(now) {
                self.probes.refuse(pause, now);
            }
            match self.schedule.next(now, !self.probes.is_empty()) {
                Next::Poll(dispatch) => self.start(dispatch),
                Next::Probe => self.start_probe(),
                Next::Wait(until) => break Some(until),
                Next::Idle => break None,
            }
        };
        self.show_due(now);
        if self.schedule.admission.in_flight() == 0 && self.schedule.ready() == 0 {
            self.seat.settled.store(true, Ordering::Relaxed);
        }
        // Credentials that were refused may be replaced long before the next poll tries them.
        let admission = &self.schedule.admission;
        if admission.has_refused_credentials()
            && self.seat.upstream.fetcher.credentials.can_change()
        {
            let look = now + SECRETS_RETRY;
            return Some(wake.map_or(look, |wake| wake.min(look)));
        }
        wake
    }

    /// Sends a request, unless all its tasks have left since they came due.
    fn start(&mut self, mut dispatch: Dispatch) {
        let mut tasks = Vec::with_capacity(dispatch.starts.len());
        dispatch.starts.retain(|start| {
            let task = self.seat.shard.task(start.slot);
            let is_listed = task.is_some();
            tasks.extend(task);
            is_listed
        });
        let Some(tasks) = TaskGroup::collect(tasks) else {
            return self.schedule.withdraw(&dispatch);
        };
        if !dispatch.is_part() {
            for Start { lag, retry, .. } in &dispatch.starts {
                self.telemetry.poll_started(*lag, *retry);
            }
        }
        let (tasks, is_batch) = (Arc::new(tasks), dispatch.is_batch);
        self.send(Arc::clone(&tasks), is_batch, None, Asked::Poll(dispatch, tasks));
    }

    fn send(
        &mut self,
        tasks: Arc<TaskGroup>,
        is_batch: bool,
        deadline: Option<Instant>,
        asked: Asked,
    ) {
        let under_way = UnderWay { asked, _counted: self.telemetry.request_started() };
        let upstream: Arc<Upstream> = Arc::clone(&self.seat.upstream);
        let poll = async move { once_until(&upstream, &tasks, is_batch, deadline).await };
        let poll = AssertUnwindSafe(poll).catch_unwind();
        self.under_way.push(async move { (under_way, poll.await.ok()) }.boxed());
    }

    /// Sends the first of the probes that wait.
    fn start_probe(&mut self) {
        if let Some(Probe { task, deadline, reply, .. }) = self.probes.pop() {
            self.send(Arc::new(TaskGroup::one(task)), false, deadline, Asked::Probe(reply));
        }
    }

    fn show_due(&mut self, now: Instant) {
        let (count, oldest) = (self.schedule.ready(), self.schedule.oldest_due());
        let due = DuePolls { count, oldest, is_throttled: self.schedule.is_throttled() };
        self.telemetry.due.set(due, now);
    }

    /// Reads secret files again from time to time. Without them nothing is sent: a request without
    /// credentials could only be refused. Returns whether they were read.
    async fn read_secrets(&mut self) -> bool {
        let credentials = &self.seat.upstream.fetcher.credentials;
        if !credentials.can_change() || self.secrets_read.elapsed() < SECRETS_EVERY {
            return true;
        }
        let read = credentials.refresh().await;
        let now = Instant::now();
        self.secrets_read = now;
        let provider = &*self.seat.upstream.provider.name;
        match read {
            Ok(has_changed) => {
                if has_changed {
                    tracing::info!(provider, "read new credentials");
                    self.schedule.admission.reset_auth_backoff();
                } else if self.held.count > 0 {
                    tracing::info!(provider, "the credentials can be read again");
                }
                self.unlock();
                true
            }
            Err(error) => {
                if self.held.count == 0 {
                    tracing::error!(provider, %error, "paused: the credentials cannot be read");
                }
                self.schedule.admission.hold_until(now + SECRETS_RETRY);
                self.held.set(self.seat.shard.open_count());
                false
            }
        }
    }

    /// There are credentials to send.
    fn unlock(&mut self) {
        self.schedule.admission.end_hold();
        self.held.set(0);
    }

    fn ended(&mut self, (under_way, polled): Ended) {
        self.seat.settled.store(true, Ordering::Relaxed);
        // A panic is our fault and must not cost the tasks their place in the schedule.
        let panicked = |tasks| {
            let failure = Failure::new(Reason::Mapping, "the exporter panicked: please report");
            Polled::failed(tasks, failure)
        };
        match under_way.asked {
            Asked::Poll(dispatch, tasks) => {
                let polled = polled.unwrap_or_else(|| panicked(tasks.count()));
                self.finish(&dispatch, &tasks, &polled);
            }
            Asked::Probe(reply) => {
                let polled = polled.unwrap_or_else(|| panicked(1));
                let failure = polled.outcomes.iter().find_map(|outcome| outcome.as_ref().err());
                let verdict = PollOutcome::of(failure, None);
                let now = Instant::now();
                self.schedule.probe_ended(verdict, polled.pause(), polled.took, now);
                reply.send(Ok(polled));
            }
        }
    }
}

/// Tasks that are reported as held back, because a secret is gone; for as long as there is a
/// worker that looks for it.
struct HeldTasks {
    telemetry: Arc<Telemetry>,
    count: usize,
}

impl HeldTasks {
    fn set(&mut self, tasks: usize) {
        self.telemetry.tasks_without_credentials(self.count, tasks);
        self.count = tasks;
    }
}

impl Drop for HeldTasks {
    fn drop(&mut self) {
        self.set(0);
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
