//! Panels as Grafana renders them from the answers of a Prometheus.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::ask::{Variables, ask, variables};
use super::board::{Dashboard, targets, text, title};
use super::stage::ODD;
use crate::harness::root;
use crate::harness::tools::{self, Prometheus};

/// A range that the live part of the stage fills, and one for its history.
pub const LIVE_SECONDS: f64 = 30.0;
pub const HISTORY_SECONDS: f64 = 3.0 * 3_600.0;

/// Tasks to look at on the dashboard of one task: an open one, one that has failed, one with
/// progress, one whose polls fail and one with quotes in its ID.
pub const TASKS: [(&str, &str); 5] = [
    ("mj", "stuck-a1"),
    ("mj", "fail-a1"),
    ("proxy", "running-a"),
    ("mj", "code-1203-a"),
    ("proxy", ODD),
];

/// Returns the results of a panel's queries, by their letters.
fn answers(
    prometheus: &Prometheus,
    panel: &Value,
    variables: &Variables<'_>,
    now: f64,
    seconds: f64,
) -> Value {
    let answer = |target: &Value| {
        let answer = ask(prometheus, target, variables, now, (seconds, seconds / 60.0));
        (text(&target["refId"]).to_owned(), answer)
    };
    Value::Object(targets(panel).map(answer).collect())
}

/// Returns Grafana's rendering of the results, panel by panel; the dashboard of one task once for
/// each of the tasks.
pub fn read(prometheus: &Prometheus, boards: &[Dashboard], now: f64) -> Vec<Value> {
    let range = format!("{LIVE_SECONDS}s");
    let mut panels = Vec::new();
    for board in boards {
        let tasks = if board.name == "task" { &TASKS[..] } else { &TASKS[..1] };
        for task in tasks {
            let variables = variables("5s", &range, *task, board.name);
            for panel in board.panels() {
                panels.push(json!({
                    "dashboard": if board.name == "task" { task.1 } else { board.name },
                    "panel": panel,
                    "answers": answers(prometheus, panel, &variables, now, LIVE_SECONDS),
                }));
            }
        }
    }
    let input = json!({
        "now": now, "from": now - LIVE_SECONDS, "to": now, "panels": panels,
        "variables": { "datasource": "prometheus", "job": ".+", "instance": ".+", "provider": ".+" },
    });
    let mut node = Command::new("node");
    node.arg(root("tests/grafana/read.mjs"));
    let output = tools::pipe(&mut node, input.to_string().as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(read["panels"].take()).unwrap()
}

pub fn place(panel: &Value) -> String {
    format!("{}: {}", text(&panel["dashboard"]), title(panel))
}

pub fn fields(panel: &Value) -> impl Iterator<Item = &Value> {
    let frames = panel["frames"].as_array().unwrap().iter();
    frames.flat_map(|frame| frame["fields"].as_array().unwrap())
}

pub fn find<'s>(shown: &'s [Value], dashboard: &str, name: &str) -> &'s Value {
    let found = shown.iter().find(|panel| panel["dashboard"] == dashboard && title(panel) == name);
    found.unwrap_or_else(|| panic!("{dashboard}: no {name}"))
}

/// The texts of a table: a row of cells by the titles of their columns.
pub fn rows(panel: &Value) -> Vec<BTreeMap<&str, &str>> {
    let fields: Vec<_> = fields(panel).collect();
    let count = fields.first().map_or(0, |field| field["texts"].as_array().unwrap().len());
    let row = |index| {
        fields.iter().map(|field| (text(&field["name"]), text(&field["texts"][index]))).collect()
    };
    (0..count).map(row).collect()
}

/// Returns the texts of a stat panel.
pub fn stat(shown: &[Value], dashboard: &str, name: &str) -> String {
    let panel = find(shown, dashboard, name);
    let texts = panel["stat"].as_array().unwrap().iter().map(|stat| text(&stat["text"]));
    texts.collect::<Vec<_>>().join(", ")
}
