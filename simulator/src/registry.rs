//! The registry of tasks: for each its script, the start of its lifecycle and the statistics of its
//! requests.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use http::{HeaderMap, Uri};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::scenario;
use super::script::Script;

/// Maximum number of tasks, twice what the exporter is built for. A full registry takes about 1 GB.
const MAX_TASKS: usize = 2_000_000;

/// Number of request times kept for each task, enough to see the cadence of its polls.
const MAX_REQUEST_TIMES: usize = 100;

/// The tasks that were ever requested or scripted.
///
/// One lock guards all of them; it is never held across an await.
#[derive(Debug)]
pub(crate) struct TaskRegistry {
    /// The same time on tokio's clock and on the wall clock, from which [`Self::now`] follows
    /// tokio's clock. Pausing tokio's clock in a test thus pauses all lifecycles.
    clock_origin: (Instant, Timestamp),
    state: Mutex<RegistryState>,
}

#[derive(Debug, Default)]
struct RegistryState {
    tasks: HashMap<Box<[u8]>, TaskEntry>,
    stats: GatewayStats,
    /// The most recent request headers. Clients send the same headers for every task, so tasks
    /// share them.
    last_headers: Arc<HeaderMap>,
}

#[derive(Debug, Default)]
struct TaskEntry {
    script: Option<Arc<Script>>,
    enqueued_at: Option<Timestamp>,
    /// True if the simulated application has submitted the task.
    is_submitted: bool,
    stats: TaskStats,
}

/// Statistics of all requests for tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GatewayStats {
    /// Number of requests, each counted once for every task in it.
    requests: u64,
    /// Number of requests for more than one task.
    batches: u64,
    /// Number of requests in flight, each counted once.
    in_flight: u64,
    max_in_flight: u64,
    /// Number of tasks in the registry.
    tasks: usize,
    max_in_flight_per_task: u64,
}

/// Statistics of the requests for one task.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TaskStats {
    requests: u64,
    in_flight: u64,
    max_in_flight: u64,
    /// Number of body bytes handed to the network in responses about the task.
    body_bytes: usize,
    /// Target of the most recent request.
    last_path: Option<Box<str>>,
    #[serde(serialize_with = "serialize_headers")]
    last_headers: Arc<HeaderMap>,
    /// Milliseconds since the Unix epoch, oldest first; at most [`MAX_REQUEST_TIMES`].
    request_times_ms: VecDeque<i64>,
}

/// Error of a registry that has no room for another task.
#[derive(Debug)]
pub(crate) struct RegistryFull;

/// A request for tasks, in flight until this value is dropped.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    registry: Arc<TaskRegistry>,
    /// Requested tasks.
    pub(crate) tasks: Vec<RequestedTask>,
}

/// A task that the gateway holds.
#[derive(Clone, Debug)]
pub(crate) struct HeldTask {
    /// ID, any bytes.
    pub(crate) id: Box<[u8]>,
    /// Script of the task.
    pub(crate) script: Arc<Script>,
    /// Start of the lifecycle.
    pub(crate) enqueued_at: Timestamp,
}

/// A task in a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestedTask {
    /// ID, any bytes.
    pub(crate) id: Box<[u8]>,
    /// Number of this request among the requests for the task, counted from 1.
    pub(crate) request_number: u64,
    /// Script that was in force when the request arrived.
    pub(crate) script: Arc<Script>,
    /// Start of the lifecycle.
    pub(crate) enqueued_at: Timestamp,
}

impl TaskRegistry {
    /// Returns an empty registry.
    pub(crate) fn new() -> Self {
        Self { clock_origin: (Instant::now(), Timestamp::now()), state: Mutex::default() }
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        let (instant, timestamp) = self.clock_origin;
        timestamp + instant.elapsed()
    }

    /// Records a request for the tasks `ids` and starts each lifecycle that has not started yet.
    ///
    /// # Errors
    /// Returns [`RegistryFull`], and records nothing, if there is no room for the new tasks.
    pub(crate) fn begin_request(
        self: &Arc<Self>,
        ids: Vec<Vec<u8>>,
        target: &Uri,
        headers: &HeaderMap,
    ) -> Result<ActiveRequest, RegistryFull> {
        let now = self.now();
        let mut state = self.state.lock();
        if !state.has_room_for(&ids) {
            return Err(RegistryFull);
        }
        let headers = state.share_headers(headers);
        state.stats.record_request(ids.len());
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids.into_iter().map(Vec::into_boxed_slice) {
            let task = state.tasks.entry(id.clone()).or_default();
            let (script, enqueued_at) = task.start(&id, now);
            task.stats.record_request(now, target, Arc::clone(&headers));
            let (request_number, in_flight) = (task.stats.requests, task.stats.in_flight);
            state.stats.max_in_flight_per_task = state.stats.max_in_flight_per_task.max(in_flight);
            tasks.push(RequestedTask { id, request_number, script, enqueued_at });
        }
        drop(state);
        Ok(ActiveRequest { registry: Arc::clone(self), tasks })
    }

    /// Starts the lifecycle of the task `id` at `enqueued_at`, unless it has started already.
    ///
    /// # Errors
    /// Returns [`RegistryFull`] if there is no room for a new task.
    pub(crate) fn submit(&self, id: &[u8], enqueued_at: Timestamp) -> Result<(), RegistryFull> {
        let mut state = self.state.lock();
        if !state.has_room_for(&[id]) {
            return Err(RegistryFull);
        }
        let task = state.tasks.entry(id.into()).or_default();
        task.enqueued_at.get_or_insert(enqueued_at);
        task.is_submitted = true;
        Ok(())
    }

    /// Returns the tasks that lists of the gateway can have, and starts each lifecycle that has not
    /// started yet: those with a script, and those that the application has submitted. A task that a
    /// client has only asked for is in no list.
    pub(crate) fn held_tasks(&self) -> Vec<HeldTask> {
        let now = self.now();
        let mut state = self.state.lock();
        let held = state.tasks.iter_mut().filter(|(id, task)| {
            let is_listed = task.script.as_ref().map_or(task.is_submitted, |script| script.listed);
            is_listed && !id.starts_with(b"/")
        });
        held.map(|(id, task)| {
            let (script, enqueued_at) = task.start(id, now);
            HeldTask { id: id.clone(), script, enqueued_at }
        })
        .collect()
    }

    /// Forgets all tasks, as a gateway that keeps them in memory does when it restarts: they are in no
    /// list, and requests for them are answered as for unknown ones. Statistics stay.
    pub(crate) fn forget_tasks(&self) {
        let unknown = Arc::new(scenario::unknown_task());
        for (id, task) in &mut self.state.lock().tasks {
            if !id.starts_with(b"/") {
                task.script = Some(Arc::clone(&unknown));
            }
        }
    }

    /// Sets the script of the task `id` and restarts the lifecycle of the task.
    ///
    /// # Errors
    /// Returns [`RegistryFull`] if there is no room for a new task.
    pub(crate) fn set_script(&self, id: &[u8], script: Script) -> Result<(), RegistryFull> {
        let enqueued_at = script.enqueued_ago.map(|enqueued_ago| self.now() - enqueued_ago);
        let mut state = self.state.lock();
        if !state.has_room_for(&[id]) {
            return Err(RegistryFull);
        }
        let task = state.tasks.entry(id.into()).or_default();
        task.script = Some(Arc::new(script));
        task.enqueued_at = enqueued_at;
        Ok(())
    }

    /// Removes the script of the task `id`. The next request for the task starts the lifecycle of
    /// the scenario that its ID selects.
    pub(crate) fn remove_script(&self, id: &[u8]) {
        if let Some(task) = self.state.lock().tasks.get_mut(id) {
            task.script = None;
            task.enqueued_at = None;
        }
    }

    /// Returns the statistics of the task `id`, all zero if the task is unknown.
    pub(crate) fn task_stats(&self, id: &[u8]) -> TaskStats {
        self.state.lock().tasks.get(id).map(|task| task.stats.clone()).unwrap_or_default()
    }

    /// Returns the statistics of all requests.
    pub(crate) fn gateway_stats(&self) -> GatewayStats {
        let state = self.state.lock();
        GatewayStats { tasks: state.tasks.len(), ..state.stats.clone() }
    }
}

impl ActiveRequest {
    /// Adds `bytes`, the number of body bytes handed to the network, to the statistics of each task.
    pub(crate) fn record_sent_bytes(&self, bytes: usize) {
        let mut state = self.registry.state.lock();
        for requested_task in &self.tasks {
            if let Some(task) = state.tasks.get_mut(&requested_task.id) {
                task.stats.body_bytes += bytes;
            }
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.stats.in_flight = state.stats.in_flight.saturating_sub(1);
        for requested_task in &self.tasks {
            if let Some(task) = state.tasks.get_mut(&requested_task.id) {
                task.stats.in_flight = task.stats.in_flight.saturating_sub(1);
            }
        }
    }
}

impl TaskEntry {
    /// Returns the script of the task, and the start of its lifecycle, which is `now` unless it has
    /// started already.
    fn start(&mut self, id: &[u8], now: Timestamp) -> (Arc<Script>, Timestamp) {
        let script = match &self.script {
            Some(script) => Arc::clone(script),
            None => Arc::new(scenario::build_script(&String::from_utf8_lossy(id))),
        };
        let enqueued_ago = script.enqueued_ago.unwrap_or_default();
        let enqueued_at = *self.enqueued_at.get_or_insert_with(|| now - enqueued_ago);
        (script, enqueued_at)
    }
}

impl RegistryState {
    fn has_room_for(&self, ids: &[impl AsRef<[u8]>]) -> bool {
        let new = ids.iter().filter(|id| !self.tasks.contains_key(id.as_ref())).count();
        self.tasks.len() + new <= MAX_TASKS
    }

    fn share_headers(&mut self, headers: &HeaderMap) -> Arc<HeaderMap> {
        if *self.last_headers != *headers {
            self.last_headers = Arc::new(headers.clone());
        }
        Arc::clone(&self.last_headers)
    }
}

impl GatewayStats {
    fn record_request(&mut self, tasks: usize) {
        self.requests += u64::try_from(tasks).unwrap_or(u64::MAX);
        self.batches += u64::from(tasks > 1);
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
    }
}

impl TaskStats {
    fn record_request(&mut self, now: Timestamp, target: &Uri, headers: Arc<HeaderMap>) {
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

/// Serializes one string per header name. Commas join the values of a repeated header, as in HTTP.
fn serialize_headers<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.as_str(), values.collect::<Vec<_>>().join(", "))
    }))
}
