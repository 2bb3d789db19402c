//! Access to registrations: the flag, users, passwords, and pages of other sites.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{JSON, create, flags, path, put, start};
use crate::discovery::{Setup, ids};
use crate::harness::{self, Dir, Exporter, Gateway, http};
use crate::web_config::users::file;

const WARNING: &str = "every client can register and delete tasks without a password";

#[test]
fn without_the_flag_nothing_can_be_registered() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("").provider(gateway.provider("mj", ""));
    let exporter = setup.start_with(&storage);
    for (method, path, status) in [
        ("PUT", &*path("mj", "running-1"), 404),
        ("DELETE", &path("mj", "running-1"), 404),
        ("POST", "/api/v1/tasks", 405),
    ] {
        let reply = http::send(exporter.address, method, path, &[JSON], "[]").unwrap();
        assert_eq!(reply.status, status, "{method} {path}");
    }
    assert!(!exporter.process.log().contains(WARNING));
    let exporter = start(&setup, &Dir::new());
    assert!(!exporter.process.log().contains(WARNING), "it listens on a loopback address");
}

#[test]
fn the_flag_needs_a_storage_path() {
    let dir = Dir::with("providers: []\n");
    let config = format!("--config.file={}", dir.path("aitask.yml").display());
    for more in [&[][..], &["--config.check"], &["--storage.path="]] {
        let output = harness::run([&[&*config, "--web.enable-task-receiver"], more].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {error}");
        assert!(error.starts_with("--web.enable-task-receiver needs --storage.path"), "{error}");
    }
}

#[test]
fn a_start_warns_of_an_open_door() {
    for (address, users, is_open) in
        [("0.0.0.0:0", "", true), ("127.0.0.1:0", "", false), ("0.0.0.0:0", "user", false)]
    {
        let storage = Dir::new();
        let dir = Dir::with("providers: []\n");
        let listen = format!("--web.listen-address={address}");
        let web = dir.write(
            "web.yml",
            &match users {
                "" => "{}\n".to_owned(),
                user => file(&[(user, "word")]),
            },
        );
        let web = format!("--web.config.file={}", web.display());
        let exporter = Exporter::start_in(dir, &flags(&storage, &[&listen, &web]));
        let log = exporter.process.log();
        assert_eq!(log.contains(WARNING), is_open, "{address} {users}: {log}");
    }
}

#[test]
fn only_the_named_users_may_register() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .and("task_receiver: { users: [app] }");
    let dir = Dir::with(&setup.text());
    let web = dir.write("web.yml", &file(&[("app", "a"), ("reader", "b")]));
    let web = format!("--web.config.file={}", web.display());
    let exporter = Exporter::start_in(dir, &flags(&storage, &[&web]));
    let send = |user: &str, method: &str, path: &str, body: &str| {
        let basic = format!("Basic {}", STANDARD.encode(user));
        let headers = [JSON, ("Authorization", &*basic)];
        http::send(exporter.address, method, path, &headers, body).unwrap()
    };
    for (method, path) in
        [("PUT", &*path("mj", "a")), ("DELETE", &path("mj", "a")), ("POST", "/api/v1/tasks")]
    {
        let reply = send("reader:b", method, path, "[]");
        assert_eq!(reply.status, 403, "{method}");
        assert_eq!(reply.text(), "only the users of task_receiver may register tasks\n");
        assert_eq!(send("app:b", method, path, "[]").status, 401, "{method}");
    }
    assert_eq!(send("reader:b", "GET", "/api/v1/tasks", "").status, 200);
    assert_eq!(send("app:a", "PUT", &path("mj", "running-1"), "").status, 201);
    assert_eq!(send("app:a", "POST", "/api/v1/tasks", "[\"running-2\"]").status, 200);
    assert_eq!(send("app:a", "DELETE", &path("mj", "running-2"), "").status, 204);
}

#[test]
fn users_need_a_web_configuration() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let open = Setup::new("").provider(gateway.provider("mj", ""));
    let exporter = start(&open, &storage);
    let closed = open.and("task_receiver: { users: [app] }").text();
    let reply = exporter.reload(&closed);
    assert_eq!(reply.status, 500);
    let fault = "users needs --web.config.file";
    assert!(reply.text().contains(fault), "{}", reply.text());
    create(&exporter, "mj", "running-1", &json!({}));
    assert_eq!(ids(&exporter), ["running-1"]);

    let dir = Dir::with(&closed);
    let config = format!("--config.file={}", dir.path("aitask.yml").display());
    for more in [&[][..], &["--config.check"]] {
        let storage = Dir::new();
        let output = harness::run([&[&*config], &*flags(&storage, more)].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {error}");
        assert!(error.contains(fault), "{more:?}: {error}");
    }
    let web = dir.write("web.yml", &file(&[("app", "a")]));
    let web = format!("--web.config.file={}", web.display());
    let output = harness::run([&*config, "--config.check", &web]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_page_of_another_site_registers_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("").provider(gateway.provider("mj", ""));
    let exporter = start(&setup, &storage);
    for (method, path) in
        [("PUT", &*path("mj", "a")), ("DELETE", &path("mj", "a")), ("POST", "/api/v1/tasks")]
    {
        for header in [("Origin", "https://elsewhere.example"), ("Sec-Fetch-Site", "cross-site")] {
            let reply = http::send(exporter.address, method, path, &[JSON, header], "[]").unwrap();
            assert_eq!(reply.status, 403, "{method} {header:?}");
        }
    }
    // What a form can send is no JSON.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let headers = [("Content-Type", kind)];
        let reply = http::send(exporter.address, "POST", "/api/v1/tasks", &headers, "[]").unwrap();
        assert_eq!(reply.status, 415, "{kind}");
    }
    assert_eq!(put(&exporter, "mj", "running-1", &json!({})).status, 201);
}
