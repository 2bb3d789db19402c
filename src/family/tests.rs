use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_and_fit_the_type() {
    let names: BTreeSet<_> = all().map(|family| family.name).collect();
    assert_eq!(names.len(), all().count());
    for Family { name, kind, labels, help, buckets } in all() {
        assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
        assert_eq!(buckets.is_empty(), kind != MetricKind::Histogram, "{name}");
        assert!(buckets.is_sorted() && !labels.contains(&"le"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['|', '\n', '\\']), "{name}");
    }
}

#[test]
fn labels_of_a_group_begin_alike() {
    assert!(
        TASK_FAMILIES
            .iter()
            .all(|family| family.family.labels.starts_with(&["provider", "task_id"]))
    );
    assert!(PROVIDER_FAMILIES.iter().all(|family| family.labels.starts_with(&["provider"])));
    assert!(
        DISCOVERY_FAMILIES.iter().all(|family| family.labels.starts_with(&["mechanism", "config"]))
    );
    let ours = ["task_id", "le", "status_code", "version", "reason"];
    assert!(ours.into_iter().all(has_label));
    assert!(!["team", "mechanism", "config"].into_iter().any(has_label));
}

#[test]
fn the_document_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == markdown(), "docs/metrics.md is stale: make generate");
}

/// Returns the content of `docs/metrics.md`, in Markdown.
fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let of_tasks = TASK_FAMILIES.map(|family| family.family);
    for (title, introduction, families) in [
        ("Per task", TASK_INTRODUCTION, of_tasks.as_slice()),
        ("Per provider", PROVIDER_INTRODUCTION, PROVIDER_FAMILIES),
        ("Per source of tasks", DISCOVERY_INTRODUCTION, DISCOVERY_FAMILIES),
        ("The exporter itself", PROCESS_INTRODUCTION, EXPORTER_FAMILIES),
        ("Only on `/probe`", PROBE_INTRODUCTION, PROBE_FAMILIES),
    ] {
        text += &format!("\n## {title}\n\n{introduction}\n\n");
        text += "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n";
        text.extend(families.iter().map(row));
    }
    text
}

fn row(family: &Family) -> String {
    let Family { name, kind, labels, help, buckets } = family;
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let mut meaning = String::from(*help);
    if let [first, rest @ ..] = buckets {
        meaning += &format!(" Buckets: {first}");
        meaning.extend(rest.iter().map(|bound| format!(", {bound}")));
        meaning.push('.');
    }
    format!("| `{name}` | {kind} | {} | {meaning} |\n", labels.join(", "))
}

const INTRODUCTION: &str = "\
# Metrics

This page is generated from the tables in `src/family`; a test keeps it up to date.

Times are Unix times, and durations are in seconds. Counters start at 0 with the process, except those of
finished tasks with `--storage.path`. States are `queued`, `running`, `waiting`, `succeeded`, `failed`,
`cancelled`, `not_found`, `unknown` and, before the first answer, `unpolled`.
";

const TASK_INTRODUCTION: &str = "\
All of these also have the task's own labels from the configuration. A final task keeps its series for
`retain_finished`; with `per_task_series: none` there are no series for tasks.";

const PROVIDER_INTRODUCTION: &str = "\
These count every task that is listed or still followed and that `max_tasks` does not drop, regardless of
`per_task_series`. Series for states and reasons exist from the start, with 0.";

const DISCOVERY_INTRODUCTION: &str = "\
A source is an entry of `http_sd_configs`, `file_sd_configs` or `sql_sd_configs`, or the `list` of a provider:
`mechanism` is `http`, `file`, `sql` or `list`, `config` its name. All series exist from the start and end when the
source leaves the configuration. `/service-discovery` shows the same for people, with the texts of the errors.";

const PROCESS_INTRODUCTION: &str = "\
Each has one series, except the histogram and families with the label `reason`, whose series all exist
from the start.";

const PROBE_INTRODUCTION: &str = "\
`/probe` returns these two and the task families of the requested task.";
