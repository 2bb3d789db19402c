//! The history of one task: on its page, and in the JSON when one ID is asked for.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Exporter, Gateway, eventually, root, until};
use crate::pages::{page, text};

fn history(exporter: &Exporter, id: &str) -> Value {
    let found = exporter.get(&format!("/api/v1/tasks?task_id={id}")).json();
    found["tasks"][0]["history"].clone()
}

/// Returns a field of each entry of a list, of which there is none before the first poll.
fn each<'v>(entries: &'v Value, field: &str) -> Vec<&'v Value> {
    entries.as_array().into_iter().flatten().map(|entry| &entry[field]).collect()
}

#[test]
fn the_states_and_polls_of_a_task_are_shown_with_their_times() {
    let gateway = Gateway::start();
    let step = |status| json!({ "enqueued_seconds_ago": 5_400, "steps": [{ "status": status }] });
    gateway.put("steps", &step("queued"));
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\n\
         tasks: [steps, broken-1, done-1, flaky-1]\n",
        gateway.provider("p", "")
    ));
    until("several polls of the first state", || {
        let polls = history(&exporter, "steps");
        each(&polls["polls"], "count").first().is_some_and(|count| count.as_u64() > Some(1))
    });
    gateway.put("steps", &step("running"));
    exporter.await_state("steps", "running");
    gateway.put("steps", &step("completed"));
    let steps = eventually("the end", || {
        let steps = history(&exporter, "steps");
        each(&steps["states"], "state").contains(&&json!("succeeded")).then_some(steps)
    });
    let states = &steps["states"];
    assert_eq!(each(states, "state"), ["unpolled", "queued", "running", "succeeded"]);
    assert_eq!(each(states, "status"), ["", "queued", "running", "completed"]);
    let (from, to) = (each(states, "from_timestamp_seconds"), each(states, "to_timestamp_seconds"));
    assert_eq!((&to[..3], to[3]), (&from[1..], &Value::Null));
    let seconds = |value: &Value| value.as_f64().unwrap();
    assert!(from.is_sorted_by_key(|from| seconds(from)), "{states}");
    let polls = &steps["polls"];
    assert_eq!(each(polls, "state"), ["queued", "running", "succeeded"]);
    let counts: Vec<_> = each(polls, "count").iter().map(|count| count.as_u64().unwrap()).collect();
    assert!(counts[0] > 1 && counts[2] == 1, "{polls}");
    assert_eq!(steps["cut"], false);
    assert!(seconds(&steps["since_timestamp_seconds"]) <= seconds(from[0]));
    // It has ended, so nothing is added, however often it is looked at.
    assert_eq!(history(&exporter, "steps"), steps);

    let content = text(page(&exporter, "/tasks/p/steps").text());
    let shown = content.split(" History States ").nth(1).unwrap();
    let (states, rest) = shown.split_once(" Polls First (UTC) ").unwrap();
    assert!(states.starts_with("From (UTC) To Time State Status 2"), "{states}");
    let mut last = 0;
    for part in [
        " now ",
        "succeeded completed 2",
        "running running 2",
        "queued queued 2",
        "no answer yet 2",
        " 1h",
        "not known since it was enqueued",
    ] {
        let at = states[last..].find(part).unwrap_or_else(|| panic!("{part}: {states}"));
        last += at;
    }
    for part in [" succeeded, “completed” ", " running, “running” ", " queued, “queued” "]
    {
        assert!(rest.contains(part), "{part}: {rest}");
    }
    assert!(rest.contains(" As polls saw it since the start of the exporter at 2"), "{rest}");

    // Failed polls one after the other are one entry, which has the words of the log.
    until("some failures", || {
        let polls = history(&exporter, "broken-1");
        each(&polls["polls"], "count").first().is_some_and(|count| count.as_u64() > Some(1))
    });
    let broken = history(&exporter, "broken-1");
    assert_eq!(each(&broken["states"], "state"), ["unpolled"]);
    assert_eq!(each(&broken["polls"], "error"), [&json!({ "reason": "http", "code": "500" })]);
    assert_eq!(each(&broken["polls"], "error_detail"), ["HTTP status 500"]);
    let content = text(page(&exporter, "/tasks/p/broken-1").text());
    assert!(content.contains(" failed, http: HTTP status 500 "), "{content}");

    // What a first poll finds ended has none, and says so.
    until("it has ended", || {
        exporter.get("/api/v1/tasks?task_id=done-1").json()["tasks"][0]["final"] == true
    });
    assert_eq!(history(&exporter, "done-1"), Value::Null);
    let content = text(page(&exporter, "/tasks/p/done-1").text());
    let none = " History None. The exporter keeps the histories of the first 10,000 tasks that a \
                poll sees before their end; it started at 2";
    assert!(content.contains(none), "{content}");

    // The newest results stay.
    let flaky = eventually("more than eight results", || {
        let flaky = history(&exporter, "flaky-1");
        (flaky["cut"] == true).then_some(flaky)
    });
    assert_eq!(flaky["polls"].as_array().unwrap().len(), 8);
    let content = text(page(&exporter, "/tasks/p/flaky-1").text());
    assert!(content.contains(" Earlier states and results are no longer kept. "), "{content}");
    // Lists of many tasks are without.
    let all = exporter.get("/api/v1/tasks").json();
    assert!(all["tasks"].as_array().unwrap().iter().all(|task| task.get("history").is_none()));
    let document = fs::read_to_string(root("docs/api.md")).unwrap();
    assert_is_documented(&document, &steps);
}

/// Asserts that the document shows a history with the same fields, and explains those on top.
fn assert_is_documented(document: &str, real: &Value) {
    let section = document.split("\n## History of a task\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let block = section.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(block).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shown), keys(real));
    for list in ["polls", "states"] {
        for entry in shown[list].as_array().unwrap() {
            assert_eq!(keys(entry), keys(&real[list][0]), "{list}");
        }
    }
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: Vec<_> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(explained, keys(real));
}
