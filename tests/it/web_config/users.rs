//! Basic authentication.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Dir, Exporter, curl, prepare, start, start_with};
use crate::crowds::{connections, rejected};
use crate::harness::samples::Samples;
use crate::harness::{http, until};

const COMPARED: &str = "compared a password with its hash";

/// The section with these users and passwords.
pub fn file(users: &[(&str, &str)]) -> String {
    let line = |(name, password): &(&str, &str)| {
        format!("  {name}: {}\n", bcrypt::hash(password, 4).unwrap())
    };
    format!("basic_auth_users:\n{}", users.iter().map(line).collect::<String>())
}

/// Returns the number of passwords that were compared with a hash.
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
fn a_password_is_compared_once_whether_it_is_right_or_wrong() {
    let exporter = start(Dir::with("providers: []\n"), &file(&[("alice", "pass")]));
    for _ in 0..3 {
        assert_eq!(status(&exporter, "alice:pass"), 200);
        assert_eq!(compared(&exporter), 1);
    }
    // An unknown user costs as much as a known one.
    for (number, user) in ["alice:wrong", "alice:other", "nemo:pass"].iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(status(&exporter, user), 401);
            assert_eq!(compared(&exporter), number + 2);
        }
    }
    assert_eq!(status(&exporter, "alice:pass"), 200);
    assert_eq!(compared(&exporter), 4);
    let text = curl(&exporter, "/metrics", &["--user", "alice:pass"]).text;
    let (_, metrics) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(rejected(&Samples::parse(metrics), "unauthorized"), 6.0);
}

/// A request with Basic credentials.
fn request(user: &str, password: &str) -> String {
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n")
}

#[test]
fn guesses_at_one_user_keep_no_other_out() {
    // Costly enough that the guesses wait for each other.
    let hash = |password| bcrypt::hash(password, 6).unwrap();
    let config = format!("basic_auth_users:\n  alice: {}\n  bob: {}\n", hash("pass"), hash("word"));
    let exporter = start(Dir::with("providers: []\n"), &config);
    let guess = |number| {
        // At a user who exists, and at one who does not.
        let (user, number) = (if number % 2 == 0 { "bob" } else { "nemo" }, number / 2);
        connections(exporter.address, 1, request(user, &format!("guess {number}")).as_bytes())
    };
    let guesses: Vec<_> = (0..120).flat_map(guess).collect();
    assert_eq!(status(&exporter, "alice:pass"), 200);
    let ahead = compared(&exporter);
    assert!(ahead < 60, "{ahead} were compared before");
    // The right password of the user that they guess at waits for them.
    assert_eq!(status(&exporter, "bob:word"), 200);
    drop(guesses);
}

#[test]
fn a_client_that_gives_up_is_let_in_when_it_asks_again() {
    let hash = bcrypt::hash("pass", 7).unwrap();
    let exporter =
        start(Dir::with("providers: []\n"), &format!("basic_auth_users: {{ alice: '{hash}' }}"));
    let guesses = (0..100).map(|number| request("alice", &format!("guess {number}")));
    let all = guesses.chain([request("alice", "pass")]);
    let clients: Vec<_> =
        all.flat_map(|request| connections(exporter.address, 1, request.as_bytes())).collect();
    until("all have asked", || compared(&exporter) > 3);
    drop(clients);
    // The rest is compared though no client waits, and the right one is not compared again.
    until("all are compared", || compared(&exporter) == 101);
    assert_eq!(status(&exporter, "alice:pass"), 200);
    assert_eq!(compared(&exporter), 101);
}

#[test]
fn hashes_of_other_programs_are_understood() {
    // The hashes of htpasswd and of exporter-toolkit's own tests.
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
