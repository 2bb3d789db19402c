//! What the panels show while all is well: zeros, and not "No data", which would look as if nobody
//! watched.

use super::ask::{ask, variables};
use super::board::{Dashboard, targets, title};
use crate::harness::tools::Prometheus;
use crate::harness::{Exporter, Gateway, now, until};

/// What nothing can be said of while no task has ended, and where the panel says so.
const NOTHING_TO_SAY: [&str; 2] = ["Duration of succeeded tasks", "Share of failed tasks"];

#[test]
fn a_quiet_fleet_shows_zeros() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "");
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 500ms }}\nproviders: [{provider}]\ntasks: [running-a]\n"
    ));
    let prometheus = Prometheus::scraping(exporter.address);
    until("some scrapes", || {
        prometheus.value("count_over_time(up[1m])").is_some_and(|count| count > 3.0)
    });
    let now = now();
    let variables = variables("5s", "10s", ("mj", "running-a"), "fleet");
    for board in Dashboard::all().into_iter().filter(|board| board.name != "task") {
        for panel in board.panels() {
            for target in targets(panel) {
                let answer = ask(&prometheus, target, &variables, now, (4.0, 1.0));
                let found = answer["result"].as_array().unwrap();
                let expected = !NOTHING_TO_SAY.contains(&title(panel));
                // A series by reason beside the one of all polls.
                let is_second = target["refId"] != "A" && panel["type"] == "timeseries";
                assert!(!found.is_empty() || !expected || is_second, "{target}");
            }
        }
    }
}
