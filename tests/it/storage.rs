//! What outlives the process: restarts, kills, damage, a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, pid_of, run};

const TIMESTAMP: &str = "aitask_enqueue_timestamp_seconds";

fn flags(storage: &Path) -> [&str; 3] {
    ["--storage.path", storage.to_str().unwrap(), "--log.level=debug"]
}

fn config(gateway: &Gateway, tasks: &[String]) -> String {
    let provider = gateway.provider("mj", "max_in_flight: 64");
    let tasks = tasks.join(", ");
    format!("global: {{ poll_interval: 100ms }}\nproviders: [{provider}]\ntasks: [{tasks}]\n")
}

/// A task of which the API never tells a time.
fn timeless(gateway: &Gateway) -> String {
    let answer = json!({ "code": 0, "data": { "taskId": "timeless", "status": "running" } });
    gateway.put("timeless", &json!({ "answer": answer }));
    "timeless".to_owned()
}

fn finished(samples: &Samples) -> f64 {
    samples.value("aitask_finished_total", &[("state", "succeeded")]).unwrap()
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
    assert_eq!(finished(&after), 0.0, "it was counted in its life");
    assert_eq!(gateway.requests("ok-1"), polls, "a final task is polled no more");
    assert_eq!(after.value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
}

/// Two hundred lives, each ended by a kill at a random moment, while tasks finish.
#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    const TASKS: usize = 300;
    const LIVES: u64 = 200;
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let mut tasks = vec![timeless(&gateway)];
    for n in 0..TASKS {
        let id = format!("t-{n}");
        // They finish from two seconds after they began to when the last life has begun.
        let seconds = 2.0 + n as f64 * 20.0 / TASKS as f64;
        let steps = json!([{ "status": "running", "seconds": seconds }, { "status": "completed" }]);
        gateway.put(&id, &json!({ "enqueued_seconds_ago": 0.0, "steps": steps }));
        tasks.push(id);
    }
    let config = config(&gateway, &tasks);
    let path = storage.path("state");
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    let mut count = |log: &str| {
        for line in log.lines().filter(|line| line.contains("msg=\"task finished\"")) {
            let id = line.split("task_id=").nth(1).unwrap().split(' ').next().unwrap();
            *counted.entry(id.to_owned()).or_default() += 1;
        }
    };
    // The first life sees that all have begun.
    let mut first = Exporter::start_in(Dir::with(&config), &flags(&path));
    let all = TASKS as f64 + 1.0;
    let seen = first.await_value("aitask_tasks", &[("state", "running")], all);
    let begun = seen.value(TIMESTAMP, &[("task_id", "timeless")]);
    first.process.signal("KILL");
    first.process.wait();
    count(&first.process.log());
    for life in 0..LIVES {
        let dir = Dir::with(&config);
        let mut command = Command::new(PROGRAM);
        command.arg("--config.file").arg(dir.path("aitask.yml"));
        command.arg("--web.listen-address=127.0.0.1:0").args(flags(&path));
        let mut process = Process::start(dir, &mut command);
        // Anything from the loading of the program to a few rounds of polls, spread evenly.
        thread::sleep(Duration::from_millis(life * 61 % 200));
        process.signal("KILL");
        process.wait();
        count(&process.log());
    }
    let mut last = Exporter::start_in(Dir::with(&config), &flags(&path));
    let end = last.await_value("aitask_tasks", &[("state", "succeeded")], TASKS as f64);
    assert_eq!(end.value(TIMESTAMP, &[("task_id", "timeless")]), begun, "its age goes on");
    last.process.signal("TERM");
    last.process.wait();
    count(&last.process.log());
    let twice: Vec<_> = counted.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "counted more than once: {twice:?}");
    // Between the write and the line that tells of it a kill costs the line, which on a slow
    // machine is met now and then; whatever else is lost would be many.
    assert!(counted.len() + 3 >= TASKS, "{} of {TASKS} are counted", counted.len());
    let size: u64 =
        fs::read_dir(&path).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 200_000, "{size} bytes for {TASKS} tasks");
}

#[test]
fn damage_costs_what_is_damaged() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks: Vec<_> = (0..50).map(|n| format!("done-{n}")).collect();
    let path = storage.path("state");
    let life = || Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let mut first = life();
    first.await_value("aitask_tasks", &[("state", "succeeded")], 50.0);
    first.process.signal("KILL");
    first.process.wait();
    let journal = newest_journal(&path);
    let mut content = fs::read(&journal).unwrap();
    assert!(content.len() > 3_000);
    // A bit in the middle, and an end that is missing.
    content[1_500] ^= 0x10;
    content.truncate(content.len() - 7);
    fs::write(&journal, content).unwrap();
    let polled: u64 = tasks.iter().map(|id| gateway.requests(id)).sum();

    let mut second = life();
    let lost = second.scrape().value("aitask_exporter_storage_lost_bytes", &[]).unwrap();
    assert!(lost > 7.0 && lost < 400.0, "{lost}");
    assert!(
        second.process.log().contains("the storage path is damaged"),
        "{}",
        second.process.log()
    );
    second.await_value("aitask_tasks", &[("state", "succeeded")], 50.0);
    let again = tasks.iter().map(|id| gateway.requests(id)).sum::<u64>() - polled;
    assert_eq!(again, 2, "the two that were lost are asked for again, and no other");
    second.process.signal("TERM");
    second.process.wait();
    assert_eq!(life().scrape().value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
}

fn newest_journal(path: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains("journal.")).max().unwrap()
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
    assert!(said.contains("it has to be a directory that can be written"), "{said}");

    // A file of the next version.
    let mut header = b"aitaskst\x02\0\0\0".to_vec();
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.extend(b"what nobody here understands");
    let snapshot = storage.path("state/snapshot");
    fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    fs::write(&snapshot, &header).unwrap();
    let (code, said) = start(snapshot.parent().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has the format 2, which is newer than this exporter"), "{said}");
    assert_eq!(fs::read(&snapshot).unwrap(), header);

    let path = storage.path("shared");
    let _first = Exporter::start_in(Dir::with(&dir.read("aitask.yml")), &flags(&path));
    let (code, said) = start(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process uses"), "{said}");
}

/// The limit on the size of files stands in for a disk that is full.
#[test]
fn a_full_disk_stops_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks: Vec<_> = (0..200).map(|n| format!("done-{n}")).collect();
    let (dir, path) = (Dir::with(&config(&gateway, &tasks)), storage.path("state"));
    let mut command = Command::new("sh");
    let file = dir.path("aitask.yml");
    // The log goes through a pipe, since it is not what is to be limited.
    command.arg("-c").arg("trap '' XFSZ; (ulimit -S -f 16; exec \"$@\") 2>&1 | cat");
    command.arg("sh").arg(PROGRAM).arg("--config.file").arg(file);
    command.arg("--web.listen-address=127.0.0.1:0").args(flags(&path));
    let mut process = Process::start(dir, &mut command);
    let address = process.addresses(1)[0];
    let exporter = Exporter { process, address };
    exporter.await_value("aitask_exporter_storage_up", &[], 0.0);
    let samples = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 200.0);
    assert_eq!(samples.value("aitask_status", &[("task_id", "done-7")]), Some(1.0));
    let log = exporter.process.log();
    assert_eq!(log.matches("running on from memory").count(), 1, "{log}");

    // There is space again.
    let started = samples.value("process_start_time_seconds", &[]);
    let pid = pid_of(&exporter.process.dir.path("aitask.yml"));
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    let samples = exporter.await_value("aitask_exporter_storage_up", &[], 1.0);
    assert_eq!(samples.value("process_start_time_seconds", &[]), started);
    let kill = format!("kill -KILL {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    drop(exporter);
    let polled = gateway.requests("done-7");
    let second = Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let samples = second.scrape();
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(200.0));
    assert_eq!(gateway.requests("done-7"), polled, "nothing was forgotten");
}
