//! The demo shows everything there is to see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::harness::samples::Samples;
use crate::harness::{Dir, PROGRAM, Process, eventually, http, tools, until};

const STATES: [&str; 9] = [
    "queued",
    "running",
    "waiting",
    "succeeded",
    "failed",
    "cancelled",
    "not_found",
    "unknown",
    "unpolled",
];

#[test]
fn every_state_is_there() {
    let mut command = Command::new(PROGRAM);
    command.args(["demo", "--web.listen-address=127.0.0.1:0"]);
    let mut demo = Process::start(Dir::new(), &mut command);
    let address = demo.addresses(1)[0];
    let reply = eventually("every state", || {
        let reply = http::get(address, "/metrics");
        let samples = Samples::parse(reply.text());
        let shown = |state: &&str| samples.find("aitask_status", &[("state", state)]).len() as f64;
        let counted = |state: &&str| -> f64 {
            samples.find("aitask_tasks", &[("state", state)]).iter().map(|(_, count)| count).sum()
        };
        for state in &STATES {
            assert_eq!(counted(state), shown(state), "{state}");
        }
        STATES.iter().all(|state| shown(state) > 0.0).then_some(reply)
    });
    tools::assert_promtool_is_content(&reply.body);
    let samples = Samples::parse(reply.text());
    let labelled = [("task_id", "stuck-for-two-hours"), ("customer", "acme")];
    assert_eq!(samples.value("aitask_stuck", &labelled), Some(1.0));
    assert!(
        demo.log().contains(&format!("curl http://{address}/metrics")),
        "it says where to look"
    );
    tasks_come_and_go(address);
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
}

/// The source of the demo lists jobs, whose ends are seen after they have left.
fn tasks_come_and_go(address: SocketAddr) {
    let jobs = || -> BTreeMap<String, Value> {
        let mut tasks = http::get(address, "/api/v1/tasks").json()["tasks"].take();
        let tasks = tasks.as_array_mut().unwrap().iter_mut().map(Value::take);
        let id = |task: &Value| task["task_id"].as_str().unwrap().to_owned();
        let is_job = |task: &Value| id(task).starts_with("job-");
        tasks.filter(is_job).map(|task| (id(&task), task)).collect()
    };
    let first = eventually("some jobs", || {
        let jobs = jobs();
        let is_listed = |task: &Value| task["listed"] == true && task["sources"][0] == "http/app";
        (jobs.len() > 3 && jobs.values().any(is_listed)).then_some(jobs)
    });
    let count = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let samples = Samples::parse(http::get(address, "/metrics").text());
        samples.find(name, labels).iter().map(|(_, value)| value).sum()
    };
    until("one has come, and one has left after its end", || {
        let now = jobs();
        let has_come = now.keys().any(|id| !first.contains_key(id));
        let has_left = now.values().any(|task| task["listed"] == false && task["final"] == true);
        has_come && has_left && count("aitask_finished_total", &[("provider", "suno")]) > 2.0
    });
    assert_eq!(count("aitask_lost_tasks_total", &[]), 0.0);
    assert_eq!(count("aitask_sd_rejected_tasks", &[]), 0.0);
    assert!(count("aitask_sd_discovered_tasks", &[("config", "app")]) > 1.0);
    let page = http::get(address, "/service-discovery");
    assert!(page.text().contains("app") && !page.text().contains("class=\"bad\""));
}
