//! Lists of tasks that vanish, come back or have odd names: no task disappears unless it was
//! deleted, and no file name stops the exporter.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, http, run, until};

const SUCCESSFUL: &str = "aitask_exporter_config_last_reload_successful";
const FOLLOW: [&str; 2] = ["--config.enable-auto-reload", "--config.auto-reload-interval=100ms"];

fn config(gateway: &Gateway, globs: &str) -> String {
    let provider = gateway.provider("mj", "");
    format!("global: {{ poll_interval: 1h }}\nproviders: [{provider}]\ntask_files: [{globs}]\n")
}

fn ids(samples: &Samples) -> Vec<String> {
    let found = samples.find("aitask_status", &[]);
    let mut ids: Vec<_> = found.into_iter().map(|(labels, _)| labels["task_id"].clone()).collect();
    ids.sort_unstable();
    ids
}

fn reload(exporter: &Exporter) -> http::Reply {
    http::send(exporter.address, "POST", "/-/reload", &[], "").unwrap()
}

/// Takes a directory away in some way, so that nothing is found there any more.
type TakeAway = fn(&Path);

const WAYS: [(&str, TakeAway, &str); 4] = [
    ("removed", |_| {}, "No such file or directory"),
    ("replaced by a file", |path| fs::write(path, "x").unwrap(), "ot a directory"),
    ("a dangling link", |path| symlink("nowhere", path).unwrap(), "No such file or directory"),
    ("a link to a device", |path| symlink("/dev/null", path).unwrap(), "ot a directory"),
];

#[test]
fn a_list_whose_directory_vanishes_keeps_its_tasks() {
    let gateway = Gateway::start();
    // Each glob, its list, and the directory that vanishes.
    for (glob, list, directory) in [
        ("lists/*.txt", "lists/a.txt", "lists"),
        ("deep/er/lists/*.txt", "deep/er/lists/a.txt", "deep"),
        ("customers/*/lists/*.txt", "customers/acme/lists/a.txt", "customers/acme/lists"),
        ("customers/*/lists/*.txt", "customers/acme/lists/a.txt", "customers/acme"),
        ("customers/*/lists/*.txt", "customers/acme/lists/a.txt", "customers"),
        ("any/**/*.txt", "any/where/a.txt", "any/where"),
    ] {
        let dir = Dir::with(&config(&gateway, &format!("'{glob}'")));
        dir.write(list, "queued-1\n");
        let exporter = Exporter::start_in(dir, &[]);
        assert_eq!(ids(&exporter.scrape()), ["queued-1"], "{glob}");
        let (place, aside) =
            (exporter.process.dir.path(directory), exporter.process.dir.path("aside"));
        for (how, take_away, why) in WAYS {
            fs::rename(&place, &aside).unwrap();
            take_away(&place);
            let reply = reload(&exporter);
            assert_eq!(reply.status, 500, "{directory} of {glob} is {how}");
            let told = reply.text();
            for part in ["no file matches any more", glob, why] {
                assert!(told.contains(part), "{directory} of {glob} is {how}: {part}: {told}");
            }
            let samples = exporter.scrape();
            assert_eq!(samples.value(SUCCESSFUL, &[]), Some(0.0));
            assert_eq!(ids(&samples), ["queued-1"], "{directory} of {glob} is {how}");
            assert!(exporter.process.log().contains(why));
            let page = exporter.get("/");
            assert!(page.text().contains("no file matches any more"), "{}", page.text());
            let _ = fs::remove_file(&place);
            fs::rename(&aside, &place).unwrap();
            assert_eq!(reload(&exporter).status, 200, "{glob} is back");
            assert_eq!(exporter.scrape().value(SUCCESSFUL, &[]), Some(1.0));
            assert!(!exporter.get("/").text().contains("no file matches any more"));
        }
    }
}

/// With nothing but looks at the files.
#[test]
fn a_list_that_vanishes_for_a_while_is_noticed_when_it_is_back() {
    let gateway = Gateway::start();
    let dir = Dir::with(&config(&gateway, "'lists/*.yml', 'more/*.txt'"));
    dir.write("lists/a.yml", "[queued-1]\n");
    dir.write("more/b.txt", "queued-2\n");
    let exporter = Exporter::start_in(dir, &FOLLOW);
    let dir = &exporter.process.dir;
    let both = ["queued-1", "queued-2"];
    for _ in 0..3 {
        fs::rename(dir.path("lists"), dir.path("aside")).unwrap();
        let samples = exporter.await_value(SUCCESSFUL, &[], 0.0);
        assert_eq!(ids(&samples), both);
        fs::rename(dir.path("aside"), dir.path("lists")).unwrap();
        let samples = exporter.await_value(SUCCESSFUL, &[], 1.0);
        assert_eq!(ids(&samples), both);
    }
    // Told once each time, however many looks there were.
    let log = exporter.process.log();
    assert_eq!(log.matches("no file matches any more").count(), 3, "{log}");
    // A reload for another reason, not because a check has seen a change.
    fs::rename(dir.path("lists"), dir.path("aside")).unwrap();
    assert_eq!(reload(&exporter).status, 500);
    fs::rename(dir.path("aside"), dir.path("lists")).unwrap();
    exporter.await_value(SUCCESSFUL, &[], 1.0);
}

#[test]
fn a_list_that_was_deleted_is_gone() {
    let gateway = Gateway::start();
    let dir = Dir::with(&config(&gateway, "'lists/*.txt', 'never/*.txt', 'customers/*/*.txt'"));
    dir.write("lists/a.txt", "queued-1\n");
    dir.write("customers/acme/b.txt", "queued-2\n");
    dir.write("customers/other/c.txt", "queued-3\n");
    let exporter = Exporter::start_in(dir, &FOLLOW);
    let dir = &exporter.process.dir;
    let log = exporter.process.log();
    let warning = "no file matches a glob of task_files";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    assert!(log.contains("glob=never/*.txt") && log.contains("no such directory"), "{log}");
    fs::remove_dir_all(dir.path("customers/acme")).unwrap();
    until("one directory of several", || ids(&exporter.scrape()) == ["queued-1", "queued-3"]);
    fs::remove_file(dir.path("lists/a.txt")).unwrap();
    until("a file of a directory that stays", || ids(&exporter.scrape()) == ["queued-3"]);
    fs::remove_file(dir.path("customers/other/c.txt")).unwrap();
    until("the last one", || ids(&exporter.scrape()).is_empty());
    // It had no files any more, so there is nothing to keep.
    fs::remove_dir(dir.path("lists")).unwrap();
    assert_eq!(reload(&exporter).status, 200);
    assert_eq!(exporter.scrape().value(SUCCESSFUL, &[]), Some(1.0));
    assert!(!exporter.process.log().contains("level=error"), "{}", exporter.process.log());
}

/// Names that are not UTF-8, such as `任务` in GBK, are names like others.
#[test]
fn a_file_may_be_called_anything() {
    let gateway = Gateway::start();
    let dir = Dir::with(&config(&gateway, "'lists/*.txt', 'lists/*/*.yml'"));
    fs::create_dir(dir.path("lists")).unwrap();
    let path = |name: &[u8]| dir.path("lists").join(OsStr::from_bytes(name));
    fs::write(path(b"\xc8\xce\xce\xf1.txt"), "queued-1\n").unwrap();
    fs::write(path(b"\xc8\xce\xce\xf1.csv"), "not read").unwrap();
    fs::write(path(b".\xff.txt"), "hidden").unwrap();
    fs::create_dir(path(b"\xff\xfe")).unwrap();
    fs::write(path(b"\xff\xfe/a\n.yml"), "[queued-2]\n").unwrap();
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let checked = run(["--config.check", &file]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let exporter = Exporter::start_in(dir, &FOLLOW);
    assert_eq!(ids(&exporter.scrape()), ["queued-1", "queued-2"]);
    let path = |name: &[u8]| exporter.process.dir.path("lists").join(OsStr::from_bytes(name));
    fs::write(path(b"more-\x80.txt"), "queued-3\n").unwrap();
    until("a list has come", || ids(&exporter.scrape()).len() == 3);
    fs::remove_file(path(b"\xc8\xce\xce\xf1.txt")).unwrap();
    until("a list has gone", || ids(&exporter.scrape()) == ["queued-2", "queued-3"]);
    assert_eq!(reload(&exporter).status, 200);
    // A file with an error is named as far as that is possible.
    fs::write(path(b"more-\x80.txt"), "queued-3\nqueued-3\n").unwrap();
    let told = reload(&exporter);
    assert!(told.text().contains("more-\u{fffd}.txt:2:1: duplicate task"), "{}", told.text());
    let samples = exporter.scrape();
    assert_eq!(samples.value("aitask_exporter_panics_total", &[]), Some(0.0));
    assert!(!exporter.process.log().contains("panic"), "{}", exporter.process.log());
}
