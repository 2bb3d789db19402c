//! Registrations over restarts and reloads.

use serde_json::json;

use super::{counts, create, delete, flags, put, start};
use crate::discovery::{Setup, await_ids, await_listed, finished, ids, lost, task, timeless};
use crate::harness::{Dir, Exporter, Gateway, until};

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 1h").provider(timeless(&gateway, "flux"));
    let mut exporter = start(&setup, &storage);
    let body = json!({ "labels": { "customer": "acme" }, "ttl": "2h" });
    for id in ["running-1", "running-2", "running-3"] {
        create(&exporter, "flux", id, &body);
    }
    delete(&exporter, "flux", "running-2");
    exporter.process.signal("KILL");
    exporter.process.wait();
    exporter = start(&setup, &storage);
    assert_eq!(ids(&exporter), ["running-1", "running-3"]);
    let entry = task(&exporter, "running-1").unwrap();
    assert_eq!(entry["sources"], json!(["registration"]));
    assert_eq!(entry["labels"], json!({ "customer": "acme" }));
    assert_eq!(put(&exporter, "flux", "running-1", &body).status, 200);
    create(&exporter, "flux", "running-2", &body);
    assert_eq!(counts(&exporter.scrape()), [1.0, 1.0, 0.0, 0.0], "counted from the start");
}

/// The exporter ends before the first poll of a task that has ended meanwhile.
#[test]
fn the_end_of_a_registered_task_counts_over_a_restart() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let slow = "rate_limit: { requests: 1, per: 1h }";
    let url = format!("http://{}/bfl-flux", gateway.address);
    let provider =
        |more: &str| format!("{{ name: flux, preset: bfl-flux, base_url: '{url}', {more} }}");
    let exporter = start(&Setup::new("").provider(provider(slow)), &storage);
    for id in ["running-first", "done-1"] {
        create(&exporter, "flux", id, &json!({}));
    }
    let polled = ["running-first", "done-1"].map(|id| gateway.requests(id));
    let mut exporter = exporter;
    exporter.process.signal("KILL");
    exporter.process.wait();
    let exporter = start(&Setup::new("poll_interval: 200ms").provider(provider("")), &storage);
    until("its end counts", || finished(&exporter.scrape(), "flux") == 1.0);
    assert!(polled.contains(&0), "one has to wait: {polled:?}");
}

#[test]
fn the_time_of_a_registration_goes_on_over_a_restart() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", ""));
    let mut exporter = start(&setup, &storage);
    create(&exporter, "mj", "running-1", &json!({ "ttl": "70s" }));
    create(&exporter, "mj", "running-2", &json!({ "ttl": "2s" }));
    create(&exporter, "mj", "running-3", &json!({ "ttl": "10d" }));
    exporter.process.signal("TERM");
    exporter.process.wait();
    let exporter = Exporter::start_fast_in(Dir::with(&setup.text()), &flags(&storage, &[]), 8);
    // Those that ended meanwhile have a minute.
    for id in ["running-1", "running-2"] {
        await_listed(&exporter, id, false);
    }
    assert_eq!(task(&exporter, "running-3").unwrap()["listed"], true);
    assert_eq!(lost(&exporter.scrape(), "mj"), 0.0);
}

#[test]
fn a_reload_keeps_registrations_and_a_removed_provider_takes_them_along() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let one = Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", ""));
    let two = Setup::new("poll_interval: 200ms")
        .provider(gateway.provider("mj", ""))
        .provider(gateway.provider("other", ""));
    let mut exporter = start(&two, &storage);
    create(&exporter, "mj", "running-1", &json!({ "ttl": "2h" }));
    create(&exporter, "other", "running-2", &json!({}));
    assert_eq!(exporter.reload(&one.and("task_receiver: { ttl: 1h }").text()).status, 200);
    assert_eq!(ids(&exporter), ["running-1"]);
    let reply = put(&exporter, "other", "running-2", &json!({}));
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("the only provider is mj"), "{}", reply.text());
    assert_eq!(create(&exporter, "mj", "running-3", &json!({}))["ttl"], "1h");
    // It does not come back with the provider, not even after a restart.
    assert_eq!(exporter.reload(&two.text()).status, 200);
    await_ids(&exporter, &["running-1", "running-3"]);
    exporter.process.signal("KILL");
    exporter.process.wait();
    let exporter = start(&two, &storage);
    assert_eq!(ids(&exporter), ["running-1", "running-3"]);
}

/// Without the flag nothing can be registered; what was is followed for its time.
#[test]
fn registrations_outlive_the_flag() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let setup = Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", ""));
    let mut exporter = start(&setup, &storage);
    create(&exporter, "mj", "running-1", &json!({}));
    exporter.process.signal("TERM");
    exporter.process.wait();
    let mut exporter = setup.start_with(&storage);
    let entry = task(&exporter, "running-1").unwrap();
    assert_eq!((&entry["listed"], &entry["sources"]), (&json!(true), &json!(["registration"])));
    assert_eq!(put(&exporter, "mj", "running-1", &json!({})).status, 404);
    exporter.process.signal("TERM");
    exporter.process.wait();
    let exporter = start(&setup, &storage);
    assert_eq!(put(&exporter, "mj", "running-1", &json!({})).status, 200);
}
