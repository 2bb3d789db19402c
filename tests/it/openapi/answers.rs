//! Real answers against the description: each has a described status and type, and a body that
//! satisfies its schema. Each described status is an answer to one of these calls.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use super::{description, resolve};
use crate::harness::http::Reply;
use crate::harness::tools::{pipe, test_tool};
use crate::harness::{Exporter, Gateway, until};

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

/// Gets a target of a path.
fn get(exporter: &Exporter, path: &'static str, query: &str) -> Answered {
    Answered { path, method: "GET", reply: exporter.get(&format!("{path}{query}")) }
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
