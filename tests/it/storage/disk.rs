//! A disk that is full, hangs, never gets done or is taken away.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{TIMESTAMP, config, finished, finishing, flags, kill, newest_journal, timeless};
use crate::harness::host::Disk;
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, pid_of, run, until};

/// Starts an exporter that may write files of so many half kilobytes, which simulates a full disk.
/// The signal that the system then sends must not kill it.
pub fn limited(dir: Dir, flags: &[&str], blocks: u32) -> Exporter {
    Exporter::listening(begin_limited(dir, flags, blocks))
}

fn begin_limited(dir: Dir, flags: &[&str], blocks: u32) -> Process {
    let mut command = Command::new("sh");
    let file = dir.path("aitask.yml");
    // The log goes through a pipe, since it is not what is to be limited.
    let limit = format!("(ulimit -S -f {blocks}; exec \"$@\") 2>&1 | cat");
    command.args(["-c", &limit, "sh", PROGRAM, "--config.file"]).arg(file);
    command.arg("--web.listen-address=127.0.0.1:0").args(flags);
    Process::start(dir, &mut command)
}

/// Makes room; returns the exporter's own ID.
pub fn make_room(process: &Process) -> String {
    let pid = pid_of(&process.dir.path("aitask.yml"));
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    pid
}

/// Kills the exporter itself.
pub fn kill_limited(exporter: Exporter) {
    kill_process(&pid_of(&exporter.process.dir.path("aitask.yml")));
    drop(exporter);
}

fn kill_process(pid: &str) {
    let kill = format!("kill -KILL {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn a_full_disk_stops_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let done = (0..200).map(|n| format!("done-{n}"));
    let tasks: Vec<_> = done.chain(["ok-1".to_owned()]).collect();
    let (dir, path) = (|| Dir::with(&config(&gateway, &tasks)), storage.path("state"));
    let exporter = limited(dir(), &flags(&path), 16);
    exporter.await_value("aitask_exporter_storage_up", &[], 0.0);
    let samples = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 201.0);
    assert_eq!(samples.value("aitask_status", &[("task_id", "done-7")]), Some(1.0));
    assert_eq!(finished(&samples), 0.0, "it waits");
    let log = exporter.process.log();
    assert_eq!(log.matches("continuing in memory").count(), 1, "{log}");

    // There is space again.
    let started = samples.value("process_start_time_seconds", &[]);
    let pid = make_room(&exporter.process);
    let samples = exporter.await_value("aitask_exporter_storage_up", &[], 1.0);
    assert_eq!(samples.value("process_start_time_seconds", &[]), started);
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    kill_process(&pid);
    drop(exporter);
    let polled = gateway.requests("done-7");

    // A start on a disk without any.
    let second = limited(dir(), &flags(&path), 0);
    let samples = second.scrape();
    assert_eq!(samples.value("aitask_exporter_storage_up", &[]), Some(0.0));
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(201.0));
    assert_eq!(finished(&samples), 1.0);
    let pid = make_room(&second.process);
    second.await_value("aitask_exporter_storage_up", &[], 1.0);
    kill_process(&pid);
    drop(second);
    let third = Exporter::start_in(dir(), &flags(&path));
    let samples = third.scrape();
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(201.0));
    assert_eq!(finished(&samples), 1.0);
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

    // Its configuration has an error, and the disk is full.
    let mut second = begin_limited(Dir::with("providers: nonsense\n"), &flags(&path), 0);
    second.wait();
    assert!(second.log().contains("expected a list"), "{}", second.log());

    let third = Exporter::start_in(Dir::with(&config), &flags(&path));
    let after = third.await_state("timeless", "running");
    let seen = |samples: &Samples| samples.value(TIMESTAMP, &[("task_id", "timeless")]);
    assert_eq!(seen(&after), seen(&before));
    assert_eq!(gateway.requests("done-1"), 1, "nothing was forgotten");
}

/// Writing into a pipe waits for its reader, as it does for a disk that hangs.
#[test]
fn a_disk_that_hangs_or_vanishes_is_reported() {
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
    until("it says so", || exporter.process.log().contains("the storage path hangs"));
    assert_eq!(finished(&exporter.scrape()), 0.0, "the disk does not have it");
    assert!(fs::read(&pipe).unwrap().starts_with(b"aitaskst"), "it goes on");
    exporter.await_value(up, &[], 1.0);
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);

    fs::remove_dir_all(&path).unwrap();
    exporter.await_value(up, &[], 0.0);
    let why = "another process has removed or moved the directory";
    until("it says why", || exporter.process.log().contains(why));
    exporter.await_value(up, &[], 1.0);
    assert!(path.join("snapshot").exists());
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

/// Counters that are not on the disk yet are neither shown nor lost, and nothing else waits for
/// them.
#[test]
fn nothing_waits_for_a_disk_that_never_gets_done() {
    let (gateway, storage, disk) = (Gateway::start(), Dir::new(), Disk::that("stalls"));
    let (config, path) = (finishing(&gateway, 5, 2.0, 0.5), storage.path("state"));
    for signal in ["KILL", "TERM", "KILL"] {
        let polled = gateway.requests("t-4");
        let mut exporter = Exporter::start_with_disk(&disk, Dir::with(&config), &flags(&path));
        let seen = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 5.0);
        if polled > 0 {
            assert_eq!(gateway.requests("t-4"), polled, "a final task is polled no more");
        }
        let next = exporter.scrape();
        assert_eq!([finished(&seen), finished(&next)], [0.0; 2], "the disk has none");
        exporter.process.signal(signal);
        let ended = exporter.process.wait();
        assert!(signal == "KILL" || ended.success(), "{ended}");
    }
    let last = Exporter::start_with_disk(&disk, Dir::with(&config), &flags(&path));
    assert_eq!(finished(&last.scrape()), 0.0);
    last.await_value("aitask_exporter_storage_up", &[], 0.0);
    disk.now("works");
    last.await_value("aitask_exporter_storage_up", &[], 1.0);
    last.await_value("aitask_finished_total", &[("state", "succeeded")], 5.0);
}

/// Records that the system may have dropped after a failure count once a new snapshot contains
/// them.
#[test]
fn a_disk_that_fails_shows_nothing_until_all_is_written_anew() {
    let (gateway, storage, disk) = (Gateway::start(), Dir::new(), Disk::that("works"));
    let (config, path) = (finishing(&gateway, 6, 3.0, 6.0), storage.path("state"));
    let life = || Exporter::start_with_disk(&disk, Dir::with(&config), &flags(&path));
    let first = life();
    first.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    disk.now("fails");
    first.await_value("aitask_exporter_storage_up", &[], 0.0);
    until("it says so", || first.process.log().contains("cannot write to the storage path"));
    let shown = finished(&first.scrape());
    let all = first.await_value("aitask_tasks", &[("state", "succeeded")], 6.0);
    assert_eq!(finished(&all), shown, "they wait");
    kill(first);
    // The records of the journal may not be on the disk, although it now reports success.
    disk.now("works");
    let second = life();
    assert_eq!(second.scrape().value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
    assert!(finished(&second.scrape()) >= shown);
    second.await_value("aitask_finished_total", &[("state", "succeeded")], 6.0);
    disk.now("fails");
    second.await_value("aitask_exporter_storage_up", &[], 1.0);
    assert_eq!(finished(&second.scrape()), 6.0);
}

/// A volume that is gone leaves its mount point behind, which is on another file system.
#[test]
fn another_file_system_is_refused_until_a_restart() {
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let shm = PathBuf::from(format!("/dev/shm/aitask-{}", std::process::id()));
    fs::create_dir_all(&shm).unwrap();
    let path = storage.path("state");
    assert_ne!(device(&shm), device(path.parent().unwrap()), "two file systems are needed");
    let (elsewhere, place) = (shm.join("state"), storage.path("place"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &place).unwrap();
    let config = config(&gateway, &["running-1".to_owned(), "ok-1".to_owned()]);
    let exporter = Exporter::start_in(Dir::with(&config), &flags(&place.join("deep")));
    let up = "aitask_exporter_storage_up";
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    // The volume goes, and its mount point is empty.
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    exporter.await_value(up, &[], 0.0);
    until("it has tried", || exporter.process.log().contains("another file system"));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    // It comes back.
    fs::remove_dir(&place).unwrap();
    symlink(&elsewhere, &place).unwrap();
    thread::sleep(Duration::from_secs(7));
    let samples = exporter.scrape();
    assert_eq!((samples.value(up, &[]), finished(&samples)), (Some(0.0), 1.0));
    drop(exporter);
    let exporter = Exporter::start_in(Dir::with(&config), &flags(&place.join("deep")));
    let samples = exporter.scrape();
    assert_eq!((samples.value(up, &[]), finished(&samples)), (Some(1.0), 1.0));
    drop(exporter);
    fs::remove_dir_all(shm).unwrap();
}
