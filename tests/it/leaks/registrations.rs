//! Registrations: who may register, what is shown of them, and what is left of them when they end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Dir, Exporter, Gateway, http, until};
use crate::registration;
use crate::storage::kill;
use crate::web_config::users;

/// Users and their passwords; the first may register.
const USERS: [(&str, &str); 2] = [("app", "zq-app-word"), ("reader", "zq-reader-word")];
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Every call that registers or deletes: method, target, body.
const CALLS: [(&str, &str, &str); 3] = [
    ("PUT", "/api/v1/tasks/kling/secret-task", r#"{"params":{"kind":"zq-param-1"}}"#),
    ("POST", "/api/v1/tasks", r#"[{"id":"b","provider":"kling","params":{"kind":"zq-param-2"}}]"#),
    ("DELETE", "/api/v1/tasks/kling/gone", ""),
];

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn only_users_who_may_register_do_and_no_password_or_param_is_shown() {
    let gateway = Gateway::start();
    let dir = Dir::with(&format!(
        "providers: [{{ name: kling, preset: kling, base_url: 'http://{}', \
         authorization: {{ credentials: zq-token }} }}]\ntask_receiver: {{ users: [app] }}\n",
        gateway.address
    ));
    let web = dir.write("web.yml", &users::file(&USERS));
    let flags = ["--log.level=debug", "--web.config.file", web.to_str().unwrap()];
    let flags = registration::flags(&dir, &flags);
    let exporter = Exporter::start_in(dir, &flags);
    let send = |(method, target, body): (&str, &str, &str), authorization: Option<&str>| {
        let authorization = authorization.map(|value| ("Authorization", value));
        let headers: Vec<_> = [JSON].into_iter().chain(authorization).collect();
        http::send(exporter.address, method, target, &headers, body).unwrap()
    };
    let get = |target| send(("GET", target, ""), Some(&basic("reader", "zq-reader-word")));
    let mut said = Vec::new();
    let (app, reader) = (basic("app", "zq-app-word"), basic("reader", "zq-reader-word"));
    for call in CALLS {
        for (authorization, status) in [
            (None, 401),
            (Some(&*basic("app", "zq-reader-word")), 401),
            (Some("Bearer zq-app-word"), 401),
            (Some(&*reader), 403),
        ] {
            let reply = send(call, authorization);
            assert_eq!(reply.status, status, "{call:?} {authorization:?}: {}", reply.text());
            said.push(format!("{reply:?}"));
        }
    }
    assert_eq!(get("/api/v1/tasks").json(), json!({"tasks": []}), "nothing was registered");
    for (call, status) in CALLS.into_iter().zip([201, 200, 204]) {
        let reply = send(call, Some(&app));
        assert_eq!(reply.status, status, "{call:?}: {}", reply.text());
        said.push(format!("{:?} {}", reply.headers, reply.text()));
    }
    until("the registered tasks were polled", || {
        let tasks = get("/api/v1/tasks").json();
        tasks["tasks"].as_array().unwrap().iter().all(|task| !task["up"].is_null())
    });
    for target in ["/", "/metrics", "/tasks", "/config", "/service-discovery", "/api/v1/tasks"] {
        let reply = get(target);
        assert_eq!(reply.status, 200, "{target}");
        said.push(format!("{:?} {}", reply.headers, reply.text()));
    }
    // The page of the task shows its params, as that of any other task.
    assert!(get("/tasks/kling/secret-task").text().contains("zq-param-1"));
    said.push(exporter.process.log());
    let passwords = USERS.iter().flat_map(|(user, password)| {
        [(*password).to_owned(), basic(user, password)[6..].to_owned()]
    });
    for secret in passwords.chain(["zq-param".to_owned(), "zq-token".to_owned()]) {
        for said in &said {
            assert!(!said.contains(&secret), "{secret}: {said}");
        }
    }
}

/// Number of registrations that come and go in a round; the variable `CYCLES` makes it larger.
const CYCLES: usize = 10_000;
/// Number of connections, each with its own tasks.
const CLIENTS: usize = 8;
/// Number of requests that are sent ahead of their responses.
const AHEAD: usize = 100;

/// Registers and deletes tasks on a connection, and reads each response.
fn come_and_go(address: SocketAddr, client: usize, count: usize) {
    let mut stream = http::connect(address).unwrap();
    let mut responses = BufReader::new(stream.try_clone().unwrap());
    for first in (0..count).step_by(AHEAD / 2) {
        let request = |method: &str, number: usize| {
            let target = format!("/api/v1/tasks/mj/running-{client}-{number}");
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        };
        let both = |number| request("PUT", number) + &request("DELETE", number);
        let numbers = first..count.min(first + AHEAD / 2);
        let statuses = ["201", "204"].into_iter().cycle().take(2 * numbers.len());
        let requests: String = numbers.map(both).collect();
        stream.write_all(requests.as_bytes()).unwrap();
        for status in statuses {
            let response = read_response(&mut responses);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        }
    }
}

/// Reads a response; returns its head.
fn read_response(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    head
}

/// Returns the size of the files in a directory, in bytes.
fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn registrations_that_come_and_go_leave_nothing() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = format!("providers: [{}]\n", gateway.provider("mj", ""));
    let (path, flags) = (storage.path("state"), registration::flags(&storage, &[]));
    let exporter = Exporter::start_in(Dir::with(&config), &flags);
    let memory = || {
        let resident = exporter.process.status("RssAnon");
        resident.trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    let cycles = std::env::var("CYCLES").map_or(CYCLES, |cycles| cycles.parse().unwrap());
    let cycles = cycles.next_multiple_of(CLIENTS);
    let mut after = Vec::new();
    for round in 0..2 {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let address = exporter.address;
                scope.spawn(move || {
                    come_and_go(address, round * CLIENTS + client, cycles / CLIENTS);
                });
            }
        });
        assert_eq!(exporter.get("/api/v1/tasks").json(), json!({"tasks": []}));
        let samples = exporter.scrape();
        for family in ["aitask_tasks", "aitask_unlisted_tasks", "aitask_lost_tasks_total"] {
            let series = samples.find(family, &[]);
            assert!(
                !series.is_empty() && series.iter().all(|(_, value)| *value == 0.0),
                "{family}"
            );
        }
        let count = (cycles * (round + 1)) as f64;
        for result in ["created", "deleted"] {
            let total = samples.value("aitask_registrations_total", &[("result", result)]);
            assert_eq!(total, Some(count), "{result}");
        }
        after.push(memory());
    }
    // A task takes some hundred bytes of memory.
    let grown = after[1].saturating_sub(after[0]);
    assert!(grown < 100 * cycles, "{grown} bytes: {after:?}");
    // A start replaces the journal with a snapshot of what is there.
    kill(exporter);
    let exporter = Exporter::start_in(Dir::with(&config), &flags);
    assert_eq!(exporter.get("/api/v1/tasks").json(), json!({"tasks": []}));
    until("the storage path is as good as empty", || size(&path) < 64 << 10);
}
