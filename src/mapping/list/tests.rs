use serde_json::json;

use super::page::{DocumentField, NextPage, Paging};
use super::*;
use crate::yaml::decode::decode;
use crate::yaml::diagnostic::DiagnosticSink;
use crate::yaml::tree;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct RawSource {
    response: Spanned<RawListResponse>,
    page: Spanned<RawPage>,
}

type Compiled = (Option<ListMapping>, Option<Paging>);

fn compile(text: &str) -> Result<Compiled, Vec<String>> {
    let root = tree::parse(text, 0).expect(text);
    let sink = DiagnosticSink::default();
    let raw = decode::<RawSource>(&root, &sink).value.unwrap();
    assert!(sink.is_empty(), "{text}: {sink:?}");
    let compiled = ListMapping::compile(raw.response.get(), raw.page.get());
    let describe = |error: BlockError| format!("{}: {}", error.keys.join("."), error.message);
    compiled.map_err(|errors| errors.into_iter().map(describe).collect())
}

fn mapping(response: &str) -> ListMapping {
    compile(&format!("response: {response}")).unwrap().0.unwrap()
}

/// Returns each element of a list in words.
fn elements(mapping: &ListMapping, body: &str) -> Result<Vec<String>, String> {
    let sent = Timestamp::from_micros(1_796_022_000_000_000);
    let mut found = Vec::new();
    let page = mapping.read(body.as_bytes(), &mut |element| {
        let text = |value: FieldValue<'_>| match value {
            FieldValue::Text(text) => text.into_owned(),
            other => format!("{other:?}"),
        };
        let mut words = vec![text(element.id())];
        if element.provider().is_present() {
            words.push(format!("at {}", text(element.provider())));
        }
        words.extend(element.labels().map(|(name, value)| format!("{name}={}", text(value))));
        words.extend(element.params().map(|(name, value)| format!("{name}:{}", text(value))));
        words.extend(element.enqueue_time(sent).map(|time| match time {
            MappedTime::Parsed(Ok(time)) => format!("{:?}", time.map(Timestamp::micros)),
            MappedTime::Parsed(Err(wrong)) => wrong.to_owned(),
            MappedTime::Unparsed(value) => format!("unparsed {}", text(value)),
        }));
        found.push(words.join(" "));
    });
    assert_eq!(page.map_err(|error| error.to_string())?.elements, found.len());
    Ok(found)
}

#[test]
fn an_element_has_what_its_paths_lead_to() {
    let mapping = mapping(
        "{ tasks: /data/items, id: { path: [/task_id, /id], until: '|' }, provider: /p,
           enqueue_time: { path: /at, format: epoch },
           labels: { channel: /channel_id, deep: /a/b/0 }, params: { kind: /kind } }",
    );
    let body = json!({ "code": 0, "data": { "total": 9, "items": [
        { "task_id": "a|x", "p": "kling", "at": 1_796_022_000, "channel_id": 7, "kind": "v" },
        { "id": 12, "channel_id": null, "a": { "b": ["x", "y"] }, "kind": true },
        { "task_id": null, "at": 0 },
        { "task_id": { "x": 1 }, "at": "soon", "channel_id": [] },
        "bare",
        null,
    ] } });
    let expected = [
        "a at kling channel=7 kind:v Some(1796022000000000)",
        "12 deep=x kind:Boolean(true)",
        "Null None",
        "Other(\"an object\") channel=Other(\"an array\") not a number: is the format correct?",
        "Missing",
        "Missing",
    ];
    assert_eq!(elements(&mapping, &body.to_string()).unwrap(), expected);
}

#[test]
fn the_response_itself_can_be_the_list_and_an_element_the_id() {
    let bare = mapping("{ id: '', enqueue_time: /at }");
    assert_eq!(elements(&bare, "\u{feff}[\"a\", 7, null]").unwrap(), ["a", "7", "Null"]);
    let timed = mapping("{ id: /id, enqueue_time: /at }");
    assert_eq!(elements(&timed, r#"[{"id":"a","at":1.5}]"#).unwrap(), ["a unparsed 1.5"]);
    // As languages write an empty list.
    for empty in ["[]", "null"] {
        assert_eq!(elements(&bare, empty), Ok(vec![]));
    }
}

#[test]
fn values_count_as_they_are_written() {
    let mapping = mapping("{ tasks: /a, id: { path: [/id, ''] }, labels: { l: /l, deep: /l/x } }");
    let body = r#"{"a":[{"id":123456789012345678901234567890,"l":"\ud83d\ude00 \"\u00e9"},
        {"id":1e5,"l":"cut \ud83d"},{"id":0.10,"l":{"x":-0.0}},9007199254740993.0]}"#;
    let expected = [
        "123456789012345678901234567890 l=\u{1f600} \"é",
        "1e5 l=Other(\"half of a surrogate pair\")",
        "0.10 l=Other(\"an object\") deep=-0.0",
        "9007199254740993.0",
    ];
    assert_eq!(elements(&mapping, body).unwrap(), expected);
}

#[test]
fn a_response_without_a_list_is_an_error() {
    let mapping = mapping("{ tasks: /data/items, id: /id }");
    for (body, error) in [
        ("{\"data\":{}}", "the response has nothing at /data/items"),
        ("[]", "the response has nothing at /data/items"),
        ("{\"data\":{\"items\":{}}}", "the response has an object at /data/items"),
        ("{\"data\":{\"items\":\"\"}}", "the response has a string at /data/items"),
        ("{\"data\":{\"items\":false}}", "the response has a boolean at /data/items"),
        ("{\"data\":{\"items\":[1,]}}", "not JSON: line 1 column"),
        ("{\"data\":{\"items\":[1]}", "not JSON: line 1 column"),
        ("{\"data\":{\"items\":[1]}}]", "not JSON: line 1 column"),
        ("<html>", "not JSON: line 1 column 1"),
        ("", "not JSON: line 1 column 0"),
        (&"[".repeat(129), "not JSON: nested deeper than 128"),
    ] {
        let found = elements(&mapping, body).unwrap_err();
        assert!(found.starts_with(error), "{body}: {found}");
    }
}

#[test]
fn a_page_says_what_comes_after_it() {
    let text = "
        response: { tasks: /data, id: '' }
        page: { cursor: { query: after, from: /last, while: /meta/more } }";
    let (mapping, paging) = compile(text).unwrap();
    let next = NextPage::Cursor { query: "after".into(), has_flag: true };
    assert_eq!(paging, Some(Paging { next, size: None, max_pages: 50, is_window: false }));
    let body = br#"{"meta":{"more":true},"data":["last"],"last":5}"#;
    let page = mapping.unwrap().read(body, &mut |_| {}).unwrap();
    assert_eq!(*page.get(DocumentField::Cursor), FieldValue::Text("5".into()));
    assert_eq!(*page.get(DocumentField::More), FieldValue::Boolean(true));
    assert_eq!(*page.get(DocumentField::Next), FieldValue::Missing);
    let (_, paging) = compile("page: { number: { query: p, first: 0 }, max_pages: 3 }").unwrap();
    let next = NextPage::Number { query: "p".into(), first: 0, step: 1 };
    assert_eq!(paging, Some(Paging { next, size: None, max_pages: 3, is_window: false }));
    let (_, paging) = compile(
        "response: { tasks: /a, id: '' }\npage: { next: /b, size: { query: n, value: 9 } }",
    )
    .unwrap();
    let size = Some(("n".into(), 9));
    assert_eq!(paging, Some(Paging { next: NextPage::Url, size, max_pages: 50, is_window: false }));
}

#[test]
fn all_errors_of_both_blocks_are_found() {
    let long = "/a".repeat(129);
    for (text, expected) in [
        ("response: {}", &["response: the response has no `id`"][..]),
        (
            "response: { tasks: x, id: '{task_id}' }",
            &[
                "response.tasks: a JSON Pointer must start with `/`",
                "response.id.path.0: a path must not contain placeholders: `{task_id}` would be \
                 taken literally",
                "response.id.path.0: a JSON Pointer must start with `/`",
            ],
        ),
        (
            "response: { id: { path: http_status }, provider: { header: X }, labels: { a: {} } }",
            &[
                "response.id.path: `http_status` belongs to the whole response, not to a task",
                "response.provider.header: a header belongs to the whole response, not to a task",
                "response.labels.a: a field needs a `path`",
            ],
        ),
        (
            "response: { id: { path: /i, format: epoch, zone: Z, until: '' } }",
            &[
                "response.id.format: only `enqueue_time` has a `format`",
                "response.id.zone: only `enqueue_time` has a `zone`",
                "response.id.until: `until` must not be empty",
            ],
        ),
        (
            "response: { id: /i, enqueue_time: { path: /t, format: day, zone: Z } }",
            &["response.enqueue_time.format: this is not a format for a time"],
        ),
        (
            "response: { id: /i, enqueue_time: { path: /t, format: epoch, zone: Z } }",
            &["response.enqueue_time.zone: only `rfc3339` times have a zone"],
        ),
        (
            "response: { id: /i, enqueue_time: { path: /t, zone: Z } }",
            &["response.enqueue_time.zone: a `zone` needs a `format`"],
        ),
        ("page: {}", &["page: it does not say how the next page is requested"]),
        (
            "page: { number: {}, next: /n }",
            &[
                "page.next: `number`, `cursor` and `next` exclude each other",
                "page.number: missing key: query",
                "page.next: a response that is a list of tasks has no place beside them",
            ],
        ),
        (
            "response: { id: /i }\npage: { next: /next }",
            &["page.next: this path leads into the list of tasks"],
        ),
        (
            "response: { tasks: /a/b, id: /i }\npage: { cursor: { query: '', while: /a/b/0 } }",
            &[
                "page.cursor.query: a query parameter needs a name",
                "page.cursor: missing key: from",
                "page.cursor.while: this path leads into the list of tasks",
            ],
        ),
        (
            "page: { number: { query: p }, size: { query: p, value: 1 } }",
            &["page.size.query: the other query parameter has this name too"],
        ),
        (
            "page: { number: { query: p }, size: {} }",
            &["page.size: missing key: query", "page.size: missing key: value"],
        ),
        (&format!("response: {{ id: {long} }}"), &["response.id.path.0: a JSON Pointer can"]),
    ] {
        let found = compile(text).unwrap_err();
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
}
