//! Scalars as they are written in the configuration: text, durations, sizes, counts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::duration;

/// Maximum size of a body, in bytes: 1 GiB. Each request under way may hold one in memory.
const MAX_SIZE: u64 = 1 << 30;
/// Maximum of a count. Nothing that is counted here is ever larger, and it fits every integer.
const MAX_COUNT: u64 = 1_000_000_000;
/// The smallest share. With less, a probe would not be admitted while its client waits.
const MIN_SHARE: f64 = 0.001;

/// Any scalar but null, as it is written: `007` and `1e5` are text too.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicText(pub Box<str>);

/// A scalar that must never be shown.
#[derive(Clone)]
pub struct SecretText(pub secrecy::SecretString);

/// A URL, which may contain a user and a password, or a query with a token.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlText(pub Box<str>);

/// The type of an authorization: one word, unless the credentials were written behind it by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemeText(pub Box<str>);

/// Text with placeholders. The text beside them is sent as it is and may be a token.
#[derive(Clone, PartialEq, Eq)]
pub struct TemplateText(pub Box<str>);

/// A JSON body with placeholders in its texts.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct TemplateBody(pub serde_json::Value);

/// A duration as Prometheus writes them. May be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PrometheusDuration(
    #[serde(serialize_with = "duration::serialize")] pub std::time::Duration,
);

/// A size in bytes, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub usize);

/// A part of the whole, from 0.001 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

/// A whole number, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositiveInteger(pub u32);

/// A whole number, which may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeNumber(pub u32);

impl fmt::Debug for PublicText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Shows nothing of a text that is, or may hold, a secret.
macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SECRET)
            }
        }
    )*};
}

hidden!(SecretText, UrlText, SchemeText, TemplateText, TemplateBody);

/// The text that is shown in place of a secret.
pub const SECRET: &str = "<secret>";

/// A scalar that is made from its text.
trait Scalar: Sized {
    /// The description of the type, with its article.
    const EXPECTED: &'static str;

    /// Parses the text. An error is a message, with a hint on a second line.
    fn parse(text: &str) -> Result<Self, String>;

    /// Returns the JSON Schema without its description.
    fn schema() -> Schema;
}

fn deserialize<'de, D: Deserializer<'de>, T: Scalar>(deserializer: D) -> Result<T, D::Error> {
    struct ScalarVisitor<T>(PhantomData<T>);

    impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::parse(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(ScalarVisitor(PhantomData))
}

macro_rules! scalars {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = Self::schema();
                schema.insert("description".into(), Self::EXPECTED.into());
                schema
            }
        }
    )*};
}

scalars!(
    PublicText,
    SecretText,
    UrlText,
    SchemeText,
    TemplateText,
    PrometheusDuration,
    ByteSize,
    Share,
    PositiveInteger,
    WholeNumber
);

/// A scalar that is its text, and what a schema calls it.
macro_rules! texts {
    ($($name:ident, $expected:literal, $kinds:tt;)*) => {$(
        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                Ok(Self(text.into()))
            }

            fn schema() -> Schema {
                json_schema!({ "type": $kinds })
            }
        }
    )*};
}

texts! {
    PublicText, "text", ["string", "number", "boolean"];
    SecretText, "a secret text", ["string", "number", "boolean"];
    UrlText, "a URL", "string";
    SchemeText, "a word", "string";
    TemplateText, "text that may contain placeholders", ["string", "number", "boolean"];
}

impl Scalar for PrometheusDuration {
    const EXPECTED: &'static str = "a duration such as 15s or 1h30m";

    fn parse(text: &str) -> Result<Self, String> {
        duration::parse(text).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
            "minLength": 1,
            "maximum": 0,
        })
    }
}

impl Scalar for ByteSize {
    const EXPECTED: &'static str = "a size in bytes such as 1MiB";

    fn parse(text: &str) -> Result<Self, String> {
        const SYNTAX: &str =
            "not a size\nwrite it as 512KiB or 1MiB, or as a number of bytes without a unit";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(SYNTAX)?;
        // As in Prometheus, KB is 1,024 bytes too.
        let shift = match unit {
            "" | "B" => 0,
            "KB" | "KiB" => 10,
            "MB" | "MiB" => 20,
            "GB" | "GiB" => 30,
            "TB" | "TiB" => 40,
            "PB" | "PiB" => 50,
            "EB" | "EiB" => 60,
            _ => return Err(SYNTAX.into()),
        };
        if number.is_empty() {
            return Err(SYNTAX.into());
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        let bytes = bytes.filter(|bytes| *bytes <= MAX_SIZE).ok_or("more than 1GiB")?;
        match usize::try_from(bytes) {
            Ok(0) => Err("must be greater than zero".into()),
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err("more than this machine can address".into()),
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(([KMGTPE]i?)?B)?$",
            "minimum": 1,
        })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter();
        let mut whole = units.filter(|(shift, _)| self.0.trailing_zeros() >= *shift);
        match whole.next() {
            Some((shift, unit)) => {
                serializer.collect_str(&format_args!("{}{unit}", self.0 >> shift))
            }
            None => serializer.collect_str(&self.0),
        }
    }
}

impl Scalar for Share {
    const EXPECTED: &'static str = "a number from 0.001 to 1";

    fn parse(text: &str) -> Result<Self, String> {
        // Numbers as people write them; `inf`, `1e-1` and the like are none here.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number = text.parse::<f64>().ok().filter(|_| is_plain);
        let number = number.filter(|number| (MIN_SHARE..=1.0).contains(number));
        number.map(Self).ok_or_else(|| format!("not {}\nwrite a tenth as 0.1", Self::EXPECTED))
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "minimum": MIN_SHARE,
            "maximum": 1,
            "pattern": "^[0-9]*[.]?[0-9]*$",
        })
    }
}

impl Scalar for PositiveInteger {
    const EXPECTED: &'static str = "a whole number from 1";

    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse::<u64>().ok().filter(|number| (1..=MAX_COUNT).contains(number));
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.map(Self).ok_or_else(|| "not a whole number from 1 to 1000000000".to_owned())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": MAX_COUNT,
            "pattern": "^0*[1-9][0-9]{0,8}$|^0*1000000000$",
        })
    }
}

impl Scalar for WholeNumber {
    const EXPECTED: &'static str = "a whole number from 0";

    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse::<u64>().ok().filter(|number| *number <= MAX_COUNT);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.map(Self).ok_or_else(|| "not a whole number from 0 to 1000000000".to_owned())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": MAX_COUNT,
            "pattern": "^0*[0-9]{1,9}$|^0*1000000000$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_prometheus() {
        for (text, bytes) in [("1", 1), ("7B", 7), ("1KB", 1024), ("2KiB", 2048), ("1GiB", 1 << 30)]
        {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "0", "0MiB", "MiB", "1.5MiB", "1K", "1Mib", "-1", "2GiB", "99999999999EB"]
        {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_parts_of_the_whole() {
        for (text, share) in [("0.1", 0.1), ("1", 1.0), ("0.001", 0.001), (".5", 0.5)] {
            assert_eq!(Share::parse(text), Ok(Share(share)), "{text}");
        }
        for text in ["0", "0.0009", "1.01", "-0.1", "10%", "1e-1", "inf", "NaN", ""] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(PositiveInteger::parse("16"), Ok(PositiveInteger(16)));
        for text in ["0", "-1", "1.0", "0x10", "1e3", "1000000001", ""] {
            assert!(PositiveInteger::parse(text).is_err(), "{text}");
        }
        assert_eq!(WholeNumber::parse("0"), Ok(WholeNumber(0)));
        for text in ["-1", "1.0", "1000000001", ""] {
            assert!(WholeNumber::parse(text).is_err(), "{text}");
        }
    }
}
