//! A body as a script writes it.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde_json::Value;

/// A string stands for its own text, all else for its JSON.
#[derive(Clone, Debug)]
pub struct Text(pub Bytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => text.into(),
            value => value.to_string().into(),
        }))
    }
}
