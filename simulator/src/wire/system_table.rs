//! The table of systems, and their common formats.

use std::fmt::Write;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::system::{BodyFormat, Endpoint, IdLocation, System, UnknownTask};
use super::task_list::TaskList;
use super::{error_json, task_json};

/// Header and value prefix of a bearer token.
const BEARER: (&str, &str) = ("authorization", "Bearer ");
/// Header of midjourney-proxy's secret, which has no prefix.
const MJ_API_SECRET: (&str, &str) = ("mj-api-secret", "");

/// Properties that most systems share.
const DEFAULTS: System = System {
    name: "",
    endpoints: &[],
    credential_headers: &[BEARER],
    required_header: None,
    unauthorized_status: StatusCode::UNAUTHORIZED,
    status_words: [""; 6],
    format_time: null_time,
    body_format: BodyFormat::Asset,
    unknown_task: UnknownTask::Error(StatusCode::NOT_FOUND),
    format_error: error_json::message_in_error,
};

/// Status words of midjourney-proxy, Suno-API and new-api, which adopted them.
const UPPERCASE_WORDS: [&str; 6] =
    ["SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "SUCCESS", "FAILURE", "FAILURE"];
/// Status words of Runway, which has none for a task that waits for the user.
const RUNWAY_WORDS: [&str; 6] =
    ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"];

const fn get_by_path(path: &'static str) -> Endpoint {
    Endpoint { path, id_location: IdLocation::Path }
}

const fn post_ids(path: &'static str) -> Endpoint {
    Endpoint { path, id_location: IdLocation::Body }
}

const fn get_list(path: &'static str, list: TaskList) -> Endpoint {
    Endpoint { path, id_location: IdLocation::Held(list) }
}

const fn json_format(
    format_task: fn(&task_json::TaskView<'_>) -> Value,
    wrap: fn(&Value) -> Value,
) -> BodyFormat {
    BodyFormat::Json { format_task, wrap }
}

/// Every system. A comment marks as unverified what no source confirms.
pub(crate) static SYSTEMS: &[System] = &[
    System {
        name: "mjdjourney",
        endpoints: &[get_by_path("/api/mj/task/{id}/fetch")],
        credential_headers: &[BEARER, MJ_API_SECRET],
        // Unverified except `completed`, as is the response to an unknown ID.
        status_words: ["queued", "running", "waiting", "completed", "failed", "cancelled"],
        format_time: iso_with_space,
        body_format: json_format(task_json::mjdjourney, |data| wrap_in_envelope(0, "成功", data)),
        format_error: error_json::mjdjourney,
        ..DEFAULTS
    },
    System {
        name: "midjourney-proxy",
        endpoints: &[
            get_by_path("/mj/task/{id}/fetch"),
            post_ids("/mj/task/list-by-condition"),
            // Of the Java gateway.
            get_list("/mj/task/queue", TaskList::Queue),
            // Of the C# gateway.
            get_list("/mj/task/list", TaskList::Newest),
        ],
        credential_headers: &[MJ_API_SECRET, ("authorization", "")],
        status_words: ["SUBMITTED", "IN_PROGRESS", "MODAL", "SUCCESS", "FAILURE", "FAILURE"],
        format_time: milliseconds_or_null,
        body_format: json_format(task_json::midjourney_proxy, unwrapped),
        unknown_task: UnknownTask::EmptyBody,
        format_error: error_json::midjourney_proxy,
        ..DEFAULTS
    },
    System {
        name: "new-api-mj",
        endpoints: &[get_by_path("/mj/task/{id}/fetch"), post_ids("/mj/task/list-by-condition")],
        credential_headers: &[BEARER, MJ_API_SECRET],
        status_words: ["SUBMITTED", "IN_PROGRESS", "MODAL", "SUCCESS", "FAILURE", "CANCEL"],
        format_time: milliseconds_or_zero,
        body_format: json_format(task_json::new_api_mj, unwrapped),
        unknown_task: UnknownTask::Error(StatusCode::BAD_REQUEST),
        format_error: error_json::new_api_mj,
        ..DEFAULTS
    },
    System {
        name: "new-api-task",
        endpoints: &[
            get_by_path("/suno/fetch/{id}"),
            post_ids("/suno/fetch"),
            get_by_path("/v1/video/generations/{id}"),
        ],
        status_words: UPPERCASE_WORDS,
        format_time: seconds_or_zero,
        body_format: json_format(task_json::new_api_task, |data| {
            wrap_in_envelope("success", "", data)
        }),
        unknown_task: UnknownTask::Error(StatusCode::BAD_REQUEST),
        format_error: error_json::new_api_task,
        ..DEFAULTS
    },
    System {
        name: "openai-video",
        endpoints: &[get_by_path("/v1/videos/{id}")],
        status_words: ["queued", "in_progress", "in_progress", "completed", "failed", "cancelled"],
        format_time: seconds_or_null,
        body_format: json_format(task_json::openai_video, unwrapped),
        format_error: error_json::openai_video,
        ..DEFAULTS
    },
    System {
        name: "suno-api",
        endpoints: &[post_ids("/suno/fetch")],
        status_words: UPPERCASE_WORDS,
        format_time: seconds_or_zero,
        body_format: json_format(task_json::suno_api, |data| wrap_in_envelope("success", "", data)),
        format_error: error_json::new_api_task,
        ..DEFAULTS
    },
    System {
        name: "suno-record-info",
        endpoints: &[Endpoint {
            path: "/api/v1/generate/record-info",
            id_location: IdLocation::Parameter("taskId"),
        }],
        // Errors have the HTTP status 200.
        unauthorized_status: StatusCode::OK,
        status_words: [
            "PENDING",
            "TEXT_SUCCESS",
            "TEXT_SUCCESS",
            "SUCCESS",
            "GENERATE_AUDIO_FAILED",
            "GENERATE_AUDIO_FAILED",
        ],
        body_format: json_format(
            task_json::suno_record_info,
            |data| json!({ "code": 200, "msg": "success", "data": data }),
        ),
        // Unverified.
        unknown_task: UnknownTask::Null,
        format_error: error_json::suno_record_info,
        ..DEFAULTS
    },
    System {
        name: "bfl-flux",
        endpoints: &[Endpoint { path: "/v1/get_result", id_location: IdLocation::Parameter("id") }],
        credential_headers: &[("x-key", "")],
        unauthorized_status: StatusCode::FORBIDDEN,
        // A queued task is pending, too.
        status_words: ["Pending", "Pending", "Pending", "Ready", "Error", "Error"],
        body_format: json_format(task_json::bfl_flux, unwrapped),
        unknown_task: UnknownTask::Status("Task not found"),
        format_error: error_json::message_in_detail,
        ..DEFAULTS
    },
    System {
        name: "stability",
        endpoints: &[
            get_by_path("/v2beta/results/{id}"),
            get_by_path("/v2beta/image-to-video/result/{id}"),
            get_by_path("/v2beta/stable-image/upscale/creative/result/{id}"),
        ],
        // HTTP statuses. The header `finish-reason` distinguishes success from failure.
        status_words: ["202", "202", "202", "200", "200", "200"],
        format_error: error_json::stability,
        ..DEFAULTS
    },
    System {
        name: "ideogram",
        endpoints: &[get_by_path("/v1/generations/{id}"), get_by_path("/v2/generations/{id}")],
        credential_headers: &[("api-key", "")],
        // A running task is pending, too. Unverified: the response to an unknown ID.
        status_words: ["pending", "pending", "pending", "completed", "failed", "failed"],
        format_time: iso_microseconds,
        body_format: json_format(task_json::ideogram, unwrapped),
        ..DEFAULTS
    },
    System {
        name: "kling",
        endpoints: &[
            get_by_path("/v1/videos/{kind}/{id}"),
            get_by_path("/v1/videos/avatar/image2video/{id}"),
            get_list("/v1/videos/{kind}", TaskList::Kind),
        ],
        status_words: ["submitted", "processing", "processing", "succeed", "failed", "failed"],
        format_time: milliseconds_or_null,
        body_format: json_format(task_json::kling, |data| wrap_in_envelope(0, "SUCCEED", data)),
        format_error: error_json::kling,
        ..DEFAULTS
    },
    System {
        name: "kling-tasks",
        endpoints: &[Endpoint { path: "/tasks", id_location: IdLocation::List("task_ids") }],
        status_words: ["submitted", "processing", "processing", "succeeded", "failed", "failed"],
        format_time: milliseconds_or_null,
        body_format: json_format(task_json::kling_tasks, |data| {
            wrap_in_envelope(0, "SUCCEED", data)
        }),
        // Unverified.
        format_error: error_json::kling,
        ..DEFAULTS
    },
    System {
        name: "luma-gateway",
        endpoints: &[get_by_path("/luma/generations/{id}")],
        status_words: ["pending", "processing", "processing", "completed", "failed", "failed"],
        format_time: iso_microseconds,
        body_format: json_format(task_json::luma_gateway, unwrapped),
        // Unverified.
        format_error: error_json::new_api,
        ..DEFAULTS
    },
    System {
        name: "luma",
        endpoints: &[
            get_by_path("/dream-machine/v1/generations/{id}"),
            get_list("/dream-machine/v1/generations", TaskList::Offset),
        ],
        unauthorized_status: StatusCode::FORBIDDEN,
        status_words: ["queued", "dreaming", "dreaming", "completed", "failed", "failed"],
        format_time: iso_microseconds,
        body_format: json_format(task_json::luma, unwrapped),
        format_error: error_json::message_in_detail,
        ..DEFAULTS
    },
    System {
        name: "runway",
        endpoints: &[get_by_path("/v1/tasks/{id}")],
        required_header: Some("x-runway-version"),
        status_words: RUNWAY_WORDS,
        format_time: iso_milliseconds,
        body_format: json_format(task_json::runway, unwrapped),
        ..DEFAULTS
    },
    System {
        name: "runway-gateway",
        endpoints: &[get_by_path("/runway/tasks/{id}")],
        status_words: RUNWAY_WORDS,
        format_time: iso_milliseconds,
        body_format: json_format(task_json::runway_gateway, |task| json!({ "task": task })),
        // Unverified.
        unknown_task: UnknownTask::Null,
        format_error: error_json::new_api,
        ..DEFAULTS
    },
    System {
        name: "cogvideox",
        endpoints: &[get_by_path("/api/paas/v4/async-result/{id}")],
        // A queued task is processing, too. Unverified: the response to an unknown ID.
        status_words: ["PROCESSING", "PROCESSING", "PROCESSING", "SUCCESS", "FAIL", "FAIL"],
        body_format: json_format(task_json::cogvideox, unwrapped),
        format_error: error_json::cogvideox,
        ..DEFAULTS
    },
    System {
        name: "viggle",
        endpoints: &[Endpoint {
            path: "/viggle/video-task/by-ids",
            id_location: IdLocation::FirstOfBody,
        }],
        // Unverified except 0.
        status_words: ["1", "2", "2", "0", "3", "3"],
        format_time: iso_milliseconds,
        body_format: json_format(task_json::viggle, |data| wrap_in_envelope(0, "成功", data)),
        format_error: error_json::viggle,
        ..DEFAULTS
    },
];

/// Formats the endpoints of all systems for the help page.
pub(crate) fn format_help() -> String {
    let mut text = String::new();
    for System { name, endpoints, .. } in SYSTEMS {
        for endpoint in *endpoints {
            let ids = match endpoint.id_location {
                IdLocation::Path | IdLocation::Held(_) => String::new(),
                IdLocation::Parameter(parameter) => format!("?{parameter}={{id}}"),
                IdLocation::List(parameter) => format!("?{parameter}={{id}},{{id}}"),
                IdLocation::Body | IdLocation::FirstOfBody => r#" {"ids": ["…"]}"#.to_owned(),
            };
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "  {:<4} /{name}{}{ids}", endpoint.method().as_str(), endpoint.path);
        }
    }
    text
}

fn wrap_in_envelope(code: impl Into<Value>, message: &str, data: &Value) -> Value {
    json!({ "code": code.into(), "message": message, "data": data })
}

fn unwrapped(tasks: &Value) -> Value {
    tasks.clone()
}

fn null_time(_: Option<Timestamp>) -> Value {
    Value::Null
}

fn format_with(time: Option<Timestamp>, pattern: &str) -> Value {
    time.map(|time| time.strftime(pattern).to_string()).into()
}

fn iso_with_space(time: Option<Timestamp>) -> Value {
    format_with(time, "%Y-%m-%d %H:%M:%S.%6f+00:00")
}

fn iso_milliseconds(time: Option<Timestamp>) -> Value {
    format_with(time, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

fn iso_microseconds(time: Option<Timestamp>) -> Value {
    format_with(time, "%Y-%m-%dT%H:%M:%S.%6fZ")
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
