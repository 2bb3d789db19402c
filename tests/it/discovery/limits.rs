//! Limits on lists, and what comes first where there is no room for all.

use serde_json::{Value, json};

use super::{Endpoint, Setup, await_ids, discovered, failures, ids, rejected};
use crate::harness::upstream::json as json_answer;
use crate::harness::{Gateway, until};

#[test]
fn a_source_has_a_limit() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&["running-1", "running-2", "running-3"]);
    let exporter = Setup::new("poll_interval: 200ms, keep_unlisted: 0s")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "limit: 2")
        .start();
    await_ids(&exporter, &["running-1", "running-2"]);
    let samples = exporter.scrape();
    assert_eq!(discovered(&samples, "jobs"), Some(2.0));
    assert_eq!(rejected(&samples, "jobs", "limit"), Some(1.0));
    let page = exporter.get("/service-discovery");
    assert!(page.text().contains("running-3"), "{}", page.text());
    endpoint.list(&json!(["running-2", "running-3"]));
    await_ids(&exporter, &["running-2", "running-3"]);
    assert_eq!(rejected(&exporter.scrape(), "jobs", "limit"), Some(0.0));
}

/// New tasks at the start of a list do not push out those that are followed.
#[test]
fn what_is_followed_comes_first_under_max_tasks() {
    for (global, provider) in [("max_tasks: 3", ""), ("", "max_tasks: 3")] {
        let gateway = Gateway::start();
        let endpoint = Endpoint::listing(&["running-1", "running-2", "running-3"]);
        let global = format!("poll_interval: 200ms, {global}");
        let exporter = Setup::new(&global)
            .provider(gateway.provider("mj", provider))
            .endpoint("jobs", &endpoint, "")
            .start();
        exporter.await_value("aitask_tasks", &[("state", "running")], 3.0);
        endpoint.list(&json!(["running-new", "running-1", "running-2", "running-3"]));
        let over = [("config", "jobs"), ("reason", "limit")];
        exporter.await_value("aitask_sd_rejected_tasks", &over, 1.0);
        assert_eq!(ids(&exporter), ["running-1", "running-2", "running-3"]);
        // A task that left and is still open keeps its place as well.
        endpoint.list(&json!(["running-new", "running-2", "running-3"]));
        endpoint.await_refresh();
        assert_eq!(ids(&exporter), ["running-1", "running-2", "running-3"]);
        assert_eq!(gateway.requests("running-new"), 0);
        // Its end makes room, without a change of the list.
        gateway.put("running-1", &json!({ "steps": [{ "status": "completed" }] }));
        let labels = [("provider", "mj"), ("state", "succeeded")];
        exporter.await_value("aitask_finished_total", &labels, 1.0);
        endpoint.list(&json!(["running-new", "running-2"]));
        gateway.put("running-3", &json!({ "steps": [{ "status": "completed" }] }));
        exporter.await_value("aitask_finished_total", &labels, 2.0);
    }
}

/// A list with as many elements as there may be, and then with one more.
#[test]
fn a_list_has_at_most_a_million_elements() {
    let element = |number: usize| format!("\"{number:x}\"");
    let list = |count: usize| {
        let ids: Vec<_> = (0..count).map(element).collect();
        json_answer(&format!("[{{\"targets\": [{}]}}]", ids.join(",")))
    };
    let endpoint = Endpoint::listing(&["first"]);
    let provider = "{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }";
    let exporter = Setup::new("poll_interval: 1y, per_task_series: none")
        .provider(provider.to_owned())
        .http("jobs", &endpoint.url(), "refresh_interval: 1s, timeout: 1m, limit: 5")
        .start();
    let count = |count: f64| {
        exporter.await_value("aitask_sd_discovered_tasks", &[("config", "jobs")], count)
    };
    count(1.0);
    endpoint.answer(list(1_000_000));
    let samples = count(5.0);
    assert_eq!(rejected(&samples, "jobs", "limit"), Some(999_995.0));
    assert_eq!(failures(&samples, "jobs", None), 0.0);
    endpoint.answer(list(1_000_001));
    until("it is too large", || failures(&exporter.scrape(), "jobs", Some("too_large")) > 0.0);
    let kept = exporter.get("/api/v1/tasks").json()["tasks"].as_array().map(Vec::len);
    // The first list's own task is open and has been followed since.
    assert_eq!(kept, Some(6));
    let _: Value = exporter.get("/api/v1/tasks?task_id=first").json();
    assert_eq!(rejected(&exporter.scrape(), "jobs", "limit"), Some(999_995.0));
}
