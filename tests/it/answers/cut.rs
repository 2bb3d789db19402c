//! Responses beyond `body_size_limit`: the part before the limit counts.

use super::{Api, BATCH, USUAL};

const LIMIT: &str = "  body_size_limit: 1KiB";

fn base64() -> String {
    "UklGRgAAAABXRUJQ".repeat(256)
}

#[test]
fn a_large_last_answer_ends_its_task() {
    let api = Api::start();
    let video = base64();
    let done =
        |id: &str| format!(r#"{{"code":0,"data":{{"id":"{id}","status":"DONE","v":"{video}"}}}}"#);
    api.answer("/t/first", done("first"));
    api.answer("/t/other", done("another"));
    let last = format!(r#"{{"code":0,"data":{{"id":"last","v":"{video}","status":"DONE"}}}}"#);
    api.answer("/t/last", last);
    // The limit falls into the status itself, and into its number.
    let status = format!(r#"{{"code":0,"data":{{"id":"within","status":"DONE{video}"}}}}"#);
    api.answer("/t/within", status);
    let refused =
        format!(r#"{{"code":7,"data":{{"id":"refused","status":"DONE","v":"{video}"}}}}"#);
    api.answer("/t/refused", refused);
    api.answer("/t/html", format!("<html>{video}"));
    let exporter = api.exporter(USUAL, LIMIT, "first, other, last, within, refused, html");
    exporter.await_state("first", "succeeded");
    for (id, reason, code) in [
        ("other", "mapping", "0"),
        ("last", "too_large", ""),
        ("within", "too_large", ""),
        ("refused", "api", "7"),
        ("html", "too_large", ""),
    ] {
        let error = [("task_id", id), ("reason", reason), ("code", code)];
        exporter.await_value("aitask_error", &error, 1.0);
    }
    let log = exporter.process.log();
    assert!(log.contains("larger than 1024 bytes: raise body_size_limit"), "{log}");
    let reply = exporter.get("/probe?provider=api&task_id=first&debug=true");
    for says in ["larger than 1024 bytes (body_size_limit)", "/status", "state: succeeded"] {
        assert!(reply.text().contains(says), "{says}: {}", reply.text());
    }
}

#[test]
fn of_a_large_batch_the_whole_elements_count() {
    let api = Api::start();
    let element = |id: &str, more: &str| format!(r#"{{"id":"{id}","status":"DONE","v":"{more}"}}"#);
    // The same for a few tasks.
    let elements = [element("a", ""), element("b", ""), element("c", &base64())];
    api.answer("/batch", format!(r#"{{"code":0,"data":[{}]}}"#, elements.join(",")));
    // Tasks that could not be read are polled alone.
    api.answer("/t/c", format!(r#"{{"v":"{}"}}"#, base64()));
    let exporter = api.exporter(USUAL, &format!("{LIMIT}\n{BATCH}"), "a, b, c");
    exporter.await_state("a", "succeeded");
    exporter.await_state("b", "succeeded");
    exporter.await_value("aitask_error", &[("task_id", "c"), ("reason", "too_large")], 1.0);
}

#[test]
fn no_half_of_a_secret_is_shown_at_the_end_of_a_cut_answer() {
    let api = Api::start();
    let begin = r#"{"code":7,"message":""#;
    let body = format!("{begin}{} hunter2-XYZZY{}", "x".repeat(1024 - begin.len() - 9), base64());
    api.answer("/t/a", body);
    let more = format!("{LIMIT}\n  authorization: {{ credentials: hunter2-XYZZY }}");
    let exporter = api.exporter(USUAL, &more, "a");
    exporter.await_value("aitask_error", &[("reason", "too_large"), ("code", "")], 1.0);
    let reply = exporter.get("/probe?provider=api&task_id=a&debug=true");
    assert!(reply.text().contains("xxx"), "{}", reply.text());
    assert!(!reply.text().contains("hunter2"), "{}", reply.text());
}
