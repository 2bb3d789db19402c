//! The script of a task: its lifecycle, its faults and its responses, in the JSON of the control
//! API.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use super::lifecycle::{LifecycleStep, Status};

/// Longest time before the script that a lifecycle may begin: 100 years, so that every timestamp
/// that follows from it is a valid date.
const MAX_ENQUEUED_SECONDS_AGO: f64 = 100.0 * 366.0 * 86_400.0;

/// Kind of a task whose script names none.
const DEFAULT_KIND: &str = "text2video";

/// Script of one task.
#[derive(Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// Time from the start of the lifecycle to the setting of the script; negative to simulate a
    /// gateway whose clock is ahead. Without this time the lifecycle starts at the first request.
    ///
    /// In a scenario: time from the start of the lifecycle to the first request.
    #[serde(rename = "enqueued_seconds_ago", deserialize_with = "deserialize_enqueued_ago")]
    pub(crate) enqueued_ago: Option<SignedDuration>,
    /// Steps of the lifecycle, in order.
    #[serde(deserialize_with = "deserialize_steps")]
    pub(crate) steps: Vec<LifecycleStep>,
    /// Fault in the responses about the task.
    pub(crate) fault: Option<ScriptedFault>,
    /// Interval of the fault: every n-th request for the task has the fault. Every request if
    /// absent.
    pub(crate) fault_every: Option<NonZeroU64>,
    /// Body that replaces the one that reports the state of the task. In a response about several
    /// tasks it replaces the element of the task.
    #[serde(rename = "answer")]
    pub(crate) body: Option<ScriptedBody>,
    /// Delay of the response, in the JSON a number of milliseconds.
    #[serde(rename = "delay_ms", deserialize_with = "deserialize_milliseconds")]
    pub(crate) delay: Duration,
    /// True if the lists of the gateway have the task. One that the gateway has lost is in none,
    /// although a request for its ID is answered as before.
    pub(crate) listed: bool,
    /// Kind of the task, for a system with a list of each kind.
    pub(crate) kind: String,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            enqueued_ago: None,
            steps: Vec::new(),
            fault: None,
            fault_every: None,
            body: None,
            delay: Duration::ZERO,
            listed: true,
            kind: DEFAULT_KIND.to_owned(),
        }
    }
}

/// A response body in a script: the content of a JSON string, or the JSON text of any other value.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedBody(pub(crate) Bytes);

/// A fault in what the gateway responds, or in the transmission of the response.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged, expecting = "no such fault, or a field of it is missing or wrong")]
pub(crate) enum ScriptedFault {
    /// The gateway sends another response.
    Response(ResponseFault),
    /// The network spoils the transmission of the response.
    Network(NetworkFault),
}

/// A wrong response that arrives complete.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ResponseFault {
    /// The error response of the system with this HTTP status.
    Status {
        /// HTTP status, 200 to 599.
        #[serde(deserialize_with = "deserialize_status_code")]
        status: StatusCode,
        /// Headers to add to the response.
        #[serde(default, deserialize_with = "deserialize_headers")]
        headers: HeaderMap,
        /// Body of the response. Without one the body is that of the script, or else the error body
        /// of the system.
        #[serde(default)]
        body: Option<ScriptedBody>,
    },
    /// An error reported only by the code in the body. A system without codes sends just the
    /// message.
    Code {
        /// Error code: a number, or any JSON.
        code: Value,
        /// Error message beside the code.
        #[serde(default)]
        message: Option<String>,
    },
    /// The response about a task with another ID.
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
    /// HTTP status 204, which declares that there is no body.
    #[serde(rename = "nothing")]
    NoContent,
    /// A body that is not JSON.
    #[serde(rename = "garbage")]
    InvalidJson,
    /// JSON nested ten thousand levels deep.
    #[serde(rename = "deep")]
    DeepNesting,
    /// The correct response, padded to two megabytes.
    #[serde(rename = "huge")]
    HugeBody,
}

/// A fault in the transmission of a response.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum NetworkFault {
    /// The headers arrive after a minute.
    Slow,
    /// Nothing ever arrives, and the connection stays open.
    Hang,
    /// The connection closes without a response.
    Reset,
    /// The connection closes after half of the declared body.
    Half,
    /// The body never ends.
    Endless,
    /// The body arrives at one byte per second.
    Trickle,
}

impl Script {
    /// Returns the fault of the request with this number, counted from 1.
    pub(crate) fn fault_for_request(&self, request_number: u64) -> Option<&ScriptedFault> {
        let is_due =
            self.fault_every.is_none_or(|every| request_number.is_multiple_of(every.get()));
        self.fault.as_ref().filter(|_| is_due)
    }
}

impl ResponseFault {
    /// Returns a fault with the HTTP `status`, additional `headers` and no body of its own.
    pub(crate) fn with_status<const N: usize>(
        status: StatusCode,
        headers: [(HeaderName, &'static str); N],
    ) -> Self {
        let value = |(name, value)| (name, HeaderValue::from_static(value));
        Self::Status { status, headers: headers.into_iter().map(value).collect(), body: None }
    }

    /// Reports whether the fault affects only the JSON of its task, so that a list reports the
    /// other tasks correctly.
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

fn deserialize_steps<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<LifecycleStep>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RawStep {
        status: Status,
        seconds: Option<f64>,
    }
    let convert_step = |RawStep { status, seconds }| {
        let duration = seconds.map(Duration::try_from_secs_f64).transpose();
        Ok(LifecycleStep { status, duration: duration.map_err(D::Error::custom)? })
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
