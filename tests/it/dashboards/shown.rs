//! The values on the panels: every query finds something, and Grafana's own data code turns it into
//! the text that a person should read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ask::{ask, is_over_time, label_values_of, variables};
use super::board::{self, Dashboard, fill, text, title};
use super::lint::label_values;
use super::looks::colors;
use super::rendered::{
    HISTORY_SECONDS, LIVE_SECONDS, TASKS, fields, find, place, read, rows, stat,
};
use super::rules;
use super::stage::{ODD, STUCK, Stage};
use crate::harness::tools::Prometheus;
use crate::harness::{now, until};

/// Time after which a scrape is in the database: its timeout, and a second for the write.
const INGESTION_SECONDS: f64 = 2.0;

#[test]
fn every_query_finds_something_and_is_read_as_it_should() {
    let stage = Stage::shared();
    every_alert_fires(&stage);
    every_recorded_series_is_there(&stage);
    let boards = Dashboard::all();
    for board in &boards {
        every_variable_has_values(&stage, board);
        every_query_finds_something(&stage, board);
        quiet_moments_have_no_line(&stage.prometheus, board);
    }
    let settled = settled(&stage.prometheus);
    let shown = read(&stage.prometheus, &boards, settled);
    grafana_has_no_objection(&shown);
    columns_are_the_expected(&shown);
    the_fleet_is_counted_once(&shown);
    worst_tasks_have_full_rows(&shown);
    open_tasks_have_their_values(&read(&stage.prometheus, &[with_all_rows()], settled));
    failed_tasks_are_listed(&shown);
    alerts_are_listed(&shown);
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
    for board in Dashboard::all() {
        for annotation in board.annotations() {
            begins_are_marked(&stage.prometheus, &board, annotation, &all);
        }
    }
}

/// Asserts that an annotation marks the begin of each alert, and nothing else of it: Grafana draws a series
/// that lasts as a shaded region. It selects by the variables of the dashboards.
fn begins_are_marked(
    prometheus: &Prometheus,
    board: &Dashboard,
    annotation: &Value,
    all: &BTreeSet<String>,
) {
    let expr = fill(text(&annotation["expr"]), &variables("5s", "30s", TASKS[0], ""));
    assert_eq!(annotation["step"], "1m", "as long as the offset of the query");
    let target = json!({ "expr": expr, "range": true });
    // In two minutes, for which Prometheus keeps what it has seen last, no mark may still be there.
    let later = now() + 120.0;
    let marked = ask(prometheus, &target, &Vec::new(), later, (600.0, 5.0));
    let marked = marked["result"].as_array().unwrap();
    let names: BTreeSet<_> =
        marked.iter().map(|alert| text(&alert["metric"]["alertname"]).to_owned()).collect();
    assert_eq!(names, *all, "{}: {expr}", board.name);
    let placeholders: Vec<_> = text(&annotation["textFormat"]).split("{{").skip(1).collect();
    for alert in marked {
        for placeholder in &placeholders {
            let label = placeholder.split("}}").next().unwrap();
            let about = text(&alert["metric"][label]);
            assert!(!about.is_empty(), "Grafana would show the word {label}: {alert}");
            assert!(!about.contains("  ") && about.trim() == about, "{about:?}");
        }
        let times: Vec<_> = alert["values"].as_array().unwrap().iter().collect();
        let time = |index: usize| times[index][0].as_f64().unwrap();
        let mut at = 0;
        for index in 1..times.len() {
            // Each begin is seen for less than a minute.
            at = if time(index) - time(index - 1) > 5.5 { index } else { at };
            assert!(time(index) - time(at) < 60.0, "{alert}");
        }
    }
}

/// Asserts that a graph does not say that there was none if there was one at another moment: the history begins
/// with hours in which no poll failed.
fn quiet_moments_have_no_line(prometheus: &Prometheus, board: &Dashboard) {
    let range = format!("{HISTORY_SECONDS}s");
    let variables = variables("4m", &range, TASKS[0], board.name);
    let time = (HISTORY_SECONDS, HISTORY_SECONDS / 60.0);
    for query in board.targets().iter().filter(|query| query.expr.contains("unless on () (")) {
        let answer = ask(prometheus, query.target, &variables, now(), time);
        let says_none = |series: &&Value| {
            let mut labels = series["metric"].as_object().unwrap().values();
            labels.any(|label| text(label).starts_with("no "))
        };
        let series = answer["result"].as_array().unwrap();
        let none = series.iter().filter(says_none).count();
        assert!(none == 0 || series.len() == 1, "{}: {series:?}", query.place);
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
    for query in board.targets() {
        let found = |rate_interval, seconds: f64| {
            let now = now();
            let range = format!("{seconds}s");
            TASKS.into_iter().any(|task| {
                let variables = variables(rate_interval, &range, task, board.name);
                let time = (seconds, seconds / 60.0);
                let answer = ask(&stage.prometheus, query.target, &variables, now, time);
                !answer["result"].as_array().unwrap().is_empty()
            })
        };
        let says = format!("{} finds something now: {}", query.place, query.expr);
        until(&says, || found("5s", LIVE_SECONDS));
        if is_over_time(query.target) {
            let says = format!("{} finds nothing in the past: {}", query.place, query.expr);
            assert!(found("4m", HISTORY_SECONDS), "{says}");
        }
    }
}

/// Returns a moment at which every exporter was scraped, and everything was seen that has a text below: a
/// scrape may come late on a busy machine, and then there is nothing at all.
fn settled(prometheus: &Prometheus) -> f64 {
    let alerts = rules::all().into_iter().filter(|rule| !rule.is_record).count();
    let alerts = format!("count(count by (alertname) (ALERTS{{alertstate='firing'}})) == {alerts}");
    let conditions = [
        &alerts,
        "count(up{job='aitask_exporter'} == 1) == 4",
        "count(aitask_stuck == 1) == 2 * 5",
        "count(aitask_open_tasks) == 2 * 13",
        "aitask_error{task_id='code-1203-a', code='1203', replica='a'}",
        "aitask_status{task_id='weird-a', state='unknown', replica='a'}",
        "aitask_status{task_id='fail-b', state='failed', replica='a'}",
    ];
    let mut moment = 0.0;
    until("everything is seen at one moment", || {
        moment = now() - INGESTION_SECONDS;
        conditions.iter().all(|expr| {
            let found = ask(prometheus, &json!({ "expr": expr }), &Vec::new(), moment, (0.0, 0.0));
            !found["result"].as_array().unwrap().is_empty()
        })
    });
    moment
}

/// Returns the fleet dashboard with all open tasks in the table of the worst: which of the young ones are among
/// the first 25 depends on the moment at which each was seen first.
fn with_all_rows() -> Dashboard {
    let mut fleet = Dashboard::all().swap_remove(0);
    let table = fleet.json["panels"].as_array_mut().unwrap();
    table.retain(|panel| title(panel) == "The worst open tasks");
    for target in table[0]["targets"].as_array_mut().unwrap() {
        let all = text(&target["expr"]).replace("topk(25, ", "topk(1000, ");
        assert_ne!(all, text(&target["expr"]));
        target["expr"] = all.into();
    }
    fleet
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

fn columns_are_the_expected(shown: &[Value]) {
    for (dashboard, name, columns) in [
        (
            "fleet",
            "Providers",
            &["Provider", "Answers", "Stuck", "Oldest", "Open", "Failed", "Failed polls"][..],
        ),
        ("fleet", "Firing alerts", &["Severity", "Alert", "About", "For", "Anchor"]),
        (
            "fleet",
            "Failed lately",
            &["Task", "Ago", "Provider", "State", "Status", "Reason", "Code"],
        ),
        (
            "fleet",
            "The worst open tasks",
            &[
                "Task",
                "Age",
                "Provider",
                "State",
                "Status",
                "Stuck",
                "In this state for",
                "Last error",
                "Last answer",
                "Customer",
            ],
        ),
        (
            "exporter",
            "Exporters",
            &[
                "Instance",
                "Scraped",
                "Version",
                "Started",
                "Configuration",
                "Applied",
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
        ("stuck-a1", "State, status and poll results", &["Time", "State", "Status", "Error"]),
    ] {
        let panel = find(shown, dashboard, name);
        assert_eq!(panel["frames"].as_array().unwrap().len(), 1, "{}", place(panel));
        let found: Vec<_> = fields(panel).map(|field| text(&field["name"])).collect();
        assert_eq!(found, columns, "{}", place(panel));
    }
    let facts = rows(find(shown, "stuck-a1", "Facts"));
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0]["customer"], "acme");
}

/// Two exporters are added, and two servers that show the same are not.
fn the_fleet_is_counted_once(shown: &[Value]) {
    // One exporter is down: the numbers say that they are not the whole.
    assert_eq!(stat(shown, "fleet", "Stuck tasks"), format!("{STUCK}, incomplete"));
    assert_eq!(stat(shown, "fleet", "Oldest task"), "2.0 hours, incomplete");
    for number in ["Open", "Failed"] {
        assert!(stat(shown, "fleet", number).ends_with(", incomplete"), "{number}");
    }
    assert_eq!(stat(shown, "fleet", "Providers down"), "4", "dead, locked, busy, split");
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
        assert_eq!(row["Stuck"], if is_stuck { "yes" } else { "–" });
    }
    let panel = find(shown, "fleet", "The worst open tasks");
    let task = fields(panel).find(|field| field["name"] == "Task").unwrap();
    let link = text(&task["links"][0][0]["href"]);
    for part in ["/d/aitask-task?", "var-provider=", "var-task_id=stuck-"] {
        assert!(link.contains(part), "{link}");
    }
}

fn open_tasks_have_their_values(shown: &[Value]) {
    let rows = rows(find(shown, "fleet", "The worst open tasks"));
    let row = |task: &str| rows.iter().find(|row| row["Task"] == task).unwrap();
    assert_eq!((row("stuck-a1")["State"], row("stuck-a1")["Age"]), ("queued", "2.0 hours"));
    assert_eq!((row("stuck-a1")["Last error"], row("stuck-a1")["Customer"]), ("–", "acme"));
    assert_eq!(row("stuck-a2")["Customer"], "–");
    assert_eq!((row("code-1203-a")["Last error"], row("code-1203-a")["Status"]), ("api 1203", "–"));
    assert_eq!(row("code-1203-a")["Last answer"], "–");
    assert_eq!((row("weird-a")["State"], row("weird-a")["Status"]), ("unknown", "levitating"));
    // Both are as of one moment: a task is not longer in its state than it is old.
    let values = |name: &str| -> Vec<f64> {
        let panel = find(shown, "fleet", "The worst open tasks");
        let field = fields(panel).find(|field| field["name"] == name).unwrap();
        serde_json::from_value(field["values"].clone()).unwrap()
    };
    for (age, in_state) in values("Age").into_iter().zip(values("In this state for")) {
        assert!(in_state <= age, "{in_state} s in its state, {age} s old");
    }
}

/// The tasks behind the number of failed ones, each with a link.
fn failed_tasks_are_listed(shown: &[Value]) {
    let panel = find(shown, "fleet", "Failed lately");
    let rows = rows(panel);
    let row = |task: &str| rows.iter().find(|row| row["Task"] == task).unwrap();
    let failed = row("fail-a1");
    assert_eq!((failed["State"], failed["Reason"], failed["Provider"]), ("failed", "task", "mj"));
    assert_eq!(row("missing-b")["State"], "not_found");
    assert!(rows.iter().all(|row| row["Ago"].ends_with('s') && row["Task"] != "missing-a"));
    let task = fields(panel).find(|field| field["name"] == "Task").unwrap();
    let link = text(&task["links"][0][0]["href"]);
    assert!(link.contains("/d/aitask-task?") && link.contains("var-task_id="), "{link}");
}

/// Each firing alert has a row: critical ones first, with what it is about and a link to its runbook.
fn alerts_are_listed(shown: &[Value]) {
    let panel = find(shown, "fleet", "Firing alerts");
    let rows = rows(panel);
    let all = rules::all().into_iter().filter(|rule| !rule.is_record);
    let names: BTreeSet<_> = rows.iter().map(|row| row["Alert"]).collect();
    assert_eq!(names.len(), all.count(), "{names:?}");
    let severities = ["critical", "warning", "info"];
    let ranks: Vec<_> = rows
        .iter()
        .map(|row| severities.iter().position(|name| row["Severity"] == *name).unwrap())
        .collect();
    assert!(ranks.is_sorted(), "{rows:?}");
    let seen: BTreeSet<_> = rows.iter().map(|row| (row["Alert"], row["About"])).collect();
    assert_eq!(seen.len(), rows.len(), "a pair of servers has one row: {rows:?}");
    let alert = fields(panel).find(|field| field["name"] == "Alert").unwrap();
    for (row, links) in rows.iter().zip(alert["links"].as_array().unwrap()) {
        let anchor = format!("runbooks.md#{}", row["Alert"].to_lowercase());
        assert!(text(&links[0]["href"]).ends_with(&anchor), "{links}");
    }
}

fn providers_have_full_rows(shown: &[Value]) {
    let rows = rows(find(shown, "fleet", "Providers"));
    let names: Vec<_> = rows.iter().map(|row| row["Provider"]).collect();
    let all: BTreeSet<_> = names.iter().copied().collect();
    assert_eq!(
        all,
        BTreeSet::from([
            "busy", "dead", "flux", "late", "locked", "lost", "mj", "proxy", "split", "stopped"
        ])
    );
    assert_eq!(names.len(), all.len());
    let answers: Vec<_> = rows.iter().map(|row| row["Answers"]).collect();
    let down: BTreeSet<_> = names[..3].iter().copied().collect();
    assert_eq!(down, BTreeSet::from(["busy", "dead", "locked"]), "no answers come first");
    assert!(answers[..3].iter().all(|answer| *answer == "none"), "{answers:?}");
    assert_eq!((names[3], answers[3]), ("split", "some"), "one exporter cannot reach it");
    assert_eq!((names[4], answers[4]), ("mj", "usable"), "then comes who has most stuck tasks");
    let row = |provider: &str| rows.iter().find(|row| row["Provider"] == provider).unwrap();
    assert_eq!((row("mj")["Stuck"], row("proxy")["Stuck"], row("flux")["Stuck"]), ("3", "2", "0"));
    assert_eq!(row("mj")["Oldest"], "2.0 hours");
    // Polls of a provider that is down are rare after a while: there need not be one in the range.
    assert!(["100%", "–"].contains(&row("dead")["Failed polls"]), "{:?}", row("dead"));
    // The IDs that a provider does not know are open, like those that are stuck.
    for row in &rows {
        assert!(row.values().all(|cell| !cell.is_empty()), "{row:?}");
        let number = |column: &str| row[column].parse::<u32>().unwrap();
        assert!(number("Stuck") <= number("Open"), "{row:?}");
    }
}

fn states_are_told_in_words(shown: &[Value]) {
    let of = |task| {
        [stat(shown, task, "State"), stat(shown, task, "Status"), stat(shown, task, "Stuck")]
    };
    assert_eq!(of("stuck-a1"), ["queued", "queued", "yes"]);
    assert_eq!(of("fail-a1"), ["failed", "failed", "–"]);
    assert_eq!(of("code-1203-a")[0], "unpolled");
    assert_eq!(of(ODD)[0], "running");
    assert_eq!(stat(shown, "stuck-a1", "Age or duration"), "2.0 hours");
    assert!(stat(shown, "fail-a1", "Age or duration").ends_with(['s', 'n', '–']));
    assert_eq!(stat(shown, "fail-a1", "Last error").trim_end(), "task");
    assert_eq!(stat(shown, "code-1203-a", "Last error"), "api 1203");
    assert_eq!(stat(shown, "stuck-a1", "Last error"), "none");
    assert_eq!(stat(shown, "code-1203-a", "Last answer"), "–");
    let color = |task: &str, name: &str| {
        find(shown, task, name)["stat"][0]["color"].as_str().unwrap().to_owned()
    };
    assert_eq!(color("code-1203-a", "Last error"), "#B8400C");
    assert_eq!(color("stuck-a1", "Last error"), "#6B7280", "nothing is no reason for red");
    let timeline = find(shown, "stuck-a1", "State, status and poll results");
    let state = fields(timeline).find(|field| field["name"] == "State").unwrap();
    let known = |text: &&Value| **text != "–";
    let texts: BTreeSet<_> =
        state["texts"].as_array().unwrap().iter().filter(known).map(text).collect();
    assert_eq!(texts, BTreeSet::from(["queued"]));
    let queued = colors(&Dashboard::all()[0])["queued"].first().unwrap().clone();
    assert!(state["colors"].as_array().unwrap().contains(&queued.into()), "{state}");
}
