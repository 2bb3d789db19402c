//! `/api/v1/tasks`: the same as the metrics of the tasks, as JSON.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Exporter, Gateway, eventually, root};

fn tasks(exporter: &Exporter, query: &str) -> Vec<Value> {
    let reply = exporter.get(&format!("/api/v1/tasks{query}"));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let body: Value = serde_json::from_str(reply.text()).unwrap();
    body["tasks"].as_array().unwrap().clone()
}

#[test]
fn every_task_is_listed_including_final_ones() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms, retain_finished: 0s, per_task_series: none }}\n\
         providers: [{}, {}]\n\
         tasks:\n\
         - {{ provider: a, id: stuck-1, labels: {{ customer: acme }} }}\n\
         - {{ provider: a, id: 42a28dda-dc7a-4186-ac86-6e16c1fcef17 }}\n\
         - {{ provider: b, id: code-7-x, labels: {{ customer: ge/b, plan: gold }} }}\n",
        gateway.provider("a", ""),
        gateway.provider("b", "")
    ));
    let all = eventually("every task was polled", || {
        let all = tasks(&exporter, "");
        all.iter().all(|task| !task["up"].is_null()).then_some(all)
    });
    assert_eq!(all.len(), 3);
    let (stuck, done, failing) = (&all[0], &all[1], &all[2]);
    assert_eq!(stuck["labels"], json!({"customer": "acme"}));
    assert_eq!((&stuck["sources"], &stuck["listed"]), (&json!(["config"]), &json!(true)));
    assert_eq!((&stuck["state"], &stuck["stuck"]), (&json!("queued"), &json!(true)));
    assert!(stuck["queue_age_seconds"].as_f64().unwrap() >= 7_200.0);
    assert_eq!(done["task_id"], "42a28dda-dc7a-4186-ac86-6e16c1fcef17");
    assert_eq!((&done["state"], &done["status"]), (&json!("succeeded"), &json!("completed")));
    assert_eq!(done["enqueue_timestamp_seconds"], json!(1_750_402_472.303_527));
    assert_eq!((&done["final"], &done["queue_age_seconds"]), (&json!(true), &Value::Null));
    assert_eq!(failing["error"], json!({"reason": "api", "code": "7"}));
    assert_eq!(failing["error_detail"], "code 7");
    assert_eq!(
        (&failing["up"], &failing["last_success_timestamp_seconds"]),
        (&json!(false), &Value::Null)
    );

    assert_eq!(tasks(&exporter, "?provider=b").len(), 1);
    assert_eq!(tasks(&exporter, "?provider=a&state=queued").len(), 1);
    for (query, expected) in [
        ("?state=queued&state=succeeded", &["stuck-1", "42a28dda-dc7a-4186-ac86-6e16c1fcef17"][..]),
        ("?state=queued&state=failed&provider=b", &[]),
        ("?final=true", &["42a28dda-dc7a-4186-ac86-6e16c1fcef17"]),
        ("?final=false", &["stuck-1", "code-7-x"]),
        ("?final=false&stuck=false", &["code-7-x"]),
        ("?label.customer=acme", &["stuck-1"]),
        ("?label.customer=acm", &[]),
        ("?label.customer=", &["42a28dda-dc7a-4186-ac86-6e16c1fcef17"]),
        ("?label.customer=acme&label.plan=gold", &[]),
        ("?label.customer=ge%2Fb&label.plan=gold", &["code-7-x"]),
        ("?label.plan=gold&final=false&state=unpolled", &["code-7-x"]),
        ("?search=DE-7", &["code-7-x"]),
        ("?search=-1", &["stuck-1"]),
        ("?search=-1&provider=b", &[]),
        ("?search=stuck-11", &[]),
    ] {
        let found = tasks(&exporter, query);
        let found: Vec<_> = found.iter().map(|task| task["task_id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let unknown = exporter.get("/api/v1/tasks?provider=%3Cnobody%3E&stuck=true");
    let message = "no provider \"<nobody>\" is configured: the providers are a, b\n";
    assert_eq!((unknown.status, unknown.text()), (400, message));
    assert_eq!(tasks(&exporter, "?stuck=true")[0]["task_id"], "stuck-1");
    assert_eq!(tasks(&exporter, "?stuck=false").len(), 2);
    assert_eq!(tasks(&exporter, "?task_id=code-7-x")[0]["provider"], "b");
    for query in [
        "state=lost",
        "state=queued&state=lost",
        "state=",
        "stuck=",
        "final=",
        "final=perhaps",
        "oops=1",
        "label.=a",
        "label.a%2Db=c",
        "label.a=b&label.a=c",
        "stuck=true&stuck=true",
        "provider=a&provider=b",
        "provider=%FF",
        "provider=",
        "search=",
        "search=a&search=b",
        "sort=",
        "sort=enqueued",
        "sort=worst&sort=age",
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=",
        "cursor=AAAA",
    ] {
        let reply = exporter.get(&format!("/api/v1/tasks?{query}"));
        assert_eq!(reply.status, 400, "{query}");
    }
}

/// The fields whose values depend on the time of the request.
const MOMENTS: [&str; 5] = [
    "last_poll_timestamp_seconds",
    "last_success_timestamp_seconds",
    "queue_age_seconds",
    "state_timestamp_seconds",
    "waited_seconds",
];

/// Returns the section of the document about `/api/v1/tasks` under this heading.
fn section(heading: &str) -> String {
    let text = fs::read_to_string(root("docs/api.md")).unwrap();
    let rest = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
    rest.split("\n## ").next().unwrap().to_owned()
}

/// Returns the names in the first column of the tables of a text.
fn first_column(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

#[test]
fn the_document_shows_an_answer_and_explains_every_field_and_filter() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks:\n\
         - {{ id: 42a28dda-dc7a-4186-ac86-6e16c1fcef17, labels: {{ customer: acme }} }}\n\
         - {{ id: stuck-1, labels: {{ customer: acme }} }}\n\
         - {{ id: running-1, labels: {{ customer: globex }} }}\n",
        gateway.provider("mjdjourney", "")
    ));
    let answer = section("Answer");
    let query = "?label.customer=acme";
    assert!(answer.contains(&format!("localhost:10054/api/v1/tasks{query}'")), "{answer}");
    let real = eventually("every task was polled", || {
        let real = tasks(&exporter, query);
        real.iter().all(|task| !task["up"].is_null()).then_some(real)
    });
    let block = answer.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(block).unwrap();
    let shown = shown["tasks"].as_array().unwrap();
    assert_eq!(shown.len(), real.len());
    let fields = first_column(&answer);
    for (shown, real) in shown.iter().zip(&real) {
        let (shown, real) = (shown.as_object().unwrap(), real.as_object().unwrap());
        for (name, value) in real {
            let is_moment = MOMENTS.contains(&name.as_str());
            let is_equal = match is_moment || (name.starts_with("enqueue") && value.is_number()) {
                true => shown[name].is_number() == value.is_number(),
                false => shown[name] == *value,
            };
            assert!(is_equal, "{name}: {} is {value}", shown[name]);
        }
        let (shown, real): (Vec<_>, Vec<_>) = (shown.keys().collect(), real.keys().collect());
        assert_eq!(shown, real);
        assert_eq!(real, fields);
    }
    let all = exporter.get("/api/v1/tasks?oops=1");
    let (filters, paging) = (section("Filters"), section("Order and pages"));
    let fields = ["total", "previous_cursor", "next_cursor"];
    let (parameters, shown): (Vec<_>, Vec<_>) =
        first_column(&paging).into_iter().partition(|name| name.contains('='));
    assert_eq!((parameters.len(), shown), (3, fields.to_vec()));
    let orders = exporter.get("/api/v1/tasks?sort=oops");
    let orders = orders.text().split("one of ").nth(1).unwrap();
    for order in orders.split(", or ").next().unwrap().split(", ") {
        assert!(paging.contains(&format!("`{order}`")), "{order} is not explained");
    }
    let page = exporter.get("/api/v1/tasks?sort=-age&limit=50").json();
    let page = page.as_object().unwrap();
    assert!(fields.iter().all(|field| page.contains_key(*field)) && page.len() == 4);
    for name in first_column(&filters).into_iter().chain(parameters) {
        let name = name.split('=').next().unwrap();
        assert!(all.text().contains(name), "{name}: {}", all.text());
        if name != "label.NAME" {
            let reply = exporter.get(&format!("/api/v1/tasks?{name}=%FF"));
            assert!(reply.text().contains("not UTF-8"), "{name}: {}", reply.text());
        }
    }
    assert_eq!(first_column(&filters).len(), 7);
}
