//! Every metric and label that a dashboard, a rule or a query in a document names is in the table
//! of families.

use std::collections::BTreeSet;
use std::fs;

use aitask_exporter::family::{self, Family, MetricKind};
use serde_json::Value;

use super::board::{ANY, Dashboard, fill, text};
use super::lint::label_values;
use super::promql::{self, Named, Selector};
use super::rules::{self, Rule};
use crate::documents::documents;
use crate::harness::root;

/// Metrics that Prometheus itself creates for targets and alerts, and their labels.
const OF_PROMETHEUS: [(&str, &[&str]); 4] = [
    ("up", &[]),
    ("scrape_duration_seconds", &[]),
    ("scrape_samples_scraped", &[]),
    ("ALERTS", &["alertname", "alertstate", "severity", "provider"]),
];

/// Labels of every target.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

/// The label of the tasks' own that the texts of alerts and the dashboards look for.
const OWNER: &str = "customer";

/// The labels of a metric, if there is such a metric.
fn labels(metric: &str, rules: &[Rule]) -> Option<BTreeSet<String>> {
    let owned = |labels: &[&str]| -> BTreeSet<String> {
        labels.iter().chain(&OF_TARGETS).map(|label| (*label).to_owned()).collect()
    };
    if let Some((_, labels)) = OF_PROMETHEUS.iter().find(|(name, _)| *name == metric) {
        return Some(owned(labels));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.is_record && rule.name == metric) {
        let named = promql::parse(&rule.expr).unwrap();
        return Some(named.labels.into_iter().collect());
    }
    let is = |family: &Family| {
        let suffixes: &[&str] = match family.kind {
            MetricKind::Histogram => &["_bucket", "_sum", "_count"],
            MetricKind::Counter | MetricKind::Gauge => &[""],
        };
        suffixes.iter().any(|suffix| metric.strip_suffix(suffix) == Some(family.name))
    };
    let family = family::all().find(is)?;
    let mut labels = owned(family.labels);
    if labels.contains("task_id") {
        labels.insert(OWNER.to_owned());
    }
    labels.extend(metric.ends_with("_bucket").then(|| "le".to_owned()));
    Some(labels)
}

/// Returns the names in `named` that do not exist.
fn unknown(named: &Named, rules: &[Rule]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut known: BTreeSet<_> = named.made.iter().cloned().collect();
    for selector in &named.selectors {
        let Some(labels) = labels(&selector.metric, rules) else {
            unknown.push(format!("the metric {}", selector.metric));
            continue;
        };
        for (label, _, _) in &selector.matchers {
            if !labels.contains(label) {
                unknown.push(format!("the label {label} of {}", selector.metric));
            }
        }
        known.extend(labels);
    }
    let grouped = named.labels.iter().filter(|label| !known.contains(*label));
    unknown.extend(grouped.map(|label| format!("the label {label}")));
    for (by, operand) in &named.groups {
        let of = |selector: &Selector| labels(&selector.metric, rules).unwrap_or_default();
        let mut known: BTreeSet<_> = operand.selectors.iter().flat_map(of).collect();
        known.extend(operand.made.iter().cloned());
        let missing = by.iter().filter(|label| !known.contains(*label));
        unknown.extend(missing.map(|label| format!("the label {label} of an operand")));
    }
    unknown.sort();
    unknown.dedup();
    unknown
}

#[track_caller]
fn assert_known(place: &str, expr: &str, rules: &[Rule]) -> Named {
    let named = promql::parse(expr).unwrap_or_else(|error| panic!("{place}: {error}: {expr}"));
    assert_eq!(unknown(&named, rules), [""; 0], "{place}: {expr}");
    named
}

#[test]
fn of_the_dashboards() {
    let rules = rules::all();
    for board in Dashboard::all() {
        for query in board.targets() {
            let named = assert_known(&query.place, &fill(query.expr, &ANY), &rules);
            let legend = text(&query.target["legendFormat"]);
            for shown in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                let mut known = named.labels.iter().chain(&named.made);
                assert!(known.any(|label| label == shown), "{}: {legend}", query.place);
            }
        }
        for variable in board.variables() {
            let Some((selector, label)) = label_values(variable) else { continue };
            let named = assert_known(board.name, &fill(selector, &ANY), &rules);
            let labels = labels(&named.selectors[0].metric, &rules).unwrap();
            assert!(labels.contains(label), "{}: {selector} has no {label}", board.name);
        }
        for annotation in board.annotations() {
            assert_known(board.name, &fill(text(&annotation["expr"]), &ANY), &rules);
        }
    }
}

#[test]
fn of_the_rules() {
    let rules = rules::all();
    for rule in &rules {
        assert_known(&rule.name, &rule.expr, &rules);
        for query in rule.queries() {
            assert_known(&rule.name, &query, &rules);
        }
    }
    assert!(rules.iter().any(|rule| rule.queries().len() == 2), "none asks in its description");
}

/// Returns the PromQL in a document: blocks of PromQL, rules in blocks of YAML, and texts between
/// backticks.
fn queries(document: &str) -> Vec<String> {
    let mut queries = Vec::new();
    for (number, part) in document.split("```").enumerate() {
        if number % 2 == 0 {
            // The exporter's own lines of an exposition, and names alone, are no queries.
            let code = part.split('`').skip(1).step_by(2);
            let is_query = |code: &&str| code.contains("aitask_") && code.contains(['(', '{']);
            queries.extend(code.filter(is_query).map(str::to_owned));
        } else if let Some(block) = part.strip_prefix("promql\n") {
            let paragraphs = block.split("\n\n").filter(|query| !query.trim().is_empty());
            for paragraph in paragraphs {
                match promql::parse(paragraph) {
                    Ok(_) => queries.push(paragraph.to_owned()),
                    Err(_) => queries.extend(paragraph.lines().map(str::to_owned)),
                }
            }
        } else if let Some(block) = part.strip_prefix("yaml\n") {
            let parsed: Value = serde_yaml::from_str(block).unwrap();
            let groups = parsed["groups"].as_array().into_iter().flatten();
            let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
            queries.extend(rules.map(|rule| text(&rule["expr"]).to_owned()));
        }
    }
    queries.retain(|query| !query.starts_with('#'));
    queries
}

#[test]
fn of_the_queries_in_documents() {
    let rules = rules::all();
    let mut count = 0;
    for (path, document) in documents() {
        for query in queries(&document) {
            assert_known(&path, &query, &rules);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn what_does_not_exist_is_found() {
    let rules = rules::all();
    let found = |expr| unknown(&promql::parse(expr).unwrap(), &rules);
    let nothing = ["the label job", "the label job of an operand", "the metric aitask_task"];
    assert_eq!(found("sum by (job) (aitask_task)"), nothing);
    let ratio = "sum by (reason) (aitask_tasks) / sum by (reason) (aitask_poll_failures_total)";
    assert_eq!(found(ratio), ["the label reason of an operand"]);
    assert_eq!(found("aitask_tasks{stat='x'}"), ["the label stat of aitask_tasks"]);
    assert_eq!(
        found("sum by (reason) (aitask_tasks)"),
        ["the label reason", "the label reason of an operand"]
    );
    assert_eq!(found("aitask_poll_lag_seconds"), ["the metric aitask_poll_lag_seconds"]);
    assert_eq!(found("sum by (le) (aitask_poll_lag_seconds_bucket)"), [""; 0]);
    assert_eq!(found("label_replace(aitask_tasks, 'x', '', '', '') + on (x) up"), [""; 0]);
}

/// Recorded series keep `job` and `instance`: the dashboards' variables select by them.
#[test]
fn recorded_series_are_named_by_their_labels() {
    let rules = rules::all();
    let recorded: Vec<_> = rules.iter().filter(|rule| rule.is_record).collect();
    assert!(recorded.len() > 3);
    for rule in recorded {
        let named = promql::parse(&rule.expr).unwrap();
        let (level, rest) = rule.name.split_once(':').unwrap();
        assert_eq!(level, named.labels.join("_"), "{}", rule.name);
        assert!(level.starts_with("job_instance_"), "{}", rule.name);
        let (metric, operation) = rest.split_once(':').unwrap();
        let counted = named.selectors[0].metric.trim_end_matches("_total");
        assert_eq!(metric, counted, "{}", rule.name);
        assert!(operation.starts_with(named.selectors[0].function.unwrap()), "{}", rule.name);
    }
}

/// Alerts are named, rated and explained as those of the best mixins are.
#[test]
fn every_alert_says_what_a_person_needs() {
    let runbooks = fs::read_to_string(root("docs/runbooks.md")).unwrap();
    let table = fs::read_to_string(root("docs/dashboards.md")).unwrap();
    let sections: Vec<_> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let rules = rules::all();
    let alerts: Vec<_> = rules.iter().filter(|rule| !rule.is_record).collect();
    let names: Vec<_> = alerts.iter().map(|alert| &*alert.name).collect();
    assert_eq!(sections, names, "the sections of the runbooks");
    for alert in alerts {
        let name = &alert.name;
        assert!(name.starts_with("AITask"), "{name}");
        let annotation = |key: &str| text(&alert.json["annotations"][key]);
        let severity = text(&alert.json["labels"]["severity"]);
        assert!(["critical", "warning", "info"].contains(&severity), "{name}");
        let summary = annotation("summary");
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: {summary}");
        assert!(annotation("description").ends_with(['.', '}']), "{name}");
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(annotation("runbook_url"), runbook);
        let dashboard = annotation("dashboard_url").strip_prefix("/d/").unwrap();
        let uid = dashboard.split('?').next().unwrap();
        let boards = Dashboard::all();
        let board = boards.iter().find(|board| board.json["uid"] == uid).expect("its dashboard");
        for variable in dashboard.split("var-").skip(1).map(|v| v.split('=').next().unwrap()) {
            let known = board.variables().iter().any(|known: &Value| known["name"] == variable);
            assert!(known, "{name}: {uid} has no {variable}");
        }
        let waits = alert.json.get("for").map_or("–", text);
        // An event in the last hour needs no `for`.
        assert_eq!(
            waits == "–",
            alert.expr.contains("(increase(") && alert.expr.contains("[1h]"),
            "{name}"
        );
        let link = format!("| [{name}](runbooks.md#{}) | ", name.to_lowercase());
        let row = table.lines().find(|row| row.starts_with(&link));
        let row = row.unwrap_or_else(|| panic!("docs/dashboards.md has no row of {name}"));
        assert!(row.ends_with(&format!(" | {waits} | {severity} |")), "{row}");
    }
}
