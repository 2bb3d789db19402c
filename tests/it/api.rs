//! `/api/v1/tasks`: the same as the metrics of the tasks, as JSON.

use serde_json::{Value, json};

use crate::harness::{Exporter, Gateway, eventually};

fn tasks(exporter: &Exporter, query: &str) -> Vec<Value> {
    let reply = exporter.get(&format!("/api/v1/tasks{query}"));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let body: Value = serde_json::from_str(reply.text()).unwrap();
    body["tasks"].as_array().unwrap().clone()
}

#[test]
fn every_task_is_listed_including_final_ones() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms, retain_finished: 0s, per_task_series: none }}\n\
         providers: [{}, {}]\n\
         tasks:\n\
         - {{ provider: a, id: stuck-1, labels: {{ customer: acme }} }}\n\
         - {{ provider: a, id: 42a28dda-dc7a-4186-ac86-6e16c1fcef17 }}\n\
         - {{ provider: b, id: code-7-x }}\n",
        gateway.provider("a", ""),
        gateway.provider("b", "")
    ));
    let all = eventually("every task was polled", || {
        let all = tasks(&exporter, "");
        all.iter().all(|task| !task["up"].is_null()).then_some(all)
    });
    assert_eq!(all.len(), 3);
    let (stuck, done, failing) = (&all[0], &all[1], &all[2]);
    assert_eq!(stuck["labels"], json!({"customer": "acme"}));
    assert_eq!((&stuck["sources"], &stuck["listed"]), (&json!(["config"]), &json!(true)));
    assert_eq!((&stuck["state"], &stuck["stuck"]), (&json!("queued"), &json!(true)));
    assert!(stuck["queue_age_seconds"].as_f64().unwrap() >= 7_200.0);
    assert_eq!(done["task_id"], "42a28dda-dc7a-4186-ac86-6e16c1fcef17");
    assert_eq!((&done["state"], &done["status"]), (&json!("succeeded"), &json!("completed")));
    assert_eq!(done["enqueue_timestamp_seconds"], json!(1_750_402_472.303_527));
    assert_eq!((&done["final"], &done["queue_age_seconds"]), (&json!(true), &Value::Null));
    assert_eq!(failing["error"], json!({"reason": "api", "code": "7"}));
    assert_eq!(
        (&failing["up"], &failing["last_success_timestamp_seconds"]),
        (&json!(false), &Value::Null)
    );

    assert_eq!(tasks(&exporter, "?provider=b").len(), 1);
    assert_eq!(tasks(&exporter, "?provider=a&state=queued").len(), 1);
    assert_eq!(tasks(&exporter, "?provider=nobody").len(), 0);
    assert_eq!(tasks(&exporter, "?stuck=true")[0]["task_id"], "stuck-1");
    assert_eq!(tasks(&exporter, "?stuck=false").len(), 2);
    assert_eq!(tasks(&exporter, "?task_id=code-7-x")[0]["provider"], "b");
    for query in
        ["state=lost", "state=", "stuck=", "oops=1", "provider=a&provider=b", "provider=%FF"]
    {
        let reply = exporter.get(&format!("/api/v1/tasks?{query}"));
        assert_eq!(reply.status, 400, "{query}");
    }
}
