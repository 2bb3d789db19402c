//! Tests of the rows in the table of systems.

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;

use super::route::find_route;
use super::system_table::SYSTEMS;
use super::*;

fn system(name: &str) -> &'static System {
    SYSTEMS.iter().find(|system| system.name == name).unwrap()
}

/// Returns a task that was enqueued at second 100, started at 110 and changed its status at 150.
fn task_response(id: &str, status: Status) -> TaskResponse<'_> {
    let second = |second| Timestamp::from_second(second).unwrap();
    let (enqueued_at, started_at, changed_at) = (second(100), Some(second(110)), second(150));
    let state = TaskState { status, enqueued_at, started_at, changed_at, progress_percent: 37 };
    TaskResponse { id: id.into(), state, body: None, fault: None }
}

fn read_response(response: Response<PaddedBody>) -> (u16, String) {
    let (head, mut body) = response.into_parts();
    let mut text = String::new();
    while let chunk = body.take_chunk(usize::MAX)
        && !chunk.is_empty()
    {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    (head.status.as_u16(), text)
}

fn read_json(response: Response<PaddedBody>) -> Value {
    serde_json::from_str(&read_response(response).1).unwrap()
}

#[test]
fn routes_find_the_system_and_the_ids() {
    let ids = |path: &str, parameters: &str, body: &str| {
        let route = find_route(path)?;
        let (name, is_list) = (route.system.name, route.endpoint.has_list_response());
        let ids = route.extract_ids(parameters, body.as_bytes())?;
        let ids: Vec<_> = ids.into_iter().map(|id| String::from_utf8(id).unwrap()).collect();
        Some((name, ids.join("|"), is_list))
    };
    let one = |name, id: &str| Some((name, id.to_owned(), false));
    let list = |name, ids: &str| Some((name, ids.to_owned(), true));
    for (path, parameters, body, expected) in [
        ("/api/mj/task/a/fetch", "", "", one("mjdjourney", "a")),
        ("/mjdjourney/api/mj/task/a%2Fb/fetch", "", "", one("mjdjourney", "a/b")),
        ("/new-api-mj/mj/task/a/fetch", "", "", one("new-api-mj", "a")),
        ("/kling/v1/videos/text2video/7", "", "", one("kling", "7")),
        ("/kling/v1/videos/avatar/image2video/7", "", "", one("kling", "7")),
        ("/bfl-flux/v1/get_result", "x=1&id=a%26b", "", one("bfl-flux", "a&b")),
        ("/kling-tasks/tasks", "task_ids=a%2Cb,c", "", list("kling-tasks", "a,b|c")),
        ("/suno-api/suno/fetch", "", r#"{"ids":["a","b"]}"#, list("suno-api", "a|b")),
        ("/viggle/viggle/video-task/by-ids", "", r#"{"ids":["a","b"]}"#, list("viggle", "a")),
        ("/mj/task/a/fetch", "", "", None),
        ("/kling/v1/videos//7", "", "", None),
        ("/kling/v1/videos/text2video/7/8", "", "", None),
        ("/bfl-flux/v1/get_result", "id=", "", None),
        ("/suno-api/suno/fetch", "", r#"{"ids":[]}"#, None),
        ("/suno-api/suno/fetch", "", r#"{"ids":"a"}"#, None),
    ] {
        assert_eq!(ids(path, parameters, body), expected, "{path}?{parameters} {body}");
    }
}

#[test]
fn each_system_has_its_own_status_words() {
    for (name, pointer, words) in [
        ("mjdjourney", "/data/status", r#""queued" "running" "waiting" "completed" "failed""#),
        ("midjourney-proxy", "/status", r#""SUBMITTED" "IN_PROGRESS" "MODAL" "SUCCESS" "FAILURE""#),
        (
            "new-api-task",
            "/data/status",
            r#""SUBMITTED" "IN_PROGRESS" "IN_PROGRESS" "SUCCESS" "FAILURE""#,
        ),
        (
            "kling",
            "/data/task_status",
            r#""submitted" "processing" "processing" "succeed" "failed""#,
        ),
        ("runway-gateway", "/task/status", r#""PENDING" "RUNNING" "RUNNING" "SUCCEEDED" "FAILED""#),
        ("luma", "/state", r#""queued" "dreaming" "dreaming" "completed" "failed""#),
    ] {
        let statuses =
            [Status::Queued, Status::Running, Status::Waiting, Status::Completed, Status::Failed];
        let word = |status| {
            let answer = read_json(system(name).respond(&[task_response("a", status)], false));
            answer.pointer(pointer).unwrap().to_string()
        };
        assert_eq!(statuses.map(word).join(" "), words, "{name}");
    }
    let word = Status::Custom("levitating".to_owned());
    let answer = read_json(system("luma").respond(&[task_response("a", word)], false));
    assert_eq!(answer["state"], "levitating");
    let viggle =
        read_json(system("viggle").respond(&[task_response("a", Status::Completed)], true));
    assert_eq!(viggle["data"][0]["status"], 0);
}

#[test]
fn each_system_has_its_own_time_format() {
    for (name, pointers, running, completed) in [
        ("mjdjourney", &["/data/enqueue_time"][..], r#""1970-01-01 00:01:40.000000+00:00""#, None),
        ("midjourney-proxy", &["/submitTime", "/finishTime"], "100000 null", Some("100000 150000")),
        ("new-api-mj", &["/submitTime", "/finishTime"], "100000 0", Some("100000 150000")),
        ("new-api-task", &["/data/submit_time", "/data/finish_time"], "100 0", Some("100 150")),
        ("openai-video", &["/created_at", "/completed_at"], "100 null", Some("100 150")),
        ("ideogram", &["/created"], r#""1970-01-01T00:01:40.000000Z""#, None),
        ("kling", &["/data/created_at", "/data/updated_at"], "100000 150000", None),
        ("runway", &["/createdAt"], r#""1970-01-01T00:01:40.000Z""#, None),
    ] {
        for (status, expected) in
            [(Status::Running, running), (Status::Completed, completed.unwrap_or(running))]
        {
            let answer = read_json(system(name).respond(&[task_response("a", status)], false));
            let times = pointers.iter().map(|at| answer.pointer(at).unwrap().to_string());
            assert_eq!(times.collect::<Vec<_>>().join(" "), expected, "{name}");
        }
    }
}

#[test]
fn each_system_reports_unknown_tasks_in_its_own_way() {
    for (name, expected) in [
        ("mjdjourney", (404, r#"{"code":404,"data":null,"message":"Not Found"}"#)),
        ("midjourney-proxy", (200, "")),
        ("new-api-mj", (400, r#"{"code":4,"description":"Not Found","type":"upstream_error"}"#)),
        ("new-api-task", (400, r#"{"code":"task_not_exist","data":null,"message":"Not Found"}"#)),
        ("suno-record-info", (200, r#"{"code":200,"data":null,"msg":"success"}"#)),
        ("kling", (404, r#"{"code":1203,"message":"Not Found","request_id":"simulated"}"#)),
        ("luma", (404, r#"{"detail":"Not Found"}"#)),
        ("runway", (404, r#"{"error":"Not Found"}"#)),
        ("runway-gateway", (200, r#"{"task":null}"#)),
        ("stability", (404, r#"{"errors":["Not Found"],"id":"simulated","name":"not_found"}"#)),
    ] {
        let (status, body) =
            read_response(system(name).respond(&[task_response("a", Status::Missing)], false));
        assert_eq!((status, &*body), expected, "{name}");
    }
    let flux = read_json(system("bfl-flux").respond(&[task_response("a", Status::Missing)], false));
    assert_eq!(flux["status"], "Task not found");
}

#[test]
fn a_list_response_holds_each_task() {
    let suno = system("suno-api");
    let (scripted, fault) =
        (ScriptedBody(r#"{"task_id":"c","status":7}"#.into()), ResponseFault::OtherTask);
    let tasks = || {
        [
            task_response("a", Status::Queued),
            task_response("b", Status::Missing),
            TaskResponse { body: Some(&scripted), ..task_response("c", Status::Queued) },
            TaskResponse { fault: Some(&fault), ..task_response("d", Status::Completed) },
        ]
    };
    let answer = read_json(suno.respond(&tasks(), true));
    let elements = answer["data"].as_array().unwrap().iter();
    let elements: Vec<_> = elements.map(|task| json!([task["task_id"], task["status"]])).collect();
    assert_eq!(elements, [json!(["a", "SUBMITTED"]), json!(["c", 7]), json!(["not-d", "SUCCESS"])]);

    let status = ResponseFault::with_status(StatusCode::BAD_GATEWAY, []);
    let broken = TaskResponse { fault: Some(&status), ..task_response("e", Status::Queued) };
    let answer = suno.respond(&[task_response("a", Status::Queued), broken], true);
    let error = r#"{"code":"get_task_failed","data":null,"message":"Bad Gateway"}"#;
    assert_eq!(read_response(answer), (502, error.to_owned()));
}

#[test]
fn an_asset_response_depends_on_the_task_status() {
    let stability = system("stability");
    let answer = |status| stability.respond(&[task_response("a", status)], false);
    for (status, expected, finish) in [
        (Status::Queued, 202, None),
        (Status::Running, 202, None),
        (Status::Custom("odd".to_owned()), 203, None),
        (Status::Completed, 200, Some("SUCCESS")),
        (Status::Failed, 200, Some("CONTENT_FILTERED")),
    ] {
        let answer = answer(status);
        assert_eq!(answer.status(), expected);
        assert_eq!(answer.headers().get("finish-reason").map(|v| v.to_str().unwrap()), finish);
    }
    assert_eq!(answer(Status::Completed).body().len(), ASSET_BYTES);
}

#[test]
fn each_system_reads_credentials_from_its_own_headers() {
    let admitted = |name: &str, headers: &[(&'static str, &str)]| {
        let value = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        system(name).is_authorized(&headers.iter().map(value).collect::<HeaderMap>(), "t")
    };
    let (bearer, bare) = (("authorization", "Bearer t"), ("authorization", "t"));
    assert!(admitted("bfl-flux", &[("x-key", "t")]) && !admitted("bfl-flux", &[bearer]));
    assert!(
        admitted("ideogram", &[("api-key", "t")]) && !admitted("ideogram", &[("api-key", "u")])
    );
    assert!(admitted("kling", &[bearer]) && !admitted("kling", &[bare]));
    assert!(admitted("midjourney-proxy", &[bare]) && !admitted("midjourney-proxy", &[bearer]));
    assert!(!admitted("midjourney-proxy", &[bare, ("mj-api-secret", "t")]));
    assert_eq!(system("suno-record-info").respond_unauthorized().status(), 200);
    assert_eq!(
        read_response(system("midjourney-proxy").respond_unauthorized()),
        (401, String::new())
    );
    assert!(!system("runway").has_required_header(&HeaderMap::new()));
}
