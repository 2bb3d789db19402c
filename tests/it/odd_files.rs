//! Files from outside that are too large, endless, or no files at all: each is refused at once, costs
//! no memory, and harms nothing that was in force.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::{Dir, Exporter, Gateway, run, until};
use crate::web_config::prepare;

const SUCCESSFUL: &str = "aitask_exporter_config_last_reload_successful";
/// As much memory as the exporter may take, in KiB: several times what it does, and a fraction of what
/// the files here would.
const MOST_KIB: u64 = 150 << 10;

/// Puts something odd at `path`, whatever was there.
fn put(odd: &str, path: &Path) {
    let _ = fs::remove_file(path);
    match odd {
        "a pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a device" => symlink("/dev/zero", path).unwrap(),
        "a directory" => fs::create_dir(path).unwrap(),
        // Takes no space on the disk.
        "a large file" => File::create(path).unwrap().set_len(1_500 << 20).unwrap(),
        _ => unreachable!(),
    }
}

fn take_away(path: &Path) {
    if path.is_dir() { fs::remove_dir(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

const ODD: [(&str, &str); 4] = [
    ("a pipe", "not a regular file"),
    ("a device", "not a regular file"),
    ("a directory", "is a directory"),
    ("a large file", "larger than "),
];

#[test]
fn a_list_of_tasks_that_is_none_is_told_once_and_changes_nothing() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "");
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{provider}]\n\
         task_files: ['tasks/*.txt', 'tasks/*.yml']\n"
    ));
    dir.write("tasks/good.txt", "running-1\n");
    let follow = ["--config.enable-auto-reload", "--config.auto-reload-interval=50ms"];
    let exporter = Exporter::start_in(dir, &follow);
    let log = || exporter.process.log();
    let rejections = || log().matches("configuration not reloaded").count();
    let mut told = 0;
    for (odd, says) in ODD.into_iter().filter(|(odd, _)| *odd != "a directory") {
        for name in ["tasks/odd.txt", "tasks/odd.yml"] {
            let path = exporter.process.dir.path(name);
            put(odd, &path);
            exporter.await_value(SUCCESSFUL, &[], 0.0);
            // Several looks later as well.
            let polls = gateway.requests("running-1");
            until("polls go on", || gateway.requests("running-1") > polls + 5);
            told += 1;
            assert_eq!(rejections(), told, "{odd}: {}", log());
            let told = format!("cannot read a task file: {says}");
            assert!(log().contains(&told), "{odd}: {}", log());
            take_away(&path);
            exporter.await_value(SUCCESSFUL, &[], 1.0);
        }
    }
    let peak = exporter.process.status("VmHWM");
    let peak: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

#[test]
fn a_configuration_that_is_no_file_changes_nothing() {
    let good = "providers: []\n";
    let follow = ["--config.enable-auto-reload", "--config.auto-reload-interval=50ms"];
    let exporter = Exporter::start_in(Dir::with(good), &follow);
    let path = exporter.process.dir.path("aitask.yml");
    for (odd, says) in ODD {
        put(odd, &path);
        exporter.await_value(SUCCESSFUL, &[], 0.0);
        let log = exporter.process.log();
        assert!(log.contains(&format!("cannot read the file: {says}")), "{odd}: {log}");
        take_away(&path);
        exporter.process.dir.write("aitask.yml", good);
        exporter.await_value(SUCCESSFUL, &[], 1.0);
    }
}

#[test]
fn a_web_configuration_that_is_no_file_changes_nothing() {
    let (dir, _) = prepare();
    let good = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let path = dir.write("web.yml", good);
    let flag = format!("--web.config.file={}", path.display());
    let exporter = Exporter::start_in(dir, &[&flag]);
    let served = || exporter.get("/-/healthy").header("x-frame-options") == Some("deny");
    let log = || exporter.process.log();
    for (number, (odd, says)) in (1..).zip(ODD) {
        put(odd, &path);
        until("it is told", || {
            served() && log().matches("web configuration not reloaded").count() == number
        });
        assert!(log().contains(&format!("the file: {says}")), "{odd}: {}", log());
        take_away(&path);
        exporter.process.dir.write("web.yml", good);
        until("all is well", || {
            served() && log().matches("web configuration reloaded").count() == number
        });
    }
}

/// A check reports a file in whose place there is something odd.
#[test]
fn a_check_neither_waits_nor_reads_for_ever() {
    let (dir, _) = prepare();
    dir.write("token", "sk-1\n");
    dir.write(
        "aitask.yml",
        "providers:\n  - name: mj\n    preset: mjdjourney\n    authorization: { credentials_file: \
         token }\n    tls_config: { ca_file: ca.pem }\ntask_files: [list.txt]\n",
    );
    dir.write("list.txt", "a\n");
    dir.write("web.yml", "tls_server_config: { cert_file: server.pem, key_file: server.key }\n");
    let check = || {
        let output = run([
            "--config.check".to_owned(),
            format!("--config.file={}", dir.path("aitask.yml").display()),
            format!("--web.config.file={}", dir.path("web.yml").display()),
        ]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(), (Some(0), String::new()));
    for name in ["token", "ca.pem", "list.txt", "web.yml", "server.pem", "server.key", "aitask.yml"]
    {
        let path = dir.path(name);
        let content = fs::read(&path).unwrap();
        for (odd, says) in ODD {
            put(odd, &path);
            let (code, said) = check();
            assert_eq!(code, Some(2), "{name} is {odd}: {said}");
            // A glob matches no directory.
            let says =
                if (name, odd) == ("list.txt", "a directory") { "no such file" } else { says };
            assert!(said.contains(says), "{name} is {odd}: {said}");
            take_away(&path);
        }
        fs::write(&path, content).unwrap();
    }
}
