//! The times that an alert waits: set in one place, and documented.

use std::fs;
use std::process::Command;

use aitask_exporter::config::Limits;
use serde_json::Value;

use crate::dashboards::rules;
use crate::harness::tools::said;
use crate::harness::{read_yaml, root};

/// Every `for` and `keep_firing_for` is a setting of the mixin.
#[test]
fn waits_are_set_in_one_place() {
    let mixin = root("dashboards/mixin/mixin.libsonnet");
    let changed = format!(
        "local mixin = import '{}'; (mixin + {{ _config+:: {{ waits: std.mapWithKey(\
         function(name, waits) {{ [key]: '77s' for key in std.objectFields(waits) }}, \
         mixin._config.waits) }} }}).prometheusAlerts.groups[0].rules",
        mixin.display()
    );
    let changed = said(Command::new("jsonnet").args(["--exec", &changed]));
    let changed: Vec<Value> = serde_json::from_str(&changed).unwrap();
    let alerts: Vec<_> = rules::all().into_iter().filter(|rule| !rule.is_record).collect();
    assert_eq!(changed.len(), alerts.len());
    let mut count = 0;
    for (alert, changed) in alerts.iter().zip(changed) {
        for key in ["for", "keep_firing_for"] {
            let expected = alert.json.get(key).map(|_| "77s");
            assert_eq!(changed[key].as_str(), expected, "{key} of {}", alert.name);
            count += usize::from(expected.is_some());
        }
    }
    assert!(count > 20, "{count}");
}

/// The time from a task that is lost to the message, as the documentation adds it up.
#[test]
fn the_time_to_a_message_is_documented() {
    let seconds = |value: &Value| -> u64 {
        let text = value.as_str().unwrap();
        let (number, unit) = text.split_at(text.len() - 1);
        let number: u64 = number.parse().unwrap();
        match unit {
            "s" => number,
            "m" => 60 * number,
            _ => panic!("{text}"),
        }
    };
    let rules = rules::all();
    let stuck = rules.iter().find(|rule| rule.name == "AITaskStuck").unwrap();
    let prometheus = read_yaml("config/prometheus.yml")["global"].take();
    let route = read_yaml("config/alertmanager.yml")["route"].take();
    let parts = [
        ("poll_interval", Limits::DEFAULT.poll_interval.as_secs()),
        ("stuck_after", Limits::DEFAULT.stuck_after.as_secs()),
        ("scrape_interval", seconds(&prometheus["scrape_interval"])),
        ("evaluation_interval", seconds(&prometheus["evaluation_interval"])),
        ("for", seconds(&stuck.json["for"])),
        ("group_wait", seconds(&route["group_wait"])),
    ];
    let minutes = |seconds: u64| match (seconds / 60, seconds % 60) {
        (0, rest) => format!("{rest}s"),
        (whole, 0) => format!("{whole}m"),
        (whole, rest) => format!("{whole}m{rest}s"),
    };
    let documented = fs::read_to_string(root("docs/dashboards.md")).unwrap();
    for (key, value) in parts {
        let row = format!("| `{key}` | {} |", minutes(value));
        assert!(documented.contains(&row), "{row}");
    }
    let sum = minutes(parts.iter().map(|(_, value)| value).sum());
    assert!(documented.contains(&format!("| together, at most | {sum} |")), "{sum}");
}
