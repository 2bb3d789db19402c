//! Basic authentication.

use super::{Dir, Exporter, curl, prepare, start, start_with};
use crate::harness::http;

const COMPARED: &str = "a password was compared with a hash";

/// The section with these users and passwords.
pub fn file(users: &[(&str, &str)]) -> String {
    let line = |(name, password): &(&str, &str)| {
        format!("  {name}: {}\n", bcrypt::hash(password, 4).unwrap())
    };
    format!("basic_auth_users:\n{}", users.iter().map(line).collect::<String>())
}

/// How many passwords have been compared with a hash.
fn compared(exporter: &Exporter) -> usize {
    exporter.process.log().matches(COMPARED).count()
}

fn status(exporter: &Exporter, user: &str) -> u16 {
    curl(exporter, "/metrics", &["--user", user]).status
}

#[test]
fn who_is_no_user_is_refused_at_every_path() {
    let exporter =
        start(Dir::with("providers: []\n"), &file(&[("alice", "pa:ss"), ("bob", "word")]));
    for target in [
        "/",
        "/metrics",
        "/tasks",
        "/tasks/a/b",
        "/config",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/nothing",
    ] {
        let reply = exporter.get(target);
        assert_eq!(reply.status, 401, "{target}");
        assert_eq!(reply.header("www-authenticate"), Some("Basic"));
    }
    for user in ["alice:word", "bob:pa:ss", "bob:", "carol:word", ":word", "Bob:word"] {
        assert_eq!(status(&exporter, user), 401, "{user}");
    }
    for user in ["alice:pa:ss", "bob:word"] {
        assert_eq!(status(&exporter, user), 200, "{user}");
        assert_eq!(curl(&exporter, "/-/healthy", &["--user", user]).status, 200);
    }
    let compared = compared(&exporter);
    for value in ["Basic", "Basic !", "Bearer Ym9iOndvcmQ=", "Basic Ym9i", "Ym9iOndvcmQ="] {
        let headers = [("Authorization", value)];
        let reply = http::send(exporter.address, "GET", "/metrics", &headers, "").unwrap();
        assert_eq!(reply.status, 401, "{value}");
    }
    let headers = [("Authorization", "basic Ym9iOndvcmQ=")];
    let reply = http::send(exporter.address, "GET", "/metrics", &headers, "").unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(self::compared(&exporter), compared);
    let log = exporter.process.log();
    assert!(!log.contains("word=") && !log.contains("pa:ss") && !log.contains("$2"), "{log}");
}

#[test]
fn health_can_be_told_to_all() {
    let users = file(&[("alice", "pass")]);
    let flags = ["--web.unauthenticated-health"];
    let exporter = start_with(Dir::with("providers: []\n"), &users, &flags);
    for (target, expected) in [
        ("/-/healthy", 200),
        ("/-/ready", 200),
        ("/-/healthy?a=b", 200),
        ("/-/reload", 401),
        ("/-/healthy/", 401),
        ("//-/healthy", 401),
        ("/-/healthy/../../metrics", 401),
        ("/-/%68ealthy", 401),
        ("/metrics", 401),
    ] {
        assert_eq!(exporter.get(target).status, expected, "{target}");
    }
    assert_eq!(status(&exporter, "alice:pass"), 200);
}

#[test]
fn a_right_password_is_compared_once_and_a_wrong_one_each_time() {
    let exporter = start(Dir::with("providers: []\n"), &file(&[("alice", "pass")]));
    for _ in 0..3 {
        assert_eq!(status(&exporter, "alice:pass"), 200);
        assert_eq!(compared(&exporter), 1);
    }
    // Somebody unknown costs as much as somebody known: a comparison each time.
    for (number, user) in
        ["alice:wrong", "alice:wrong", "nobody:pass", "nobody:pass"].iter().enumerate()
    {
        assert_eq!(status(&exporter, user), 401);
        assert_eq!(compared(&exporter), number + 2);
    }
    assert_eq!(status(&exporter, "alice:pass"), 200);
    assert_eq!(compared(&exporter), 5);
}

#[test]
fn hashes_of_other_programs_are_understood() {
    // Those of htpasswd and of exporter-toolkit's own tests.
    let config = "basic_auth_users:\n  \
                  carol: $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu\n";
    let exporter = start(Dir::with("providers: []\n"), config);
    assert_eq!(status(&exporter, "carol:carol123"), 200);
    assert_eq!(status(&exporter, "carol:carol124"), 401);
}

#[test]
fn passwords_are_asked_for_under_tls() {
    let (dir, _) = prepare();
    let exporter = start(dir, &format!("{}{}", super::TLS, file(&[("alice", "pass")])));
    assert_eq!(status(&exporter, "alice:pass"), 200);
    assert_eq!(status(&exporter, "alice:past"), 401);
    assert_eq!(curl(&exporter, "/-/healthy", &[]).status, 401);
}
