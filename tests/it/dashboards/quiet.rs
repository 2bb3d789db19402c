//! The panels of a quiet fleet: they show zeros instead of "No data", which would look like missing
//! monitoring.

use super::ask::{ask, variables};
use super::board::{Dashboard, targets, title};
use super::rendered::{fields, find, read, rows, stat};
use crate::harness::tools::Prometheus;
use crate::harness::{Dir, Exporter, Gateway, now, until};

/// Panels that have no value until a task has ended, and say so.
const NOTHING_TO_SAY: [&str; 2] = ["Duration of succeeded tasks", "Share of failed tasks"];

fn config(gateway: &Gateway) -> String {
    let provider = gateway.provider("mj", "");
    format!("global: {{ poll_interval: 500ms }}\nproviders: [{provider}]\ntasks: [running-a]\n")
}

fn scraping(exporter: &Exporter) -> Prometheus {
    let prometheus = Prometheus::scraping(exporter.address);
    until("some scrapes", || {
        prometheus.value("count_over_time(up[1m])").is_some_and(|count| count > 3.0)
    });
    prometheus
}

#[test]
fn a_quiet_fleet_shows_zeros() {
    let gateway = Gateway::start();
    let storage = Dir::new();
    let path = storage.path("state");
    let exporter = Exporter::start_in(
        Dir::with(&config(&gateway)),
        &["--storage.path", path.to_str().unwrap()],
    );
    let prometheus = scraping(&exporter);
    let now = now();
    let variables = variables("5s", "10s", ("mj", "running-a"), "fleet");
    for board in Dashboard::all().into_iter().filter(|board| board.name != "task") {
        for panel in board.panels() {
            for target in targets(panel) {
                let answer = ask(&prometheus, target, &variables, now, (4.0, 1.0));
                let found = answer["result"].as_array().unwrap();
                let expected = !NOTHING_TO_SAY.contains(&title(panel));
                // A column of a row, or a series beside another.
                let is_second = target["refId"] != "A";
                assert!(!found.is_empty() || !expected || is_second, "{target}");
            }
        }
    }
    let shown = read(&prometheus, &Dashboard::all(), now);
    assert_eq!(stat(&shown, "exporter", "Storage down"), "0");
    // Complete, and without an alert or a failed task: a row says so, where Grafana would show an empty table.
    assert_eq!(stat(&shown, "fleet", "Open"), "1");
    let first = |name: &str, column: &str| -> String {
        let rows = rows(find(&shown, "fleet", name));
        assert_eq!(rows.len(), 1, "{name}: {rows:?}");
        rows[0][column].to_owned()
    };
    assert_eq!(first("Firing alerts", "Alert"), "none");
    assert_eq!(first("Failed lately", "Task"), "no failed task");
    assert_eq!(first("The worst open tasks", "Task"), "running-a");
    // A legend says that there is none only if there was none all the time.
    let lines: Vec<_> = fields(find(&shown, "fleet", "Failed polls per minute"))
        .filter(|field| field["type"] == "number")
        .map(|field| field["name"].as_str().unwrap().trim().to_owned())
        .collect();
    assert_eq!(lines, ["no failed poll"]);
}

/// An exporter without a storage path is healthy, and does not look broken.
#[test]
fn without_a_storage_path_nothing_is_said_of_it() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(&gateway));
    let prometheus = scraping(&exporter);
    let shown = read(&prometheus, &Dashboard::all(), now());
    assert_eq!(stat(&shown, "exporter", "Storage down"), "–");
    let exporters = rows(find(&shown, "exporter", "Exporters"));
    assert_eq!((exporters[0]["Storage"], exporters[0]["Damaged"]), ("–", "–"));
}
