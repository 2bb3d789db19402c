//! What a system may say in place of the truth.

use std::collections::HashMap;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};

use super::super::text::Text;

/// A wrong answer that arrives whole.
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
        /// The body; without it the script's answer, or else what the system says then.
        #[serde(default)]
        body: Option<Text>,
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
    /// The HTTP status `status` with `headers` and the body that the system gives it.
    pub fn status<const N: usize>(
        status: StatusCode,
        headers: [(HeaderName, &'static str); N],
    ) -> Self {
        let value = |(name, value)| (name, HeaderValue::from_static(value));
        Self::Status { status, headers: headers.into_iter().map(value).collect(), body: None }
    }

    /// Whether the slip is in what is said of its task, so that a list's other tasks are told well.
    pub fn is_about_task(&self) -> bool {
        matches!(self, Self::Other | Self::Type)
    }
}

/// A task of which every field but its ID has a type that it should not have.
pub fn with_wrong_types(mut task: Value, id: &str) -> Value {
    for (_, field) in task.as_object_mut().into_iter().flatten() {
        if *field != id {
            *field = json!({ "is": field.take() });
        }
    }
    task
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
