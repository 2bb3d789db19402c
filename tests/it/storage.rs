//! What outlives the process: restarts, kills, damage.

mod disk;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, eventually, http, run, until};

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

fn kill(mut exporter: Exporter) {
    exporter.process.signal("KILL");
    exporter.process.wait();
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

/// Finished tasks as a reader tells them from scrapes over several lives, by the rule of Prometheus:
/// a value below the last one is of counters that have begun anew.
#[derive(Debug, Default)]
struct Reader {
    last: [f64; 2],
    sum: [f64; 2],
}

impl Reader {
    /// Takes in a scrape: tasks, and those of them whose duration is known.
    fn read(&mut self, samples: &Samples) {
        let labels = [("state", "succeeded")];
        let durations = samples.value("aitask_task_duration_seconds_count", &labels);
        let now = [finished(samples), durations.unwrap()];
        for ((sum, last), now) in self.sum.iter_mut().zip(self.last).zip(now) {
            *sum += if now < last { now } else { now - last };
        }
        self.last = now;
    }
}

/// Two hundred lives, each ended by a kill at a random moment, while tasks finish.
#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    const TASKS: usize = 300;
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = finishing(&gateway, TASKS, 2.0, 20.0);
    let path = storage.path("state");
    let life = || Exporter::start_in(Dir::with(&config), &flags(&path));
    // The first life sees that all have begun.
    let mut exporter = life();
    let all = TASKS as f64 + 1.0;
    let seen = exporter.await_value("aitask_tasks", &[("state", "running")], all);
    let begun = seen.value(TIMESTAMP, &[("task_id", "timeless")]);
    let (mut reader, mut told) = (Reader::default(), 0);
    for number in 0..100 {
        exporter.process.signal("KILL");
        exporter.process.wait();
        // One that may not even get to its first poll.
        let mut process = Exporter::begin(Dir::with(&config), &flags(&path));
        thread::sleep(Duration::from_millis(number * 61 % 150));
        process.signal("KILL");
        process.wait();
        // And one of which nobody sees the end.
        exporter = life();
        reader.read(&exporter.scrape());
        assert_eq!(reader.last, [0.0; 2], "the counters begin anew");
        thread::sleep(Duration::from_millis(number * 29 % 100));
        reader.read(&exporter.scrape());
        told += u32::from(reader.last[0] > 0.0);
        thread::sleep(Duration::from_millis(number * 37 % 100));
    }
    let end = eventually("every finish is counted", || {
        let samples = exporter.scrape();
        reader.read(&samples);
        let ended = samples.value("aitask_tasks", &[("state", "succeeded")]);
        (ended == Some(TASKS as f64) && reader.sum[0] >= TASKS as f64).then_some(samples)
    });
    assert_eq!(reader.sum, [TASKS as f64; 2]);
    assert!(told > 20, "only {told} lives told of a finish");
    assert_eq!(end.value(TIMESTAMP, &[("task_id", "timeless")]), begun, "its age goes on");
    let size: u64 =
        fs::read_dir(&path).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 200_000, "{size} bytes for {TASKS} tasks");
}

/// An answer that a kill cuts short is no reader's; what a whole one told is told by no later life.
#[test]
fn a_kill_during_scrapes_doubles_nothing() {
    const TASKS: usize = 200;
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = finishing(&gateway, TASKS, 1.0, 10.0);
    let path = storage.path("state");
    let mut reader = Reader::default();
    for number in 0..50 {
        let mut process = Exporter::begin(Dir::with(&config), &flags(&path));
        let address = process.addresses(1)[0];
        thread::scope(|scope| {
            scope.spawn(|| {
                let scrape = || http::send(address, "GET", "/metrics", &[], "").ok();
                while let Some(reply) = scrape() {
                    reader.read(&Samples::parse(reply.text()));
                }
            });
            thread::sleep(Duration::from_millis(number * 61 % 200));
            process.signal("KILL");
            process.wait();
        });
    }
    let last = Exporter::start_in(Dir::with(&config), &flags(&path));
    reader.read(&last.scrape());
    let end = last.await_value("aitask_tasks", &[("state", "succeeded")], TASKS as f64);
    reader.read(&end);
    reader.read(&last.scrape());
    // Each kill may have cost what one answer was to tell.
    let sum = reader.sum[0];
    assert!(sum <= TASKS as f64 && sum > 0.0, "{sum} of {TASKS} are counted");
}

/// A finish that no scrape has shown before an ordinary end.
#[test]
fn what_nobody_has_seen_is_left_to_the_next_life() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let path = storage.path("state");
    let config = config(&gateway, &["ok-1".to_owned()]);
    let life = || Exporter::start_in(Dir::with(&config), &flags(&path));
    let mut first = life();
    // The log tells it, and no scrape: a question for the headers alone reads no counter.
    until("it has ended", || first.process.log().contains("to=succeeded"));
    let reply = http::send(first.address, "HEAD", "/metrics", &[], "").unwrap();
    assert_eq!(reply.status, 200);
    first.process.signal("TERM");
    first.process.wait();
    // Nobody reads the second life. In the third the first reader sees where the counters begin.
    kill(life());
    let third = life();
    let seen = [finished(&third.scrape()), finished(&third.scrape()), finished(&third.scrape())];
    assert_eq!(seen, [0.0, 1.0, 1.0]);
    kill(third);
    let fourth = life();
    assert_eq!([finished(&fourth.scrape()), finished(&fourth.scrape())], [0.0; 2]);
    kill(fourth);

    // Where nothing tells what was counted, nothing is counted again.
    let counted = path.join("counted");
    let mut content = fs::read(&counted).unwrap();
    content[30] ^= 1;
    fs::write(&counted, &content).unwrap();
    let fifth = life();
    let lost = fifth.scrape().value("aitask_exporter_storage_lost_bytes", &[]);
    // The frame of what it said, and what it said.
    assert_eq!(lost, Some(content.len() as f64 - 16.0 + 1.0));
    assert_eq!(finished(&fifth.scrape()), 0.0);
}

#[test]
fn what_is_missing_is_told() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let (config, path) = (finishing(&gateway, 3, 1.0, 0.3), storage.path("state"));
    let life = || Exporter::start_in(Dir::with(&config), &flags(&path));
    let lost = |exporter: &Exporter| {
        exporter.scrape().value("aitask_exporter_storage_lost_bytes", &[]).unwrap()
    };
    let first = life();
    first.await_value("aitask_finished_total", &[("state", "succeeded")], 3.0);
    assert_eq!(lost(&first), 0.0);
    kill(first);
    fs::remove_file(newest_journal(&path)).unwrap();
    let second = life();
    let log = second.process.log();
    assert!(log.contains("the storage path is damaged"), "{log}");
    // One for each change that was counted and is in no file.
    assert!((1.0..10.0).contains(&lost(&second)), "{}", lost(&second));
    second.await_value("aitask_tasks", &[("state", "succeeded")], 3.0);

    let counted = path.join("counted");
    fs::remove_file(&counted).unwrap();
    second.await_value("aitask_exporter_storage_up", &[], 0.0);
    second.await_value("aitask_exporter_storage_up", &[], 1.0);
    assert!(counted.exists());
    kill(second);
    fs::remove_file(&counted).unwrap();
    let third = life();
    assert_eq!(lost(&third), 1.0);
    kill(third);
    assert_eq!(lost(&life()), 0.0);
}

#[test]
fn damage_costs_what_is_damaged() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks: Vec<_> = (0..50).map(|n| format!("done-{n:02}")).collect();
    let path = storage.path("state");
    let life = || Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let mut first = life();
    let written = |id: &String| {
        let content = fs::read(newest_journal(&path)).unwrap();
        content.windows(id.len()).any(|window| window == id.as_bytes())
    };
    until("all are written", || tasks.iter().all(written));
    first.process.signal("KILL");
    first.process.wait();
    let journal = newest_journal(&path);
    let mut content = fs::read(&journal).unwrap();
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
