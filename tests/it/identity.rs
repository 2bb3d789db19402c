//! Task IDs are any text: they never become structure, neither in a URL nor on /metrics.

use serde_json::json;

use crate::harness::tools::{self, Prometheus};
use crate::harness::{Exporter, Gateway, http, until};

/// IDs, each with its form in the request and its form in a label.
const IDS: &[(&str, &str, &str)] = &[
    ("/admin/a..b?x=1#y", "/api/mj/task/%2Fadmin%2Fa..b%3Fx%3D1%23y/fetch", "/admin/a..b?x=1#y"),
    (
        "a \"quoted\" \\ one\\n\nnew\r\tline",
        "/api/mj/task/a%20%22quoted%22%20%5C%20one%5Cn%0Anew%0D%09line/fetch",
        "a \\\"quoted\\\" \\\\ one\\\\n\\nnew\r\tline",
    ),
    ("é 日本 🦀", "/api/mj/task/%C3%A9%20%E6%97%A5%E6%9C%AC%20%F0%9F%A6%80/fetch", "é 日本 🦀"),
    ("a%2Fb%", "/api/mj/task/a%252Fb%25/fetch", "a%2Fb%"),
    ("...", "/api/mj/task/.../fetch", "..."),
    ("a/.../b.", "/api/mj/task/a%2F...%2Fb./fetch", "a/.../b."),
    ("{task_id}", "/api/mj/task/%7Btask_id%7D/fetch", "{task_id}"),
    (
        "x\",state=\"failed\"} 1 #",
        "/api/mj/task/x%22%2Cstate%3D%22failed%22%7D%201%20%23/fetch",
        "x\\\",state=\\\"failed\\\"} 1 #",
    ),
];

/// IDs that are written without quotes and look like something else.
const UNQUOTED: &[&str] =
    &["1320098173412546", "007", "1e5", "0x1F", "true", "12345678901234567890123"];

#[test]
fn any_text_is_an_id() {
    let gateway = Gateway::start();
    // 4,000 bytes of three-byte characters and escapes, then four of the end.
    let long = format!("{}long", "日\"\\".repeat(800));
    assert_eq!(long.len(), 4_004);
    let mut ids: Vec<&str> = IDS.iter().map(|(id, _, _)| *id).collect();
    ids.push(&long);
    let quoted: Vec<_> = ids.iter().map(|id| json!(id).to_string()).collect();
    let all = [quoted, UNQUOTED.iter().map(|id| (*id).to_owned()).collect()].concat();
    ids.extend(UNQUOTED);
    for id in &ids {
        gateway.put(id, &json!({ "steps": [{ "status": "running" }] }));
    }
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 300ms }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", ""),
        all.join(", ")
    ));
    let running = [("state", "running")];
    let samples = exporter.await_value("aitask_tasks", &running, ids.len() as f64);
    for id in &ids {
        assert!(gateway.requests(id) > 0, "{id}");
        assert_eq!(samples.label("aitask_status", &[("task_id", id)], "state"), Some("running"));
    }
    let reply = exporter.get("/metrics");
    for (id, path, label) in IDS {
        assert_eq!(gateway.asked(id)["last_path"], *path);
        let line = format!(
            "\naitask_status{{provider=\"mj\",task_id=\"{label}\",state=\"running\",status=\"running\"}} 1\n"
        );
        assert_eq!(reply.text().matches(&line).count(), 1, "{line}");
    }
    let path = gateway.asked(&long)["last_path"].clone();
    let piece = "%E6%97%A5%22%5C".repeat(800);
    assert_eq!(path, format!("/api/mj/task/{piece}long/fetch"));

    tools::assert_promtool_is_content(&reply.body);
    let accept = ("Accept", "application/openmetrics-text; version=1.0.0");
    let openmetrics = http::send(exporter.address, "GET", "/metrics", &[accept], "").unwrap();
    let prometheus = Prometheus::scraping(exporter.address);
    until("Prometheus has scraped", || prometheus.value("up") == Some(1.0));
    let scraped = prometheus.query("aitask_status{state='running',status='running'}");
    for (reader, samples) in [
        ("the text parser", tools::parse_text(&reply.body)),
        ("the strict parser", tools::parse_openmetrics(&openmetrics.body)),
    ] {
        let found = samples.find("aitask_status", &running);
        let found: Vec<_> = found.iter().map(|(labels, _)| &*labels["task_id"]).collect();
        assert_eq!(sorted(found), sorted(ids.clone()), "{reader}");
    }
    let found = scraped.iter().map(|(labels, _)| &*labels["task_id"]).collect();
    assert_eq!(sorted(found), sorted(ids), "Prometheus");
}

fn sorted(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_unstable();
    ids
}
