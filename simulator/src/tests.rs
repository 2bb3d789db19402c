//! The simulator as seen by a client: without sockets in the tests with paused time, over TCP in
//! the tests of connections.

mod lists;

use std::collections::BTreeSet;
use std::future::poll_fn;

use axum::body::{Body, to_bytes};
use http_body::Body as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

use super::*;

const RECORDED: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";

fn simulator() -> Simulator {
    Simulator::new(Options::default())
}

fn fetch_path(id: &str) -> String {
    format!("/api/mj/task/{id}/fetch")
}

async fn send(simulator: &Simulator, request: Request<Body>) -> (Response<()>, Bytes) {
    let (parts, body) = simulator.handle_request(request).await.expect("an answer").into_parts();
    let body = to_bytes(Body::new(body), 1 << 22).await.expect("a whole body");
    (Response::from_parts(parts, ()), body)
}

async fn get(simulator: &Simulator, path: &str) -> (Response<()>, Bytes) {
    send(simulator, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn get_json(simulator: &Simulator, path: &str) -> Value {
    serde_json::from_slice(&get(simulator, path).await.1).expect("JSON")
}

async fn fetch_status(simulator: &Simulator, id: &str) -> Value {
    get_json(simulator, &fetch_path(id)).await["data"]["status"].clone()
}

async fn put_script(simulator: &Simulator, id: &str, script: impl ToString) -> (u16, String) {
    let request = Request::put(format!("/simulator/tasks/{id}"));
    let (head, body) = send(simulator, request.body(Body::from(script.to_string())).unwrap()).await;
    (head.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(start_paused = true)]
async fn status_follows_the_clock() {
    let simulator = simulator();
    let first = get_json(&simulator, &fetch_path("ok-1")).await;
    assert_eq!(first["data"]["status"], "queued");
    assert_eq!(first["data"]["video_url"], Value::Null);
    advance(Duration::from_secs(2)).await;
    assert_eq!(fetch_status(&simulator, "ok-1").await, "running");
    assert_eq!(fetch_status(&simulator, "ok-2").await, "queued");
    advance(Duration::from_secs(5)).await;
    let last = get_json(&simulator, &fetch_path("ok-1")).await;
    assert_eq!(last["data"]["status"], "completed");
    assert_eq!(last["data"]["enqueue_time"], first["data"]["enqueue_time"]);
    assert_eq!(last["data"]["video_url"], "https://cdn.example/video/ok-1/0.mp4");
}

#[tokio::test(start_paused = true)]
async fn jobs_of_the_application_come_end_and_leave() {
    let simulator = simulator();
    let list = async || {
        let jobs = get_json(&simulator, "/simulator/jobs").await;
        let id = |job: &Value| job["targets"][0].as_str().unwrap().to_owned();
        let at = |job: &Value| job["labels"]["__enqueue_time__"].as_str().unwrap().parse().unwrap();
        let jobs = jobs.as_array().unwrap().iter().map(|job| (id(job), at(job)));
        jobs.collect::<Vec<(String, jiff::Timestamp)>>()
    };
    let (mut seen, mut ended, mut listed) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for _ in 0..150 {
        let (now, jobs) = (simulator.registry.now(), list().await);
        assert!(jobs.is_sorted_by_key(|(_, at)| *at) && jobs.len() < 13, "{jobs:?}");
        for (id, submitted_at) in &jobs {
            let status = fetch_status(&simulator, id).await;
            let is_open = status == "queued" || status == "running";
            assert!(*submitted_at <= now && !(is_open && ended.contains(id)), "{id}: {status}");
            if !is_open {
                ended.insert(id.clone());
            }
            seen.insert(id.clone());
        }
        let left = listed.iter().filter(|id| !jobs.iter().any(|(other, _)| other == *id));
        assert!(left.into_iter().all(|id| ended.contains(id)), "one left before its end: {jobs:?}");
        listed = jobs.into_iter().map(|(id, _)| id).collect();
        advance(Duration::from_millis(400)).await;
    }
    assert!((20..40).contains(&seen.len()) && ended.len() >= 15, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn each_scenario_ends_in_its_final_status() {
    let simulator = simulator();
    for (id, at_first, at_last) in [
        ("queued-1", "queued", "queued"),
        ("running-1", "running", "running"),
        ("waiting", "waiting", "waiting"),
        ("stuck-1", "queued", "queued"),
        ("fail-1", "queued", "failed"),
        ("cancel-1", "running", "cancelled"),
        ("done-1", "completed", "completed"),
        ("weird-1", "levitating", "levitating"),
    ] {
        assert_eq!(fetch_status(&simulator, id).await, at_first, "{id}");
        advance(Duration::from_secs(10)).await;
        assert_eq!(fetch_status(&simulator, id).await, at_last, "{id}");
    }
    assert_eq!(fetch_status(&simulator, "lost-1").await, "running");
    advance(Duration::from_secs(5)).await;
    assert_eq!(get(&simulator, &fetch_path("lost-1")).await.0.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn enqueue_time_has_the_recorded_format() {
    let simulator = simulator();
    let before = simulator.registry.now();
    let answer = get_json(&simulator, &fetch_path("stuck-1")).await;
    let time = answer["data"]["enqueue_time"].as_str().unwrap();
    assert_eq!(time.len(), "2025-06-20 06:54:32.303527+00:00".len());
    let enqueued: jiff::Timestamp = time.parse().unwrap();
    assert_eq!(enqueued.as_microsecond(), before.as_microsecond() - 7_200_000_000);
}

#[tokio::test]
async fn recorded_task_id_returns_the_recorded_response() {
    let (head, body) = get(&simulator(), &fetch_path(RECORDED)).await;
    assert_eq!(head.headers()["content-type"], "application/json");
    assert_eq!(body, include_str!("recorded-response.json"));
}

#[tokio::test]
async fn one_in_ten_tasks_without_a_scenario_fails() {
    let failures = (0..1_000)
        .map(|n| scenario::build_script(&format!("{n}-task")))
        .inspect(|script| {
            let seconds = |n: usize| script.steps[n].duration.unwrap();
            assert!((2.0..10.0).contains(&seconds(0).as_secs_f64()));
            assert!((5.0..25.0).contains(&seconds(1).as_secs_f64()));
        })
        .filter(|script| script.steps[2].status == lifecycle::Status::Failed)
        .count();
    assert!((60..140).contains(&failures), "{failures}");
}

#[tokio::test]
async fn response_faults_change_status_and_body() {
    let simulator = simulator();
    for (id, status, start) in [
        ("missing-1", 404, r#"{"code":404,"data":null,"message":"Not Found"}"#),
        ("unauthorized-1", 401, r#"{"code":401,"#),
        ("forbidden-1", 403, r#"{"code":403,"#),
        ("throttled-1", 429, r#"{"code":429,"#),
        ("busy-1", 503, r#"{"code":503,"#),
        ("broken-1", 500, r#"{"code":500,"#),
        ("redirect-1", 302, r#"{"code":302,"#),
        ("code-1", 200, r#"{"code":1,"data":null,"#),
        ("code", 200, r#"{"code":500,"data":null,"#),
        ("code-1203-x", 200, r#"{"code":1203,"data":null,"#),
        ("null-1", 200, r#"{"code":0,"data":null,"#),
        ("empty-1", 200, ""),
        ("nothing-1", 204, ""),
        ("garbage-1", 200, "<html>"),
        ("deep-1", 200, "[[[[[["),
        ("flaky-1", 200, r#"{"code":0,"#),
        ("flaky-1", 500, r#"{"code":500,"#),
        ("flaky-1", 200, r#"{"code":0,"#),
    ] {
        let (head, body) = get(&simulator, &fetch_path(id)).await;
        assert_eq!(head.status(), status, "{id}");
        let body = String::from_utf8_lossy(&body);
        assert!(body.starts_with(start) && body.is_empty() == start.is_empty(), "{id}: {body}");
    }
    for id in ["throttled-1", "busy-1"] {
        assert_eq!(get(&simulator, &fetch_path(id)).await.0.headers()["retry-after"], "2");
    }
    let (head, _) = get(&simulator, &fetch_path("redirect-1")).await;
    assert_eq!(head.headers()["location"], "http://elsewhere.invalid/");
    let (_, huge) = get(&simulator, &fetch_path("huge-1")).await;
    assert_eq!(huge.len(), 2_000_000);
    assert_eq!(serde_json::from_slice::<Value>(&huge).unwrap()["data"]["taskId"], "huge-1");
    assert_eq!(get(&simulator, &fetch_path("deep-1")).await.1.len(), 20_000);
    let other = get_json(&simulator, &fetch_path("other-1")).await;
    assert_eq!(other["data"]["taskId"], "not-other-1");
    let types = get_json(&simulator, &fetch_path("type-1")).await;
    assert_eq!(types["data"]["status"], json!({"is": "running"}));
}

#[tokio::test(start_paused = true)]
async fn delays_and_slow_transmissions_take_their_time() {
    let simulator = simulator();
    let start = Instant::now();
    get(&simulator, &fetch_path("slow-1")).await;
    assert_eq!(start.elapsed().as_secs(), 60);

    put_script(&simulator, "a", json!({"delay_ms": 300})).await;
    let start = Instant::now();
    get(&simulator, &fetch_path("a")).await;
    assert_eq!(start.elapsed().as_millis(), 300);

    put_script(&simulator, "b", json!({"answer": "12345", "fault": {"kind": "trickle"}})).await;
    let start = Instant::now();
    assert_eq!(get(&simulator, &fetch_path("b")).await.1, "12345");
    assert_eq!(start.elapsed().as_secs(), 4);
}

#[tokio::test]
async fn requests_need_the_credentials_exactly_once() {
    let simulator = Simulator::new(Options { token: Some("t0ken".to_owned()) });
    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer t0ken")], 200),
        (&[("mj-api-secret", "t0ken")], 200),
        (&[("authorization", "t0ken")], 401),
        (&[("authorization", "Bearer other")], 401),
        (&[("mj-api-secret", "Bearer t0ken")], 401),
        (&[("authorization", "Bearer t0ken"), ("mj-api-secret", "t0ken")], 401),
        (&[("mj-api-secret", "t0ken"), ("mj-api-secret", "t0ken")], 401),
    ] {
        let mut request = Request::get(fetch_path("queued-1"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = send(&simulator, request.body(Body::empty()).unwrap()).await;
        assert_eq!(head.status(), status, "{headers:?}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], if status == 200 { 0 } else { 401 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_replaces_the_scenario() {
    let simulator = simulator();
    let steps = json!([{"status": "queued", "seconds": 60}, {"status": "completed"}]);
    assert_eq!(put_script(&simulator, "fail-1", json!({"steps": steps})).await.0, 204);
    advance(Duration::from_secs(100)).await;
    // The lifecycle starts at the first request …
    assert_eq!(fetch_status(&simulator, "fail-1").await, "queued");
    // … or at the time in the script.
    put_script(&simulator, "fail-1", json!({"steps": steps, "enqueued_seconds_ago": 59.5})).await;
    assert_eq!(fetch_status(&simulator, "fail-1").await, "queued");
    advance(Duration::from_millis(500)).await;
    assert_eq!(fetch_status(&simulator, "fail-1").await, "completed");

    let status_400 = json!({"kind": "status", "status": 400, "headers": {"x-a": "b"}});
    put_script(&simulator, "fail-1", json!({"answer": {"id": 1}, "fault": status_400})).await;
    let (head, body) = get(&simulator, &fetch_path("fail-1")).await;
    assert_eq!((head.status().as_u16(), &head.headers()["x-a"]), (400, &"b".parse().unwrap()));
    assert_eq!(body, r#"{"id":1}"#);

    let delete = Request::delete("/simulator/tasks/fail-1").body(Body::empty()).unwrap();
    assert_eq!(send(&simulator, delete).await.0.status(), 204);
    assert_eq!(fetch_status(&simulator, "fail-1").await, "queued");
    advance(Duration::from_secs(5)).await;
    assert_eq!(fetch_status(&simulator, "fail-1").await, "failed");
}

#[tokio::test]
async fn an_invalid_script_is_rejected() {
    let simulator = simulator();
    for (script, reason) in [
        ("{", "EOF while parsing"),
        (r#"{"step": []}"#, "unknown field `step`"),
        (r#"{"steps": [{"status": "queued", "seconds": -1}]}"#, "negative"),
        (r#"{"enqueued_seconds_ago": 1e12}"#, "at most 100 years"),
        (r#"{"fault": {"kind": "gremlins"}}"#, "no such fault"),
        (r#"{"fault": {"kind": "status", "status": 99}}"#, "no such fault"),
        (r#"{"fault_every": 0}"#, "nonzero"),
    ] {
        let (status, message) = put_script(&simulator, "a", script).await;
        assert_eq!(status, 400, "{script}");
        assert!(message.contains(reason), "{script}: {message}");
    }
    assert_eq!(put_script(&simulator, "a", " ".repeat((1 << 20) + 1)).await.0, 413);
}

#[tokio::test(start_paused = true)]
async fn requests_are_recorded_in_the_statistics() {
    let simulator = simulator();
    let nothing = get_json(&simulator, "/simulator/tasks/a").await;
    assert_eq!((&nothing["requests"], &nothing["last_path"]), (&json!(0), &Value::Null));
    for _ in 0..101 {
        let request = Request::get(fetch_path("a") + "?b=c").header("x-a", "1").header("x-a", "2");
        send(&simulator, request.body(Body::empty()).unwrap()).await;
        advance(Duration::from_millis(10)).await;
    }
    let report = get_json(&simulator, "/simulator/tasks/a").await;
    assert_eq!(report["requests"], 101);
    assert_eq!((&report["in_flight"], &report["max_in_flight"]), (&json!(0), &json!(1)));
    assert_eq!(report["last_path"], "/api/mj/task/a/fetch?b=c");
    assert_eq!(report["last_headers"], json!({"x-a": "1, 2"}));
    let times = report["request_times_ms"].as_array().unwrap();
    assert_eq!(times.len(), 100);
    assert_eq!(times[99].as_i64().unwrap() - times[0].as_i64().unwrap(), 990);

    tokio::join!(
        get(&simulator, "/api/mj/task/slow-1/fetch"),
        get(&simulator, "/api/mj/task/slow-1/fetch"),
        get(&simulator, "/api/mj/task/slow-2/fetch"),
    );
    let expected = json!({"requests": 104, "batches": 0, "in_flight": 0, "max_in_flight": 3,
        "tasks": 3, "max_in_flight_per_task": 2});
    assert_eq!(get_json(&simulator, "/simulator/stats").await, expected);
}

#[tokio::test]
async fn a_request_ends_before_its_last_bytes_are_sent() {
    let simulator = simulator();
    let request = Request::get(fetch_path("queued-1")).body(Body::empty()).unwrap();
    let mut body = simulator.handle_request(request).await.unwrap().into_body();
    let in_flight = async || get_json(&simulator, "/simulator/stats").await["in_flight"].clone();
    assert_eq!(in_flight().await, 1);
    let frame = poll_fn(|cx| pin!(&mut body).poll_frame(cx)).await;
    let sent = frame.unwrap().unwrap().into_data().unwrap().len();
    assert_eq!(in_flight().await, 0);
    let report = get_json(&simulator, "/simulator/tasks/queued-1").await;
    assert_eq!(report["body_bytes"], sent);
}

#[tokio::test]
async fn task_ids_are_percent_decoded() {
    let simulator = simulator();
    for (path, id) in [
        ("..%2F..%2Fadmin%3Fx%3D1%23y", "../../admin?x=1#y"),
        ("%22%5C%0A%E4%BB%BB", "\"\\\n任"),
        ("%FF", "\u{fffd}"),
    ] {
        let answer = get_json(&simulator, &fetch_path(path)).await;
        assert_eq!(answer["data"]["taskId"], id);
        let report = get_json(&simulator, &format!("/simulator/tasks/{path}")).await;
        assert_eq!(report["last_path"], fetch_path(path));
    }
    assert_eq!(get(&simulator, &fetch_path("a/b")).await.0.status(), 404);
    assert_eq!(get(&simulator, &fetch_path("")).await.0.status(), 404);
    let post = Request::post(fetch_path("a")).body(Body::empty()).unwrap();
    assert_eq!(send(&simulator, post).await.0.status(), 405);
}

#[tokio::test]
async fn the_help_page_lists_endpoints_and_scenarios() {
    let (_, page) = get(&simulator(), "/").await;
    let page = String::from_utf8_lossy(&page);
    for line in [
        "\n  stuck         queued for two hours already, stays queued\n",
        "PUT    /simulator/tasks/{id}",
        "  GET  /kling-tasks/tasks?task_ids={id},{id}\n",
    ] {
        assert!(page.contains(line), "{page}");
    }
}

/// Starts a server; returns its address, the sender that stops it, and its task.
async fn start_server() -> (std::net::SocketAddr, oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    (address, stop, tokio::spawn(serve(listener, simulator(), stopped)))
}

/// Fails a test that would wait forever. No test depends on the length of the deadline.
async fn within_deadline<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

async fn send_request(address: std::net::SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: gateway\r\n\r\n", fetch_path(id));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn reset_half_and_endless_break_the_connection() {
    let (address, _stop, _server) = start_server().await;
    let mut nothing = Vec::new();
    within_deadline(send_request(address, "reset-1").await.read_to_end(&mut nothing))
        .await
        .unwrap();
    assert_eq!(nothing, b"");

    let mut half = String::new();
    within_deadline(send_request(address, "half-1").await.read_to_string(&mut half)).await.unwrap();
    let (head, body) = half.split_once("\r\n\r\n").unwrap();
    let declared = head.split("content-length: ").nth(1).unwrap();
    let declared: usize = declared.split("\r\n").next().unwrap().parse().unwrap();
    assert_eq!(body.len(), declared / 2);

    let mut endless = vec![0; 4 << 20];
    within_deadline(send_request(address, "endless-1").await.read_exact(&mut endless))
        .await
        .unwrap();
    let endless = String::from_utf8(endless).unwrap();
    assert!(endless.contains("transfer-encoding: chunked") && endless.contains(r#"{"code":0,"#));
}

#[tokio::test]
async fn a_disconnected_client_is_no_longer_in_flight() {
    let (address, _stop, _server) = start_server().await;
    let in_flight = async |wanted: &str| {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = "GET /simulator/stats HTTP/1.1\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            if answer.contains(&format!(r#""in_flight":{wanted},"#)) {
                break;
            }
        }
    };
    let hanging = send_request(address, "hang-1").await;
    within_deadline(in_flight("1")).await;
    drop(hanging);
    within_deadline(in_flight("0")).await;
}

#[tokio::test]
async fn shutdown_closes_hanging_connections() {
    let (address, stop, server) = start_server().await;
    let mut streams = Vec::new();
    for id in ["hang-1", "slow-1", "endless-1"] {
        streams.push(send_request(address, id).await);
    }
    // The response to the last request has begun, so all three connections have been accepted.
    streams[2].read_u8().await.unwrap();
    stop.send(()).unwrap();
    within_deadline(server).await.unwrap().unwrap();
    assert_eq!(streams[0].read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}
