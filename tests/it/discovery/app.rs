//! A small app that submits jobs to a gateway and lists them, at an endpoint of its own and in a file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::upstream::{Asked, Reply, Upstream, answer, json as json_answer};
use crate::harness::{Gateway, until};

/// An endpoint whose answer a test sets.
pub struct Endpoint {
    upstream: Upstream,
    reply: Arc<Mutex<Arc<Vec<u8>>>>,
}

impl Endpoint {
    /// Starts an endpoint that lists these IDs.
    pub fn listing(ids: &[&str]) -> Self {
        let reply = Arc::new(Mutex::new(Arc::new(json_answer(&json!(ids).to_string()))));
        let current = Arc::clone(&reply);
        let upstream = Upstream::start(move |_| {
            let reply = Arc::clone(&current.lock());
            Reply::Keep(reply.to_vec())
        });
        Self { upstream, reply }
    }

    /// Starts an endpoint whose answers depend on the request.
    pub fn with(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self { upstream: Upstream::start(reply), reply: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jobs", self.upstream.address)
    }

    /// Lists these elements from the next request on.
    pub fn list(&self, elements: &Value) {
        self.answer(json_answer(&elements.to_string()));
    }

    /// Answers with an HTTP status and nothing else.
    pub fn fail(&self, status: &str) {
        self.answer(answer(status, &[], b""));
    }

    /// Answers with these bytes from the next request on.
    pub fn answer(&self, bytes: Vec<u8>) {
        *self.reply.lock() = Arc::new(bytes);
    }

    /// Returns the requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.upstream.asked()
    }

    /// Waits until what is answered now has been received and acted upon: the request after the next
    /// one has begun.
    pub fn await_refresh(&self) {
        let before = self.upstream.count();
        until("the list is asked for again", || self.upstream.count() >= before + 2);
    }
}

/// A job of the app.
struct Job {
    element: Value,
    /// The time at which it leaves the list.
    leaves: Option<Instant>,
}

/// An app whose jobs succeed after a while.
pub struct App {
    jobs: Arc<Mutex<Vec<Job>>>,
    life: Duration,
    /// Time from the end of a job until it leaves the list; it stays there where this is absent.
    lingers: Option<Duration>,
}

impl App {
    pub fn new(life: Duration, lingers: Option<Duration>) -> Self {
        Self { jobs: Arc::default(), life, lingers }
    }

    /// Submits a job and lists it at once.
    pub fn submit(&self, gateway: &Gateway, provider: &str, id: &str) {
        let steps = json!([
            { "status": "running", "seconds": self.life.as_secs_f64() },
            { "status": "completed" },
        ]);
        gateway.put(id, &json!({ "enqueued_seconds_ago": 0, "steps": steps }));
        let leaves = self.lingers.map(|lingers| Instant::now() + self.life + lingers);
        let element = json!({ "targets": [id], "labels": { "provider": provider } });
        self.jobs.lock().push(Job { element, leaves });
    }

    /// The list at this moment.
    pub fn list(&self) -> Value {
        list(&self.jobs)
    }

    /// Starts an endpoint with the list.
    pub fn endpoint(&self) -> Endpoint {
        let jobs = Arc::clone(&self.jobs);
        Endpoint::with(move |_| Reply::Keep(json_answer(&list(&jobs).to_string())))
    }
}

fn list(jobs: &Mutex<Vec<Job>>) -> Value {
    let now = Instant::now();
    let jobs = jobs.lock();
    let listed = jobs.iter().filter(|job| job.leaves.is_none_or(|leaves| now < leaves));
    listed.map(|job| job.element.clone()).collect()
}
