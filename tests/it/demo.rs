//! The demo shows everything there is to see.

use std::process::Command;

use crate::harness::samples::Samples;
use crate::harness::{Dir, PROGRAM, Process, eventually, http, tools};

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
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
}
