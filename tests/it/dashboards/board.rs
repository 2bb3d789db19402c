//! A dashboard as its file holds it.

use std::fs;

use serde_json::Value;

use crate::harness::root;

pub const NAMES: [&str; 3] = ["fleet", "task", "exporter"];

pub struct Dashboard {
    pub name: &'static str,
    pub json: Value,
}

/// A query: of a panel, a variable or an annotation.
pub struct Query<'d> {
    /// For messages: the panel and the query's letter, or the variable.
    pub place: String,
    pub expr: &'d str,
    pub target: &'d Value,
}

impl Dashboard {
    pub fn all() -> Vec<Self> {
        let read = |name| {
            let text = fs::read_to_string(root(&format!("dashboards/{name}.json"))).unwrap();
            Self { name, json: serde_json::from_str(&text).unwrap() }
        };
        NAMES.into_iter().map(read).collect()
    }

    pub fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    pub fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().unwrap()
    }

    pub fn annotations(&self) -> &[Value] {
        self.json["annotations"]["list"].as_array().unwrap()
    }

    /// The queries of all panels.
    pub fn targets(&self) -> Vec<Query<'_>> {
        let of_panel = |panel| targets(panel).map(move |target| (panel, target));
        let all = self.panels().iter().flat_map(of_panel);
        all.map(|(panel, target)| Query {
            place: format!("{}: {} {}", self.name, title(panel), text(&target["refId"])),
            expr: text(&target["expr"]),
            target,
        })
        .collect()
    }
}

pub fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

pub fn title(panel: &Value) -> &str {
    text(&panel["title"])
}

/// A string, or the empty one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Replaces `$name` and `${name:regex}`, the longest names first.
pub fn fill(expr: &str, variables: &[(&str, &str)]) -> String {
    let mut variables = variables.to_vec();
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    variables.iter().fold(expr.to_owned(), |expr, (name, value)| {
        let as_regex = expr.replace(&format!("${{{name}:regex}}"), &escaped(value));
        as_regex.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

/// Escapes what means something in a regular expression, as Grafana's format `regex` does.
fn escaped(value: &str) -> String {
    let escape = |c: char| if r"\^$*+?.()|[]{}/".contains(c) { vec!['\\', c] } else { vec![c] };
    value.chars().flat_map(escape).collect()
}

/// Values with which every query can be parsed.
pub const ANY: [(&str, &str); 7] = [
    ("__rate_interval", "5m"),
    ("__range", "1h"),
    ("job", ".+"),
    ("instance", ".+"),
    ("provider", ".+"),
    ("task_id", "x"),
    ("datasource", "prometheus"),
];
