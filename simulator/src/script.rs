//! What a task does when it is asked for, as the control API takes it.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use super::lifecycle::{Status, Step};

/// The longest time a script can name: keeps every moment that follows from it a valid date.
const MAX_ENQUEUED_SECONDS_AGO: f64 = 100.0 * 366.0 * 86_400.0;

/// The script of one task.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// How long before the script was set the life began; negative where the gateway's clock
    /// runs ahead. Without it the life begins when the task is first asked for.
    #[serde(rename = "enqueued_seconds_ago", deserialize_with = "deserialize_enqueued_ago")]
    pub(crate) enqueued_ago: Option<SignedDuration>,
    /// The life, first step first.
    #[serde(deserialize_with = "deserialize_steps")]
    pub(crate) steps: Vec<Step>,
    /// What goes wrong.
    pub(crate) fault: Option<ScriptedFault>,
    /// The trouble strikes only every n-th request of the task.
    pub(crate) fault_every: Option<NonZeroU64>,
    /// A body to answer in place of the one that the life asks for; in an answer about several
    /// tasks, the element.
    #[serde(rename = "answer")]
    pub(crate) body: Option<ScriptedBody>,
    /// How long to wait before answering, in milliseconds.
    #[serde(rename = "delay_ms", deserialize_with = "deserialize_milliseconds")]
    pub(crate) delay: Duration,
}

/// A string stands for its own text, all else for its JSON.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedBody(pub(crate) Bytes);

/// What can go wrong: in what the gateway says, or on the way.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged, expecting = "no such fault, or a field of it is missing or wrong")]
pub(crate) enum ScriptedFault {
    /// The gateway says something else.
    Response(ResponseFault),
    /// The network spoils what it says.
    Network(NetworkFault),
}

/// A wrong answer that arrives whole.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ResponseFault {
    /// Another HTTP status.
    Status {
        /// 200 to 599.
        #[serde(deserialize_with = "deserialize_status_code")]
        status: StatusCode,
        /// Headers to add.
        #[serde(default, deserialize_with = "deserialize_headers")]
        headers: HeaderMap,
        /// The body; without it the script's answer, or else what the system says then.
        #[serde(default)]
        body: Option<ScriptedBody>,
    },
    /// An error, told by the code in the body alone. A system without codes tells its message.
    Code {
        /// The code: a number, or any JSON.
        code: Value,
        /// The message beside it.
        #[serde(default)]
        message: Option<String>,
    },
    /// The answer for another task.
    #[serde(rename = "other")]
    OtherTask,
    /// Fields of the wrong types.
    #[serde(rename = "type")]
    WrongTypes,
    /// Success without data.
    #[serde(rename = "null")]
    NullTask,
    /// Success without a body.
    #[serde(rename = "empty")]
    EmptyBody,
    /// Success that declares to have no body.
    #[serde(rename = "nothing")]
    NoContent,
    /// A body that is not JSON.
    #[serde(rename = "garbage")]
    InvalidJson,
    /// JSON nested ten thousand deep.
    #[serde(rename = "deep")]
    DeepNesting,
    /// The right answer in a body of two megabytes.
    #[serde(rename = "huge")]
    HugeBody,
}

/// What can happen on the way.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum NetworkFault {
    /// The headers come after a minute.
    Slow,
    /// Nothing ever comes, and the connection stays open.
    Hang,
    /// The connection closes without an answer.
    Reset,
    /// The connection closes after half of the declared body.
    Half,
    /// The body never ends.
    Endless,
    /// The body comes a byte a second.
    Trickle,
}

impl Script {
    /// The trouble that strikes the `number`-th request, counted from one.
    pub(crate) fn fault_for_request(&self, request_number: u64) -> Option<&ScriptedFault> {
        let is_due =
            self.fault_every.is_none_or(|every| request_number.is_multiple_of(every.get()));
        self.fault.as_ref().filter(|_| is_due)
    }
}

impl ResponseFault {
    /// The HTTP status `status` with `headers` and the body that the system gives it.
    pub(crate) fn with_status<const N: usize>(
        status: StatusCode,
        headers: [(HeaderName, &'static str); N],
    ) -> Self {
        let value = |(name, value)| (name, HeaderValue::from_static(value));
        Self::Status { status, headers: headers.into_iter().map(value).collect(), body: None }
    }

    /// Whether the slip is in what is said of its task, so that a list's other tasks are told well.
    pub(crate) fn is_confined_to_task(&self) -> bool {
        matches!(self, Self::OtherTask | Self::WrongTypes)
    }
}

impl<'de> Deserialize<'de> for ScriptedBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => text.into(),
            value => value.to_string().into(),
        }))
    }
}

fn deserialize_enqueued_ago<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SignedDuration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    if seconds.is_some_and(|seconds| seconds.abs() > MAX_ENQUEUED_SECONDS_AGO) {
        return Err(D::Error::custom("enqueued_seconds_ago: at most 100 years"));
    }
    seconds.map(SignedDuration::try_from_secs_f64).transpose().map_err(D::Error::custom)
}

fn deserialize_steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RawStep {
        status: Status,
        seconds: Option<f64>,
    }
    let convert_step = |RawStep { status, seconds }| {
        let duration = seconds.map(Duration::try_from_secs_f64).transpose();
        Ok(Step { status, duration: duration.map_err(D::Error::custom)? })
    };
    Vec::<RawStep>::deserialize(deserializer)?.into_iter().map(convert_step).collect()
}

fn deserialize_milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn deserialize_status_code<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<StatusCode, D::Error> {
    match u16::deserialize(deserializer)? {
        code @ 200..=599 => StatusCode::from_u16(code).map_err(D::Error::custom),
        code => Err(D::Error::custom(format_args!("status {code} is not within 200 to 599"))),
    }
}

fn deserialize_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let headers = HashMap::<String, String>::deserialize(deserializer)?;
    HeaderMap::try_from(&headers).map_err(D::Error::custom)
}
