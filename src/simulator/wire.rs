//! How the gateway words a moment: paths, JSON, HTTP status. Pure, and knows of no network.

use std::collections::HashMap;
use std::iter;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};

use super::life::{Moment, Status};
use super::script::Text;

/// Deeper than any answer, and than any parser's stack should go.
const DEPTH: usize = 10_000;

/// More bytes than a reader should take for one answer.
const HUGE_BYTES: usize = 2_000_000;

/// What the gateway may say in place of the truth.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Slip {
    /// Another HTTP status.
    Status {
        /// 200 to 599.
        #[serde(deserialize_with = "status_code")]
        status: StatusCode,
        /// Headers to add.
        #[serde(default, deserialize_with = "header_map")]
        headers: HeaderMap,
        /// The body; without it the script's answer, or else what the gateway says then.
        #[serde(default)]
        body: Option<Text>,
    },
    /// An error, told by the code in the body alone.
    Code {
        /// The code: a number, or any JSON.
        code: Value,
        /// The message beside it.
        #[serde(default)]
        message: Option<String>,
    },
    /// The answer for another task.
    Other,
    /// Fields of the wrong types.
    Type,
    /// Success without data.
    Null,
    /// Success without a body.
    Empty,
    /// Success that declares to have no body.
    Nothing,
    /// A body that is not JSON.
    Garbage,
    /// JSON nested ten thousand deep.
    Deep,
    /// The right answer in a body of two megabytes.
    Huge,
}

impl Slip {
    /// The HTTP status `status` with `headers` and the body that the gateway gives it.
    pub fn status<const N: usize>(
        status: StatusCode,
        headers: [(HeaderName, &'static str); N],
    ) -> Self {
        let value = |(name, value)| (name, HeaderValue::from_static(value));
        Self::Status { status, headers: headers.into_iter().map(value).collect(), body: None }
    }
}

/// The ID that a request for `path` asks for, any bytes; `None` where no task is asked for.
pub fn asked_id(path: &str) -> Option<Vec<u8>> {
    let id = path.strip_prefix("/api/mj/task/")?.strip_suffix("/fetch")?;
    (!id.is_empty() && !id.contains('/')).then(|| percent_decode_str(id).collect())
}

/// The answer about the task `id` at `moment`: its `text`, where it is given one.
pub fn answer(
    id: &str,
    moment: &Moment,
    text: Option<&Text>,
    slip: Option<&Slip>,
) -> Response<Bytes> {
    let Some(slip) = slip else {
        return text
            .map_or_else(|| truth(id, moment), |Text(body)| reply(StatusCode::OK, body.clone()));
    };
    match slip {
        Slip::Status { status, headers, body } => {
            let mut answer = refusal(*status);
            answer.headers_mut().extend(headers.clone());
            if let Some(Text(body)) = body.as_ref().or(text) {
                *answer.body_mut() = body.clone();
            }
            answer
        }
        Slip::Code { code, message } => {
            let message = message.as_deref().unwrap_or("the simulated gateway says error");
            ok(&envelope(code, message, &Value::Null))
        }
        Slip::Other => truth(&format!("not-{id}"), moment),
        Slip::Type => {
            let status = json!({ "is": word(&moment.status) });
            let time = json!([2025, 6, 20]);
            let data =
                json!({ "taskId": id, "enqueue_time": time, "status": status, "job_type": 7 });
            ok(&envelope(&json!(0), "成功", &data))
        }
        Slip::Null => ok(&envelope(&json!(0), "成功", &Value::Null)),
        Slip::Empty => reply(StatusCode::OK, Bytes::new()),
        Slip::Nothing => reply(StatusCode::NO_CONTENT, Bytes::new()),
        Slip::Garbage => reply(StatusCode::OK, "<html>Bad gateway, good mood</html>"),
        Slip::Deep => reply(StatusCode::OK, "[".repeat(DEPTH) + &"]".repeat(DEPTH)),
        Slip::Huge => truth(id, moment).map(|body| {
            let padding = HUGE_BYTES.saturating_sub(body.len());
            body.into_iter().chain(iter::repeat_n(b' ', padding)).collect()
        }),
    }
}

/// What the gateway says at the HTTP status `status`.
pub fn refusal(status: StatusCode) -> Response<Bytes> {
    let message = status.canonical_reason().unwrap_or("refused");
    reply(status, envelope(&json!(status.as_u16()), message, &Value::Null).to_string())
}

fn truth(id: &str, moment: &Moment) -> Response<Bytes> {
    match moment.status {
        Status::Missing => refusal(StatusCode::NOT_FOUND),
        _ => ok(&envelope(&json!(0), "成功", &data(id, moment))),
    }
}

fn data(id: &str, moment: &Moment) -> Value {
    let mut data = json!({
        "taskId": id,
        "prompt": "a lighthouse in a storm --ar 128:121 --video 1",
        "imageUrl": format!("https://cdn.example/{id}/0.jpg"),
        "enqueue_time": time(moment.enqueued),
        "width": 640,
        "height": 608,
        "batch_size": 4,
        "status": word(&moment.status),
        "job_type": "vid_1.1_i2v_render_b_joint_video",
    });
    if let (Status::Completed, Some(data)) = (&moment.status, data.as_object_mut()) {
        let url = |n| format!("https://cdn.example/video/{id}/{n}.mp4");
        data.insert("video_url".to_owned(), url(0).into());
        data.insert("video_urls".to_owned(), (0..4).map(url).collect());
    }
    data
}

fn word(status: &Status) -> &str {
    match status {
        Status::Queued => "queued",
        Status::Running => "running",
        Status::Waiting => "waiting",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::Missing => "missing",
        Status::Word(word) => word,
    }
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00:00").to_string()
}

fn envelope(code: &Value, message: &str, data: &Value) -> Value {
    json!({ "code": code, "message": message, "data": data })
}

fn ok(body: &Value) -> Response<Bytes> {
    reply(StatusCode::OK, body.to_string())
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(CONTENT_TYPE, json);
    }
    reply
}

fn status_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
    match u16::deserialize(deserializer)? {
        code @ 200..=599 => StatusCode::from_u16(code).map_err(D::Error::custom),
        code => Err(D::Error::custom(format_args!("status {code} is not within 200 to 599"))),
    }
}

fn header_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let headers = HashMap::<String, String>::deserialize(deserializer)?;
    HeaderMap::try_from(&headers).map_err(D::Error::custom)
}
