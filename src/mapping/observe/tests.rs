use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::mapping::schema::RawResponse;
use crate::yaml::diagnostic::DiagnosticSink;
use crate::yaml::span::Spanned;
use crate::yaml::{decode, tree};

fn is_found(status: u16, headers: &[(HeaderName, &'static str)], body: &[u8]) -> bool {
    let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    let headers: HeaderMap = pairs.collect();
    let is_json = serde_json::from_slice::<serde_json::Value>(body).is_ok();
    let sent = Timestamp::from_micros(0);
    let body = ReceivedBody::Whole(Bytes::copy_from_slice(body));
    find_page(&ProviderResponse { status, headers, sent, body }, is_json).is_some()
}

#[test]
fn pages_are_distinguished_from_rejections() {
    let json = br#"{"code":401,"message":"no such key"}"#;
    for kind in ["text/html", "Text/HTML; charset=utf-8", " application/xhtml+xml ;q=1"] {
        let headers = [(CONTENT_TYPE, kind)];
        assert!(
            is_found(403, &headers, b"Just a moment...") && is_found(401, &headers, b""),
            "{kind}"
        );
        // JSON with the content type of a page, and other statuses.
        assert!(!is_found(403, &headers, json), "{kind}");
        assert!(
            !is_found(429, &headers, b"<html>") && !is_found(200, &headers, b"<html>"),
            "{kind}"
        );
    }
    for kind in ["application/json", "text/plain", "text/htmlx", ""] {
        assert!(!is_found(403, &[(CONTENT_TYPE, kind)], b"<html>"), "{kind}");
    }
    let mitigated = [(CONTENT_TYPE, "application/json"), (CF_MITIGATED, "challenge")];
    assert!(is_found(403, &mitigated, json));
    for body in ["<!DOCTYPE html><p>", "\u{feff}\r\n <HTML>"] {
        assert!(is_found(403, &[], body.as_bytes()), "{body}");
    }
    for body in ["", "<", "forbidden", "<error>no</error>", "\u{feff}{}"] {
        assert!(!is_found(403, &[], body.as_bytes()), "{body}");
    }
}

/// Returns a mapping of `/status` with further keys of the `response` block, in YAML.
fn mapping(keys: &str) -> Mapping {
    let block =
        format!("{{status: /status, states: {{running: [run], succeeded: [done]}}, {keys}}}");
    let tree = tree::parse(&block, 0).unwrap();
    let sink = DiagnosticSink::default();
    let raw: Spanned<RawResponse> = decode::decode(&tree, &sink);
    Mapping::compile(raw.get().unwrap()).unwrap()
}

/// Maps the response to a request for one task. Returns its state, or the reason of the failure.
fn outcome(mapping: &Mapping, id: &str, status: u16, body: &str) -> Result<State, Reason> {
    let response = ProviderResponse {
        status,
        headers: HeaderMap::new(),
        sent: Timestamp::from_micros(0),
        body: ReceivedBody::Whole(Bytes::copy_from_slice(body.as_bytes())),
    };
    let mut outcomes = mapping.map_response(&response, &[id], false).outcomes;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).map(|seen| seen.state).map_err(|failure| failure.reason)
}

#[test]
fn a_code_ends_no_other_task() {
    let ends = Ok(State::Cancelled);
    for (task, body, expected) in [
        ("", r#"{"code": 8, "id": "1", "status": "run"}"#, ends),
        ("", r#"{"code": 8, "id": "2", "status": "run"}"#, Err(Reason::Mapping)),
        ("", r#"{"code": 8, "id": {}}"#, Err(Reason::Mapping)),
        ("", r#"{"code": 8, "id": ""}"#, ends),
        ("/data", r#"{"code": 8, "data": null}"#, ends),
        ("/data", r#"{"code": 8}"#, ends),
        ("/data", r#"{"code": 8, "data": []}"#, ends),
        ("/data", r#"{"code": 8, "data": [{"id": 2}]}"#, Err(Reason::Mapping)),
        ("/data", r#"{"code": 8, "data": [{"id": 2}, {"id": 1}]}"#, ends),
    ] {
        let mapping =
            mapping(&format!("code: /code, codes: {{cancelled: [8]}}, task: {task:?}, id: /id"));
        assert_eq!(outcome(&mapping, "1", 200, body), expected, "{body}");
    }
}

#[test]
fn a_status_that_is_not_accepted_is_http_without_a_body_too() {
    let outcome =
        |accept: &str, status| outcome(&mapping(&format!("accept: [{accept}]")), "1", status, "");
    for status in [201, 204, 304] {
        assert_eq!(outcome("200", status), Err(Reason::Http), "{status}");
    }
    for accept in ["", "204", "2xx"] {
        assert_eq!(outcome(accept, 204), Err(Reason::Empty), "{accept:?}");
    }
}

#[test]
fn numbers_are_compared_with_all_their_digits() {
    let mapping = mapping("id: /id");
    let read = |id: &str, named: &str| {
        let body = format!(r#"{{"id": {named}, "status": "done", "progress": 0.5}}"#);
        outcome(&mapping, id, 200, &body)
    };
    for number in ["18446744073709551616", "20251130165432123456789", "0", "0.1"] {
        assert_eq!(read(number, number), Ok(State::Succeeded), "{number}");
    }
    for (id, named) in [
        ("202511301654321300000", "202511301654321299999"),
        ("18446744073709552000", "18446744073709551999"),
        ("1", "1.0000000000000000001"),
        ("0.1", "0.1000000000000000055511151231257827"),
    ] {
        assert_eq!(read(id, named), Err(Reason::Mapping), "{named}");
    }
}

#[test]
fn of_two_statuses_of_a_task_neither_is_believed() {
    let mapping = mapping("id: /id");
    let [done, run] = [r#"{"id": 1, "status": "done"}"#, r#"{"id": 1, "status": "run"}"#];
    let other = r#"{"id": 2, "status": "run"}"#;
    for (elements, expected) in [
        ([done, other, run], Err(Reason::Mapping)),
        ([run, done, run], Err(Reason::Mapping)),
        ([done, done, other], Ok(State::Succeeded)),
        ([done, r#"{"id": 1}"#, r#"{"id": 1, "status": null}"#], Ok(State::Succeeded)),
    ] {
        let body = format!("[{}]", elements.join(","));
        assert_eq!(outcome(&mapping, "1", 200, &body), expected, "{body}");
    }
}
