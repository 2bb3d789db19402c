//! A disk that is full, hangs, never gets done or is taken away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{TIMESTAMP, config, finished, finishing, flags, newest_journal, timeless};
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, pid_of, run, until};

/// One that may write files of so many half kilobytes, which stands in for a disk that is full. The
/// signal that the system sends then is not to kill it.
fn limited(dir: Dir, storage: &Path, blocks: u32) -> Exporter {
    Exporter::listening(begin_limited(dir, storage, blocks))
}

fn begin_limited(dir: Dir, storage: &Path, blocks: u32) -> Process {
    let mut command = Command::new("sh");
    let file = dir.path("aitask.yml");
    // The log goes through a pipe, since it is not what is to be limited.
    let limit = format!("(ulimit -S -f {blocks}; exec \"$@\") 2>&1 | cat");
    command.args(["-c", &limit, "sh", PROGRAM, "--config.file"]).arg(file);
    command.arg("--web.listen-address=127.0.0.1:0").args(flags(storage));
    Process::start(dir, &mut command)
}

/// Makes room; returns the exporter's own ID.
fn make_room(process: &Process) -> String {
    let pid = pid_of(&process.dir.path("aitask.yml"));
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    pid
}

#[test]
fn a_full_disk_stops_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks: Vec<_> = (0..200).map(|n| format!("done-{n}")).collect();
    let (dir, path) = (|| Dir::with(&config(&gateway, &tasks)), storage.path("state"));
    let exporter = limited(dir(), &path, 16);
    exporter.await_value("aitask_exporter_storage_up", &[], 0.0);
    let samples = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 200.0);
    assert_eq!(samples.value("aitask_status", &[("task_id", "done-7")]), Some(1.0));
    let log = exporter.process.log();
    assert_eq!(log.matches("running on from memory").count(), 1, "{log}");

    // There is space again.
    let started = samples.value("process_start_time_seconds", &[]);
    let pid = make_room(&exporter.process);
    let samples = exporter.await_value("aitask_exporter_storage_up", &[], 1.0);
    assert_eq!(samples.value("process_start_time_seconds", &[]), started);
    let kill = |pid: &str| {
        assert!(
            Command::new("sh")
                .args(["-c", &format!("kill -KILL {pid}")])
                .status()
                .unwrap()
                .success()
        );
    };
    kill(&pid);
    drop(exporter);
    let polled = gateway.requests("done-7");

    // A start on a disk without any.
    let second = limited(dir(), &path, 0);
    let samples = second.scrape();
    assert_eq!(samples.value("aitask_exporter_storage_up", &[]), Some(0.0));
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(200.0));
    let pid = make_room(&second.process);
    second.await_value("aitask_exporter_storage_up", &[], 1.0);
    kill(&pid);
    drop(second);
    let third = Exporter::start_in(dir(), &flags(&path));
    let samples = third.scrape();
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(200.0));
    assert_eq!(gateway.requests("done-7"), polled, "nothing was forgotten");
}

/// A configuration that is not there yet is one without tasks, of which nothing may be kept.
#[test]
fn a_start_that_fails_erases_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let path = storage.path("state");
    let config = config(&gateway, &["done-1".to_owned(), timeless(&gateway)]);
    let mut first = Exporter::start_in(Dir::with(&config), &flags(&path));
    let before = first.await_value("aitask_tasks", &[("state", "succeeded")], 1.0);
    first.process.signal("TERM");
    first.process.wait();

    // It waits for its configuration while the disk is full, and then is not.
    let dir = Dir::new();
    let file = dir.path("aitask.yml");
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut second = begin_limited(dir, &path, 0);
    until("it has begun", || second.log().contains("the storage path is full"));
    make_room(&second);
    // Longer than between two attempts to write.
    thread::sleep(Duration::from_secs(7));
    fs::write(&file, "providers: nonsense\n").unwrap();
    second.wait();

    let third = Exporter::start_in(Dir::with(&config), &flags(&path));
    let after = third.await_state("timeless", "running");
    let seen = |samples: &Samples| samples.value(TIMESTAMP, &[("task_id", "timeless")]);
    assert_eq!(seen(&after), seen(&before));
    assert_eq!(gateway.requests("done-1"), 1, "nothing was forgotten");
}

/// Writing into a pipe waits for its reader, as it does for a disk that hangs.
#[test]
fn a_disk_that_hangs_or_goes_is_told() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let path = storage.path("state");
    fs::create_dir(&path).unwrap();
    let pipe = path.join("snapshot.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let tasks = ["ok-1".to_owned(), "queued-1".to_owned()];
    let exporter = Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let up = "aitask_exporter_storage_up";
    let samples = exporter.await_value(up, &[], 0.0);
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(1.0));
    assert!(
        exporter.process.log().contains("the storage path hangs"),
        "{}",
        exporter.process.log()
    );
    assert!(fs::read(&pipe).unwrap().starts_with(b"aitaskst"), "it goes on");
    exporter.await_value(up, &[], 1.0);
    assert_eq!(finished(&exporter.scrape()), 1.0);

    fs::remove_dir_all(&path).unwrap();
    exporter.await_value(up, &[], 0.0);
    let log = exporter.process.log();
    assert!(log.contains("somebody has removed or moved the directory"), "{log}");
    exporter.await_value(up, &[], 1.0);
    assert!(path.join("snapshot").exists() && path.join("counted").exists());
    fs::remove_file(newest_journal(&path)).unwrap();
    exporter.await_value(up, &[], 0.0);
    exporter.await_value(up, &[], 1.0);
    fs::rename(&path, storage.path("elsewhere")).unwrap();
    exporter.await_value(up, &[], 0.0);
    exporter.await_value(up, &[], 1.0);
    let dir = &exporter.process.dir;
    let second = run([
        "--config.file",
        dir.path("aitask.yml").to_str().unwrap(),
        "--web.listen-address=127.0.0.1:0",
        "--storage.path",
        path.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another process uses"), "{said}");
}

/// What a kill or an end leaves does not depend on what the disk has for good.
#[test]
fn nothing_waits_for_a_disk_that_never_gets_done() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let (config, path) = (finishing(&gateway, 5, 2.0, 0.5), storage.path("state"));
    for signal in ["KILL", "TERM", "KILL"] {
        let polled = gateway.requests("t-4");
        let mut exporter = Exporter::start_stalled(Dir::with(&config), &flags(&path));
        let seen = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 5.0);
        if polled == 0 {
            exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 5.0);
        } else {
            assert_eq!(gateway.requests("t-4"), polled, "a final task is polled no more");
            let next = exporter.scrape();
            assert_eq!([finished(&seen), finished(&next)], [0.0; 2], "each was counted");
        }
        exporter.process.signal(signal);
        let ended = exporter.process.wait();
        assert!(signal == "KILL" || ended.success(), "{ended}");
    }
}
