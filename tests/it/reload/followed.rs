//! Reloads because a file has changed.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const FOLLOW: [&str; 2] = ["--config.enable-auto-reload", "--config.auto-reload-interval=100ms"];

#[test]
fn files_are_followed() {
    let gateway = Gateway::start();
    let text = |tasks: &str| {
        config(&gateway, "1h", tasks) + "task_files: ['tasks.d/*.yml', 'tasks.d/*.txt']\n"
    };
    let dir = Dir::with(&text("a"));
    fs::create_dir(dir.path("tasks.d")).unwrap();
    let exporter = Exporter::start_in(dir, &FOLLOW);
    let dir = &exporter.process.dir;
    let becomes = |what: &str, expected: &[&str]| {
        until(what, || {
            let samples = exporter.scrape();
            ids(&samples) == expected
        });
    };
    dir.write("aitask.yml", &text("a, b"));
    becomes("the file has changed", &["a", "b"]);
    dir.write("tasks.d/more.yml", "[c]\n");
    becomes("a file has come", &["a", "b", "c"]);
    dir.write("tasks.d/list.txt", "# a comment\nd\n\n e \n");
    becomes("a list has come", &["a", "b", "c", "d", "e"]);
    dir.write("tasks.d/more.yml", "[f]\n");
    becomes("a file of the glob has changed", &["a", "b", "d", "e", "f"]);
    fs::remove_file(dir.path("tasks.d/list.txt")).unwrap();
    becomes("a list has gone", &["a", "b", "f"]);
    dir.write("tasks.d/more.yml", "[f, f]\n");
    exporter.await_value(SUCCESSFUL, &[], 0.0);
    becomes("a bad file changes nothing", &["a", "b", "f"]);
    dir.write("tasks.d/more.yml", "[f]\n");
    exporter.await_value(SUCCESSFUL, &[], 1.0);
    // A file that is wrong is reported once, not at every look.
    let log = exporter.process.log();
    assert_eq!(log.matches("configuration not reloaded").count(), 1, "{log}");
}

#[test]
fn certificates_are_followed() {
    let gateway = Gateway::start();
    let (dir, _) = web_config::prepare();
    let tls = "tls_config: { ca_file: ca.pem, cert_file: server.pem, key_file: server.key }";
    dir.write("aitask.yml", &format!("providers: [{}]\n", gateway.provider("mj", tls)));
    let exporter = Exporter::start_in(dir, &FOLLOW);
    let dir = &exporter.process.dir;
    for name in ["ca.pem", "server.pem", "server.key"] {
        let right = dir.read(name);
        dir.write(name, "no certificate\n");
        exporter.await_value(SUCCESSFUL, &[], 0.0);
        dir.write(name, &right);
        exporter.await_value(SUCCESSFUL, &[], 1.0);
    }
}

/// A mounted ConfigMap is a chain of symbolic links, of which the middle one is replaced.
#[test]
fn a_kubernetes_config_map_is_followed() {
    let gateway = Gateway::start();
    let dir = Dir::new();
    dir.write("..2026_1/aitask.yml", &config(&gateway, "1h", "a"));
    dir.write("..2026_2/aitask.yml", &config(&gateway, "1h", "b"));
    symlink("..2026_1", dir.path("..data")).unwrap();
    symlink("..data/aitask.yml", dir.path("aitask.yml")).unwrap();
    let exporter = Exporter::start_in(dir, &FOLLOW);
    assert_eq!(ids(&exporter.scrape()), ["a"]);
    let dir = &exporter.process.dir;
    symlink("..2026_2", dir.path("..data_tmp")).unwrap();
    fs::rename(dir.path("..data_tmp"), dir.path("..data")).unwrap();
    fs::remove_dir_all(dir.path("..2026_1")).unwrap();
    until("the link has moved", || ids(&exporter.scrape()) == ["b"]);
}
