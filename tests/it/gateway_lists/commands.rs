//! Output of the commands for a list, and their errors.

use serde_json::json;

use super::{proxy, submit};
use crate::discovery::{Setup, failures};
use crate::harness::upstream::{Reply, Upstream, json as json_answer};
use crate::harness::{Dir, Exporter, Gateway, run, until};

#[test]
fn discover_prints_the_open_tasks_of_a_list() {
    let gateway = Gateway::start();
    submit(&gateway, "open", "running", &json!({}));
    submit(&gateway, "ended", "completed", &json!({}));
    submit(&gateway, "odd", "running", &json!({ "answer": { "id": "odd" } }));
    let newest = "request: { list: { path: /mj/task/list, window: true } }";
    let dir = Dir::with(&Setup::new("").provider(proxy(&gateway, "", newest)).text());
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let output = run(["discover", &file, "mj"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("list mj: 1 task, 1 element rejected\n  mj open\n"), "{said}");
    assert!(said.contains("rejected, status: odd: element "), "{said}");
}

/// The next page of a list can be at no other origin than the provider.
#[test]
fn credentials_go_to_no_other_origin() {
    let other = Upstream::start(|_| Reply::Keep(json_answer(r#"{"tasks": []}"#)));
    let next = format!("http://{}/list", other.address);
    let provider = Upstream::start(move |_| {
        let task = json!({ "id": "a", "status": "run" });
        let page = json!({ "tasks": [task], "next": next });
        Reply::Keep(json_answer(&page.to_string()))
    });
    let config = format!(
        "providers:
- name: mj
  base_url: 'http://{}'
  authorization: {{ credentials: hunter2-of-the-provider }}
  list: {{ refresh_interval: 200ms }}
  request: {{ path: '/{{task_id}}', list: {{ path: /list, task: /tasks, page: {{ next: /next }} }} }}
  response: {{ id: /id, status: /status, states: {{ running: [run], succeeded: [done] }} }}
",
        provider.address
    );
    let exporter = Exporter::start(&config);
    until("the list fails", || failures(&exporter.scrape(), "mj", Some("mapping")) > 1.0);
    let asked = provider.asked();
    assert_eq!(asked[0].header("authorization"), Some("Bearer hunter2-of-the-provider"));
    assert!(asked.iter().all(|asked| asked.head[0].starts_with("GET /list ")), "{asked:?}");
    assert_eq!(other.count(), 0);
    // Nothing of a list counts that is not whole.
    assert!(exporter.scrape().find("aitask_status", &[]).is_empty());
}
