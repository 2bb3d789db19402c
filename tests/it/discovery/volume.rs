//! The cost of long lists that change a little: bytes written follow the change.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{Endpoint, Setup, await_listed, discovered, task};
use crate::harness::{Dir, Exporter, Gateway, http, until};

const TASKS: usize = 100_000;
/// Limit on the bytes written for ten lists that add one task each.
const MOST_BYTES: u64 = 16 << 10;

/// The files of a storage path: the snapshot, which is written as a whole, and the size of the others.
fn state(storage: &Dir) -> (u64, u64) {
    let (mut snapshot, mut journals) = (0, 0);
    for file in fs::read_dir(storage.path("state")).unwrap() {
        let file = file.unwrap();
        let metadata = file.metadata().unwrap();
        match file.file_name().to_str() {
            Some("snapshot") => snapshot = metadata.ino(),
            _ => journals += metadata.len(),
        }
    }
    (snapshot, journals)
}

/// Waits until nothing is written any more.
fn settle(storage: &Dir) -> (u64, u64) {
    let mut before = state(storage);
    until("nothing is written any more", || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let now = state(storage);
        std::mem::replace(&mut before, now) == now
    });
    before
}

/// Asserts that only changes were written since.
fn assert_little_is_written(storage: &Dir, before: (u64, u64)) {
    let after = settle(storage);
    assert_eq!(after.0, before.0, "all tasks were written");
    let bytes = after.1 - before.1;
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}

/// IDs as gateways make them.
fn uuid(number: usize) -> String {
    format!("{number:08x}-dda7-4186-ac86-6e16c1fcef17")
}

/// A provider whose tasks are all polled within a minute, in few requests.
fn setup(gateway: &Gateway) -> Setup {
    let url = format!("http://{}/kling-tasks", gateway.address);
    Setup::new("poll_interval: 1y, per_task_series: none").provider(format!(
        "{{ name: mj, preset: kling-tasks, base_url: '{url}', max_in_flight: 4 }}"
    ))
}

#[test]
fn ten_lists_that_add_one_task_each_cost_what_one_task_costs() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let mut list: Vec<_> = (0..TASKS).map(uuid).collect();
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!(list));
    let exporter =
        setup(&gateway).http("jobs", &endpoint.url(), "refresh_interval: 1s").start_with(&storage);
    until("the list has been read", || {
        discovered(&exporter.scrape(), "jobs") == Some(TASKS as f64)
    });
    let before = settle(&storage);
    for number in TASKS..TASKS + 10 {
        // At the start, where it moves all others.
        list.insert(0, uuid(number));
        endpoint.list(&json!(list));
        await_listed(&exporter, &uuid(number), true);
    }
    assert_little_is_written(&storage, before);
}

#[test]
fn ten_reloads_that_add_one_task_each_cost_what_one_task_costs() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let text = |count: usize| {
        let mut lines: Vec<_> = (0..TASKS).map(uuid).collect();
        lines.splice(0..0, (TASKS..TASKS + count).map(uuid));
        lines.join("\n") + "\n"
    };
    let dir = Dir::with(&setup(&gateway).and("task_files: [tasks.txt]").text());
    dir.write("tasks.txt", &text(0));
    let path = storage.path("state");
    let exporter = Exporter::start_in(dir, &["--storage.path", path.to_str().unwrap()]);
    let before = settle(&storage);
    for count in 1..=10 {
        exporter.process.dir.write("tasks.txt", &text(count));
        let reply = http::send(exporter.address, "POST", "/-/reload", &[], "").unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        until("it is listed", || task(&exporter, &uuid(TASKS + count - 1)).is_some());
    }
    assert_little_is_written(&storage, before);
}
