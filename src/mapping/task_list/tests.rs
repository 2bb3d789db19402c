use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::observation::State;
use crate::yaml::diagnostic::DiagnosticSink;
use crate::yaml::span::Spanned;
use crate::yaml::{decode, tree};

/// Compiles the mapping of a list with further keys of the `response` block, and the block `page`, both in
/// YAML.
fn compile(
    keys: &str,
    task: Option<&str>,
    page: Option<&str>,
) -> Result<(TaskListMapping, Option<Paging>), Vec<String>> {
    let block = format!("{{states: {{running: [run], succeeded: [done], failed: [bad]}}, {keys}}}");
    let sink = DiagnosticSink::default();
    let response: Spanned<RawResponse> = decode::decode(&tree::parse(&block, 0).unwrap(), &sink);
    let page: Option<Spanned<RawPage>> =
        page.map(|page| decode::decode(&tree::parse(page, 0).unwrap(), &sink));
    assert!(sink.is_empty(), "{sink:?}");
    let page = page.as_ref().and_then(Spanned::get);
    let compiled = TaskListMapping::compile(response.get().unwrap(), task, page, false);
    compiled.map_err(|TaskListErrors { list, response }| {
        let describe = |block: &str, error: &BlockError| {
            format!("{block} {}: {}", error.keys.join("."), error.message)
        };
        let list = list.iter().map(|error| describe("list", error));
        list.chain(response.iter().map(|error| describe("response", error))).collect()
    })
}

fn mapping(keys: &str, task: Option<&str>) -> TaskListMapping {
    compile(keys, task, None).unwrap().0
}

fn response(status: u16, body: &str) -> ProviderResponse {
    let (headers, sent) = (HeaderMap::new(), Timestamp::from_micros(1_796_022_000_000_000));
    ProviderResponse { status, headers, sent, body: ReceivedBody::Whole(body.to_owned().into()) }
}

/// Returns each element in words, or the failure of the list.
fn elements(mapping: &TaskListMapping, body: &str) -> Result<Vec<String>, String> {
    let mapped = mapping.map_list(&response(200, body), 100);
    let tasks = mapped.tasks.map_err(|failure| format!("{failure} ({})", failure.code))?;
    let describe = |element: &ObservedElement| {
        let outcome = match &element.outcome {
            Ok(Observation { state, status, .. }) => format!("{state} {status}"),
            Err(failure) => failure.to_string(),
        };
        format!("{} {}: {outcome}", element.number, element.id)
    };
    Ok(tasks.elements.iter().map(describe).collect())
}

#[test]
fn an_element_is_mapped_as_the_response_to_a_poll() {
    let mapping = mapping(
        "id: { path: /id, until: '|' }, status: { path: [/status, /job/status] },
         enqueue_time: { path: /at, format: epoch_seconds }, progress: { path: /done, format: ratio },
         failure_code: /why",
        None,
    );
    let body = json!([
        { "id": "a|x", "status": "run", "at": 1_796_021_990, "done": 0.5 },
        { "id": 12_345_678_901_234_567_890_u64, "job": { "status": "BAD " }, "why": "E1", "at": "soon" },
        { "id": "c", "status": "?" },
    ]);
    let mapped = mapping.map_list(&response(200, &body.to_string()), 3);
    let tasks = mapped.tasks.unwrap();
    assert_eq!(tasks.page.elements, 3);
    let [first, second, third] = &*tasks.elements else { panic!("{tasks:?}") };
    assert_eq!((first.number, &*first.id), (1, "a"));
    let seen = first.outcome.as_ref().unwrap();
    assert_eq!((seen.state, seen.progress), (State::Running, Some(0.5)));
    assert_eq!(seen.enqueue_time, Some(Timestamp::from_micros(1_796_021_990_000_000)));
    assert_eq!((second.number, &*second.id), (2, "12345678901234567890"));
    let seen = second.outcome.as_ref().unwrap();
    assert_eq!((seen.state, &*seen.status), (State::Failed, "BAD "));
    assert_eq!((seen.failure_code.as_deref(), seen.odd.len()), (Some("E1"), 1));
    assert_eq!(third.outcome.as_ref().unwrap().state, State::Unknown);
}

#[test]
fn an_element_that_is_no_task_costs_no_other() {
    let mapping = mapping("task: /data, id: /id, status: /status, code: /code", Some("/items"));
    let body = json!({ "code": 0, "data": [], "items": [
        { "id": "a", "status": "run" },
        { "status": "run" },
        { "id": { "x": 1 }, "status": "run" },
        { "id": true, "status": "run" },
        { "id": " ", "status": "run" },
        null,
        "b",
        { "id": "c" },
        { "id": "d", "status": ["run"] },
        { "id": "a", "status": "run" },
        { "id": "e", "status": "run" },
        { "id": "e", "status": "done" },
    ] });
    let expected = [
        "1 a: running run",
        "2 : mapping: it has no ID",
        "3 : mapping: its ID is an object",
        "4 : mapping: its ID is a boolean",
        "5 : mapping: it has no ID",
        "6 : mapping: it has no ID",
        "7 : mapping: it has no ID",
        "8 c: mapping: /status is missing or null",
        "9 d: mapping: /status is an array",
        "11 e: mapping: /status is different in two elements with the task's ID",
    ];
    assert_eq!(elements(&mapping, &body.to_string()).unwrap(), expected);
    assert_eq!(elements(&mapping, r#"{"items":null}"#), Ok(vec![]));
}

#[test]
fn a_response_that_is_no_list_fails_as_that_of_a_poll() {
    let keys = "id: /id, status: /status, code: /code, message: /msg, success: [0],
                retry_after: /wait, codes: { auth: [401], rate_limited: [9], cancelled: [7] }";
    let mapping = mapping(keys, Some("/items"));
    for (body, expected) in [
        (
            "{\"code\":0,\"items\":{\"id\":\"a\"}}",
            "mapping: /items is an object, not an array of tasks (0)",
        ),
        ("{\"items\":7}", "mapping: /items is a number, not an array of tasks ()"),
        ("{\"code\":0}", "mapping: /items is missing (0)"),
        ("{\"code\":401,\"items\":[]}", "auth: HTTP status 200, code 401 (401)"),
        ("{\"code\":5,\"items\":[]}", "api: code 5 (5)"),
        (
            "{\"items\":[],\"code\":7}",
            "api: code 7, which ends a single task, in the answer to a list (7)",
        ),
        ("[{", "decode: not JSON: line 1 column 2 ()"),
        (" ", "empty: HTTP status 200 without a body ()"),
    ] {
        assert_eq!(elements(&mapping, body), Err(expected.to_owned()), "{body}");
    }
    let limited = mapping.map_list(&response(200, r#"{"code":9,"msg":"slow","wait":3}"#), 9);
    assert_eq!(limited.tasks.unwrap_err().reason, Reason::RateLimited);
    assert_eq!((limited.code.as_deref(), limited.message.as_deref()), (Some("9"), Some("slow")));
    assert_eq!(limited.retry_after, Some(Duration::from_secs(3)));
    let good = mapping.map_list(&response(200, r#"{"code":0,"wait":3,"items":[]}"#), 9);
    assert!(good.tasks.is_ok() && good.retry_after.is_none());
    assert_eq!(mapping.map_list(&response(401, "{}"), 9).tasks.unwrap_err().reason, Reason::Auth);
}

#[test]
fn a_list_that_is_too_large_counts_not_at_all() {
    let mapping = mapping("id: /id, status: /status", None);
    let body = r#"[{"id":"a","status":"run"},{"id":"a","status":"run"},{}]"#;
    let reason = |response: &ProviderResponse, most| {
        mapping.map_list(response, most).tasks.map(|tasks| tasks.elements.len())
    };
    assert_eq!(reason(&response(200, body), 3), Ok(2));
    let many = reason(&response(200, body), 2).unwrap_err();
    assert_eq!(many.to_string(), "too_large: 3 elements are more than 2");
    let cut = |status, limit: usize| ProviderResponse {
        body: ReceivedBody::Truncated { start: body[..limit].to_owned().into(), limit },
        ..response(status, "")
    };
    // Also where the part that was read has whole elements, or says nothing at all.
    for limit in [30, 3] {
        let large = reason(&cut(200, limit), 9).unwrap_err();
        let expected = format!("too_large: the list is larger than {limit} bytes");
        assert_eq!(large.to_string(), expected);
    }
    assert_eq!(reason(&cut(401, 30), 9).unwrap_err().reason, Reason::Auth);
}

#[test]
fn a_body_with_faulty_strings_is_repaired() {
    let mapping = mapping("id: /id, status: /status", Some("/items"));
    let body = "{\"items\":[{\"id\":\"a\",\"status\":\"run\",\"text\":\"a\nb \\x\"}],\"n\":1}";
    assert_eq!(elements(&mapping, body), Ok(vec!["1 a: running run".to_owned()]));
    let keys = "id: /id, status: /status";
    let page = Some("{ cursor: { query: after, from: /last } }");
    let (paged, paging) = compile(keys, Some("/items"), page).unwrap();
    assert!(paging.unwrap().needs_document());
    let body = body.replace("\"n\":1", "\"last\":\"x\"");
    let mapped = paged.map_list(&response(200, &body), 9).tasks.unwrap();
    let cursor = mapped.page.get(super::super::list::page::DocumentField::Cursor);
    assert_eq!(*cursor, FieldValue::Text("x".into()));
}

#[test]
fn elements_may_come_before_the_envelope() {
    let keys = "id: /id, status: /status, code: /code, success: [0],
                refine: [{ if: { status: run, code: 0 }, state: waiting }]";
    let mapping = mapping(keys, Some("/items"));
    let body = |code: u8| format!(r#"{{"items":[{{"id":"a","status":"run"}}],"code":{code}}}"#);
    assert_eq!(elements(&mapping, &body(0)), Ok(vec!["1 a: waiting run".to_owned()]));
    assert_eq!(elements(&mapping, &body(1)), Err("api: code 1 (1)".to_owned()));
}

#[test]
fn what_is_wrong_with_a_list_is_found_before_a_request() {
    let errors = |keys, task, page| compile(keys, task, page).err().unwrap_or_default();
    assert_eq!(
        errors("status: /status", None, None),
        ["response : the response has no `id`, without which a list names no tasks"]
    );
    assert_eq!(
        errors("status: http_status, id: { header: x-id }", None, None),
        [
            "response id: the `id` of a task in a list must be in its element",
            "response status: the `status` of a task in a list must be in its element",
        ]
    );
    assert_eq!(
        errors("status: http_status, body: ignored", None, None),
        ["response body: the body is ignored, so it cannot list tasks"]
    );
    let page = Some("{ cursor: { query: a, from: /items/0/id } }");
    assert_eq!(
        errors("status: /status, id: /id", Some("/items"), page),
        ["list page.cursor.from: this path leads into the list of tasks"]
    );
    assert_eq!(
        errors("status: /status, id: /id", Some("items"), Some("{}")),
        [
            "list task: a JSON Pointer must start with `/`",
            "list page: it does not say how the next page is requested",
        ]
    );
}
