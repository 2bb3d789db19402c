//! Other people's programs: Prometheus, promtool, Alertmanager and the parsers of `prometheus_client`. One that
//! is missing fails the test that needs it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::http::{self, encode};
use super::samples::{Labels, Samples};
use super::{Dir, Process, eventually, root, until};

/// Starts a program, or panics with a hint on how to install it.
pub fn present<T>(command: &mut Command, start: fn(&mut Command) -> io::Result<T>) -> T {
    start(command).unwrap_or_else(|error| {
        let program = command.get_program().display();
        panic!("cannot run {program} ({error}): run `make tools`")
    })
}

/// Runs a command on an input to its end.
pub fn pipe(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = present(command, Command::spawn);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

/// Runs a command that must succeed; returns its output.
pub fn said(command: &mut Command) -> String {
    let output = present(command, Command::output);
    let (said, errors) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    let errors = String::from_utf8_lossy(&errors);
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said
}

/// Asserts that `promtool check metrics` reports nothing about the text format.
pub fn assert_promtool_is_content(exposition: &[u8]) {
    let output = pipe(Command::new("promtool").args(["check", "metrics"]), exposition);
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

const PRINT_SAMPLES: &str = "
import json, sys
from PARSER import text_string_to_metric_families as parse
for family in parse(sys.stdin.buffer.read().decode()):
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, repr(sample.value)]))
";

/// The samples of an OpenMetrics exposition, as the strict parser reads them.
pub fn parse_openmetrics(exposition: &[u8]) -> Samples {
    parse("prometheus_client.openmetrics.parser", exposition)
}

/// The samples of the text form, as the Python client reads them.
pub fn parse_text(exposition: &[u8]) -> Samples {
    parse("prometheus_client.parser", exposition)
}

/// Returns the path of a program that `make tools` installs into `target`.
pub fn test_tool(name: &str) -> PathBuf {
    root("target/test-tools/bin").join(name)
}

fn parse(parser: &str, exposition: &[u8]) -> Samples {
    let script = PRINT_SAMPLES.replace("PARSER", parser);
    let output = pipe(Command::new(test_tool("python")).args(["-c", &script]), exposition);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut samples = Samples::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (name, labels, value): (_, _, String) = serde_json::from_str(line).unwrap();
        samples.add(name, labels, value.parse().unwrap());
    }
    samples
}

/// A running Prometheus.
pub struct Prometheus {
    _process: Process,
    pub address: SocketAddr,
}

impl Prometheus {
    /// One that scrapes `target` every second, as the job `aitask_exporter`.
    pub fn scraping(target: SocketAddr) -> Self {
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
             scrape_configs:\n\
             - {{ job_name: aitask_exporter, static_configs: [{{ targets: ['{target}'] }}] }}\n"
        );
        Self::start(Dir::new(), &config)
    }

    /// In a directory that may hold the folder `data`, blocks of the past.
    pub fn start(dir: Dir, config: &str) -> Self {
        let mut command = Command::new("prometheus");
        command.arg("--web.listen-address=127.0.0.1:0");
        command.arg("--config.file").arg(dir.write("prometheus.yml", config));
        command.arg("--storage.tsdb.path").arg(dir.path("data"));
        let mut process = Process::start(dir, &mut command);
        let address = process.addresses(1)[0];
        let prometheus = Self { _process: process, address };
        until("Prometheus is ready", || http::get(address, "/-/ready").status == 200);
        prometheus
    }

    /// Returns the result of an instant query.
    pub fn query(&self, expression: &str) -> Vec<(Labels, f64)> {
        let found = self.ask(&format!("/api/v1/query?query={}", encode(expression)));
        let samples = found.into_iter().map(|sample| (labels(&sample), value(&sample["value"]).1));
        samples.collect()
    }

    /// The value of the only series that an instant query finds.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let found = self.query(expression);
        assert!(found.len() < 2, "more than one: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    /// The samples of the only series that a selector finds, as they were scraped in the last hour.
    pub fn scraped(&self, selector: &str) -> Vec<f64> {
        let query = encode(&format!("{selector}[1h]"));
        let found = self.ask(&format!("/api/v1/query?query={query}"));
        assert!(found.len() < 2, "more than one: {found:?}");
        let samples = found.iter().flat_map(|series| series["values"].as_array().unwrap());
        samples.map(|sample| value(sample).1).collect()
    }

    /// Returns the result of a range query: labels, and times with values.
    pub fn query_range(
        &self,
        expression: &str,
        start: f64,
        end: f64,
        step: f64,
    ) -> Vec<(Labels, Vec<(f64, f64)>)> {
        let query = encode(expression);
        let target =
            format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
        let series = self.ask(&target).into_iter().map(|series| {
            let values = series["values"].as_array().unwrap().iter().map(value).collect();
            (labels(&series), values)
        });
        series.collect()
    }

    fn ask(&self, target: &str) -> Vec<Value> {
        self.data(target)["result"].as_array().unwrap().clone()
    }

    /// Returns the `data` of the API's response to `target`, which begins with `/api/v1/`.
    pub fn data(&self, target: &str) -> Value {
        let reply = http::get(self.address, target);
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.json()["data"].take()
    }
}

/// A running Alertmanager.
pub struct Alertmanager {
    _process: Process,
    pub address: SocketAddr,
}

impl Alertmanager {
    /// One that notifies a webhook of every alert within a second.
    pub fn telling(webhook: SocketAddr) -> Self {
        Self::start(&format!(
            "route: {{ receiver: hook, group_by: [alertname, provider], group_wait: 0s, \
             group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: 'http://{webhook}/' }}] }}]\n"
        ))
    }

    pub fn start(config: &str) -> Self {
        let dir = Dir::new();
        let mut command = Command::new("prometheus-alertmanager");
        command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
        command.arg("--config.file").arg(dir.write("alertmanager.yml", config));
        command.arg("--storage.path").arg(dir.path("data"));
        let mut process = Process::start(dir, &mut command);
        let address = process.addresses(1)[0];
        until("Alertmanager is ready", || http::get(address, "/-/ready").status == 200);
        Self { _process: process, address }
    }

    /// Raises alerts as Prometheus does.
    pub fn raise(&self, alerts: &Value) {
        let headers = [("Content-Type", "application/json")];
        let reply =
            http::send(self.address, "POST", "/api/v2/alerts", &headers, &alerts.to_string());
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Returns the alerts with their status.
    pub fn alerts(&self) -> Vec<Value> {
        http::get(self.address, "/api/v2/alerts").json().as_array().unwrap().clone()
    }
}

/// A webhook that stores its notifications.
pub struct Webhook {
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    /// One that listens for as long as the tests run.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = http::receive(stream.unwrap());
                let message: Value = serde_json::from_slice(&body).unwrap();
                keep.lock().push(message);
            }
        });
        Self { address, told }
    }

    /// Waits for an alert of this name in this status.
    pub fn await_alert(&self, name: &str, status: &str) -> Value {
        self.await_alert_that(&format!("{name} is {status}"), |alert| {
            alert["labels"]["alertname"] == name && alert["status"] == status
        })
    }

    /// Waits for an alert for which `is` holds.
    pub fn await_alert_that(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let told = self.told.lock();
            let mut alerts = told.iter().flat_map(|message| message["alerts"].as_array().unwrap());
            alerts.find(|alert| is(alert)).cloned()
        })
    }

    /// Waits for a message, of any kind of receiver, for which `is` holds.
    pub fn await_message(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.told.lock().iter().find(|message| is(message)).cloned())
    }
}

fn labels(series: &Value) -> Labels {
    serde_json::from_value(series["metric"].clone()).unwrap()
}

fn value(pair: &Value) -> (f64, f64) {
    (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap())
}
