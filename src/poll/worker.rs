//! Polls the tasks of one provider when they are due.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::journal::Journal;
use super::{Polled, Upstream, once};
use crate::clock::Clock;
use crate::history::History;
use crate::observation::{Failure, Observation, Reason, State};
use crate::schedule::cadence::Cadence;
use crate::schedule::gate::Closed;
use crate::schedule::{Next, Schedule, Start, Verdict};
use crate::storage::Storage;
use crate::storage::entry::Entry;
use crate::store::record::Change;
use crate::store::shard::Shard;
use crate::store::{Changes, Slot};
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::telemetry::provider::ProviderTelemetry;

/// How often secret files are read again, at the most.
const SECRETS_EVERY: Duration = Duration::from_secs(1);
/// How long a provider whose secret is gone, or was refused, waits before the next look.
const SECRETS_RETRY: Duration = Duration::from_secs(5);
/// HTTP statuses with which a server says that it has no such query.
const NO_BATCHES: [u16; 3] = [404, 405, 501];
/// Probes that wait for their turn; more are refused.
const MAX_PROBES: usize = 64;

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where requests are sent and answers are read.
    pub runtime: Handle,
    /// The wall clock.
    pub clock: Clock,
    /// Where the history of the tasks is kept, if it outlives the process.
    pub storage: Option<Arc<Storage>>,
    /// The collector's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// Failed polls of late.
    pub history: Arc<History>,
}

/// A handle to a running worker, which starts no more polls once the handle is dropped.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
    settled: Arc<AtomicBool>,
}

enum Command {
    Update(Box<(Arc<Upstream>, Changes)>, oneshot::Sender<()>),
    Probe(Probe),
    End(oneshot::Sender<()>),
}

struct Probe {
    task: Task,
    reply: oneshot::Sender<Polled>,
}

impl Worker {
    /// Starts to poll the tasks of `changes`.
    pub fn spawn(context: Context, upstream: Arc<Upstream>, changes: Changes) -> Self {
        let (commands, inbox) = mpsc::channel(MAX_PROBES);
        let settled = Arc::new(AtomicBool::new(false));
        let runtime = context.runtime.clone();
        let state = Polling::new(context, upstream, changes, Arc::clone(&settled));
        runtime.spawn(state.run(inbox));
        Self { commands, settled }
    }

    /// Takes on another configuration; returns once it is in force.
    pub async fn update(&self, upstream: Arc<Upstream>, changes: Changes) {
        let (done, wait) = oneshot::channel();
        let command = Command::Update(Box::new((upstream, changes)), done);
        if self.commands.send(command).await.is_ok() {
            // The worker answers unless it ends, and then there is nothing to wait for.
            let _ = wait.await;
        }
    }

    /// Polls `task` once, within the provider's limits, and tells nobody else.
    pub async fn probe(&self, task: Task) -> Option<Polled> {
        let (reply, wait) = oneshot::channel();
        self.commands.send(Command::Probe(Probe { task, reply })).await.ok()?;
        wait.await.ok()
    }

    /// Whether a poll has ended, or none was due yet.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Starts no more polls and waits for those that are under way.
    pub async fn end(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::End(done)).await.is_ok() {
            // A worker that panicked has ended as well.
            let _ = wait.await;
        }
    }
}

/// The state of a worker.
struct Polling {
    context: Context,
    upstream: Arc<Upstream>,
    shard: Arc<Shard>,
    telemetry: Arc<ProviderTelemetry>,
    schedule: Schedule,
    /// Whether the provider has batches, and has not refused them.
    batched: bool,
    /// Requests that are under way. They run within the worker, since waking one thread from
    /// another for each answer would cost more than all else that we do with it.
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    probes: VecDeque<Probe>,
    secrets_read: Instant,
    /// Tasks reported as held back, because a secret is gone.
    held: usize,
    settled: Arc<AtomicBool>,
    journal: Journal,
}

/// What was asked, and what it brought; `None` where the exporter panicked.
type Ended = (UnderWay, Option<Polled>);

enum UnderWay {
    /// Tasks, and whether the batch query asks for them.
    Poll(Vec<(Slot, Task)>, bool),
    Probe(oneshot::Sender<Polled>),
}

impl Polling {
    fn new(
        context: Context,
        upstream: Arc<Upstream>,
        changes: Changes,
        settled: Arc<AtomicBool>,
    ) -> Self {
        let limits = &upstream.provider.limits;
        let now = Instant::now();
        let cadence = Cadence::new(limits.poll_interval, now, context.clock.now());
        let mut polling = Self {
            telemetry: context.telemetry.provider(&upstream.provider.name),
            schedule: Schedule::new(limits, upstream.provider.batch.is_some(), cadence),
            shard: Arc::clone(&changes.shard),
            batched: upstream.provider.batch.is_some(),
            under_way: FuturesUnordered::new(),
            probes: VecDeque::new(),
            secrets_read: now,
            held: 0,
            settled,
            journal: Journal::new(context.clock, Arc::clone(&context.history)),
            context,
            upstream,
        };
        polling.apply(changes, now);
        polling
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let wake = self.start_due().await;
            tokio::select! {
                Some(ended) = self.under_way.next() => self.ended(ended),
                command = inbox.recv() => match command {
                    Some(Command::Update(update, done)) => {
                        self.update(*update);
                        // Whoever waited may have left.
                        let _ = done.send(());
                    }
                    Some(Command::Probe(probe)) => self.queue_probe(probe),
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
        self.hold(0);
        if let Some(done) = done {
            // Whoever waited may have left.
            let _ = done.send(());
        }
    }

    fn update(&mut self, (upstream, changes): (Arc<Upstream>, Changes)) {
        let now = Instant::now();
        let old = std::mem::replace(&mut self.upstream, upstream);
        let (old, new) = (&old.provider, &self.upstream.provider);
        self.batched = new.batch.is_some();
        self.schedule.reconfigure(&old.limits, &new.limits, self.batched, now);
        self.apply(changes, now);
        // What is new was read just now.
        self.hold(0);
    }

    fn queue_probe(&mut self, probe: Probe) {
        // One too many is dropped, which tells the one who waits.
        if self.probes.len() < MAX_PROBES {
            self.probes.push_back(probe);
        }
    }

    fn apply(&mut self, changes: Changes, now: Instant) {
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
            self.settled.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        let wake = loop {
            match self.start_probes(now) {
                Ok(()) => {}
                Err(Closed::Until(moment)) => break Some(moment),
                Err(Closed::Busy) => break None,
            }
            match self.schedule.next(now) {
                Next::Poll(starts) => self.start(starts),
                Next::Wait(until) => break Some(until),
                Next::Idle => break None,
            }
        };
        self.telemetry.queue_length(self.schedule.ready());
        self.telemetry.throttled(self.schedule.gate.take_throttled(now));
        if self.schedule.gate.in_flight() == 0 && self.schedule.ready() == 0 {
            self.settled.store(true, Ordering::Relaxed);
        }
        // Credentials that were refused may be replaced long before the next poll tries them.
        let gate = &self.schedule.gate;
        if gate.is_probing() && self.upstream.fetcher.credentials.can_change() {
            let look = now + SECRETS_RETRY;
            return Some(wake.map_or(look, |wake| wake.min(look)));
        }
        wake
    }

    fn start(&mut self, starts: Vec<Start>) {
        let mut polled = Vec::with_capacity(starts.len());
        for Start { slot, lag, retry } in starts {
            self.telemetry.poll_started(lag, retry);
            polled.extend(self.shard.task(slot).map(|task| (slot, task)));
        }
        let tasks = polled.iter().map(|(_, task)| task.clone()).collect();
        self.send(tasks, self.batched, UnderWay::Poll(polled, self.batched));
    }

    fn send(&mut self, tasks: Vec<Task>, batched: bool, under_way: UnderWay) {
        self.telemetry.request_started();
        let upstream = Arc::clone(&self.upstream);
        let poll = async move { once(&upstream, &tasks, batched).await };
        let poll = AssertUnwindSafe(poll).catch_unwind();
        self.under_way.push(async move { (under_way, poll.await.ok()) }.boxed());
    }

    /// Starts the probes that wait, unless one has to go on waiting.
    fn start_probes(&mut self, now: Instant) -> Result<(), Closed> {
        while let Some(probe) = self.probes.pop_front() {
            if probe.reply.is_closed() {
                continue;
            }
            if let Err(closed) = self.schedule.gate.enter(now) {
                self.probes.push_front(probe);
                return Err(closed);
            }
            self.send(vec![probe.task], false, UnderWay::Probe(probe.reply));
        }
        Ok(())
    }

    /// Reads secret files again from time to time. Without them the provider is paused: a request
    /// without credentials could only be refused.
    async fn read_secrets(&mut self) -> bool {
        let credentials = &self.upstream.fetcher.credentials;
        if !credentials.can_change() || self.secrets_read.elapsed() < SECRETS_EVERY {
            return true;
        }
        let read = credentials.refresh().await;
        let now = Instant::now();
        self.secrets_read = now;
        let provider = &*self.upstream.provider.name;
        match read {
            Ok(changed) => {
                if changed || self.held > 0 {
                    tracing::info!(provider, "read new credentials");
                    self.schedule.gate.trust_again();
                }
                self.hold(0);
                true
            }
            Err(error) => {
                if self.held == 0 {
                    tracing::error!(provider, %error, "paused: the credentials cannot be read");
                }
                self.schedule.gate.pause(now + SECRETS_RETRY);
                self.hold(self.shard.count());
                false
            }
        }
    }

    fn hold(&mut self, tasks: usize) {
        self.context.telemetry.tasks_without_credentials(self.held, tasks);
        self.held = tasks;
    }

    fn ended(&mut self, (under_way, polled): Ended) {
        self.settled.store(true, Ordering::Relaxed);
        self.telemetry.request_ended();
        match (under_way, polled) {
            (UnderWay::Poll(tasks, batched), Some(polled)) => {
                self.finish(&tasks, batched, &polled);
            }
            (UnderWay::Poll(tasks, batched), None) => {
                // A panic is our fault and must not cost the tasks their place in the schedule.
                let failure = Failure::new(Reason::Mapping, "the exporter panicked: please report");
                self.finish(&tasks, batched, &Polled::failed(tasks.len(), failure));
            }
            (UnderWay::Probe(reply), polled) => {
                self.schedule.gate.leave();
                // Whoever asked may have left.
                if let Some(polled) = polled {
                    let _ = reply.send(polled);
                }
            }
        }
    }

    /// Takes in what a request brought: counters, records, log and schedule.
    fn finish(&mut self, tasks: &[(Slot, Task)], batched: bool, polled: &Polled) {
        let response = polled.response.as_ref();
        if let Some(response) = response {
            self.telemetry.answered(response.status);
        }
        if let Some(code) = &polled.code {
            self.telemetry.code(code);
        }
        if batched && response.is_some_and(|response| NO_BATCHES.contains(&response.status)) {
            return self.refuse_batches(tasks, polled);
        }
        if batched && tasks.len() > 1 && polled.outcomes.iter().all(is_too_large) {
            return self.halve_batches(tasks);
        }
        let mut verdicts = Vec::with_capacity(tasks.len());
        for ((slot, task), outcome) in tasks.iter().zip(&polled.outcomes) {
            let change = self.take_in(*slot, outcome, polled.took);
            self.journal.tell(task, outcome, polled.message.as_deref(), change);
            verdicts.push((*slot, Verdict::of(outcome.as_ref().err(), change)));
        }
        let any_usable = polled.outcomes.iter().any(Result::is_ok);
        self.telemetry.provider_up(any_usable);
        // An answer that is usable may say when there will be more to learn: we know when to ask.
        let failed = response.filter(|_| !any_usable);
        let retry_after = failed.and_then(|response| response.retry_after);
        self.schedule.finish(&verdicts, retry_after, Instant::now());
    }

    /// A gateway that lacks the batch query must not make all its tasks look lost.
    fn refuse_batches(&mut self, tasks: &[(Slot, Task)], polled: &Polled) {
        let provider = &*self.upstream.provider.name;
        let status = polled.response.as_ref().map(|response| response.status);
        tracing::warn!(provider, status, "no batch query here: every task is asked for alone");
        self.batched = false;
        self.schedule.shrink_batches(1, tasks.iter().map(|(slot, _)| *slot), Instant::now());
    }

    /// Answers that are too large together may each be small enough.
    fn halve_batches(&mut self, tasks: &[(Slot, Task)]) {
        let provider = &*self.upstream.provider.name;
        let size = tasks.len() / 2;
        tracing::warn!(
            provider,
            size,
            "the answer to a batch is too large: smaller ones from now on"
        );
        self.schedule.shrink_batches(size, tasks.iter().map(|(slot, _)| *slot), Instant::now());
    }

    /// Takes in how the poll of one task ended.
    fn take_in(
        &mut self,
        slot: Slot,
        outcome: &Result<Observation, Failure>,
        took: Duration,
    ) -> Option<Change> {
        self.telemetry.polled(took, outcome.as_ref().err().map(|failure| failure.reason));
        if outcome.as_ref().is_ok_and(|observation| observation.state == State::Unknown) {
            self.telemetry.unknown_status();
        }
        let storage = self.context.storage.as_deref();
        let change = self.shard.record(slot, outcome, |record, change| {
            if let Some(storage) = storage.filter(|_| change.is_lasting) {
                storage.save(Entry::new(record, change));
            }
        })?;
        // With a storage path a finish is written, and counted when a scrape comes.
        if let (None, Some(finished)) = (storage, change.finished) {
            self.telemetry.finished(change.to, finished.duration);
        }
        Some(change)
    }
}

fn is_too_large(outcome: &Result<Observation, Failure>) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.reason == Reason::TooLarge)
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
