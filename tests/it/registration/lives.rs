//! Acknowledged calls against `kill -9` and a full disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::{flags, path};
use crate::harness::{Dir, Exporter, Gateway, http, until};
use crate::storage::disk;

/// Number of lives, each of which ends in the midst of calls.
const LIVES: usize = 300;
/// Number of clients that call at the same time.
const CLIENTS: usize = 4;
/// Maximum number of acknowledged calls before a life is ended.
const CALLS: usize = 24;
const ENQUEUED: &str = "aitask_enqueue_timestamp_seconds";

/// The last that clients know about the registration of an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The last call was acknowledged: the task is registered.
    Registered,
    /// The last call was acknowledged: the task is not registered.
    Deleted,
    /// The last call registers, and its connection ended before the answer.
    Unanswered,
    /// The last call deletes, and its connection ended before the answer.
    UnansweredDelete,
}

/// The application: all that its clients have in common over the lives of the exporter.
#[derive(Default)]
struct Application {
    known: Mutex<BTreeMap<String, Known>>,
    /// IDs for which a call was answered with 201.
    created: Mutex<BTreeSet<String>>,
    next: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Application {
    /// Registers the task until that is known to be done or the exporter is gone; returns false in the
    /// latter case.
    fn register(&self, address: SocketAddr, id: &str) -> bool {
        let known = self.known.lock().insert(id.to_owned(), Known::Unanswered);
        let Some(status) = send(address, "PUT", id) else { return false };
        match status {
            201 => assert!(self.created.lock().insert(id.to_owned()), "{id} came twice: {known:?}"),
            200 => assert!(known.is_some(), "{id} was known before its first call"),
            _ => panic!("{id}: {status}"),
        }
        assert!(known != Some(Known::Registered) || status == 200, "{id} was lost");
        self.known.lock().insert(id.to_owned(), Known::Registered);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn delete(&self, address: SocketAddr, id: &str) -> bool {
        self.known.lock().insert(id.to_owned(), Known::UnansweredDelete);
        let Some(status) = send(address, "DELETE", id) else { return false };
        assert_eq!(status, 204, "{id}");
        self.known.lock().insert(id.to_owned(), Known::Deleted);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Calls until the exporter is gone. Every eighth task is deleted again.
    fn call(&self, address: SocketAddr) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = format!("running-{number}");
            if !self.register(address, &id)
                || (number.is_multiple_of(8) && !self.delete(address, &id))
            {
                return;
            }
        }
    }

    /// Repeats what was not answered, as an application does, and one call that was.
    fn repeat(&self, address: SocketAddr) {
        let known = self.known.lock().clone();
        for (id, _) in known.iter().filter(|(_, known)| **known == Known::Unanswered) {
            assert!(self.register(address, id), "the exporter ended by itself");
        }
        for (id, _) in known.iter().filter(|(_, known)| **known == Known::UnansweredDelete) {
            assert!(self.delete(address, id), "the exporter ended by itself");
        }
        if let Some((id, _)) = known.iter().rfind(|(_, known)| **known == Known::Registered) {
            assert!(self.register(address, id), "the exporter ended by itself");
        }
    }

    fn registered(&self) -> BTreeSet<String> {
        let known = self.known.lock();
        let registered = known.iter().filter(|(_, known)| **known == Known::Registered);
        registered.map(|(id, _)| id.clone()).collect()
    }
}

/// Kills the exporter while it answers: the program `kill` would take the time of several calls to start.
fn kill_at_once(mut exporter: Exporter) {
    let pid = Pid::from_raw(exporter.process.status("Pid").parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    exporter.process.wait();
}

/// Returns the status of the answer; none if the connection ended before it.
fn send(address: SocketAddr, method: &str, id: &str) -> Option<u16> {
    http::send(address, method, &path("mj", id), &[], "").ok().map(|reply| reply.status)
}

fn config(gateway: &Gateway) -> String {
    let provider = gateway.provider("mj", "max_in_flight: 64");
    format!("global: {{ poll_interval: 1h }}\nproviders: [{provider}]\n")
}

/// Asserts that the exporter follows these tasks, each with one series of a family.
fn assert_followed(exporter: &Exporter, expected: &BTreeSet<String>) {
    let listed = exporter.get("/api/v1/tasks").json();
    let ids = |tasks: &serde_json::Value| {
        let tasks = tasks.as_array().unwrap().iter();
        tasks.map(|task| task["task_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let listed = ids(&listed["tasks"]);
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), *expected);
    assert_eq!(listed.len(), expected.len(), "some twice");
    let samples = exporter.scrape();
    let series = samples.find(ENQUEUED, &[]);
    let series: Vec<_> = series.iter().map(|(labels, _)| labels["task_id"].clone()).collect();
    assert_eq!(series.iter().cloned().collect::<BTreeSet<_>>(), *expected);
    assert_eq!(series.len(), expected.len(), "some twice");
}

/// Clients call in parallel, and the exporter is killed after an arbitrary number of answers.
#[test]
fn every_acknowledged_call_survives_300_kills() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let (config, flags) = (config(&gateway), flags(&storage, &[]));
    let application = Application::default();
    for life in 0..LIVES {
        let exporter = Exporter::start_in(Dir::with(&config), &flags);
        let address = exporter.address;
        application.repeat(address);
        application.acknowledged.store(0, Ordering::Relaxed);
        // Arbitrary, but the same in each run.
        let enough = life * 7 % CALLS;
        thread::scope(|scope| {
            let call = |_| scope.spawn(|| application.call(address));
            let clients: Vec<_> = (0..CLIENTS).map(call).collect();
            while application.acknowledged.load(Ordering::Relaxed) < enough
                && !clients.iter().any(ScopedJoinHandle::is_finished)
            {
                thread::sleep(Duration::from_millis(1));
            }
            kill_at_once(exporter);
        });
    }
    let last = Exporter::start_in(Dir::with(&config), &flags);
    application.repeat(last.address);
    let expected = application.registered();
    assert!(expected.len() > LIVES, "{}", expected.len());
    assert_followed(&last, &expected);
}

#[test]
fn a_full_disk_refuses_registrations_and_keeps_what_it_acknowledged() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let (config, flags) = (config(&gateway), flags(&storage, &[]));
    let put = |exporter: &Exporter, id: &str| {
        http::send(exporter.address, "PUT", &path("mj", id), &[], "").unwrap()
    };
    let exporter = disk::limited(Dir::with(&config), &flags, 64);
    let mut registered = BTreeSet::new();
    let refused = loop {
        let id = format!("running-{}", registered.len());
        let reply = put(&exporter, &id);
        if reply.status != 201 {
            break reply;
        }
        assert!(registered.insert(id) && registered.len() < 10_000, "the disk is never full");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.text(), "the storage path does not take what is written\n");
    exporter.await_value("aitask_exporter_storage_up", &[], 0.0);
    let delete = http::send(exporter.address, "DELETE", &path("mj", "running-0"), &[], "");
    assert_eq!(delete.unwrap().status, 503, "it would not survive");
    assert!(registered.len() > 50, "{registered:?}");
    disk::kill_limited(exporter);

    let exporter = disk::limited(Dir::with(&config), &flags, 64);
    assert_followed(&exporter, &registered);
    disk::make_room(&exporter.process);
    until("registrations are accepted again", || match put(&exporter, "running-late").status {
        201 => true,
        status => {
            assert_eq!(status, 503);
            false
        }
    });
    disk::kill_limited(exporter);
    registered.insert("running-late".to_owned());
    assert_followed(&Exporter::start_in(Dir::with(&config), &flags), &registered);
}
