//! Credentials: sent once, shown never, read again when their file changes.

use std::fs;
use std::process::Command;

use aitask_simulator::Options;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::Value;

use crate::harness::{Dir, Exporter, Gateway, http, run, until};

fn config(gateway: &Gateway, client: &str) -> String {
    let provider = gateway.provider("mj", client);
    format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{provider}]\ntasks: [running-1, running-2]\n"
    )
}

#[test]
fn exactly_one_header_carries_the_credentials() {
    let bearer = ("authorization", "Bearer right");
    let secret = ("mj-api-secret", "right");
    let custom = "http_headers: { MJ-API-Secret: { secrets: [right] } }";
    for (client, (name, value)) in [
        ("authorization: { credentials: right }", bearer),
        ("authorization: { credentials_file: token }", bearer),
        (custom, secret),
        ("http_headers: { mj-api-secret: { files: [token] } }", secret),
        (&format!("authorization: {{ credentials: wrong }}, {custom}"), secret),
    ] {
        let gateway = Gateway::with(Options { token: Some("right".to_owned()) });
        let dir = Dir::with(&config(&gateway, client));
        dir.write("token", " right\n");
        let exporter = Exporter::start_in(dir, &[]);
        exporter.await_state("running-1", "running");
        let headers = gateway.asked("running-1")["last_headers"].clone();
        assert_eq!(headers[name], value, "{client}");
        let other = if name == bearer.0 { secret.0 } else { bearer.0 };
        assert_eq!(headers[other], Value::Null, "{client}");
    }
}

/// The parts of a token that Kling's provider was last sent.
fn token(gateway: &Gateway) -> Vec<String> {
    let headers = gateway.asked("running-1")["last_headers"].clone();
    let bearer = headers["authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap();
    bearer.split('.').map(str::to_owned).collect()
}

#[test]
fn a_token_is_signed_and_signed_anew_with_a_new_key() {
    let gateway = Gateway::start();
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers: [{{ name: k, preset: kling, base_url: 'http://{}/kling', authorization: \
         {{ type: kling-jwt, access_key: ak, secret_key_file: key }} }}]\n\
         tasks: [{{ id: running-1, params: {{ kind: text2video }} }}]\n",
        gateway.address
    ));
    let key = dir.write("key", "sk\n");
    let exporter = Exporter::start_in(dir, &[]);
    exporter.await_state("running-1", "running");
    let first = token(&gateway);
    let signature = |key: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let signed = format!("{}.{}", first[0], first[1]);
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(&first[1]).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["iss"], &first[2]), (&Value::from("ak"), &signature("sk")));
    fs::write(key, "another").unwrap();
    until("the new key signs", || token(&gateway)[2] == signature("another"));
}

#[test]
fn a_secret_is_never_shown() {
    let gateway = Gateway::start();
    let client = "authorization: { credentials: hunter2-a }, \
                  http_headers: { x-team: { values: [visible], secrets: [hunter2-b] } }";
    let config = format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers:\n- {}\n\
         - {{ name: basic, preset: mjdjourney, base_url: 'http://me:hunter2-c@{}' }}\n\
         tasks: [{{ id: running-1, provider: mj }}, {{ id: broken-1, provider: basic }}]\n",
        gateway.provider("mj", client),
        gateway.address
    );
    let exporter = Exporter::start_in(Dir::with(&config), &["--log.level=debug"]);
    exporter.await_state("running-1", "running");
    exporter.await_value("aitask_error", &[("task_id", "broken-1")], 1.0);
    let shown = exporter.get("/config");
    assert!(shown.text().contains("<secret>") && shown.text().contains("visible"));
    let basic = gateway.asked("broken-1")["last_headers"]["authorization"].clone();
    assert_eq!(basic, "Basic bWU6aHVudGVyMi1j");
    for target in [
        "/config",
        "/metrics",
        "/",
        "/probe?provider=mj&task_id=running-1&debug=true",
        "/probe?provider=basic&task_id=broken-1&debug=true",
        "/probe?provider=mj&task_id=reset-1&debug=true",
    ] {
        let reply = exporter.get(target);
        assert_eq!(reply.status, 200, "{target}");
        for secret in ["hunter2", "bWU6aHVudGVyMi1j"] {
            assert!(!reply.text().contains(secret), "{target}: {}", reply.text());
        }
    }
    // An invalid reload whose error is beside a secret.
    let bad =
        exporter.reload("providers: [{ name: mj, authorization: { credential: hunter2-d } }]\n");
    assert_eq!(bad.status, 500);
    for text in [bad.text(), &exporter.process.log()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_file_that_changes_is_read_again_and_one_that_vanishes_pauses_the_provider() {
    let gateway = Gateway::with(Options { token: Some("second".to_owned()) });
    let dir = Dir::with(&config(&gateway, "authorization: { credentials_file: token }"));
    dir.write("token", "first");
    let exporter = Exporter::start_in(dir, &[]);
    let token = exporter.process.dir.path("token");
    let dropped = [("reason", "credentials")];
    let samples =
        exporter.await_value("aitask_error", &[("task_id", "running-1"), ("reason", "auth")], 1.0);
    assert_eq!(samples.value("aitask_exporter_dropped_tasks", &dropped), Some(0.0));

    exporter.process.dir.write("token", "second");
    exporter.await_value("aitask_tasks", &[("state", "running")], 2.0);

    fs::remove_file(&token).unwrap();
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 2.0);
    exporter.await_value("aitask_tasks_without_credentials", &[("provider", "mj")], 2.0);
    let held = gateway.requests("running-1");
    let log = exporter.process.log();
    assert_eq!(log.matches("paused: the credentials cannot be read").count(), 1, "{log}");

    assert!(log.contains(&format!("No such file or directory: {}", token.display())), "{log}");
    // Another reason is logged, too.
    fs::write(&token, b"\xff").unwrap();
    until("it is logged", || {
        exporter.process.log().contains(&format!("not UTF-8 text: {}", token.display()))
    });
    exporter.process.dir.write("token", "second");
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 0.0);
    exporter.await_value("aitask_tasks_without_credentials", &[("provider", "mj")], 0.0);
    // One poll may have been under way when the file vanished; none began while it was gone.
    assert!(gateway.requests("running-1") <= held + 2);
    until("polls go on", || gateway.requests("running-1") > held + 3);

    // Opening a pipe would block for ever.
    fs::remove_file(&token).unwrap();
    assert!(Command::new("mkfifo").arg(&token).status().unwrap().success());
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 2.0);
    let log = exporter.process.log();
    assert!(log.contains("not a regular file"), "{log}");
    fs::remove_file(&token).unwrap();
    exporter.process.dir.write("token", "second");
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 0.0);
}

/// A provider without credentials is not throttled, and its final tasks wait for nothing.
#[test]
fn what_waits_for_a_secret_is_counted_apart() {
    let gateway = Gateway::start();
    let client = "authorization: { credentials_file: token }";
    let dir =
        Dir::with(&config(&gateway, client).replace("running-2", "done-1, done-2, running-2"));
    dir.write("token", "right");
    let exporter = Exporter::start_in(dir, &[]);
    exporter.await_value("aitask_tasks", &[("state", "succeeded")], 2.0);
    exporter.await_value("aitask_tasks", &[("state", "running")], 2.0);
    let token = exporter.process.dir.path("token");
    fs::remove_file(&token).unwrap();
    let dropped = [("reason", "credentials")];
    let samples = exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 2.0);
    assert_eq!(samples.value("aitask_tasks", &[("state", "succeeded")]), Some(2.0));
    until("polls are overdue", || {
        exporter.scrape().value("aitask_poll_queue_length", &[]) >= Some(2.0)
    });
    exporter.process.dir.write("token", "right");
    let samples = exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 0.0);
    let polls = samples.value("aitask_polls_total", &[]);
    until("polls go on", || exporter.scrape().value("aitask_polls_total", &[]) > polls);
    assert_eq!(exporter.scrape().value("aitask_throttled_seconds_total", &[]), Some(0.0));
}

#[test]
fn a_file_that_holds_more_than_the_secret_pauses_the_provider() {
    let gateway = Gateway::with(Options { token: Some("zq-token".to_owned()) });
    let dir = Dir::with(&config(&gateway, "authorization: { credentials_file: token }"));
    dir.write("token", "zq-token\n");
    let exporter = Exporter::start_in(dir, &["--log.level=debug"]);
    let dropped = [("reason", "credentials")];
    exporter.await_value("aitask_tasks", &[("state", "running")], 2.0);
    for (text, says) in [
        ("\"zq-token\"", "it is in quotes"),
        ("TOKEN=zq-token", "it is a line such as NAME=…"),
        ("Bearer zq-token", "it begins with its type"),
        ("${zq-token}\nzq-token", "it contains a line break"),
        ("{{ zq-token }}", "it is an unresolved placeholder"),
        ("zq-\u{200b}token", "U+200B"),
    ] {
        exporter.process.dir.write("token", text);
        exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 2.0);
        assert!(exporter.process.log().contains(says), "{says}: {}", exporter.process.log());
        exporter.process.dir.write("token", "zq-token");
        exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 0.0);
    }
    // Only the secret was ever sent, and it was never shown.
    let headers = gateway.asked("running-1")["last_headers"].clone();
    assert_eq!(headers["authorization"], "Bearer zq-token");
    assert_eq!(
        exporter.scrape().value("aitask_poll_failures_total", &[("reason", "auth")]),
        Some(0.0)
    );
    assert!(!exporter.process.log().contains("zq-token"), "{}", exporter.process.log());
}

#[test]
fn a_file_that_is_missing_at_the_start_is_a_mistake() {
    let gateway = Gateway::start();
    let dir = Dir::with(&config(&gateway, "authorization: { credentials_file: token }"));
    let path = dir.path("aitask.yml");
    for flag in ["--config.check", "--web.listen-address=127.0.0.1:0"] {
        let output = run(["--config.file", path.to_str().unwrap(), flag]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("aitask.yml:2:") && said.contains("secret file"), "{said}");
    }
    assert_eq!(http::get(gateway.address, "/simulator/stats").json()["requests"], 0);
}
