//! The dashboards and rules: made from one source, by the rules of Grafana's linter, true to the
//! table of families, and full of what a real Prometheus has scraped.

mod ask;
pub mod board;
mod layout;
mod lint;
mod looks;
mod names;
pub mod promql;
mod quiet;
mod rendered;
pub mod rules;
mod shown;
pub mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::root;
use crate::harness::tools::said;

/// Compares what was made with the file, or writes it there if that is wanted.
fn assert_fresh(file: &Path, made: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(file, made).unwrap();
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    assert!(made == written, "{} is stale: make generate", file.display());
}

#[test]
fn what_the_mixin_makes_is_fresh() {
    let jsonnet = |args: &[&str], file: &str| {
        let mut make = Command::new("jsonnet");
        said(make.args(args).arg(root("dashboards/mixin").join(file)))
    };
    assert_fresh(&root(rules::FILE), &jsonnet(&["--string"], "rules.jsonnet"));
    let boards = jsonnet(&[], "dashboards.jsonnet");
    let boards: BTreeMap<String, Value> = serde_json::from_str(&boards).unwrap();
    assert_eq!(boards.len(), board::NAMES.len());
    for (name, board) in boards {
        let made = serde_json::to_string_pretty(&board).unwrap() + "\n";
        assert_fresh(&root("dashboards").join(name), &made);
    }
}

#[test]
fn the_mixin_is_formatted() {
    for file in fs::read_dir(root("dashboards/mixin")).unwrap() {
        said(Command::new("jsonnetfmt").arg("--test").arg(file.unwrap().path()));
    }
}

/// A change in the configuration of the mixin changes alerts, texts and panels.
#[test]
fn a_limit_is_set_in_one_place() {
    let mixin = root("dashboards/mixin/mixin.libsonnet");
    let changed = format!(
        "local mixin = (import '{}') + {{ _config+:: {{ runbooks: 'https://wiki.example/ai', \
         grafana: 'https://grafana.example', thresholds+: {{ queueAgeSeconds: 7200 }} }} }}; \
         {{ alerts: mixin.prometheusAlerts, boards: mixin.grafanaDashboards }}",
        mixin.display()
    );
    let made = said(Command::new("jsonnet").args(["--exec", &changed]));
    let made: Value = serde_json::from_str(&made).unwrap();
    let alerts = made["alerts"]["groups"][0]["rules"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["alert"] == "AITaskQueueAgeHigh").unwrap();
    assert!(alert["expr"].as_str().unwrap().contains("> 7200"));
    let annotations = &alert["annotations"];
    assert!(annotations["description"].as_str().unwrap().contains("more than 2h is too long"));
    assert_eq!(annotations["runbook_url"], "https://wiki.example/ai#aitaskqueueagehigh");
    let url = annotations["dashboard_url"].as_str().unwrap();
    assert!(url.starts_with("https://grafana.example/d/aitask-fleet?var-provider="), "{url}");
    let limits = |name: &str| made["boards"][name].to_string().matches("7200").count();
    assert_eq!((limits("fleet.json"), limits("task.json")), (2, 1));
    let hours = &made["boards"]["fleet.json"]["panels"];
    let hours = hours.as_array().unwrap().iter().filter(|panel| {
        let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
        panel["fieldConfig"]["defaults"]["unit"] == "h" && steps[1]["value"] == 2
    });
    assert_eq!(hours.count(), 1, "the limit of the graph is in hours");
    assert!(!made.to_string().contains("3600"));
}

#[test]
fn promtool_takes_the_rules_and_their_cases() {
    let mut check = Command::new("promtool");
    said(check.args(["check", "rules", "--lint=all", "--lint-fatal"]).arg(root(rules::FILE)));
    let cases = root("dashboards/alerts/tests");
    for alert in rules::all().iter().filter(|rule| !rule.is_record) {
        let text = fs::read_to_string(cases.join(format!("{}.yml", alert.name))).unwrap();
        let file: Value = serde_yaml::from_str(&text).unwrap();
        let tests = file["tests"].as_array().unwrap();
        let moments = tests.iter().filter_map(|test| test["alert_rule_test"].as_array()).flatten();
        let fires = moments.filter(|moment| moment["exp_alerts"].is_array()).count();
        let silent = |test: &&Value| test["name"].as_str().unwrap().contains("silent");
        let silent = tests.iter().filter(silent).count();
        assert!(fires > 0 && silent > 0, "{}: {fires} fire, {silent} are silent", alert.name);
    }
    let files = fs::read_dir(cases).unwrap().map(|file| file.unwrap().path());
    said(Command::new("promtool").args(["test", "rules"]).args(files));
}

#[test]
fn grafana_knows_the_types_of_the_dashboards() {
    let files = board::NAMES.map(|name| root(&format!("dashboards/{name}.json")));
    let said = said(Command::new("node").arg(root("tests/grafana/types.mjs")).args(files));
    assert_eq!(said, "3 dashboards are valid\n");
}

/// The tests of what reads panels for us.
#[test]
fn what_reads_panels_is_right() {
    said(Command::new("node").arg("--test").current_dir(root("tests/grafana")));
}
