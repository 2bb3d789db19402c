//! Files that are damaged, cut or not ours.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::record::TaskRecord;
use aitask_exporter::storage::frame;
use aitask_exporter::storage::log_record::{self, ChangedTask, LogRecord};
use aitask_exporter::task::{Task, TaskCommon};

use super::{config, finished, finishing, flags, kill, newest_journal};
use crate::harness::{Dir, Exporter, Gateway, until};

fn lost_bytes(exporter: &Exporter) -> f64 {
    exporter.scrape().value("aitask_exporter_storage_lost_bytes", &[]).unwrap()
}

/// Puts another content in the place of a file's.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

/// The places in a journal where its frames begin, and its end.
fn frames(path: &Path) -> Vec<usize> {
    let content = fs::read(path).unwrap();
    let mut places = vec![frame::HEADER];
    for payload in frame::read(&content).payloads {
        places.push(places.last().unwrap() + 12 + payload.len());
    }
    places
}

/// The place of the first change in a journal.
fn first_change(path: &Path) -> Range<usize> {
    let content = fs::read(path).unwrap();
    let is_change =
        |payload: &&[u8]| matches!(log_record::decode(payload), Some(LogRecord::TaskChange(_)));
    let index = frame::read(&content).payloads.iter().position(is_change).unwrap();
    let places = frames(path);
    places[index]..places[index + 1]
}

/// A stage on which three tasks have finished, and been shown, by a process that was killed.
struct Stage {
    gateway: Gateway,
    storage: Dir,
    config: String,
}

impl Stage {
    fn new() -> Self {
        let (gateway, storage) = (Gateway::start(), Dir::new());
        let config = finishing(&gateway, 3, 3.0, 0.3);
        let stage = Self { gateway, storage, config };
        let first = stage.life();
        until("all run", || stage.gateway.requests("t-2") > 1);
        // So that not everything is in the journal: a start writes all tasks.
        kill(first);
        let first = stage.life();
        first.await_value("aitask_finished_total", &[("state", "succeeded")], 3.0);
        until("there is one journal", || fs::read_dir(stage.path()).unwrap().count() == 3);
        assert_eq!(lost_bytes(&first), 0.0);
        kill(first);
        stage
    }

    fn path(&self) -> PathBuf {
        self.storage.path("state")
    }

    fn journal(&self) -> PathBuf {
        newest_journal(&self.path())
    }

    fn life(&self) -> Exporter {
        Exporter::start_in(Dir::with(&self.config), &flags(&self.path()))
    }
}

#[test]
fn a_torn_end_is_no_damage() {
    let stage = Stage::new();
    // The last words of the disk, and with them a part of a frame.
    for bytes in [1, 5] {
        change(&stage.journal(), |content| content.truncate(content.len() - bytes));
        let exporter = stage.life();
        assert_eq!((lost_bytes(&exporter), finished(&exporter.scrape())), (0.0, 3.0), "{bytes}");
        kill(exporter);
    }
    // The beginning of a change that no reader has seen.
    let written = fs::read(stage.journal()).unwrap();
    change(&stage.journal(), |content| content.extend(&written[frame::HEADER..][..11]));
    let exporter = stage.life();
    assert_eq!((lost_bytes(&exporter), finished(&exporter.scrape())), (0.0, 3.0));
    kill(exporter);
    let exporter = stage.life();
    assert_eq!((lost_bytes(&exporter), finished(&exporter.scrape())), (0.0, 3.0));
}

#[test]
fn damage_lets_counters_begin_again_and_costs_what_is_damaged() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let tasks: Vec<_> =
        (0..50).map(|n| format!("done-{n:02}")).chain(["ok-1".to_owned()]).collect();
    let path = storage.path("state");
    let life = || Exporter::start_in(Dir::with(&config(&gateway, &tasks)), &flags(&path));
    let mut first = life();
    // The last to end; by then all others have been written.
    first.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    until("there is one journal", || fs::read_dir(&path).unwrap().count() == 3);
    first.process.signal("KILL");
    first.process.wait();
    // A bit in the middle, and an end that is missing.
    change(&newest_journal(&path), |content| {
        let id = content.windows(5).position(|window| window == b"done-").unwrap();
        content[id + 20] ^= 0x10;
        content.truncate(content.len() - 7);
    });
    let polled: u64 = tasks.iter().map(|id| gateway.requests(id)).sum();

    let mut second = life();
    let lost = second.scrape().value("aitask_exporter_storage_lost_bytes", &[]).unwrap();
    assert!(lost > 7.0 && lost < 400.0, "{lost}");
    assert_eq!(finished(&second.scrape()), 0.0, "nothing was lost that would be counted again");
    let log = second.process.log();
    assert!(log.contains("the storage path is damaged"), "{log}");
    second.await_value("aitask_tasks", &[("state", "succeeded")], 51.0);
    let again = tasks.iter().map(|id| gateway.requests(id)).sum::<u64>() - polled;
    assert_eq!(again, 1, "the one that was lost is asked for again, and no other");
    second.process.signal("TERM");
    second.process.wait();
    assert_eq!(life().scrape().value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
}

/// Records that were cut out leave a gap in the sequence numbers, even if everything on both sides
/// is intact.
#[test]
fn what_is_missing_is_lost_and_counters_begin_again() {
    /// Cuts something out of the file with the tasks.
    type Cut = fn(&Stage);
    let cuts: [(&str, Cut); 7] = [
        ("a record of the journal", |stage| {
            let record = first_change(&stage.journal());
            change(&stage.journal(), |content| drop(content.drain(record)));
        }),
        ("all of its records", |stage| {
            let (places, first) = (frames(&stage.journal()), first_change(&stage.journal()));
            // The last word is that the disk has them.
            let last = places[places.len() - 2];
            change(&stage.journal(), |content| drop(content.drain(first.start..last)));
        }),
        ("a task of the snapshot", |stage| {
            let snapshot = stage.path().join("snapshot");
            let places = frames(&snapshot);
            change(&snapshot, |content| drop(content.drain(places[1]..places[2])));
        }),
        ("the end of the snapshot", |stage| {
            let snapshot = stage.path().join("snapshot");
            change(&snapshot, |content| content.truncate(content.len() - 3));
        }),
        ("the snapshot", |stage| fs::remove_file(stage.path().join("snapshot")).unwrap()),
        ("the journal", |stage| fs::remove_file(stage.journal()).unwrap()),
        ("its content", |stage| fs::write(stage.journal(), "").unwrap()),
    ];
    let check = |(what, cut): (&str, Cut)| {
        let stage = Stage::new();
        cut(&stage);
        let exporter = stage.life();
        let samples = exporter.scrape();
        let lost = samples.value("aitask_exporter_storage_lost_bytes", &[]).unwrap();
        assert!(lost >= 1.0, "{what}");
        // Lost tasks are polled again, and may have ended again by now.
        assert!(finished(&samples) < 3.0, "{what}");
        let log = exporter.process.log();
        assert!(log.contains("the storage path is damaged"), "{what}: {log}");
        exporter.await_value("aitask_tasks", &[("state", "succeeded")], 3.0);
        until("all is there again", || {
            let files: Vec<_> = fs::read_dir(stage.path()).unwrap().collect();
            files.len() == 3
        });
        kill(exporter);
        let exporter = stage.life();
        assert_eq!(lost_bytes(&exporter), 0.0, "{what}");
    };
    thread::scope(|scope| cuts.map(|cut| scope.spawn(move || check(cut))).map(drop));
}

/// A journal that is truncated while it is written: unless everything was written again since, the
/// next life knows.
#[test]
fn a_journal_that_is_truncated_under_the_process_is_noticed() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = finishing(&gateway, 60, 1.0, 6.0);
    let path = storage.path("state");
    let life = || Exporter::start_in(Dir::with(&config), &flags(&path));
    // The journals of a snapshot that has only begun are not what is looked for.
    let settled = |exporter: &Exporter| {
        until("some have finished", || finished(&exporter.scrape()) >= 5.0);
        until("there is one journal", || fs::read_dir(&path).unwrap().count() == 3);
    };
    let first = life();
    settled(&first);
    let length = fs::metadata(newest_journal(&path)).unwrap().len();
    let truncate = |length: u64| {
        let journal = OpenOptions::new().write(true).open(newest_journal(&path)).unwrap();
        journal.set_len(length).unwrap();
    };
    truncate(length / 2);
    first.await_value("aitask_exporter_storage_up", &[], 0.0);
    until("it says why", || {
        first.process.log().contains("another process has truncated the journal")
    });
    kill(first);
    let second = life();
    assert!(lost_bytes(&second) > 0.0);
    let log = second.process.log();
    assert!(log.contains("finished tasks are counted from 0"), "{log}");

    // If there is time, nothing is lost.
    settled(&second);
    let seen = finished(&second.scrape());
    truncate(40);
    second.await_value("aitask_exporter_storage_up", &[], 0.0);
    second.await_value("aitask_exporter_storage_up", &[], 1.0);
    kill(second);
    let third = life();
    assert_eq!(lost_bytes(&third), 0.0);
    assert!(finished(&third.scrape()) >= seen);
}

/// Records that are whole, and that no exporter can have written.
#[test]
fn what_no_exporter_can_have_written_is_not_shown() {
    let stage = Stage::new();
    let common = TaskCommon { provider: "mj".into(), labels: [].into(), params: [].into() };
    let task = Task { id: "timeless".into(), common: common.into() };
    let next = fs::read(stage.journal()).unwrap();
    let next = frame::read(&next).payloads.len() as u64;
    for number in [next, u64::MAX] {
        let mut frames = Vec::new();
        log_record::encode_change(
            number,
            ChangedTask {
                task: &task,
                record: &TaskRecord::new(Timestamp::from_micros(i64::MAX)),
                listing: None,
            },
            None,
            &mut frames,
        );
        change(&stage.journal(), |content| content.extend(frames));
        let exporter = stage.life();
        let samples = exporter.scrape();
        assert!(samples.value("aitask_exporter_storage_lost_bytes", &[]) > Some(0.0));
        for (labels, age) in samples.find("aitask_queue_age_seconds", &[]) {
            assert!((0.0..600.0).contains(&age), "{labels:?} {age}");
        }
        exporter.await_value("aitask_tasks", &[("state", "succeeded")], 3.0);
        kill(exporter);
    }
}

/// Names that are not ours are in the way of nothing, and stay.
#[test]
fn odd_names_harm_nothing() {
    let stage = Stage::new();
    let odd = [
        "journal.18446744073709551615",
        "journal.18446744073709551616",
        "journal.007",
        "journal.",
        "snapshot.old",
    ];
    for name in odd {
        fs::write(stage.path().join(name), "nothing of ours").unwrap();
    }
    for folder in ["journal.0", "journal.1", "journal.1000"] {
        let _ = fs::create_dir(stage.path().join(folder));
    }
    for _ in 0..3 {
        let exporter = stage.life();
        let samples = exporter.scrape();
        assert_eq!(samples.value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
        assert_eq!(finished(&samples), 3.0);
        assert_eq!(samples.value("aitask_exporter_storage_up", &[]), Some(1.0));
        kill(exporter);
    }
    for name in odd {
        assert!(stage.path().join(name).exists(), "{name}");
    }
    // In the way of the first journal of all.
    let empty = stage.storage.path("empty");
    fs::create_dir_all(empty.join("journal.0")).unwrap();
    let exporter = Exporter::start_in(Dir::with(&stage.config), &flags(&empty));
    exporter.await_value("aitask_exporter_storage_up", &[], 1.0);
    exporter.await_value("aitask_tasks", &[("state", "succeeded")], 3.0);
    until("the tasks are written", || empty.join("snapshot").exists());
    kill(exporter);
    let exporter = Exporter::start_in(Dir::with(&stage.config), &flags(&empty));
    assert_eq!(lost_bytes(&exporter), 0.0);
}
