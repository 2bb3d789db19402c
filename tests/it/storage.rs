//! The storage path: restarts, kills, damage.

mod damage;
pub mod disk;
mod readers;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, run, until};

const TIMESTAMP: &str = "aitask_enqueue_timestamp_seconds";

fn flags(storage: &Path) -> [&str; 3] {
    ["--storage.path", storage.to_str().unwrap(), "--log.level=debug"]
}

fn config(gateway: &Gateway, tasks: &[String]) -> String {
    let provider = gateway.provider("mj", "max_in_flight: 64");
    let tasks = tasks.join(", ");
    format!("global: {{ poll_interval: 100ms }}\nproviders: [{provider}]\ntasks: [{tasks}]\n")
}

/// Creates a task for which the API never reports a time.
fn timeless(gateway: &Gateway) -> String {
    let answer = json!({ "code": 0, "data": { "taskId": "timeless", "status": "running" } });
    gateway.put("timeless", &json!({ "answer": answer }));
    "timeless".to_owned()
}

pub fn kill(mut exporter: Exporter) {
    exporter.process.signal("KILL");
    exporter.process.wait();
}

fn finished(samples: &Samples) -> f64 {
    samples.value("aitask_finished_total", &[("state", "succeeded")]).unwrap()
}

/// Tasks that finish one after another, and the configuration with them and one without times.
fn finishing(gateway: &Gateway, count: usize, from: f64, over: f64) -> String {
    let mut tasks = vec![timeless(gateway)];
    for n in 0..count {
        let id = format!("t-{n}");
        let seconds = from + n as f64 * over / count as f64;
        let steps = json!([{ "status": "running", "seconds": seconds }, { "status": "completed" }]);
        gateway.put(&id, &json!({ "enqueued_seconds_ago": 0.0, "steps": steps }));
        tasks.push(id);
    }
    config(gateway, &tasks)
}

#[test]
fn a_restart_forgets_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks = [timeless(&gateway), "ok-1".to_owned(), "done-1".to_owned()];
    let path = storage.path("deep/state");
    let life = || Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let mut first = life();
    first.await_state("timeless", "running");
    first.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    let before = first.await_state("ok-1", "succeeded");
    assert_eq!(before.value("aitask_exporter_storage_up", &[]), Some(1.0));
    first.process.signal("TERM");
    assert!(first.process.wait().success());
    let polls = gateway.requests("ok-1");

    let second = life();
    let after = second.await_state("timeless", "running");
    for (family, id) in [
        (TIMESTAMP, "timeless"),
        ("aitask_state_timestamp_seconds", "timeless"),
        ("aitask_state_timestamp_seconds", "ok-1"),
        ("aitask_duration_seconds", "ok-1"),
        ("aitask_last_poll_timestamp_seconds", "ok-1"),
    ] {
        let labels = [("task_id", id)];
        assert!(before.value(family, &labels).is_some(), "{family} of {id}");
        assert_eq!(after.value(family, &labels), before.value(family, &labels), "{family} of {id}");
    }
    assert_eq!(after.label(TIMESTAMP, &[("task_id", "timeless")], "since"), Some("first_seen"));
    assert_eq!(after.value("aitask_tasks", &[("state", "succeeded")]), Some(2.0));
    assert_eq!(finished(&after), 1.0, "it was shown in its life");
    assert_eq!(gateway.requests("ok-1"), polls, "a final task is polled no more");
    assert_eq!(after.value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
}

/// The path of the journal that is written.
fn newest_journal(path: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let number = |path: &std::path::PathBuf| path.extension()?.to_str()?.parse::<u64>().ok();
    files.filter(|path| number(path).is_some()).max_by_key(number).unwrap()
}

#[test]
fn what_cannot_be_used_is_refused_and_left_alone() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let dir = Dir::with(&config(&gateway, &["queued-1".to_owned()]));
    let file = dir.path("aitask.yml");
    let start = |path: &Path| {
        let output = run([
            "--config.file",
            file.to_str().unwrap(),
            "--web.listen-address=127.0.0.1:0",
            "--storage.path",
            path.to_str().unwrap(),
        ]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = start(&file);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--storage.path: cannot use") && said.contains("aitask.yml"), "{said}");
    let (code, said) = start(Path::new("/proc/none"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it must be a writable directory"), "{said}");

    // Files of the next version, and of one before.
    for (version, age) in [(4, "newer"), (2, "older")] {
        for name in ["snapshot", "journal.0"] {
            let mut header = [b"aitaskst", &[version, 0, 0, 0][..]].concat();
            header.extend(crc32fast::hash(&header).to_le_bytes());
            header.extend(b"what only another version understands");
            let file = storage.path(&format!("{age}/{name}/{name}"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &header).unwrap();
            let (code, said) = start(file.parent().unwrap());
            assert_eq!(code, Some(1), "{said}");
            let format = format!("has the format {version}, which is {age} than this exporter");
            assert!(said.contains(&format), "{said}");
            assert_eq!(fs::read(&file).unwrap(), header);
        }
    }

    let path = storage.path("shared");
    let _first = Exporter::start_in(Dir::with(&dir.read("aitask.yml")), &flags(&path));
    let (code, said) = start(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process uses"), "{said}");
}

/// Makes something at a path.
type Make<'a> = &'a dyn Fn(&Path);

/// Entries that have the name of a storage file but are no regular files. Reading a pipe or a
/// device might never end.
#[test]
fn what_is_no_regular_file_is_refused_with_a_sentence() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let dir = Dir::with(&config(&gateway, &["queued-1".to_owned()]));
    let file = dir.path("aitask.yml");
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    for name in ["snapshot", "lock"] {
        let make: [(&str, Make<'_>); 5] = [
            ("folder", &|path| fs::create_dir(path).unwrap()),
            ("pipe", &pipe),
            ("device", &|path| symlink("/dev/zero", path).unwrap()),
            ("linked-folder", &|path| symlink("/tmp", path).unwrap()),
            ("linked-pipe", &|path| {
                pipe(&path.with_extension("pipe"));
                symlink(path.with_extension("pipe"), path).unwrap();
            }),
        ];
        for (kind, make) in make {
            let path = storage.path(&format!("{name}-{kind}"));
            fs::create_dir(&path).unwrap();
            make(&path.join(name));
            let output = run([
                "--config.file",
                file.to_str().unwrap(),
                "--web.listen-address=127.0.0.1:0",
                "--storage.path",
                path.to_str().unwrap(),
            ]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{name} {kind}: {said}");
            assert!(said.contains("is not a regular file") && said.contains(name), "{said}");
        }
    }
}

/// Providers that leave the configuration end, and continue when they come back: in the same life
/// and in the next.
#[test]
fn a_provider_that_comes_back_continues() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let path = storage.path("state");
    let with = |providers: &[&str]| {
        let list: Vec<_> = providers.iter().map(|name| gateway.provider(name, "")).collect();
        let tasks = ["a", "b"].into_iter().filter(|name| providers.contains(name));
        let tasks: Vec<_> =
            tasks.map(|name| format!("{{ provider: {name}, id: ok-{name} }}")).collect();
        format!(
            "global: {{ poll_interval: 100ms }}\nproviders: [{}]\ntasks: [{}]\n",
            list.join(", "),
            tasks.join(", ")
        )
    };
    let of = |samples: &Samples, provider: &str| {
        let labels = [("provider", provider), ("state", "succeeded")];
        samples.value("aitask_finished_total", &labels)
    };
    let exporter = Exporter::start_in(Dir::with(&with(&["a", "b"])), &flags(&path));
    until("both are shown", || {
        let samples = exporter.scrape();
        of(&samples, "a") == Some(1.0) && of(&samples, "b") == Some(1.0)
    });
    assert_eq!(exporter.reload(&with(&["a"])).status, 200);
    assert_eq!(of(&exporter.scrape(), "b"), None);
    assert_eq!(exporter.reload(&with(&["a", "b"])).status, 200);
    assert_eq!(of(&exporter.scrape(), "b"), Some(1.0));
    assert_eq!(exporter.reload(&with(&["b"])).status, 200);
    kill(exporter);
    // A life without it, and one with it.
    let exporter = Exporter::start_in(Dir::with(&with(&["b"])), &flags(&path));
    assert_eq!(of(&exporter.scrape(), "a"), None);
    kill(exporter);
    let exporter = Exporter::start_in(Dir::with(&with(&["a", "b"])), &flags(&path));
    let samples = exporter.scrape();
    assert_eq!([of(&samples, "a"), of(&samples, "b")], [Some(1.0); 2]);
}
