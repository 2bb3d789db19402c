//! Tasks that come and go by themselves: lists at an endpoint and in files, and the life of the tasks
//! that they name. Written against the contract alone, through the program's front doors.

mod app;
mod chance;
mod coming;
mod command;
mod ends;
mod failures;
mod leaving;
mod limits;
mod nginx;
mod restarts;
mod union;
mod volume;

use serde_json::Value;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, until};
pub use app::Endpoint;

/// Time between two requests for a list, in the tests that need not wait longer.
const REFRESH: &str = "200ms";

/// A configuration to which a test adds the parts that it needs.
pub struct Setup {
    global: String,
    providers: Vec<String>,
    http: Vec<String>,
    file: Vec<String>,
    rest: String,
}

impl Setup {
    /// With keys of `global` in YAML's flow style.
    pub fn new(global: &str) -> Self {
        let (providers, http, file) = Default::default();
        Self { global: global.to_owned(), providers, http, file, rest: String::new() }
    }

    pub fn provider(mut self, provider: String) -> Self {
        self.providers.push(provider);
        self
    }

    /// Adds an entry of `http_sd_configs` with further keys.
    pub fn http(mut self, name: &str, url: &str, more: &str) -> Self {
        self.http.push(format!("{{ name: {name}, url: '{url}', {more} }}"));
        self
    }

    /// Adds an entry of `file_sd_configs` with further keys.
    pub fn file(mut self, name: &str, glob: &str, more: &str) -> Self {
        self.file.push(format!("{{ name: {name}, files: ['{glob}'], {more} }}"));
        self
    }

    /// Adds an endpoint that is asked all the time, for the only provider.
    pub fn endpoint(self, name: &str, endpoint: &Endpoint, more: &str) -> Self {
        self.http(name, &endpoint.url(), &format!("refresh_interval: {REFRESH}, {more}"))
    }

    /// Adds further sections.
    pub fn and(mut self, rest: &str) -> Self {
        self.rest += rest;
        self.rest += "\n";
        self
    }

    pub fn text(&self) -> String {
        // Files come first in the text: the order of the sections does not count.
        let list = |key: &str, entries: &[String]| match entries {
            [] => String::new(),
            _ => format!("{key}:\n- {}\n", entries.join("\n- ")),
        };
        format!(
            "global: {{ {} }}\n{}{}{}{}",
            self.global,
            list("providers", &self.providers),
            list("file_sd_configs", &self.file),
            list("http_sd_configs", &self.http),
            self.rest
        )
    }

    pub fn start(&self) -> Exporter {
        Exporter::start(&self.text())
    }

    /// Starts an exporter that keeps its state in `storage`.
    pub fn start_with(&self, storage: &Dir) -> Exporter {
        let path = storage.path("state");
        Exporter::start_in(Dir::with(&self.text()), &["--storage.path", path.to_str().unwrap()])
    }
}

/// A provider whose answers contain neither an enqueue nor a finish time.
pub fn timeless(gateway: &Gateway, name: &str) -> String {
    let url = format!("http://{}/bfl-flux", gateway.address);
    format!("{{ name: {name}, preset: bfl-flux, base_url: '{url}', max_in_flight: 64 }}")
}

/// A provider whose answers contain both.
pub fn timed(gateway: &Gateway, name: &str) -> String {
    let url = format!("http://{}/new-api-mj", gateway.address);
    format!("{{ name: {name}, preset: new-api-mj, base_url: '{url}', max_in_flight: 64 }}")
}

/// Returns what `/api/v1/tasks` says of an ID, if it knows the task.
pub fn task(exporter: &Exporter, id: &str) -> Option<Value> {
    let body = exporter.get(&format!("/api/v1/tasks?task_id={id}")).json();
    let tasks = body["tasks"].as_array().unwrap();
    assert!(tasks.len() < 2, "{tasks:?}");
    tasks.first().cloned()
}

/// Returns the IDs of all tasks in order.
pub fn ids(exporter: &Exporter) -> Vec<String> {
    let body = exporter.get("/api/v1/tasks").json();
    let tasks = body["tasks"].as_array().unwrap().iter();
    let mut ids: Vec<_> = tasks.map(|task| task["task_id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// Waits until these tasks, and no others, are followed.
pub fn await_ids(exporter: &Exporter, expected: &[&str]) {
    until(&format!("the tasks are {expected:?}"), || ids(exporter) == expected);
}

/// Waits until a task is listed, or is not listed any more but still followed.
pub fn await_listed(exporter: &Exporter, id: &str, is_listed: bool) -> Value {
    crate::harness::eventually(&format!("{id} is listed: {is_listed}"), || {
        task(exporter, id).filter(|task| task["listed"] == is_listed)
    })
}

pub fn discovered(samples: &Samples, config: &str) -> Option<f64> {
    samples.value("aitask_sd_discovered_tasks", &[("config", config)])
}

/// Returns the number of failed refreshes of a source, for a reason or for all.
pub fn failures(samples: &Samples, config: &str, reason: Option<&str>) -> f64 {
    let mut labels = vec![("config", config)];
    labels.extend(reason.map(|reason| ("reason", reason)));
    let found = samples.find("aitask_sd_refresh_failures_total", &labels);
    assert!(!found.is_empty(), "no failures of {config} for {reason:?}, not even zeros");
    found.iter().map(|(_, count)| count).sum()
}

pub fn rejected(samples: &Samples, config: &str, reason: &str) -> Option<f64> {
    samples.value("aitask_sd_rejected_tasks", &[("config", config), ("reason", reason)])
}

pub fn finished(samples: &Samples, provider: &str) -> f64 {
    let labels = [("provider", provider), ("state", "succeeded")];
    samples.value("aitask_finished_total", &labels).unwrap()
}

pub fn lost(samples: &Samples, provider: &str) -> f64 {
    samples.value("aitask_lost_tasks_total", &[("provider", provider)]).unwrap()
}

pub fn unlisted(samples: &Samples, provider: &str) -> f64 {
    samples.value("aitask_unlisted_tasks", &[("provider", provider)]).unwrap()
}
