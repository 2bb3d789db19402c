//! Lists in other forms, by the paths of the configuration.

use super::{Source, described, rejected};
use crate::harness::upstream::{Upstream, json};

#[test]
fn a_gateways_list_becomes_tasks() {
    let body = r#"{"success":true,"data":{"page":1,"total":7,"items":[
        {"id":1,"task_id":"a","submit_time":1796022000,"channel_id":12,"platform":"kling","kind":"v"},
        {"id":2,"task_id":"b","submit_time":0,"channel_id":null,"platform":"mj","fail_reason":"\ud83d"},
        {"id":3,"task_id":"","platform":"mj"},
        {"id":4,"platform":"mj"},
        {"id":5,"task_id":"c","platform":"luma"},
        {"id":6,"task_id":"d","platform":"mj","submit_time":"soon"},
        {"id":7,"task_id":"e","platform":"mj","channel_id":{"id":1}},
        {"id":8,"task_id":"f","platform":"kling"},
        {"id":9,"task_id":true,"platform":"mj"}
    ]}}"#;
    let more = "response: { tasks: /data/items, id: /task_id, provider: /platform,
        enqueue_time: { path: /submit_time, format: epoch_seconds },
        labels: { channel: /channel_id }, params: { kind: /kind } }";
    let list = Source::of(&Upstream::saying(json(body)), more).list();
    assert_eq!(described(&list), ["kling/a channel=12 kind:v @1796022000", "mj/b"]);
    let rejected = rejected(&list);
    let expected = [
        ": id: element 3: a task ID must not be empty",
        ": id: element 4: it has no ID",
        "c: provider: element 5: unknown provider: \"luma\"",
        "d: time: element 6: ",
        "e: labels: element 7: label \"channel\": must be text, not an object",
        "f: params: element 8: ",
        "true or false: id: element 9: a task ID must be text, not true or false",
    ];
    assert_eq!(rejected.len(), expected.len(), "{rejected:?}");
    for (found, expected) in rejected.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_response_without_the_array_is_a_failure() {
    let more = "response: { tasks: /data/items, id: /task_id }";
    for (body, expected) in [
        (r#"{"success":false,"message":"no"}"#, "mapping: the response has nothing at /data/items"),
        (r#"{"data":{"items":{"a":1}}}"#, "mapping: the response has an object at /data/items"),
        (r#"{"data":{"items":[1]}"#, "decode: not JSON: line 1 column"),
    ] {
        let error = Source::of(&Upstream::saying(json(body)), more).ids().unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let empty = Upstream::saying(json(r#"{"data":{"items":null}}"#));
    assert_eq!(Source::of(&empty, more).ids(), Ok(vec![]));
}
