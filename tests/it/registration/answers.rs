//! Answers to requests, right and wrong.

use serde_json::json;

use super::{JSON, all, counts, create, delete, path, post, start};
use crate::discovery::{Setup, ids, task};
use crate::harness::{Dir, Exporter, Gateway, eventually, http};

fn exporter(gateway: &Gateway, storage: &Dir) -> Exporter {
    let setup = Setup::new("poll_interval: 200ms, label_limit: 40")
        .provider(gateway.provider("mj", ""))
        .provider(format!(
            "{{ name: 'a/b c', preset: kling, base_url: 'http://{}/kling' }}",
            gateway.address
        ));
    start(&setup, storage)
}

/// Sends a request with a text for a body.
fn send(exporter: &Exporter, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    let headers = [("Content-Type", kind)];
    let headers = if kind.is_empty() { &[][..] } else { &headers };
    let reply = http::send(exporter.address, method, path, headers, body).unwrap();
    (reply.status, reply.text().to_owned())
}

#[test]
fn a_body_is_optional_and_an_object_with_known_keys() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let exporter = exporter(&gateway, &storage);
    let put = |kind: &str, body: &str| send(&exporter, "PUT", &path("mj", "x"), kind, body);
    assert_eq!(put("", "").0, 201);
    for (kind, body) in [
        ("application/json", ""),
        ("application/json; charset=utf-8", "{}"),
        ("APPLICATION/JSON", r#" {"labels": null, "ttl": null, "enqueue_time": null} "#),
    ] {
        assert_eq!(put(kind, body).0, 200, "{kind} {body}");
    }
    for (body, fault) in [
        ("[]", "the body must be a JSON object"),
        ("null", "the body must be a JSON object"),
        ("{", "the body is not JSON: line 1 column 1"),
        ("{} {}", "the body is not JSON: line 1 column 4"),
        (r#"{"label": {}}"#, "unknown key; the keys are labels, params, enqueue_time, ttl"),
        (r#"{"ttl": "1h", "ttl": "2h"}"#, "duplicate key: ttl"),
        (r#"{"labels": []}"#, "labels must be an object, not a list"),
        (r#"{"labels": {"a": 1}}"#, r#"label "a": must be text, not a number"#),
        (
            r#"{"labels": {"a-b": "x"}}"#,
            r#"label "a-b": not a label name: it must consist of letters, digits and `_`, and must not begin with a digit"#,
        ),
        (
            r#"{"labels": {"provider": "mj"}}"#,
            "the provider is named by the path, and cannot be a label",
        ),
        (r#"{"enqueue_time": "yesterday"}"#, "the enqueue time is invalid: "),
        (r#"{"ttl": 60}"#, "the ttl is invalid: must be text, not a number"),
        (r#"{"ttl": "60"}"#, "the ttl is invalid: a duration needs a unit: write 60s for seconds"),
        (r#"{"ttl": "0s"}"#, "the ttl is invalid: must be greater than zero"),
    ] {
        let (status, text) = put("application/json", body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.starts_with(fault), "{body}: {text}");
    }
    let deep = format!("{{\"labels\": {}{}}}", "[".repeat(130), "]".repeat(130));
    assert_eq!(put("application/json", &deep).0, 400);
    let long: serde_json::Map<_, _> =
        (0..40).map(|number| (format!("l{number}"), "x".repeat(1_000).into())).collect();
    let (status, text) = put("application/json", &json!({ "labels": long }).to_string());
    assert_eq!((status, &*text), (400, "labels and params have more than 36 KiB together\n"));
    for kind in ["text/plain", "application/jsonp", "text/json"] {
        assert_eq!(put(kind, "{}").0, 415, "{kind}");
    }
    assert_eq!(put("", "{}").0, 415);
    let large = format!("{{}}{}", " ".repeat(64 << 10));
    let (status, text) = put("application/json", &large);
    assert_eq!((status, &*text), (413, "the body has more than 64 KiB\n"));
    let rejected = counts(&exporter.scrape())[3];
    assert_eq!((ids(&exporter), rejected), (vec!["x".to_owned()], 21.0));
}

#[test]
fn paths_name_any_provider_and_any_id() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let exporter = exporter(&gateway, &storage);
    let body = json!({ "params": { "kind": "text2video" } });
    let strange = "projects/p?x=1&y#z/ü +%41";
    assert_eq!(create(&exporter, "a/b c", strange, &body)["task_id"], strange);
    assert_eq!(ids(&exporter), [strange]);
    delete(&exporter, "a/b c", strange);
    // Without escapes where a path needs none.
    let reply = http::send(exporter.address, "PUT", "/api/v1/tasks/mj/a/b", &[], "").unwrap();
    assert_eq!((reply.status, &reply.json()["task_id"]), (201, &json!("a/b")));
    delete(&exporter, "mj", "a/b");
    for (target, status, fault) in [
        ("/api/v1/tasks/mj/a?b", 400, "takes no parameters; a ? in an ID is written %3F"),
        ("/api/v1/tasks/mj/%FF", 400, "not UTF-8"),
        ("/api/v1/tasks/mj/a%00", 400, "a task ID"),
        ("/api/v1/tasks/mj/%2E%2E%2Fx", 400, "a task ID"),
        ("/api/v1/tasks/other/a", 404, "no provider \"other\" is configured"),
        ("/api/v1/tasks/a%2Fb%20c/x", 400, "the param \"kind\" is missing"),
    ] {
        let reply = http::send(exporter.address, "PUT", target, &[], "").unwrap();
        assert_eq!(reply.status, status, "{target}: {}", reply.text());
        assert!(reply.text().contains(fault), "{target}: {}", reply.text());
    }
    let reply = http::send(exporter.address, "DELETE", "/api/v1/tasks/other/a", &[], "").unwrap();
    assert_eq!(reply.status, 404);
    let reply = exporter.get(&path("mj", "a"));
    assert_eq!(reply.status, 405);
    assert_eq!(ids(&exporter), [""; 0]);
}

#[test]
fn a_list_has_the_elements_of_other_lists() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let exporter = exporter(&gateway, &storage);
    let list = json!([
        { "id": "running-1", "provider": "mj", "labels": { "customer": "a" }, "ttl": "2h" },
        "running-2",
        { "targets": ["running-3", 8076, ""], "labels": { "provider": "mj", "customer": "b" } },
        { "id": "running-4", "provider": "mj", "ttl": "90d" },
        { "id": "running-5", "provider": "mj", "ttl": "soon" },
        { "id": "running-1", "provider": "mj" },
        { "id": "x", "provider": "a/b c" },
        7.5,
        null,
    ]);
    let reply = post(&exporter, &list);
    let reasons = [
        (1, "names no provider, and there is more than one"),
        (2, "target 3: a task ID must not be empty"),
        (4, "the ttl is invalid: not a duration: "),
        (6, "the param \"kind\" is missing"),
        (7, "names no provider, and there is more than one"),
        (8, "must be an ID or an object, not null"),
    ];
    let answer = reply.json();
    assert_eq!(reply.status, 200, "{answer}");
    let counted = [&answer["created"], &answer["renewed"], &answer["ttl_limited"]];
    assert_eq!(counted, [&json!(4), &json!(0), &json!(1)], "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), reasons.len(), "{answer}");
    for ((index, reason), found) in reasons.into_iter().zip(rejected) {
        assert_eq!(found["index"], index, "{answer}");
        assert!(found["reason"].as_str().unwrap().starts_with(reason), "{found}");
    }
    assert_eq!(ids(&exporter), ["8076", "running-1", "running-3", "running-4"]);
    assert_eq!(task(&exporter, "running-1").unwrap()["labels"], json!({ "customer": "a" }));
    assert_eq!(counts(&exporter.scrape()), [4.0, 0.0, 0.0, 6.0]);
    assert_eq!(
        (post(&exporter, &json!([])).status, post(&exporter, &json!([])).json()),
        (200, all(0, 0))
    );
    let reply = post(&exporter, &json!(["x"]));
    assert_eq!((reply.status, &reply.json()["created"]), (400, &json!(0)));
    for (body, status) in [("{}", 400), ("", 400), ("[", 400), ("[1", 400), ("null", 400)] {
        assert_eq!(send(&exporter, "POST", "/api/v1/tasks", JSON.1, body).0, status, "{body}");
    }
    let large = format!("[]{}", " ".repeat(1 << 20));
    // A client that has not sent all when the answer comes may lose it.
    let too_large = eventually("an answer", || {
        http::send(exporter.address, "POST", "/api/v1/tasks", &[JSON], &large).ok()
    });
    assert_eq!(too_large.status, 413);
    assert_eq!(send(&exporter, "POST", "/api/v1/tasks?x=1", JSON.1, "[]").0, 400);
    assert_eq!(exporter.get("/api/v1/tasks").status, 200, "the same path lists tasks");
}
