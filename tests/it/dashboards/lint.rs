//! The fifteen rules of Grafana's dashboard linter that are about Prometheus, without an exclusion
//! and for every type of panel.

use std::time::Duration;

use serde_json::{Value, json};

use super::board::{ANY, Dashboard, Query, fill, targets, text, title};
use super::promql::{self, Named};

/// The units in use; the test of the panels checks that Grafana knows them.
const UNITS: [&str; 11] = [
    "bool_yes_no",
    "bytes",
    "h",
    "m",
    "none",
    "percent",
    "percentunit",
    "s",
    "short",
    "string",
    "reqps",
];

/// Stands in for `$__rate_interval`: no range that anybody would write.
const RATE_INTERVAL: Duration = Duration::from_secs(7_777);

/// A rule's name, and what it finds wrong.
type Rule = (&'static str, fn(&Dashboard) -> Vec<String>);

const RULES: [Rule; 15] = [
    ("template-datasource", template_datasource),
    ("template-job", |board| scope_variable(board, "job", "Job")),
    ("template-instance", |board| scope_variable(board, "instance", "Instance")),
    ("template-label-promql", template_label_promql),
    ("template-on-time-change-reload", template_on_time_change_reload),
    ("panel-datasource", panel_datasource),
    ("panel-title-description", |board| {
        panels(board, |panel| title(panel).is_empty() || text(&panel["description"]).is_empty())
    }),
    ("panel-units", |board| {
        panels(board, |panel| !UNITS.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])))
    }),
    ("panel-no-targets", |board| panels(board, |panel| targets(panel).next().is_none())),
    ("target-promql", |board| queries(board, |_| false)),
    ("target-rate-interval", |board| queries(board, rates_by_other_ranges)),
    ("target-job", |board| queries(board, |named| !in_scope(named, "job"))),
    ("target-instance", |board| queries(board, |named| !in_scope(named, "instance"))),
    ("target-counter-agg", |board| queries(board, bare_counter)),
    ("uneditable-dashboard", |board| match board.json["editable"] {
        Value::Bool(false) => Vec::new(),
        _ => vec![board.name.to_owned()],
    }),
];

fn panels(board: &Dashboard, is_wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    let wrong = board.panels().iter().filter(|panel| is_wrong(panel));
    wrong.map(|panel| format!("{}: {}", board.name, title(panel))).collect()
}

/// Returns the queries that cannot be parsed or for which `is_wrong` returns true. Variables in a
/// query keep their names, so that rules can recognise them.
fn queries(board: &Dashboard, is_wrong: impl Fn(&Named) -> bool) -> Vec<String> {
    let rate_interval = format!("{}s", RATE_INTERVAL.as_secs());
    let ranges = [("__rate_interval", &*rate_interval), ("__range", "1h")];
    let wrong = |query: &Query<'_>| {
        promql::parse(&fill(query.expr, &ranges)).map_or(true, |named| is_wrong(&named))
    };
    let wrong = board.targets().into_iter().filter(wrong);
    wrong.map(|query| format!("{}: {}", query.place, query.expr)).collect()
}

/// Reports whether every selector has the variable of the label. An alert need not have the label itself.
fn in_scope(named: &Named, label: &str) -> bool {
    named.selectors.iter().all(|selector| {
        let optional = if selector.metric.starts_with("ALERTS") { "|" } else { "" };
        let matcher = (label.to_owned(), "=~".to_owned(), format!("${label}{optional}"));
        selector.matchers.contains(&matcher)
    })
}

fn rates_by_other_ranges(named: &Named) -> bool {
    let mut rates = named.selectors.iter().filter(|s| matches!(s.function, Some("rate" | "irate")));
    rates.any(|selector| selector.range != Some(RATE_INTERVAL))
}

fn bare_counter(named: &Named) -> bool {
    let counters = named.selectors.iter().filter(|selector| selector.metric.ends_with("_total"));
    let mut functions = counters.map(|selector| selector.function);
    functions.any(|function| !matches!(function, Some("rate" | "irate" | "increase")))
}

fn template_datasource(board: &Dashboard) -> Vec<String> {
    let sources = board.variables().iter().filter(|variable| variable["type"] == "datasource");
    let right = |variable: &Value| {
        variable["name"] == "datasource"
            && variable["label"] == "Data source"
            && variable["query"] == "prometheus"
    };
    match &sources.collect::<Vec<_>>()[..] {
        [source] if right(source) => Vec::new(),
        sources => vec![format!("{}: {sources:?}", board.name)],
    }
}

fn scope_variable(board: &Dashboard, name: &str, label: &str) -> Vec<String> {
    let right = board.variables().iter().any(|variable| {
        variable["name"] == name
            && variable["label"] == label
            && variable["type"] == "query"
            && variable["datasource"]["uid"] == "${datasource}"
            && variable["multi"] == true
            && variable["includeAll"] == true
            && variable["allValue"] == ".+"
    });
    if right { Vec::new() } else { vec![format!("{}: {name}", board.name)] }
}

fn query_variables(board: &Dashboard) -> impl Iterator<Item = &Value> {
    board.variables().iter().filter(|variable| variable["type"] == "query")
}

/// Returns the selector and the label of a query variable.
pub fn label_values(variable: &Value) -> Option<(&str, &str)> {
    let query = text(&variable["query"]["query"]);
    query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")
}

fn template_label_promql(board: &Dashboard) -> Vec<String> {
    let is_right = |variable: &Value| {
        label_values(variable)
            .is_some_and(|(selector, _)| promql::parse(&fill(selector, &ANY)).is_ok())
    };
    let wrong = query_variables(board).filter(|variable| !is_right(variable));
    wrong.map(|variable| format!("{}: {}", board.name, text(&variable["name"]))).collect()
}

fn template_on_time_change_reload(board: &Dashboard) -> Vec<String> {
    let wrong = query_variables(board).filter(|variable| variable["refresh"] != 2);
    wrong.map(|variable| format!("{}: {}", board.name, text(&variable["name"]))).collect()
}

fn panel_datasource(board: &Dashboard) -> Vec<String> {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    panels(board, |panel| {
        panel["datasource"] != source || targets(panel).any(|target| target["datasource"] != source)
    })
}

#[test]
fn the_dashboards_break_no_rule() {
    for board in Dashboard::all() {
        for (name, rule) in RULES {
            assert_eq!(rule(&board), [""; 0], "{name}");
        }
    }
}

/// Every rule has a violation that breaks it and no other rule: a place in the fleet dashboard, and
/// the text that is put there.
#[test]
fn every_rule_finds_what_breaks_it() {
    let fleet = || Dashboard::all().swap_remove(0);
    let first_query = "/panels/0/targets/0/expr";
    let breaking = [
        ("template-datasource", "/templating/list/0/label", json!("Datasource")),
        ("template-job", "/templating/list/1/multi", json!(false)),
        ("template-instance", "/templating/list/2/allValue", json!(".*")),
        ("template-label-promql", "/templating/list/3/query/query", json!("label_values(a{, b)")),
        ("template-on-time-change-reload", "/templating/list/3/refresh", json!(1)),
        ("panel-datasource", "/panels/7/targets/0/datasource/uid", json!("mine")),
        ("panel-title-description", "/panels/6/description", json!("")),
        ("panel-units", "/panels/5/fieldConfig/defaults/unit", json!("bananas")),
        ("panel-no-targets", "/panels/8/targets", json!([])),
        ("target-promql", first_query, json!("sum(")),
        (
            "target-rate-interval",
            first_query,
            json!("rate(x_total{job=~\"$job\", instance=~\"$instance\"}[5m])"),
        ),
        ("target-job", first_query, json!("x{instance=~\"$instance\"}")),
        ("target-instance", first_query, json!("x{job=~\"$job\", instance=\"$instance\"}")),
        (
            "target-counter-agg",
            first_query,
            json!("sum(x_total{job=~\"$job\", instance=~\"$instance\"})"),
        ),
        ("uneditable-dashboard", "/editable", json!(true)),
    ];
    assert_eq!(breaking.len(), RULES.len());
    for ((rule, place, value), (name, _)) in breaking.into_iter().zip(RULES) {
        assert_eq!(rule, name);
        let mut board = fleet();
        *board.json.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = value;
        let broken = RULES.iter().filter(|(_, rule)| !rule(&board).is_empty());
        let broken: Vec<_> = broken.map(|(name, _)| *name).collect();
        // A query that cannot be parsed breaks no other rule.
        let all = [
            "target-promql",
            "target-rate-interval",
            "target-job",
            "target-instance",
            "target-counter-agg",
        ];
        let expected = if rule == "target-promql" { all.to_vec() } else { vec![rule] };
        assert_eq!(broken, expected);
    }
}
