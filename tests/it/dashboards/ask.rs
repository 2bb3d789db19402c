//! Queries a Prometheus as a panel or a variable does.

use serde_json::Value;

use super::board::{fill, text};
use crate::harness::http::encode;
use crate::harness::tools::Prometheus;

pub type Variables<'v> = Vec<(&'v str, &'v str)>;

/// Values of a dashboard's variables: all of everything, but for the one task.
pub fn variables<'v>(
    rate_interval: &'v str,
    range: &'v str,
    task: (&'v str, &'v str),
    board: &str,
) -> Variables<'v> {
    let (provider, task_id) = task;
    let provider = if board == "task" { provider } else { ".+" };
    vec![
        ("__rate_interval", rate_interval),
        ("__range", range),
        ("job", ".+"),
        ("instance", ".+"),
        ("provider", provider),
        ("task_id", task_id),
        ("datasource", "prometheus"),
    ]
}

pub fn is_over_time(target: &Value) -> bool {
    target["range"] == true
}

/// Returns the result of a panel's query: an instant query, or a range query over the last
/// `seconds` in steps of `step`, as its target defines.
pub fn ask(
    prometheus: &Prometheus,
    target: &Value,
    variables: &Variables<'_>,
    now: f64,
    (seconds, step): (f64, f64),
) -> Value {
    let query = encode(&fill(text(&target["expr"]), variables));
    prometheus.data(&if is_over_time(target) {
        let start = now - seconds;
        format!("/api/v1/query_range?query={query}&start={start}&end={now}&step={step}")
    } else {
        format!("/api/v1/query?query={query}&time={now}")
    })
}

/// Returns the values of a label, as a variable queries them.
pub fn label_values_of(prometheus: &Prometheus, selector: &str, label: &str) -> Vec<String> {
    let target = format!("/api/v1/label/{label}/values?match[]={}", encode(selector));
    serde_json::from_value(prometheus.data(&target)).unwrap()
}
