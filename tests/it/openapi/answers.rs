//! Real answers against the description: each has a described status and type, and a body that
//! satisfies its schema. Each described status is an answer to one of these calls.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::json;

use super::{TARGET, description, operations, resolve, start_receiver};
use crate::crowds::connections;
use crate::harness::http::{self, Reply};
use crate::harness::tools::{pipe, test_tool};
use crate::harness::{Dir, Exporter, Gateway, until};
use crate::registration;
use crate::storage::disk;
use crate::web_config::users;

/// Validates values. A field that is not described is a mistake here, although clients have to expect
/// further ones.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator
description, values = json.load(sys.stdin)
def close(schema):
    if isinstance(schema, dict):
        if 'properties' in schema:
            schema.setdefault('additionalProperties', False)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            close(part)
close(description['components']['schemas'])
for name, schema, value in values:
    for error in Draft202012Validator({**description, **schema}).iter_errors(value):
        print(name, error.json_path, error.message)
";

/// A call and the answer to it.
pub struct Answered {
    pub path: &'static str,
    pub method: &'static str,
    pub reply: Reply,
}

/// Asserts that the answers are as described; returns path, method and status of each.
pub fn assert_described(answers: &[Answered]) -> BTreeSet<(String, String, String)> {
    let description = description();
    let (mut values, mut seen) = (Vec::new(), BTreeSet::new());
    for Answered { path, method, reply } in answers {
        let call =
            format!("{method} {path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body));
        let status = reply.status.to_string();
        let operation = &description["paths"][path][method.to_lowercase()];
        let response = &operation["responses"][&status];
        assert!(response.is_object(), "not described: {call}");
        let content = &resolve(&description, response)["content"];
        match reply.header("content-type") {
            None => assert!(content.is_null() && reply.body.is_empty(), "{call}"),
            Some(kind) => {
                assert!(content[kind].is_object(), "{call}: {kind}");
                let schema = &content[kind]["schema"];
                let body = if kind == "application/json" {
                    reply.json()
                } else {
                    assert!(reply.text().ends_with('\n') && reply.text().len() > 1, "{call}");
                    reply.text().into()
                };
                values.push((call, schema.clone(), body));
            }
        }
        seen.insert(((*path).to_owned(), (*method).to_owned(), status));
    }
    let input = json!([description, values]).to_string();
    let output = pipe(Command::new(test_tool("python")).args(["-c", VALIDATE]), input.as_bytes());
    let errors = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&errors), "");
    seen
}

const TASKS: &str = "/api/v1/tasks";
const TASK: &str = "/api/v1/tasks/{provider}/{id}";

/// Gets a target of a path.
fn get(exporter: &Exporter, path: &'static str, query: &str) -> Answered {
    Answered { path, method: "GET", reply: exporter.get(&format!("{path}{query}")) }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FOREIGN: (&str, &str) = ("Sec-Fetch-Site", "cross-site");

/// A call that registers or deletes: its method, what stands for provider and ID in its path (empty for
/// a list), headers and body.
type Call<'c> = (&'static str, &'c str, &'c [(&'c str, &'c str)], &'c str);

/// Sends a call.
fn change(exporter: &Exporter, (method, task, headers, body): Call<'_>) -> Answered {
    let (path, target) = match task {
        "" => (TASKS, TASKS.to_owned()),
        task => (TASK, format!("{TASKS}/{task}")),
    };
    let reply = http::send(exporter.address, method, &target, headers, body).unwrap();
    Answered { path, method, reply }
}

/// Calls of a receiver that takes two tasks, in their order: each with the status of its answer.
const CHANGES: [(u16, Call<'_>); 24] = [
    (201, ("PUT", "mj/running-1", &[], "")),
    (200, ("PUT", "mj/running-1", &[JSON], r#"{"labels":{"customer":"acme"},"ttl":"2h"}"#)),
    (200, ("PUT", "mj/running-1", &[JSON], r#"{"ttl":"100d","enqueue_time":1796000000}"#)),
    (404, ("PUT", "nowhere/running-1", &[], "")),
    (400, ("PUT", "mj/%FF", &[], "")),
    (400, ("PUT", "mj/running-1", &[JSON], r#"{"label":{}}"#)),
    (415, ("PUT", "mj/running-1", &[("Content-Type", "text/plain")], "{}")),
    (403, ("PUT", "mj/running-1", &[FOREIGN], "")),
    (200, ("POST", "", &[JSON], "[]")),
    (200, ("POST", "", &[JSON], r#"["running-1", "", {"id":"x","provider":"nowhere"}]"#)),
    (200, ("POST", "", &[JSON], r#"[{"targets":["running-2"],"labels":{"provider":"mj"}}]"#)),
    (400, ("POST", "", &[JSON], r#"[""]"#)),
    (400, ("POST", "", &[JSON], "{}")),
    (415, ("POST", "", &[], "[]")),
    (403, ("POST", "", &[JSON, FOREIGN], "[]")),
    (503, ("PUT", "mj/running-3", &[], "")),
    (503, ("POST", "", &[JSON], r#"["running-3"]"#)),
    (204, ("DELETE", "mj/running-2", &[], "")),
    (204, ("DELETE", "mj/running-2", &[], "")),
    (404, ("DELETE", "nowhere/running-2", &[], "")),
    (400, ("DELETE", "mj/%FF", &[], "")),
    (403, ("DELETE", "mj/running-1", &[FOREIGN], "")),
    (201, ("PUT", "mj/a%2Fb%20c", &[JSON], "{}")),
    (204, ("DELETE", "mj/a%2Fb%20c", &[], "")),
];

/// Sends the head of a request with a body of this size, and reads the answer.
fn send_head(exporter: &Exporter, method: &'static str, target: &str, size: usize) -> Reply {
    let mut stream = http::connect(exporter.address).unwrap();
    let address = exporter.address;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    http::read(stream, false).unwrap()
}

/// Calls that the receiver answers, and one with too large a body of each kind.
fn changes(exporter: &Exporter) -> Vec<Answered> {
    let mut answers = Vec::new();
    for (status, call) in CHANGES {
        let answered = change(exporter, call);
        let reply = &answered.reply;
        assert_eq!(reply.status, status, "{call:?}: {}", String::from_utf8_lossy(&reply.body));
        answers.push(answered);
    }
    for ((method, path, target), size) in WITH_BODY.into_iter().zip([64 << 10, 1 << 20]) {
        let reply = send_head(exporter, method, target, size + 1);
        assert_eq!(reply.status, 413, "{}", reply.text());
        answers.push(Answered { path, method, reply });
    }
    answers
}

/// Calls with a body: method, path and target.
const WITH_BODY: [(&str, &str, &str); 2] =
    [("PUT", TASK, "/api/v1/tasks/mj/running-1"), ("POST", TASKS, TASKS)];

/// Calls whose body never comes, for an exporter for which time passes fast.
fn unfinished(exporter: &Exporter) -> Vec<Answered> {
    let call = |(method, path, target)| {
        let reply = send_head(exporter, method, target, 10);
        assert_eq!(reply.status, 408, "{}", reply.text());
        Answered { path, method, reply }
    };
    WITH_BODY.map(call).into()
}

/// One call of each operation.
fn all(exporter: &Exporter) -> Vec<Answered> {
    let calls: [Call<'_>; 3] = [
        ("PUT", "mj/running-1", &[], ""),
        ("DELETE", "mj/running-1", &[], ""),
        ("POST", "", &[JSON], r#"["running-1"]"#),
    ];
    let mut answers: Vec<_> = calls.into_iter().map(|call| change(exporter, call)).collect();
    answers.extend([get(exporter, TASKS, ""), get(exporter, TARGET, "")]);
    answers
}

/// Requests for pages that are in progress as long as their connections are there, as many as are
/// allowed at once.
fn keep_busy(exporter: &Exporter) -> Vec<TcpStream> {
    let mut streams = connections(exporter.address, 16, b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n");
    for stream in &mut streams {
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    streams
}

/// Every status of the description is the answer to a call, and every answer is as described.
#[test]
fn every_status_is_an_answer() {
    let gateway = Gateway::start();
    let mut answers = changes(&start_receiver(&gateway, "task_receiver: { limit: 2 }\n", &[]));
    let dir = Dir::new();
    let web = dir.write("web.yml", &users::file(&[("app", "word")]));
    let flags = ["--web.config.file", web.to_str().unwrap()];
    answers.extend(all(&start_receiver(&gateway, "", &flags)));
    // A disk without any space.
    let provider = gateway.provider("mj", "");
    let only = || Dir::with(&format!("providers: [{provider}]\n"));
    let full = disk::limited(only(), &registration::flags(&dir, &[]), 0);
    answers.extend(all(&full));
    disk::kill_limited(full);
    // Without a receiver, and with a configuration that does not fit into the buffers of a connection.
    let ids: Vec<_> = (0..4_000).map(|number| format!("{number:0>4000}")).collect();
    let config = format!(
        "global: {{ poll_interval: 1y }}\nproviders: [{provider}]\ntasks: ['{}']\n",
        ids.join("', '")
    );
    let off = Exporter::start(&config);
    let _busy = keep_busy(&off);
    answers.extend(all(&off));
    let fast = Exporter::start_fast_in(only(), &registration::flags(&Dir::new(), &[]), 20);
    answers.extend(unfinished(&fast));
    answers.push(get(&fast, TASKS, "?oops=1"));

    let seen = assert_described(&answers);
    let description = description();
    let described: BTreeSet<_> = operations(&description)
        .into_iter()
        .flat_map(|(path, method, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            statuses.map(move |status| (path.to_owned(), method.clone(), status.clone()))
        })
        .collect();
    assert_eq!(seen, described);
    let limited = answers.iter().filter(|answered| answered.reply.status == 503);
    let mut retries = limited.filter_map(|answered| answered.reply.header("retry-after"));
    assert!(retries.all(|seconds| seconds.parse::<u32>().is_ok()));
}

#[test]
fn tasks_are_as_described() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks:\n\
         - {{ id: stuck-1, labels: {{ customer: acme }} }}\n\
         - {{ id: ok-1 }}\n- {{ id: running-1 }}\n- {{ id: failed-1 }}\n- {{ id: code-7-x }}\n",
        gateway.provider("mj", "")
    ));
    let unpolled = get(&exporter, TASKS, "");
    until("every task was polled", || {
        let all = exporter.get(TASKS).json();
        all["tasks"].as_array().unwrap().iter().all(|task| !task["up"].is_null())
    });
    exporter.await_state("ok-1", "succeeded");
    let mut answers = vec![unpolled];
    let queries = ["", "?limit=2", "?limit=2&sort=-age", "?limit=100", "?task_id=none"];
    let of_tasks = ["?task_id=ok-1", "?task_id=code-7-x", "?task_id=stuck-1&limit=1"];
    let wrong = ["?oops=1", "?cursor=x", "?provider=%FF", "?state=lost"];
    for query in queries.into_iter().chain(of_tasks).chain(wrong) {
        answers.push(get(&exporter, TASKS, query));
    }
    let seen = assert_described(&answers);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let histories = answers.iter().filter(|answered| answered.reply.status == 200);
    let histories = histories.map(|answered| answered.reply.json()["tasks"].clone());
    let histories = histories.filter(|tasks| tasks[0]["history"].is_object());
    assert_eq!(histories.count(), of_tasks.len());
}
