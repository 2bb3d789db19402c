//! The queries of the documents, against a Prometheus that has every trouble in it: each is a query,
//! and finds what its reader looks for.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::markdown::{Block, Span, blocks, read, spans};
use crate::dashboards::stage::Stage;
use crate::harness::samples::Labels;
use crate::harness::tools::said;
use crate::harness::{Dir, root, until};

/// Queries that find nothing on the stage, each with the reason.
const EMPTY: &[(&str, &str)] = &[(
    "aitask_tasks_without_credentials{instance=\"…\"} > 0",
    "the secrets of all providers of the stage are there",
)];

/// Functions and operators of PromQL with which a query can begin.
const BEGINNINGS: [&str; 12] = [
    "avg",
    "avg_over_time",
    "count",
    "histogram_quantile",
    "increase",
    "last_over_time",
    "max",
    "max_over_time",
    "min",
    "rate",
    "sum",
    "time()",
];

/// A query of a document, with the heading above it.
struct Query {
    place: String,
    heading: String,
    text: String,
}

fn queries() -> Vec<Query> {
    let in_blocks =
        blocks().into_iter().filter(|block| block.kind == "promql").map(|block: Block| Query {
            place: block.place(),
            heading: block.heading,
            text: block.text,
        });
    let between_backticks = spans().into_iter().filter(|span| is_query(&span.text));
    let between_backticks = between_backticks.map(|Span { path, heading, text }| Query {
        place: format!("{path}, {heading}"),
        heading,
        text,
    });
    in_blocks.chain(between_backticks).collect()
}

/// Reports whether code between backticks is a query, and not just a name.
fn is_query(text: &str) -> bool {
    let names = |c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c);
    let of_ours = |word: &str| {
        ["aitask_", "process_", "job_instance_"].iter().any(|start| word.starts_with(start))
            && word != "aitask_exporter"
    };
    let begins = BEGINNINGS.iter().any(|start| {
        text.strip_prefix(start).is_some_and(|rest| rest.starts_with([' ', '(']) || rest.is_empty())
    });
    let is_selector = text.contains(['{', '(', '[', ' ']) && !text.ends_with("()");
    is_selector
        && (text.split(names).any(of_ours) || (begins && text.contains('(')))
        && !text.starts_with("aitask_exporter ")
}

/// Puts the labels of an alert, or else any value, in the place of each `…`.
fn fill(query: &str, labels: &Labels) -> String {
    let mut pieces = query.split("=\"…\"");
    let mut filled = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let label = filled.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        filled += &match labels.get(label) {
            Some(value) => format!("={value:?}"),
            None => "=~\".+\"".to_owned(),
        };
        filled += piece;
    }
    assert!(!filled.contains('…'), "nothing is known for the … of: {query}");
    filled
}

/// Returns the labels of the alerts that fire, by their names.
fn firing(stage: &Stage) -> BTreeMap<String, Vec<Labels>> {
    let mut firing: BTreeMap<String, Vec<Labels>> = BTreeMap::new();
    for (labels, _) in stage.prometheus.query("ALERTS{alertstate='firing'}") {
        firing.entry(labels["alertname"].clone()).or_default().push(labels);
    }
    firing
}

#[test]
fn every_query_finds_what_its_reader_looks_for() {
    let stage = Stage::shared();
    let all = queries();
    assert!(all.len() > 30, "{}", all.len());
    let runbooks: Vec<_> = headings("docs/runbooks.md", "## AITask");
    until("every alert fires", || {
        let firing = firing(&stage);
        runbooks.iter().all(|name| firing.contains_key(name))
    });
    let firing = firing(&stage);
    let none = vec![Labels::new()];
    let mut wrong = Vec::new();
    for query in &all {
        // A reader of a runbook puts the labels of the alert into its queries.
        let alerts = firing.get(&query.heading).unwrap_or(&none);
        let finds =
            |labels: &Labels| !stage.prometheus.query(&fill(&query.text, labels)).is_empty();
        let is_first = all.iter().find(|other| other.heading == query.heading);
        let is_first = is_first.is_some_and(|first| std::ptr::eq(first, query));
        // The first query of a runbook finds something for each alert, a further one for some.
        let found = if is_first { alerts.iter().all(finds) } else { alerts.iter().any(finds) };
        let is_empty = EMPTY.iter().any(|(text, _)| *text == query.text.trim_end());
        if found == is_empty {
            wrong.push(format!("{}: {} {alerts:?}", query.place, query.text));
        }
    }
    assert!(
        wrong.is_empty(),
        "these find nothing, or something although they are in EMPTY:\n{}",
        wrong.join("\n")
    );
    the_preview_is_drawn(&stage);
}

fn headings(path: &str, start: &str) -> Vec<String> {
    let text = read(path);
    let names = text.lines().filter(|line| line.starts_with(start));
    names.map(|line| line.trim_start_matches('#').trim().to_owned()).collect()
}

/// The command of CONTRIBUTING.md draws a dashboard from this Prometheus.
fn the_preview_is_drawn(stage: &Stage) {
    let command = blocks().into_iter().find(|block| block.text.starts_with("node ")).unwrap().text;
    let dir = Dir::new();
    let page = dir.path("fleet.html");
    let address = format!("http://{}", stage.prometheus.address);
    let here = command.replace("http://localhost:9090", &address);
    let here = here.replace("fleet.html", page.to_str().unwrap());
    assert!(here.contains(&address) && here.contains("it-"), "{here}");
    said(Command::new("sh").args(["-euc", &here]).current_dir(root("")));
    assert!(fs::read_to_string(page).unwrap().contains("<svg"));
}

/// A disk that refuses every write since ten minutes is seen at once, although it worked before.
#[test]
fn a_query_about_a_disk_does_not_average_the_past() {
    let query = queries().into_iter().find(|query| query.heading == "AITaskExporterStorageDown");
    let query =
        fill(&query.unwrap().text, &Labels::from([("instance".to_owned(), "a".to_owned())]));
    for (values, expected) in [("1x60 0x12", 0), ("1x60 0x9 1 0x9", 1)] {
        let dir = Dir::new();
        let cases = format!(
            "evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  \
             - {{ series: 'aitask_exporter_storage_up{{instance=\"a\"}}', values: '{values}' }}\n  \
             promql_expr_test:\n  \
             - {{ expr: {}, eval_time: 72m, exp_samples: [{{ labels: '{{instance=\"a\"}}', value: {expected} }}] }}\n",
            serde_json::to_string(&query).unwrap()
        );
        said(Command::new("promtool").args(["test", "rules"]).arg(dir.write("cases.yml", &cases)));
    }
}
