//! The rules as their file holds them.

use std::fs;

use serde_json::Value;

use super::board::text;
use crate::harness::root;

pub const FILE: &str = "dashboards/alerts/aitask.rules.yml";

pub struct Rule {
    /// Of the alert or of the recorded series.
    pub name: String,
    pub is_record: bool,
    pub expr: String,
    pub json: Value,
}

pub fn all() -> Vec<Rule> {
    let file = fs::read_to_string(root(FILE)).unwrap();
    let file: Value = serde_yaml::from_str(&file).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let rules: Vec<_> = rules.cloned().map(Rule::new).collect();
    assert!(rules.len() > 11);
    rules
}

impl Rule {
    fn new(json: Value) -> Self {
        let name = json.get("alert").or_else(|| json.get("record")).unwrap();
        Self {
            name: text(name).to_owned(),
            is_record: json.get("record").is_some(),
            expr: text(&json["expr"]).to_owned(),
            json,
        }
    }

    /// Returns the queries in the description, with labels that parse. The first format makes the matchers
    /// of the others.
    pub fn queries(&self) -> Vec<String> {
        let description = text(&self.json["annotations"]["description"]);
        let formats = description.split("printf `").skip(1);
        let mut formats = formats.map(|rest| rest.split('`').next().unwrap());
        let own = formats.next().unwrap_or_default().replace("%q", "\"x\"");
        let queries = formats.filter(|format| format.contains('{'));
        queries.map(|query| query.replace("%[1]s", &own)).collect()
    }

    /// The number above which the alert fires, or which it must equal.
    pub fn limit(&self) -> f64 {
        let behind = self.expr.split(['>', '=']).filter_map(|rest| {
            rest.split_whitespace().next().and_then(|word| word.parse::<f64>().ok())
        });
        behind.into_iter().next().unwrap_or_else(|| panic!("{} has no limit", self.name))
    }
}
