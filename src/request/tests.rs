use std::sync::Arc;

use serde_json::json;

use serde_json::Value;

use super::list::ListQuery;
use super::*;
use crate::task::{Task, TaskCommon};
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{Location, Position};

fn task(id: &str, params: &[(&str, &str)]) -> Task {
    let params = params.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params };
    Task { id: id.into(), common: Arc::new(common) }
}

fn one(id: &str, params: &[(&str, &str)]) -> TaskGroup {
    TaskGroup::one(task(id, params))
}

fn path(path: &str) -> RawRequest {
    RawRequest { path: path.to_owned().into(), ..RawRequest::default() }
}

fn post(body: Value) -> RawRequest {
    let (method, body) = ("POST".to_owned().into(), TemplateBody(body).into());
    RawRequest { method, body, ..path("/fetch") }
}

fn query(entries: &[(&str, &str)]) -> Spanned<OrderedMap<TemplateText>> {
    let location = Some(Location { document: 0, position: Position::File });
    let entry = |(name, text): &(&str, &str)| {
        let key = Spanned { location, value: Some((*name).to_owned()) };
        (key, TemplateText((*text).into()).into())
    };
    OrderedMap(entries.iter().map(entry).collect()).into()
}

#[test]
fn an_id_never_becomes_structure() {
    let request = Request::compile(&path("/task/{task_id}/fetch")).unwrap();
    assert_eq!(
        request.target(&one("../../admin?x=1#y", &[])),
        "/task/..%2F..%2Fadmin%3Fx%3D1%23y/fetch"
    );
    assert_eq!(request.target(&one("a%2Fb\n\"é", &[])), "/task/a%252Fb%0A%22%C3%A9/fetch");
}

#[test]
fn a_plus_keeps_slashes_and_colons() {
    let request = Request::compile(&path("/v1/{+kind}/{kind}/{+task_id}")).unwrap();
    let filled = |kind, id| request.target(&TaskGroup::one(task(id, &[("kind", kind)])));
    assert_eq!(filled("avatar/a:b", "m/1"), "/v1/avatar/a:b/avatar%2Fa%3Ab/m/1");
    assert_eq!(filled("a%2F;b", "é @"), "/v1/a%252F%3Bb/a%252F%3Bb/%C3%A9%20%40");
    assert_eq!(request.param_names().collect::<Vec<_>>(), ["kind", "kind"]);
    assert!(request.check_id("a/b").is_ok() && request.check_id("a//b").is_err());
    assert!(request.check_param("kind", "a/b").is_ok());
    assert!(request.check_param("kind", "a/../b").is_err());
    assert!(request.check_param("other", "a/../b").is_ok());
    // Where slashes are encoded, they part nothing.
    let plain = Request::compile(&path("/{kind}/{task_id}")).unwrap();
    assert!(plain.check_id("a/../b").is_ok() && plain.check_param("kind", "/?#").is_ok());
}

#[test]
fn params_query_and_body_are_filled() {
    let request = Request::compile(&RawRequest {
        method: "POST".to_owned().into(),
        query: query(&[("i d", "x {task_id}&")]),
        body: TemplateBody(json!({"ids": ["{task_id}"], "n": 1, "empty": {}, "none": []})).into(),
        ..path("/{kind}/fetch")
    })
    .unwrap();
    let task = one("a\"b\\", &[("kind", "text/video")]);
    assert_eq!(request.param_names().collect::<Vec<_>>(), ["kind"]);
    assert_eq!(request.target(&task), "/text%2Fvideo/fetch?i%20d=x%20a%22b%5C%26");
    let body: Value = serde_json::from_str(&request.body(&task).unwrap()).unwrap();
    assert_eq!(body, json!({"ids": ["a\"b\\"], "n": 1, "empty": {}, "none": []}));
}

#[test]
fn a_batch_names_every_task() {
    let tasks = TaskGroup::collect([task("a:b", &[]), task("c\"d", &[])]).unwrap();
    let list = Request::compile(&RawRequest {
        query: query(&[("task_ids", "{task_ids}")]),
        ..path("/tasks")
    })
    .unwrap();
    assert_eq!(list.target(&tasks), "/tasks?task_ids=a%3Ab,c%22d");
    let filled = |body| {
        let body = Request::compile(&post(body)).unwrap().body(&tasks).unwrap();
        serde_json::from_str::<Value>(&body).unwrap()
    };
    assert_eq!(filled(json!({"ids": ["{task_ids}"]})), json!({"ids": ["a:b", "c\"d"]}));
    // As part of a text they are one text.
    assert_eq!(filled(json!({"ids": "{task_ids}"})), json!({"ids": "a:b,c\"d"}));
    assert_eq!(filled(json!(["x{task_ids}", 1])), json!(["xa:b,c\"d", 1]));
}

#[test]
fn a_list_with_commas_has_no_id_with_a_comma() {
    let list = Request::compile(&path("/tasks/{task_ids}")).unwrap();
    assert!(list.check_id("a,b").is_err() && list.check_id("a;b").is_ok());
    let array = Request::compile(&post(json!(["{task_ids}"]))).unwrap();
    assert!(array.check_id("a,b").is_ok());
    assert!(Request::compile(&path("/{task_id}")).unwrap().check_id("a,b").is_ok());
}

#[test]
fn every_error_is_reported() {
    let messages = |raw| {
        let errors = Request::compile(&raw).unwrap_err();
        errors.into_iter().map(|m| (m.keys.join("."), m.message)).collect::<Vec<_>>()
    };
    let at = |at: &str, message: &str| (at.to_owned(), message.to_owned());
    assert_eq!(
        messages(RawRequest {
            method: "PUT".to_owned().into(),
            query: query(&[("q", "{oops"), ("r", "{+r}")]),
            body: TemplateBody(json!({"ids": ["{a b}", "{+task_ids}"]})).into(),
            ..path("task")
        }),
        [
            at("method", "a method must be GET or POST"),
            at("body", "a GET request cannot have a body"),
            at("path", "a path must start with `/`"),
            at("query.q", "a `{` without a `}`"),
            at("query.r", "`{+r}`, which keeps the slashes of a value, is only for paths"),
            at("body.ids.0", "`{a b}` is not a placeholder"),
            at(
                "body.ids.1",
                "`{+task_ids}`, which keeps the slashes of a value, is only for paths"
            ),
        ]
    );
    let named = RawRequest {
        query: query(&[("{kind}", "1")]),
        path: "/{task_id}".to_owned().into(),
        ..post(json!({"ids": [{"{task_id}": 1, "{": 2}]}))
    };
    let at_names: Vec<_> = messages(named).into_iter().map(|(at, _)| at).collect();
    assert_eq!(at_names, ["query.{kind}", "body.ids.0.{task_id}"]);
    // Otherwise only the first task would be requested, and the others would look lost.
    let batch = |path: &str, query| {
        let path = path.to_owned().into();
        let batch = RawBatch { path, query, ..RawBatch::default() };
        let errors = Request::compile_batch(&batch).unwrap_err();
        errors.into_iter().map(|m| (m.keys.join("."), m.message)).collect::<Vec<_>>()
    };
    assert_eq!(
        batch("/{+task_id}", query(&[("ids", "{task_ids}"), ("id", "{task_id}")])),
        [
            at("path", "in a batch `{+task_id}` would be the first task alone"),
            at("query.id", "in a batch `{task_id}` would be the first task alone"),
        ]
    );
    assert_eq!(
        batch("/tasks", query(&[])),
        [at("path", "the batch does not say which tasks it asks for")]
    );
    assert_eq!(messages(path("/tasks")), [at("path", "the request does not contain the task ID")]);
}

#[test]
fn a_list_is_a_request_for_each_combination_of_params() {
    let values = |values: &[&str]| -> Vec<Spanned<PublicText>> {
        values.iter().map(|value| PublicText((*value).into()).into()).collect()
    };
    let location = Some(Location { document: 0, position: Position::File });
    let param = |(name, all): (&str, &[&str])| {
        (Spanned { location, value: Some(name.to_owned()) }, values(all).into())
    };
    let params: [(&str, &[&str]); 3] =
        [("kind", &["a/b", "c"]), ("size", &["s", "l"]), ("app", &["x"])];
    let list = RawListRequest {
        method: "POST".to_owned().into(),
        path: "/{+kind}".to_owned().into(),
        body: TemplateBody(json!({ "size": "{size}\"", "key": "t0ken" })).into(),
        params: OrderedMap(params.into_iter().map(param).collect()).into(),
        ..RawListRequest::default()
    };
    let queries = ListQuery::compile_all(&list, None).unwrap();
    let found: Vec<_> =
        queries.iter().map(|query| (&*query.target, query.body.as_deref())).collect();
    let body = |size| format!(r#"{{"key":"t0ken","size":"{size}\""}}"#);
    let (small, large) = (body("s"), body("l"));
    let (small, large) = (Some(&*small), Some(&*large));
    assert_eq!(found, [("/a/b", small), ("/a/b", large), ("/c", small), ("/c", large)]);
    let pairs = |query: &ListQuery| {
        query.params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&queries[3]), ["app=x", "kind=c", "size=l"]);
    assert!(!format!("{queries:?}").contains("t0ken"));
    // Without params, there is one request.
    let bare = RawListRequest { path: "/all".to_owned().into(), ..RawListRequest::default() };
    assert_eq!(ListQuery::compile_all(&bare, None).unwrap().len(), 1);
}
