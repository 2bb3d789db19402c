//! The table of systems.

use std::fmt::Write;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::system::{Ids, Query, Speech, System, Unknown};
use super::{refusal, task};

const BEARER: (&str, &str) = ("authorization", "Bearer ");
const MJ_API_SECRET: (&str, &str) = ("mj-api-secret", "");

/// What most systems have in common.
const USUAL: System = System {
    name: "",
    queries: &[],
    credentials: &[BEARER],
    requires: None,
    unauthorized: StatusCode::UNAUTHORIZED,
    words: [""; 6],
    time: none,
    speech: Speech::Asset,
    unknown: Unknown::Refused(StatusCode::NOT_FOUND),
    refusal: refusal::error,
};

/// The words of midjourney-proxy, Suno-API and of new-api, which took them over.
const IN_CAPITALS: [&str; 6] =
    ["SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "SUCCESS", "FAILURE", "FAILURE"];
/// The words of Runway, which knows nothing that waits for the user.
const RUNWAY: [&str; 6] = ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"];

const fn get(path: &'static str) -> Query {
    Query { path, ids: Ids::Path }
}

const fn post(path: &'static str) -> Query {
    Query { path, ids: Ids::Body }
}

const fn json(task: fn(&task::Telling<'_>) -> Value, around: fn(&Value) -> Value) -> Speech {
    Speech::Json { task, around }
}

/// Every system. Marked as unverified is what nobody could find out.
pub static SYSTEMS: &[System] = &[
    System {
        name: "mjdjourney",
        queries: &[get("/api/mj/task/{id}/fetch")],
        credentials: &[BEARER, MJ_API_SECRET],
        // Unverified but for `completed`, as is the answer for an unknown ID.
        words: ["queued", "running", "waiting", "completed", "failed", "cancelled"],
        time: spaced,
        speech: json(task::mjdjourney, |data| envelope(0, "成功", data)),
        refusal: refusal::mjdjourney,
        ..USUAL
    },
    System {
        name: "midjourney-proxy",
        queries: &[get("/mj/task/{id}/fetch"), post("/mj/task/list-by-condition")],
        credentials: &[MJ_API_SECRET, ("authorization", "")],
        words: ["SUBMITTED", "IN_PROGRESS", "MODAL", "SUCCESS", "FAILURE", "FAILURE"],
        time: milliseconds_or_null,
        speech: json(task::midjourney_proxy, bare),
        unknown: Unknown::Silence,
        refusal: refusal::midjourney_proxy,
        ..USUAL
    },
    System {
        name: "new-api-mj",
        queries: &[get("/mj/task/{id}/fetch"), post("/mj/task/list-by-condition")],
        credentials: &[BEARER, MJ_API_SECRET],
        words: ["SUBMITTED", "IN_PROGRESS", "MODAL", "SUCCESS", "FAILURE", "CANCEL"],
        time: milliseconds_or_zero,
        speech: json(task::new_api_mj, bare),
        unknown: Unknown::Refused(StatusCode::BAD_REQUEST),
        refusal: refusal::new_api_mj,
        ..USUAL
    },
    System {
        name: "new-api-task",
        queries: &[get("/suno/fetch/{id}"), post("/suno/fetch"), get("/v1/video/generations/{id}")],
        words: IN_CAPITALS,
        time: seconds_or_zero,
        speech: json(task::new_api_task, |data| envelope("success", "", data)),
        unknown: Unknown::Refused(StatusCode::BAD_REQUEST),
        refusal: refusal::new_api_task,
        ..USUAL
    },
    System {
        name: "openai-video",
        queries: &[get("/v1/videos/{id}")],
        words: ["queued", "in_progress", "in_progress", "completed", "failed", "cancelled"],
        time: seconds_or_null,
        speech: json(task::openai_video, bare),
        refusal: refusal::openai_video,
        ..USUAL
    },
    System {
        name: "suno-api",
        queries: &[post("/suno/fetch")],
        words: IN_CAPITALS,
        time: seconds_or_zero,
        speech: json(task::suno_api, |data| envelope("success", "", data)),
        refusal: refusal::new_api_task,
        ..USUAL
    },
    System {
        name: "suno-record-info",
        queries: &[Query { path: "/api/v1/generate/record-info", ids: Ids::Parameter("taskId") }],
        // Its errors are successes of HTTP.
        unauthorized: StatusCode::OK,
        words: [
            "PENDING",
            "TEXT_SUCCESS",
            "TEXT_SUCCESS",
            "SUCCESS",
            "GENERATE_AUDIO_FAILED",
            "GENERATE_AUDIO_FAILED",
        ],
        speech: json(
            task::suno_record_info,
            |data| json!({ "code": 200, "msg": "success", "data": data }),
        ),
        // Unverified.
        unknown: Unknown::Null,
        refusal: refusal::suno_record_info,
        ..USUAL
    },
    System {
        name: "bfl-flux",
        queries: &[Query { path: "/v1/get_result", ids: Ids::Parameter("id") }],
        credentials: &[("x-key", "")],
        unauthorized: StatusCode::FORBIDDEN,
        // What is queued is pending as well.
        words: ["Pending", "Pending", "Pending", "Ready", "Error", "Error"],
        speech: json(task::bfl_flux, bare),
        unknown: Unknown::Word("Task not found"),
        refusal: refusal::detail,
        ..USUAL
    },
    System {
        name: "stability",
        queries: &[
            get("/v2beta/results/{id}"),
            get("/v2beta/image-to-video/result/{id}"),
            get("/v2beta/stable-image/upscale/creative/result/{id}"),
        ],
        // HTTP statuses; the header `finish-reason` tells success from failure.
        words: ["202", "202", "202", "200", "200", "200"],
        refusal: refusal::stability,
        ..USUAL
    },
    System {
        name: "ideogram",
        queries: &[get("/v1/generations/{id}"), get("/v2/generations/{id}")],
        credentials: &[("api-key", "")],
        // What is running is pending as well. Unverified: the answer for an unknown ID.
        words: ["pending", "pending", "pending", "completed", "failed", "failed"],
        time: iso_microseconds,
        speech: json(task::ideogram, bare),
        ..USUAL
    },
    System {
        name: "kling",
        queries: &[get("/v1/videos/{kind}/{id}"), get("/v1/videos/avatar/image2video/{id}")],
        words: ["submitted", "processing", "processing", "succeed", "failed", "failed"],
        time: milliseconds_or_null,
        speech: json(task::kling, |data| envelope(0, "SUCCEED", data)),
        refusal: refusal::kling,
        ..USUAL
    },
    System {
        name: "kling-tasks",
        queries: &[Query { path: "/tasks", ids: Ids::List("task_ids") }],
        words: ["submitted", "processing", "processing", "succeeded", "failed", "failed"],
        time: milliseconds_or_null,
        speech: json(task::kling_tasks, |data| envelope(0, "SUCCEED", data)),
        // Unverified.
        refusal: refusal::kling,
        ..USUAL
    },
    System {
        name: "luma-gateway",
        queries: &[get("/luma/generations/{id}")],
        words: ["pending", "processing", "processing", "completed", "failed", "failed"],
        time: iso_microseconds,
        speech: json(task::luma_gateway, bare),
        // Unverified.
        refusal: refusal::new_api,
        ..USUAL
    },
    System {
        name: "luma",
        queries: &[get("/dream-machine/v1/generations/{id}")],
        unauthorized: StatusCode::FORBIDDEN,
        words: ["queued", "dreaming", "dreaming", "completed", "failed", "failed"],
        time: iso_microseconds,
        speech: json(task::luma, bare),
        refusal: refusal::detail,
        ..USUAL
    },
    System {
        name: "runway",
        queries: &[get("/v1/tasks/{id}")],
        requires: Some("x-runway-version"),
        words: RUNWAY,
        time: iso_milliseconds,
        speech: json(task::runway, bare),
        ..USUAL
    },
    System {
        name: "runway-gateway",
        queries: &[get("/runway/tasks/{id}")],
        words: RUNWAY,
        time: iso_milliseconds,
        speech: json(task::runway_gateway, |task| json!({ "task": task })),
        // Unverified.
        unknown: Unknown::Null,
        refusal: refusal::new_api,
        ..USUAL
    },
    System {
        name: "cogvideox",
        queries: &[get("/api/paas/v4/async-result/{id}")],
        // What is queued is processing as well. Unverified: the answer for an unknown ID.
        words: ["PROCESSING", "PROCESSING", "PROCESSING", "SUCCESS", "FAIL", "FAIL"],
        speech: json(task::cogvideox, bare),
        refusal: refusal::cogvideox,
        ..USUAL
    },
    System {
        name: "viggle",
        queries: &[Query { path: "/viggle/video-task/by-ids", ids: Ids::FirstOfBody }],
        // Unverified but for 0.
        words: ["1", "2", "2", "0", "3", "3"],
        time: iso_milliseconds,
        speech: json(task::viggle, |data| envelope(0, "成功", data)),
        refusal: refusal::viggle,
        ..USUAL
    },
];

/// The table for people.
pub fn describe() -> String {
    let mut text = String::new();
    for System { name, queries, .. } in SYSTEMS {
        for query in *queries {
            let rest = match query.ids {
                Ids::Path => String::new(),
                Ids::Parameter(parameter) => format!("?{parameter}={{id}}"),
                Ids::List(parameter) => format!("?{parameter}={{id}},{{id}}"),
                Ids::Body | Ids::FirstOfBody => r#" {"ids": ["…"]}"#.to_owned(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<4} /{name}{}{rest}", query.method().as_str(), query.path);
        }
    }
    text
}

fn envelope(code: impl Into<Value>, message: &str, data: &Value) -> Value {
    json!({ "code": code.into(), "message": message, "data": data })
}

fn bare(tasks: &Value) -> Value {
    tasks.clone()
}

fn none(_: Option<Timestamp>) -> Value {
    Value::Null
}

fn written(time: Option<Timestamp>, format: &str) -> Value {
    time.map(|time| time.strftime(format).to_string()).into()
}

fn spaced(time: Option<Timestamp>) -> Value {
    written(time, "%Y-%m-%d %H:%M:%S.%6f+00:00")
}

fn iso_milliseconds(time: Option<Timestamp>) -> Value {
    written(time, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

fn iso_microseconds(time: Option<Timestamp>) -> Value {
    written(time, "%Y-%m-%dT%H:%M:%S.%6fZ")
}

fn milliseconds_or_null(time: Option<Timestamp>) -> Value {
    time.map(Timestamp::as_millisecond).into()
}

fn milliseconds_or_zero(time: Option<Timestamp>) -> Value {
    time.map_or(0, Timestamp::as_millisecond).into()
}

fn seconds_or_null(time: Option<Timestamp>) -> Value {
    time.map(Timestamp::as_second).into()
}

fn seconds_or_zero(time: Option<Timestamp>) -> Value {
    time.map_or(0, Timestamp::as_second).into()
}
