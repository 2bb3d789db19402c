//! Limits of registrations.

use serde_json::json;

use super::{counts, create, delete, post, put, start};
use crate::discovery::{Setup, finished, ids, task};
use crate::harness::{Dir, Gateway, until};

#[test]
fn at_the_limit_there_is_room_for_renewals_and_after_an_end() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .provider(gateway.provider("other", ""))
        .and("task_receiver: { limit: 2 }");
    let exporter = start(&setup, &storage);
    create(&exporter, "mj", "running-1", &json!({}));
    create(&exporter, "other", "running-2", &json!({}));
    let reply = put(&exporter, "mj", "running-3", &json!({}));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("60")));
    assert_eq!(reply.text(), "2 tasks are registered, the limit of task_receiver\n");
    assert_eq!(put(&exporter, "mj", "running-1", &json!({})).status, 200);
    // A list that is refused for the limit alone can be sent again as it is.
    let reply = post(&exporter, &json!([{ "id": "running-3", "provider": "mj" }]));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("60")));
    let mixed = json!([
        { "id": "running-1", "provider": "mj" },
        { "id": "running-3", "provider": "mj" },
    ]);
    let reply = post(&exporter, &mixed);
    let reason = "2 tasks are registered, the limit of task_receiver";
    let expected = json!({
        "created": 0, "renewed": 1, "ttl_limited": 0,
        "rejected": [{ "index": 1, "reason": reason }],
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
    delete(&exporter, "other", "running-2");
    create(&exporter, "other", "done-1", &json!({}));
    // A final task takes no place.
    until("one has ended", || finished(&exporter.scrape(), "other") == 1.0);
    create(&exporter, "mj", "running-3", &json!({}));
    assert_eq!(put(&exporter, "mj", "running-4", &json!({})).status, 503);
    assert_eq!(ids(&exporter), ["done-1", "running-1", "running-3"]);
    assert_eq!(counts(&exporter.scrape()), [4.0, 2.0, 1.0, 4.0]);
}

#[test]
fn max_tasks_counts_registered_tasks() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms, max_tasks: 3")
        .provider(gateway.provider("mj", "max_tasks: 1"))
        .provider(gateway.provider("other", ""));
    let exporter = start(&setup, &storage);
    create(&exporter, "mj", "running-1", &json!({}));
    let refused = |provider: &str, id: &str| {
        let reply = put(&exporter, provider, id, &json!({}));
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("60")), "{id}");
        assert_eq!(reply.text(), "as many tasks are followed as max_tasks allows\n");
    };
    refused("mj", "running-2");
    create(&exporter, "other", "running-3", &json!({}));
    create(&exporter, "other", "running-4", &json!({}));
    refused("other", "running-5");
    delete(&exporter, "other", "running-4");
    create(&exporter, "other", "running-5", &json!({}));
    let dropped =
        exporter.scrape().value("aitask_exporter_dropped_tasks", &[("reason", "max_tasks")]);
    assert_eq!(dropped, Some(0.0), "what was refused is known by its application");
    assert!(task(&exporter, "running-2").is_none());
}
