use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::task::{Task, TaskCommon};
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
    let tasks = TaskGroup::collect([task("a,b", &[]), task("c\"d", &[])]).unwrap();
    let list = Request::compile(&RawRequest {
        query: query(&[("task_ids", "{task_ids}")]),
        ..path("/tasks")
    })
    .unwrap();
    assert_eq!(list.target(&tasks), "/tasks?task_ids=a%2Cb,c%22d");
    let array = Request::compile(&RawRequest {
        method: "POST".to_owned().into(),
        body: TemplateBody(json!({"ids": ["{task_ids}"]})).into(),
        ..path("/fetch")
    })
    .unwrap();
    let body: Value = serde_json::from_str(&array.body(&tasks).unwrap()).unwrap();
    assert_eq!(body, json!({"ids": ["a,b", "c\"d"]}));
}

#[test]
fn every_mistake_is_found() {
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
            at("method", "a method is GET or POST"),
            at("body", "a GET request has no body"),
            at("path", "a path starts with `/`"),
            at("query.q", "a `{` without its `}`"),
            at("query.r", "only in a path `{+r}` keeps the slashes of a value"),
            at("body.ids.0", "`{a b}` is not a placeholder"),
            at("body.ids.1", "only in a path `{+task_ids}` keeps the slashes of a value"),
        ]
    );
    assert_eq!(
        messages(path("/tasks")),
        [at("path", "the request does not say which task it asks for")]
    );
}
