//! Lists in pages, and lists of each kind of tasks.

use serde_json::json;

use super::{sources, submit};
use crate::discovery::Setup;
use crate::harness::{Gateway, until};

#[test]
fn all_pages_of_a_list_are_requested() {
    let gateway = Gateway::start();
    for number in 0..250 {
        submit(&gateway, &format!("g-{number:03}"), "queued", &json!({}));
    }
    let url = format!("http://{}/luma", gateway.address);
    let provider = format!(
        "{{ name: luma, preset: luma, base_url: '{url}', list: {{ refresh_interval: 1s }} }}"
    );
    let exporter = Setup::new("poll_interval: 1h").provider(provider).start();
    let labels = [("provider", "luma"), ("state", "queued")];
    exporter.await_value("aitask_tasks", &labels, 250.0);
    let asked = gateway.asked("/dream-machine/v1/generations");
    let path = asked["last_path"].as_str().unwrap();
    assert!(path.contains("limit=100"), "{path}");
    assert_eq!(gateway.requests("g-000"), 0);
}

#[test]
fn each_kind_is_requested_and_its_tasks_have_it_as_their_param() {
    let gateway = Gateway::start();
    for kind in ["text2video", "image2video"] {
        submit(&gateway, &format!("{kind}-1"), "queued", &json!({ "kind": kind }));
    }
    let url = format!("http://{}/kling", gateway.address);
    let provider = format!(
        "{{ name: kling, preset: kling, base_url: '{url}', list: {{ refresh_interval: 200ms }} }}"
    );
    let exporter = Setup::new("poll_interval: 300ms").provider(provider).start();
    for kind in ["text2video", "image2video"] {
        let id = format!("{kind}-1");
        exporter.await_state(&id, "queued");
        assert_eq!(sources(&exporter, &id), Some(json!(["list/kling"])));
    }
    // While the lists fail, the requests by ID have the kinds.
    for kind in ["text2video", "image2video"] {
        let fault = json!({ "fault": { "kind": "status", "status": 500 } });
        gateway.put(&format!("/v1/videos/{kind}"), &fault);
    }
    for kind in ["text2video", "image2video"] {
        let id = format!("{kind}-1");
        until("it is polled by its ID", || gateway.requests(&id) > 0);
        let path = format!("/kling/v1/videos/{kind}/{id}");
        assert_eq!(gateway.asked(&id)["last_path"], path);
    }
}
