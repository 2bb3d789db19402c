//! One task, however many lists name it; and bad elements among good ones.

use serde_json::{Value, json};

use super::{Endpoint, Setup, await_ids, discovered, rejected, task};
use crate::harness::{Dir, Exporter, Gateway, eventually, until};

/// Returns the labels of a task, once its series have the same.
fn labels(exporter: &Exporter, id: &str) -> Value {
    eventually("the series have the labels of the task", || {
        let samples = exporter.scrape();
        let running = [("task_id", id), ("state", "running")];
        let shown = samples.label("aitask_status", &running, "customer");
        let labels = task(exporter, id).unwrap()["labels"].clone();
        (json!(shown) == labels["customer"]).then_some(labels)
    })
}

fn labelled(ids: &[&str], customer: &str) -> Value {
    json!([{ "targets": ids, "labels": { "customer": customer } }])
}

#[test]
fn labels_come_from_the_first_that_lists_a_task() {
    let gateway = Gateway::start();
    let all = ["running-a", "running-b", "running-c", "running-d", "running-e"];
    let [a, b, c, ..] = all;
    let (first, second) = (Endpoint::listing(&[]), Endpoint::listing(&[]));
    first.list(&labelled(&[a, b, c], "first"));
    second.list(&labelled(&all[..4], "second"));
    let setup = |tasks: &str| {
        Setup::new("poll_interval: 200ms")
            .provider(gateway.provider("mj", ""))
            .endpoint("first", &first, "")
            .endpoint("second", &second, "labels: { customer: nobody, team: video }")
            .file("files", "jobs.json", "refresh_interval: 200ms, labels: { team: file }")
            .and(&format!("tasks: [{tasks}]"))
            .text()
    };
    let dir = Dir::with(&setup("{ id: running-a, labels: { customer: person } }"));
    dir.write("jobs.json", &labelled(&all, "file").to_string());
    let exporter = Exporter::start_in(dir, &[]);
    let samples = exporter.await_value("aitask_tasks", &[("state", "running")], 5.0);
    assert_eq!(samples.find("aitask_up", &[]).len(), 5, "one task each");
    for (config, count) in [("first", 3.0), ("second", 4.0), ("files", 5.0)] {
        assert_eq!(discovered(&samples, config), Some(count), "{config}");
    }
    for (id, expected, sources) in [
        (
            a,
            json!({ "customer": "person" }),
            json!(["config", "http/first", "http/second", "file/files"]),
        ),
        (b, json!({ "customer": "first" }), json!(["http/first", "http/second", "file/files"])),
        (
            all[3],
            json!({ "customer": "second", "team": "video" }),
            json!(["http/second", "file/files"]),
        ),
        (all[4], json!({ "customer": "file", "team": "file" }), json!(["file/files"])),
    ] {
        assert_eq!(labels(&exporter, id), expected, "{id}");
        let task = task(&exporter, id).unwrap();
        assert_eq!((&task["sources"], &task["listed"]), (&sources, &json!(true)), "{id}");
    }

    // What is first changes, and the tasks stay the same.
    let enqueued = task(&exporter, b).unwrap()["enqueue_timestamp_seconds"].clone();
    first.list(&labelled(&[a, c], "first"));
    until("the second list is the first that has it", || {
        labels(&exporter, b) == json!({ "customer": "second", "team": "video" })
    });
    assert_eq!(exporter.reload(&setup("")).status, 200);
    until("no person lists it", || labels(&exporter, a) == json!({ "customer": "first" }));
    first.list(&labelled(&[a, b, c], "changed"));
    until("a label has changed", || labels(&exporter, b) == json!({ "customer": "changed" }));
    assert_eq!(task(&exporter, b).unwrap()["enqueue_timestamp_seconds"], enqueued);
    assert_eq!(exporter.scrape().find("aitask_up", &[]).len(), 5);
}

#[test]
fn a_task_of_two_providers_is_two() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([
        { "id": "running-a", "provider": "one" },
        { "targets": ["running-a", "running-b"], "labels": { "provider": "two" } },
        "running-c",
    ]));
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("one", ""))
        .provider(gateway.provider("two", ""))
        .endpoint("jobs", &endpoint, "provider: two")
        .start();
    for (provider, count) in [("one", 1.0), ("two", 3.0)] {
        let labels = [("provider", provider), ("state", "running")];
        exporter.await_value("aitask_tasks", &labels, count);
    }
}

#[test]
fn params_of_a_list_fill_the_request() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([
        { "targets": ["running-a"], "labels": { "__param_kind": "text2video", "__meta_x": "y" } },
        { "id": "running-b", "params": { "kind": "image2video", "unused": "1" } },
        "running-without",
    ]));
    let url = format!("http://{}/kling", gateway.address);
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(format!("{{ name: kling, preset: kling, base_url: '{url}' }}"))
        .endpoint("jobs", &endpoint, "")
        .start();
    for (id, kind) in [("running-a", "text2video"), ("running-b", "image2video")] {
        exporter.await_state(id, "running");
        let path = format!("/kling/v1/videos/{kind}/{id}");
        assert_eq!(gateway.asked(id)["last_path"], path);
    }
    // Names that begin with two underscores are no labels.
    assert_eq!(task(&exporter, "running-a").unwrap()["labels"], json!({}));
    let samples = exporter.scrape();
    assert_eq!(rejected(&samples, "jobs", "params"), Some(1.0));
    assert_eq!(discovered(&samples, "jobs"), Some(2.0));
    assert!(task(&exporter, "running-without").is_none());
}

#[test]
fn bad_elements_are_skipped_counted_and_named() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    let long = "x".repeat(2_000);
    let list = json!([
        "running-1",
        "..",
        { "targets": ["running-2", "a/../b", "running-3"], "labels": { "customer": "acme" } },
        "x".repeat(5_000),
        { "targets": ["strange-provider-x"], "labels": { "provider": "nobody" } },
        { "id": "no-text-x", "labels": { "customer": ["list"] } },
        { "id": "long-label-x", "labels": { "customer": long } },
        { "id": "bad-name-x", "labels": { "a-b": "c" } },
        { "id": "bad-time-x", "enqueue_time": "yesterday" },
        { "id": "<b>bad-html-x</b>", "enqueue_time": "yesterday" },
        { "id": null },
        "running-4",
        8076,
        "running-1",
    ]);
    endpoint.list(&list);
    let exporter = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "")
        .start();
    let good = ["8076", "running-1", "running-2", "running-3", "running-4"];
    await_ids(&exporter, &good);
    let samples = exporter.scrape();
    assert_eq!(discovered(&samples, "jobs"), Some(5.0));
    for (reason, count) in [
        ("id", 4.0),
        ("provider", 1.0),
        ("labels", 3.0),
        ("time", 2.0),
        ("params", 0.0),
        ("limit", 0.0),
    ] {
        assert_eq!(rejected(&samples, "jobs", reason), Some(count), "{reason}");
    }
    assert_eq!(super::failures(&samples, "jobs", None), 0.0, "the rest of the list counts");
    let page = exporter.get("/service-discovery");
    assert_eq!(page.status, 200);
    for part in ["jobs", "a/../b", "nobody", "no-text-x", "long-label-x", "a-b", "bad-time-x"] {
        assert!(page.text().contains(part), "{part} is not on {}", page.text());
    }
    assert!(!page.text().contains("<b>bad-html-x"), "{}", page.text());
    assert!(!page.text().contains(&long), "a text is cut");

    // Once the list is good, nothing is bad any more.
    endpoint.list(&json!(good));
    eventually("nothing is rejected", || {
        let samples = exporter.scrape();
        let counts = samples.find("aitask_sd_rejected_tasks", &[("config", "jobs")]);
        counts.iter().all(|(_, count)| *count == 0.0).then_some(())
    });
    assert!(!exporter.get("/service-discovery").text().contains("nobody"));
    await_ids(&exporter, &good);
}

/// A file may hold the same, one of each kind.
#[test]
fn files_of_each_kind_are_lists() {
    let gateway = Gateway::start();
    let dir = Dir::with(
        &Setup::new("poll_interval: 1h")
            .provider(gateway.provider("mj", ""))
            .file("files", "lists/*', 'more.txt", "refresh_interval: 200ms")
            .text()
            .replace("'lists/*'", "'lists/*.json', 'lists/*.yml', 'lists/*.yaml'"),
    );
    dir.write("lists/a.json", r#"["a", {"targets": ["b", "c"]}]"#);
    dir.write("lists/b.yml", "- d\n- 007\n- 1e3\n- { id: e, labels: { customer: acme } }\n");
    dir.write("lists/c.yaml", "- targets: [f]\n  labels: { team: g }\n");
    dir.write("more.txt", "# jobs\nh\n\n i \n");
    let exporter = Exporter::start_in(dir, &[]);
    await_ids(&exporter, &["007", "1e3", "a", "b", "c", "d", "e", "f", "h", "i"]);
    assert_eq!(task(&exporter, "e").unwrap()["labels"], json!({ "customer": "acme" }));
    assert_eq!(task(&exporter, "f").unwrap()["labels"], json!({ "team": "g" }));
}
