//! Files that change while the exporter runs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Authority, FILE, TLS, curl, prepare, start, status, users};
use crate::harness::{Dir, until};

const RELOADED: &str = "web configuration reloaded";
const KEPT: &str = "web configuration not reloaded; the old one stays in force";

#[test]
fn a_renewed_certificate_is_shown_to_the_next_client() {
    let (dir, _) = prepare();
    let exporter = start(dir, TLS);
    assert_eq!(status(&exporter, &[]), 200);
    let dir = &exporter.process.dir;
    let renewed = Authority::new("renewed");
    renewed.issue(dir, "server", &["127.0.0.1"]);
    dir.write("renewed.pem", &renewed.certificate.pem());
    let renewed = dir.path("renewed.pem");
    until("the new one is shown", || {
        status(&exporter, &["--cacert", renewed.to_str().unwrap()]) == 200
    });
    assert_eq!(status(&exporter, &[]), 0);
}

#[test]
fn users_come_and_go_and_headers_with_them() {
    let exporter =
        start(Dir::with("providers: []\n"), &users::file(&[("alice", "a"), ("bob", "b")]));
    let asked = |user| status(&exporter, &["--user", user]);
    assert_eq!([asked("alice:a"), asked("bob:b"), asked("carol:c")], [200, 200, 401]);
    let headers = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let users = users::file(&[("alice", "new"), ("carol", "c")]);
    exporter.process.dir.write(FILE, &format!("{headers}{users}"));
    until("carol is let in", || asked("carol:c") == 200);
    assert_eq!([asked("alice:a"), asked("alice:new"), asked("bob:b")], [401, 200, 401]);
    assert_eq!(exporter.get("/").header("x-frame-options"), Some("deny"));
}

#[test]
fn a_broken_replacement_is_told_once_and_changes_nothing() {
    let (dir, _) = prepare();
    let config = format!("{TLS}{}", users::file(&[("alice", "a")]));
    let exporter = start(dir, &config);
    let asked = || status(&exporter, &["--user", "alice:a"]);
    let told = |what: &str| exporter.process.log().matches(what).count();
    let is_on_page = || {
        let page = curl(&exporter, "/", &["--user", "alice:a"]);
        page.text.contains("The web configuration was not reloaded: ")
    };
    let dir = &exporter.process.dir;
    let (_, other_key) = Authority::new("theirs").sign(&["localhost"]);
    let good_key = dir.read("server.key");
    let plain = users::file(&[("alice", "a")]);
    let half_written = format!("{TLS}basic_auth_users:\n");
    for (number, (name, broken, good)) in [
        (FILE, "basic_auth_users: { alice: hunter2 }\n", config.as_str()),
        (FILE, "", &config),
        (FILE, &half_written, &config),
        // A key without its certificate, in the middle of a renewal.
        ("server.key", &other_key, &good_key),
        // TLS does not end by an edit.
        (FILE, &plain, &config),
    ]
    .into_iter()
    .enumerate()
    {
        dir.write(name, broken);
        until("it is told", || asked() == 200 && told(KEPT) == number + 1);
        // Several looks later as well.
        let start = Instant::now();
        until("time passes", || asked() == 200 && start.elapsed() > Duration::from_millis(2_500));
        assert_eq!(told(KEPT), number + 1);
        assert_eq!(curl(&exporter, "/", &[]).status, 401);
        assert!(is_on_page(), "{broken}");
        dir.write(name, good);
        until("all is well", || asked() == 200 && told(RELOADED) == number + 1);
        assert!(!is_on_page(), "{broken}");
    }
    let log = exporter.process.log();
    assert!(!log.contains("hunter2"), "{log}");
    for said in [
        "not a bcrypt hash",
        "the file is empty",
        "missing value",
        "the certificate and the key do not match",
        "needs a restart",
    ] {
        assert!(log.contains(said), "{said}");
    }
}

/// A pipe without a writer simulates a file on a file system that does not respond.
#[test]
fn a_look_that_hangs_is_logged_and_ends() {
    let exporter =
        start(Dir::with("providers: []\n"), &users::file(&[("alice", "a"), ("bob", "b")]));
    let asked = |user| status(&exporter, &["--user", user]);
    assert_eq!(asked("alice:a"), 200);
    let dir = &exporter.process.dir;
    let pipe = dir.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::remove_file(dir.path(FILE)).unwrap();
    fs::hard_link(&pipe, dir.path(FILE)).unwrap();
    // Users stay as they were, and the log reports the problem.
    until("it is told", || asked("alice:a") == 200 && exporter.process.log().contains(KEPT));
    dir.write(FILE, &users::file(&[("bob", "b")]));
    // The file system responds again.
    drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
    until("alice has gone", || asked("alice:a") == 401);
    assert_eq!(asked("bob:b"), 200);
}
