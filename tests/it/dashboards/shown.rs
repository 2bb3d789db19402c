//! The values on the panels: every query finds something, and Grafana's own data code turns it into
//! the text that a person should read.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use super::ask::{Variables, ask, is_over_time, label_values_of, variables};
use super::board::{self, Dashboard, fill, targets, text, title};
use super::lint::label_values;
use super::looks::colors;
use super::rules;
use super::stage::{STUCK, Stage};
use crate::harness::tools::{self, Prometheus};
use crate::harness::{now, root, until};

/// A range that the live part of the stage fills, and one for its history.
const LIVE_SECONDS: f64 = 30.0;
const HISTORY_SECONDS: f64 = 3.0 * 3_600.0;

/// Tasks to look at on the dashboard of one task: an open one, one that has failed, one with
/// progress and one whose polls fail.
const TASKS: [(&str, &str); 4] =
    [("mj", "stuck-a1"), ("mj", "fail-a1"), ("proxy", "running-a"), ("mj", "code-1203-a")];

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

#[test]
fn every_query_finds_something_and_is_read_as_it_should() {
    let stage = Stage::shared();
    every_alert_fires(&stage);
    every_recorded_series_is_there(&stage);
    let boards = Dashboard::all();
    for board in &boards {
        every_variable_has_values(&stage, board);
        every_query_finds_something(&stage, board);
    }
    let shown = read(&stage.prometheus, &boards);
    grafana_has_no_objection(&shown);
    columns_are_the_expected(&shown);
    the_fleet_is_counted_once(&shown);
    worst_tasks_have_full_rows(&shown);
    providers_have_full_rows(&shown);
    states_are_told_in_words(&shown);
}

/// Asserts that every alert fires, since every problem is on the stage.
fn every_alert_fires(stage: &Stage) {
    let all: BTreeSet<_> =
        rules::all().into_iter().filter(|rule| !rule.is_record).map(|rule| rule.name).collect();
    let firing = || -> BTreeSet<String> {
        let found = stage.prometheus.query("ALERTS{alertstate='firing'}");
        found.into_iter().map(|(labels, _)| labels["alertname"].clone()).collect()
    };
    // The last is that of polls which start late, by more than half a minute: two patiences.
    until("most alerts fire", || all.difference(&firing()).count() <= 1);
    let silent: Vec<_> = all.difference(&firing()).cloned().collect();
    until(&format!("{silent:?} fires"), || firing() == all);
    // One alert a provider, whatever the number of exporters and servers.
    let stuck = stage.prometheus.query("ALERTS{alertname='AITaskStuck'}");
    let providers: Vec<_> = stuck.iter().map(|(labels, _)| &*labels["provider"]).collect();
    assert_eq!(providers, ["mj", "proxy"], "{stuck:?}");
    // Annotations select by the variables of the dashboards.
    for board in Dashboard::all() {
        for annotation in board.annotations() {
            let expr = fill(text(&annotation["expr"]), &variables("5s", "30s", TASKS[0], ""));
            let found = stage.prometheus.query(&expr);
            let found: BTreeSet<_> =
                found.into_iter().map(|(labels, _)| labels["alertname"].clone()).collect();
            assert_eq!(found, all, "{}: {expr}", board.name);
        }
    }
}

fn every_recorded_series_is_there(stage: &Stage) {
    for rule in rules::all().into_iter().filter(|rule| rule.is_record) {
        let found = stage.prometheus.query(&rule.name);
        assert!(!found.is_empty(), "{}", rule.name);
        for (labels, _) in found {
            assert!(labels.contains_key("job") && labels.contains_key("instance"), "{}", rule.name);
        }
    }
}

fn every_variable_has_values(stage: &Stage, board: &Dashboard) {
    let variables = variables("5s", "30s", TASKS[0], board.name);
    for variable in board.variables() {
        let Some((selector, label)) = label_values(variable) else { continue };
        let values = label_values_of(&stage.prometheus, &fill(selector, &variables), label);
        assert!(!values.is_empty(), "{}: {selector}", board.name);
    }
}

fn every_query_finds_something(stage: &Stage, board: &Dashboard) {
    let now = now();
    for query in board.targets() {
        let found = |rate_interval, seconds: f64| {
            let range = format!("{seconds}s");
            TASKS.into_iter().any(|task| {
                let variables = variables(rate_interval, &range, task, board.name);
                let time = (seconds, seconds / 60.0);
                let answer = ask(&stage.prometheus, query.target, &variables, now, time);
                !answer["result"].as_array().unwrap().is_empty()
            })
        };
        assert!(found("5s", LIVE_SECONDS), "{} finds nothing now: {}", query.place, query.expr);
        if is_over_time(query.target) {
            let says = format!("{} finds nothing in the past: {}", query.place, query.expr);
            assert!(found("4m", HISTORY_SECONDS), "{says}");
        }
    }
}

/// Returns Grafana's rendering of the results, panel by panel; the dashboard of one task once for
/// each of the tasks.
pub fn read(prometheus: &Prometheus, boards: &[Dashboard]) -> Vec<Value> {
    let now = now();
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
        "variables": { "datasource": "prometheus", "job": ".+", "instance": ".+", "provider": ".+", "state": ".+" },
    });
    let mut node = Command::new("node");
    node.arg(root("tests/grafana/read.mjs"));
    let output = tools::pipe(&mut node, input.to_string().as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(read["panels"].take()).unwrap()
}

fn place(panel: &Value) -> String {
    format!("{}: {}", text(&panel["dashboard"]), title(panel))
}

fn grafana_has_no_objection(shown: &[Value]) {
    // The panels of the dashboard of one task stand for several tasks, of which no one has all.
    let mut same: BTreeMap<(usize, &str), Vec<&Value>> = BTreeMap::new();
    for panel in shown {
        assert_eq!(panel["error"], Value::Null, "{}", place(panel));
        assert_eq!(panel["unknown_units"], json!([]), "{}", place(panel));
        let board = board::NAMES.iter().position(|name| panel["dashboard"] == *name);
        same.entry((board.unwrap_or(1), title(panel))).or_default().push(panel);
    }
    for ((_, title), panels) in same {
        assert!(panels.iter().any(|panel| !rows(panel).is_empty()), "nothing to see in {title}");
        for complaint in ["unused_organize", "unmatched_overrides"] {
            let of = |panel: &&Value| -> BTreeSet<String> {
                let complaints = panel[complaint].as_array().unwrap().iter().map(Value::to_string);
                // Colours are for all states, and not every one is there at every moment.
                complaints.filter(|matcher| !matcher.contains("(^| )")).collect()
            };
            let of_all = panels.iter().map(of).reduce(|all, of| &all & &of).unwrap();
            assert_eq!(of_all, BTreeSet::new(), "{title}: {complaint}");
        }
    }
}

fn fields(panel: &Value) -> impl Iterator<Item = &Value> {
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

/// Returns the text of a stat panel.
pub fn stat<'s>(shown: &'s [Value], dashboard: &str, name: &str) -> &'s str {
    let panel = find(shown, dashboard, name);
    match &panel["stat"].as_array().unwrap()[..] {
        [stat] => text(&stat["text"]),
        stats => panic!("{}: {stats:?}", place(panel)),
    }
}

fn columns_are_the_expected(shown: &[Value]) {
    for (dashboard, name, columns) in [
        (
            "fleet",
            "Providers",
            &[
                "Provider",
                "Stuck",
                "Oldest",
                "Oldest is",
                "Open",
                "Failed",
                "Failed polls",
                "Answers",
            ][..],
        ),
        (
            "fleet",
            "The worst open tasks",
            &[
                "Task",
                "Provider",
                "State",
                "Status",
                "Stuck",
                "Age",
                "In this state for",
                "Last error",
                "Last answer",
            ],
        ),
        (
            "exporter",
            "Exporters",
            &[
                "Instance",
                "Job",
                "Scraped",
                "Version",
                "Started",
                "Configuration",
                "Applied",
                "Hash",
                "Samples",
                "Storage",
                "Damaged",
            ],
        ),
        (
            "stuck-a1",
            "Times",
            &["Enqueued", "Source", "In this state since", "Last poll", "Last answer", "Duration"],
        ),
        ("stuck-a1", "State and status", &["Time", "State", "Status"]),
        ("code-1203-a", "Poll results", &["Time", "Error"]),
    ] {
        let panel = find(shown, dashboard, name);
        assert_eq!(panel["frames"].as_array().unwrap().len(), 1, "{}", place(panel));
        let found: Vec<_> = fields(panel).map(|field| text(&field["name"])).collect();
        assert_eq!(found, columns, "{}", place(panel));
    }
    let facts = rows(find(shown, "stuck-a1", "Facts"));
    assert_eq!(facts.len(), 1);
    assert_eq!((facts[0]["Task"], facts[0]["customer"]), ("stuck-a1", "acme"));
}

/// Two exporters are added, and two servers that show the same are not.
fn the_fleet_is_counted_once(shown: &[Value]) {
    assert_eq!(stat(shown, "fleet", "Stuck tasks"), STUCK.to_string());
    assert_eq!(stat(shown, "fleet", "Oldest open task"), "2.0 hours");
    assert_eq!(stat(shown, "fleet", "Providers down"), "3", "dead, locked, busy");
    assert_eq!(stat(shown, "fleet", "Exporters down"), "1");
    assert_eq!(stat(shown, "exporter", "Exporters down"), "1");
    assert_eq!(stat(shown, "exporter", "Rejected configurations"), "1");
    assert_eq!(stat(shown, "exporter", "Tasks not polled"), "1");
    assert_eq!(stat(shown, "exporter", "Storage down"), "1");
    let instances = rows(find(shown, "exporter", "Exporters"));
    assert_eq!(instances.len(), 3, "the one that is down too: {instances:?}");
    let configurations: BTreeSet<_> = instances.iter().map(|row| row["Configuration"]).collect();
    assert_eq!(configurations, BTreeSet::from(["in force", "rejected", "–"]));
    let storage: BTreeSet<_> =
        instances.iter().map(|row| (row["Storage"], row["Damaged"])).collect();
    let expected = [("written", "0 B"), ("refused", "7 B"), ("–", "–")];
    assert_eq!(storage, BTreeSet::from(expected));
    let scraped: Vec<_> = instances.iter().map(|row| row["Scraped"]).collect();
    assert_eq!(scraped.iter().filter(|text| **text == "no").count(), 1, "{scraped:?}");
}

fn worst_tasks_have_full_rows(shown: &[Value]) {
    let rows = rows(find(shown, "fleet", "The worst open tasks"));
    let tasks: BTreeSet<_> = rows.iter().map(|row| (row["Provider"], row["Task"])).collect();
    assert_eq!(tasks.len(), rows.len(), "a task has one row: {rows:#?}");
    assert!(rows.len() > 10 && rows.len() <= 25, "{}", rows.len());
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row {
            assert!(!cell.is_empty(), "{column} of {row:?}");
        }
        let is_stuck = row["Task"].starts_with("stuck");
        assert_eq!(is_stuck, index < STUCK, "the stuck ones come first: {rows:#?}");
        assert_eq!(row["Stuck"], if is_stuck { "yes" } else { "no" });
    }
    let row = |task: &str| rows.iter().find(|row| row["Task"] == task).unwrap();
    assert_eq!((row("stuck-a1")["State"], row("stuck-a1")["Age"]), ("queued", "2.0 hours"));
    assert_eq!(row("stuck-a1")["Last error"], "none");
    assert_eq!(row("code-1203-a")["Last error"], "api 1203");
    assert_eq!(row("code-1203-a")["Last answer"], "never");
    assert_eq!((row("weird-a")["State"], row("weird-a")["Status"]), ("unknown", "levitating"));
    let panel = find(shown, "fleet", "The worst open tasks");
    let task = fields(panel).find(|field| field["name"] == "Task").unwrap();
    let link = text(&task["links"][0][0]["href"]);
    for part in ["/d/aitask-task?", "var-provider=", "var-task_id=stuck-"] {
        assert!(link.contains(part), "{link}");
    }
}

fn providers_have_full_rows(shown: &[Value]) {
    let rows = rows(find(shown, "fleet", "Providers"));
    let names: Vec<_> = rows.iter().map(|row| row["Provider"]).collect();
    let all: BTreeSet<_> = names.iter().copied().collect();
    assert_eq!(
        all,
        BTreeSet::from([
            "busy", "dead", "flux", "late", "locked", "lost", "mj", "proxy", "stopped"
        ])
    );
    assert_eq!(names.len(), all.len());
    assert_eq!(names[0], "mj", "the one with most stuck tasks comes first");
    let row = |provider: &str| rows.iter().find(|row| row["Provider"] == provider).unwrap();
    assert_eq!((row("mj")["Stuck"], row("proxy")["Stuck"], row("flux")["Stuck"]), ("3", "2", "0"));
    assert_eq!((row("mj")["Oldest"], row("mj")["Oldest is"]), ("2.0 hours", "queued"));
    assert_eq!((row("dead")["Answers"], row("dead")["Failed polls"]), ("none", "100%"));
    assert_eq!(row("flux")["Answers"], "usable");
    for row in &rows {
        assert!(row.values().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

fn states_are_told_in_words(shown: &[Value]) {
    let of = |task| {
        [stat(shown, task, "State"), stat(shown, task, "Status"), stat(shown, task, "Stuck")]
    };
    assert_eq!(of("stuck-a1"), ["queued", "queued", "yes"]);
    assert_eq!(of("fail-a1"), ["failed", "failed", "ended"]);
    assert_eq!(of("code-1203-a")[0], "unpolled");
    assert_eq!(stat(shown, "fail-a1", "Queue age"), "ended");
    assert_eq!(stat(shown, "fail-a1", "Last error").trim_end(), "task");
    assert_eq!(stat(shown, "code-1203-a", "Last error"), "api 1203");
    assert_eq!(stat(shown, "stuck-a1", "Last error"), "none");
    assert_eq!(stat(shown, "code-1203-a", "Last answer"), "never");
    let timeline = find(shown, "stuck-a1", "State and status");
    let state = fields(timeline).find(|field| field["name"] == "State").unwrap();
    assert!(state["texts"].as_array().unwrap().iter().all(|text| text == "queued"), "{state}");
    let queued = colors(&Dashboard::all()[0])["queued"].first().unwrap().clone();
    assert!(state["colors"].as_array().unwrap().iter().all(|color| *color == queued), "{state}");
}
