//! Lists of the tasks that a gateway holds, with their gaps.

use super::*;

const QUEUE: &str = "/midjourney-proxy/mj/task/queue";

/// Returns the IDs of a list at `pointer` in the answer.
async fn ids(simulator: &Simulator, path: &str, pointer: &str, id: &str) -> Vec<String> {
    let answer = get_json(simulator, path).await;
    let elements = answer.pointer(pointer).and_then(Value::as_array).expect("a list");
    let mut ids: Vec<_> =
        elements.iter().map(|element| element[id].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// Scripts a task that was submitted so many seconds ago.
async fn submit(simulator: &Simulator, id: &str, seconds_ago: usize, more: &Value) {
    let mut script =
        json!({ "enqueued_seconds_ago": seconds_ago, "steps": [{ "status": "queued" }] });
    let more = more.as_object().unwrap().clone();
    script.as_object_mut().unwrap().extend(more);
    assert_eq!(put_script(simulator, id, script).await.0, 204);
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_only_what_is_queued_or_running() {
    let simulator = simulator();
    for status in ["queued", "running", "waiting", "completed", "failed", "missing"] {
        submit(&simulator, status, 1, &json!({ "steps": [{ "status": status }] })).await;
    }
    submit(&simulator, "lost", 1, &json!({ "listed": false })).await;
    // Asked for, but never submitted.
    fetch_status(&simulator, "queued-by-id").await;
    assert_eq!(ids(&simulator, QUEUE, "", "id").await, ["queued", "running"]);
    // What the queue has lost is answered by its ID as before.
    assert_eq!(fetch_status(&simulator, "lost").await, "queued");
    let request = Request::post("/simulator/restart").body(Body::empty()).unwrap();
    assert_eq!(send(&simulator, request).await.0.status(), 204);
    assert_eq!(ids(&simulator, QUEUE, "", "id").await, [""; 0]);
    let by_id = get(&simulator, "/midjourney-proxy/mj/task/queued/fetch").await;
    assert_eq!((by_id.0.status().as_u16(), &*by_id.1), (200, &b""[..]));
}

#[tokio::test(start_paused = true)]
async fn other_lists_are_a_window_or_pages() {
    let simulator = simulator();
    for number in 0..105 {
        let kind = if number < 100 { "text2video" } else { "image2video" };
        let more = json!({ "kind": kind, "steps": [{ "status": "completed" }] });
        submit(&simulator, &format!("t{number:03}"), number, &more).await;
    }
    let all: Vec<_> = (0..105).map(|number| format!("t{number:03}")).collect();
    let newest = ids(&simulator, "/midjourney-proxy/mj/task/list", "", "id").await;
    assert_eq!(newest, all[..100]);
    let generations = "/luma/dream-machine/v1/generations";
    for (query, expected, has_more) in [
        ("", &all[..10], true),
        ("?limit=50&offset=50", &all[50..100], true),
        ("?limit=100&offset=100", &all[100..], false),
        ("?limit=100&offset=200", &[], false),
    ] {
        let path = format!("{generations}{query}");
        assert_eq!(ids(&simulator, &path, "/generations", "id").await, expected);
        assert_eq!(get_json(&simulator, &path).await["has_more"], has_more);
    }
    let videos = "/kling/v1/videos";
    let page = format!("{videos}/text2video?pageNum=2&pageSize=60");
    assert_eq!(ids(&simulator, &page, "/data", "task_id").await, all[60..100]);
    let other = format!("{videos}/image2video");
    assert_eq!(ids(&simulator, &other, "/data", "task_id").await, all[100..]);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_statistics_and_faults_of_its_own() {
    let simulator = simulator();
    submit(&simulator, "a", 1, &json!({})).await;
    let fault = json!({ "fault": { "kind": "status", "status": 503 }, "fault_every": 2 });
    let list_id = "%2Fmj%2Ftask%2Fqueue";
    assert_eq!(put_script(&simulator, list_id, fault).await.0, 204);
    assert_eq!(ids(&simulator, QUEUE, "", "id").await, ["a"]);
    assert_eq!(get(&simulator, QUEUE).await.0.status(), 503);
    let stats = get_json(&simulator, &format!("/simulator/tasks/{list_id}")).await;
    assert_eq!(stats["requests"], 2);
    assert_eq!(get_json(&simulator, "/simulator/tasks/a").await["requests"], 0);
    let request = Request::post(QUEUE).body(Body::empty()).unwrap();
    assert_eq!(send(&simulator, request).await.0.status(), 405);
    let token = Some("secret".to_owned());
    let locked = Simulator::new(Options { token });
    assert_eq!(get(&locked, QUEUE).await.0.status(), 401);
}
