//! Tasks that come: when they are polled first, and since when they count as enqueued.

use serde_json::json;

use super::{Endpoint, Setup, await_listed, discovered, ids, timeless};
use crate::harness::{Dir, Exporter, Gateway, until};

const ENQUEUED: &str = "aitask_enqueue_timestamp_seconds";

fn running(count: usize, word: &str) -> Vec<String> {
    (0..count).map(|number| format!("running-{word}-{number}")).collect()
}

/// The first list keeps to the places, of which few are within the seconds of a test.
#[test]
fn a_new_task_is_polled_at_once() {
    let gateway = Gateway::start();
    let (first, files) = (running(10, "first"), running(10, "file"));
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!(first));
    let setup = |tasks: &str| {
        Setup::new("poll_interval: 1h")
            .provider(gateway.provider("mj", ""))
            .endpoint("jobs", &endpoint, "")
            .file("files", "jobs.json", "refresh_interval: 200ms")
            .and(&format!("tasks: [{tasks}]"))
            .text()
    };
    let dir = Dir::with(&setup("running-person"));
    dir.write("jobs.json", &json!(files).to_string());
    let exporter = Exporter::start_in(dir, &[]);
    until("both sources have been read", || ids(&exporter).len() == 21);
    endpoint.await_refresh();

    let mut list = first.clone();
    list.push("running-new".to_owned());
    endpoint.list(&json!(list));
    until("a task of an endpoint is polled", || gateway.requests("running-new") == 1);
    let mut list = files.clone();
    list.push("running-new-file".to_owned());
    exporter.process.dir.write("jobs.json", &json!(list).to_string());
    until("a task of a file is polled", || gateway.requests("running-new-file") == 1);
    assert_eq!(exporter.reload(&setup("running-person, running-new-person")).status, 200);
    until("a task of a reload is polled", || gateway.requests("running-new-person") == 1);
    // Then at their places.
    endpoint.await_refresh();
    for id in ["running-new", "running-new-file", "running-new-person"] {
        assert!(gateway.requests(id) <= 2, "{id}");
    }
    let early = first.iter().chain(&files).filter(|id| gateway.requests(id) > 0).count();
    assert!(early <= 1, "{early} tasks of first lists are polled out of turn");
}

#[test]
fn of_very_many_new_tasks_a_thousand_are_polled_at_once() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&["running-first"]);
    let exporter = Setup::new("poll_interval: 1h")
        .provider(gateway.provider("mj", "max_in_flight: 64"))
        .endpoint("jobs", &endpoint, "")
        .start();
    exporter.await_value("aitask_sd_discovered_tasks", &[("config", "jobs")], 1.0);
    let mut list = running(1_600, "many");
    list.push("running-first".to_owned());
    endpoint.list(&json!(list));
    let requests = || gateway.stats()["requests"].as_u64().unwrap();
    until("a thousand are polled", || requests() >= 1_000);
    // One more is not behind the rest of them.
    list.push("running-last".to_owned());
    endpoint.list(&json!(list));
    until("the last is polled", || gateway.requests("running-last") == 1);
    assert!(requests() < 1_100, "{} polls", requests());
}

#[test]
fn the_enqueue_time_is_that_of_the_api_or_else_of_the_source() {
    let gateway = Gateway::start();
    let script = json!({ "enqueued_seconds_ago": 600, "steps": [{ "status": "running" }] });
    for id in ["api", "text", "number", "string", "label", "none"] {
        gateway.put(id, &script);
    }
    let endpoint = Endpoint::listing(&[]);
    let epoch = 1_764_486_000.0;
    let source = |id: &str, time: serde_json::Value| json!({ "id": id, "provider": "flux", "enqueue_time": time });
    endpoint.list(&json!([
        { "id": "api", "provider": "mj", "enqueue_time": epoch },
        source("text", json!("2025-11-30T08:00:00+01:00")),
        source("number", json!(epoch)),
        source("string", json!("1764486000")),
        { "targets": ["label"],
          "labels": { "provider": "flux", "__enqueue_time__": "2025-11-30T07:00:00Z" } },
        { "id": "none", "provider": "flux" },
    ]));
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .provider(timeless(&gateway, "flux"))
        .endpoint("jobs", &endpoint, "")
        .start();
    for id in ["api", "text", "number", "string", "label", "none"] {
        exporter.await_state(id, "running");
    }
    let samples = exporter.scrape();
    let since = |id: &str| samples.label(ENQUEUED, &[("task_id", id)], "since").unwrap();
    let time = |id: &str| samples.value(ENQUEUED, &[("task_id", id)]).unwrap();
    assert_eq!((since("api"), since("none")), ("api", "first_seen"));
    assert!(time("api") > epoch + 1.0);
    for id in ["text", "number", "string", "label"] {
        assert_eq!((since(id), time(id)), ("source", epoch), "{id}");
        let age = samples.value("aitask_queue_age_seconds", &[("task_id", id)]).unwrap();
        assert!(age > 86_400.0, "{id}: {age}");
    }
}

/// A file that is truncated and written again, as careless programs do, loses no task its age.
#[test]
fn queue_ages_survive_a_list_file_that_is_truncated() {
    let gateway = Gateway::start();
    let lists = [
        ("a.json", r#"["a"]"#, "a"),
        ("b.yml", "- b\n", "b"),
        ("c.yaml", "[c]", "c"),
        ("d.txt", "d\n", "d"),
    ];
    let dir = Dir::with(
        &Setup::new("poll_interval: 200ms")
            .provider(timeless(&gateway, "flux"))
            .file("lists", "lists/*", "refresh_interval: 200ms")
            .text()
            .replace("'lists/*'", "'lists/*.json', 'lists/*.yml', 'lists/*.yaml', 'lists/*.txt'"),
    );
    for (file, text, id) in lists {
        gateway.put(id, &json!({ "steps": [{ "status": "running" }] }));
        dir.write(&format!("lists/{file}"), text);
    }
    let exporter = Exporter::start_in(dir, &[]);
    let ids = lists.map(|(_, _, id)| id);
    for id in ids {
        exporter.await_state(id, "running");
    }
    let times = || {
        let samples = exporter.scrape();
        ids.map(|id| samples.value(ENQUEUED, &[("task_id", id)]))
    };
    let before = times();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    let path = |file: &str| exporter.process.dir.path(&format!("lists/{file}"));
    for (file, _, _) in lists {
        std::fs::write(path(file), "").unwrap();
    }
    // An empty text is a list, and an empty document is none.
    await_listed(&exporter, "d", false);
    let samples = exporter.await_value("aitask_sd_discovered_tasks", &[("config", "lists")], 3.0);
    assert!(super::failures(&samples, "lists", Some("decode")) > 0.0);
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(times(), before);
    for id in &ids[..3] {
        await_listed(&exporter, id, true);
    }
    for (file, text, _) in lists {
        std::fs::write(path(file), text).unwrap();
    }
    await_listed(&exporter, "d", true);
    assert_eq!(discovered(&exporter.scrape(), "lists"), Some(4.0));
    assert_eq!(times(), before);
}
