//! What the simulator remembers of each task: its script, its life's beginning, who asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Uri};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::scenario;
use super::script::Script;

/// Twice what the exporter is built for; about 1 GB when full.
const MAX_TASKS: usize = 2_000_000;

/// Enough to see the rhythm of the polls.
const MAX_REQUEST_TIMES: usize = 100;

/// All tasks ever asked for or scripted. One lock, held for a look-up at a time.
#[derive(Debug)]
pub struct Memory {
    /// The wall clock follows tokio's clock from here, so that paused time pauses lives too.
    started: (Instant, Timestamp),
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    tasks: HashMap<Box<[u8]>, Task>,
    stats: Stats,
    /// The headers last seen: clients send the same ones for every task, so tasks share them.
    headers: Arc<HeaderMap>,
}

#[derive(Debug, Default)]
struct Task {
    script: Option<Arc<Script>>,
    enqueued: Option<Timestamp>,
    report: Report,
}

/// What was asked for altogether.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Each counts once for every task that it asks for.
    requests: u64,
    /// Requests for several tasks at once.
    batches: u64,
    /// Each request counts once.
    in_flight: u64,
    max_in_flight: u64,
    tasks: usize,
    max_in_flight_per_task: u64,
}

/// What was asked for of one task.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    requests: u64,
    in_flight: u64,
    max_in_flight: u64,
    /// What was handed to the network of the bodies that told of the task.
    body_bytes: usize,
    last_path: Option<Box<str>>,
    #[serde(serialize_with = "headers")]
    last_headers: Arc<HeaderMap>,
    request_times_ms: VecDeque<i64>,
}

/// There is no room for another task.
#[derive(Debug)]
pub struct Full;

/// A request for tasks while it is being answered: in flight until dropped.
#[derive(Debug)]
pub struct Visit {
    memory: Arc<Memory>,
    /// What is asked for.
    pub tasks: Vec<Visited>,
}

/// A task that is asked for.
#[derive(Clone, Debug)]
pub struct Visited {
    /// Its ID, any bytes.
    pub id: Box<[u8]>,
    /// How many requests for the task there were, this one included.
    pub number: u64,
    /// What the task does.
    pub script: Arc<Script>,
    /// When its life began.
    pub enqueued: Timestamp,
}

impl Memory {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self { started: (Instant::now(), Timestamp::now()), kept: Mutex::default() }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        let (instant, timestamp) = self.started;
        timestamp + instant.elapsed()
    }

    /// Takes note of a request for the tasks `ids`.
    pub fn visit(
        self: &Arc<Self>,
        ids: Vec<Vec<u8>>,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<Visit, Full> {
        let now = self.now();
        let mut kept = self.kept();
        if !kept.has_room_for(&ids) {
            return Err(Full);
        }
        let headers = kept.share(headers);
        kept.stats.begin(ids.len());
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids.into_iter().map(Vec::into_boxed_slice) {
            let task = kept.tasks.entry(id.clone()).or_default();
            let script = match &task.script {
                Some(script) => Arc::clone(script),
                None => Arc::new(scenario::script(&String::from_utf8_lossy(&id))),
            };
            let ago = script.enqueued_ago.unwrap_or_default();
            let enqueued = *task.enqueued.get_or_insert_with(|| now - ago);
            task.report.begin(now, target, Arc::clone(&headers));
            let (number, in_flight) = (task.report.requests, task.report.in_flight);
            kept.stats.max_in_flight_per_task = kept.stats.max_in_flight_per_task.max(in_flight);
            tasks.push(Visited { id, number, script, enqueued });
        }
        drop(kept);
        Ok(Visit { memory: Arc::clone(self), tasks })
    }

    /// Gives the task `id` a script and a new life.
    pub fn set_script(&self, id: &[u8], script: Script) -> Result<(), Full> {
        let enqueued = script.enqueued_ago.map(|ago| self.now() - ago);
        let mut kept = self.kept();
        if !kept.has_room_for(&[id]) {
            return Err(Full);
        }
        let task = kept.tasks.entry(id.into()).or_default();
        task.script = Some(Arc::new(script));
        task.enqueued = enqueued;
        Ok(())
    }

    /// Takes the script of the task `id` away; its next life is the one that its ID tells.
    pub fn remove_script(&self, id: &[u8]) {
        if let Some(task) = self.kept().tasks.get_mut(id) {
            task.script = None;
            task.enqueued = None;
        }
    }

    /// What was asked for of the task `id`: nothing, if it is unknown.
    pub fn report(&self, id: &[u8]) -> Report {
        self.kept().tasks.get(id).map(|task| task.report.clone()).unwrap_or_default()
    }

    /// What was asked for altogether.
    pub fn stats(&self) -> Stats {
        let kept = self.kept();
        Stats { tasks: kept.tasks.len(), ..kept.stats.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Takes note that so many bytes of the answer's body were handed to the network.
    pub fn handed_over(&self, bytes: usize) {
        let mut kept = self.memory.kept();
        for visited in &self.tasks {
            if let Some(task) = kept.tasks.get_mut(&visited.id) {
                task.report.body_bytes += bytes;
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut kept = self.memory.kept();
        kept.stats.in_flight = kept.stats.in_flight.saturating_sub(1);
        for visited in &self.tasks {
            if let Some(task) = kept.tasks.get_mut(&visited.id) {
                task.report.in_flight = task.report.in_flight.saturating_sub(1);
            }
        }
    }
}

impl Kept {
    fn has_room_for(&self, ids: &[impl AsRef<[u8]>]) -> bool {
        let new = ids.iter().filter(|id| !self.tasks.contains_key(id.as_ref())).count();
        self.tasks.len() + new <= MAX_TASKS
    }

    fn share(&mut self, headers: &HeaderMap) -> Arc<HeaderMap> {
        if *self.headers != *headers {
            self.headers = Arc::new(headers.clone());
        }
        Arc::clone(&self.headers)
    }
}

impl Stats {
    fn begin(&mut self, tasks: usize) {
        self.requests += u64::try_from(tasks).unwrap_or(u64::MAX);
        self.batches += u64::from(tasks > 1);
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
    }
}

impl Report {
    fn begin(&mut self, now: Timestamp, target: &Uri, headers: Arc<HeaderMap>) {
        self.requests += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        self.last_path = Some(target.to_string().into());
        self.last_headers = headers;
        if self.request_times_ms.len() == MAX_REQUEST_TIMES {
            self.request_times_ms.pop_front();
        }
        self.request_times_ms.push_back(now.as_millisecond());
    }
}

/// One string a name; values of a repeated header are joined as HTTP says, by commas.
fn headers<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.as_str(), values.collect::<Vec<_>>().join(", "))
    }))
}
