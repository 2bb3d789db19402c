//! Lists in JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{AddTarget, ElementObject, MAX_KEYS, not_a_list, not_a_table, too_many_keys};
use crate::discovery::element::{ElementError, ElementTime, ElementValue, RawProperties};
use crate::discovery::list::{RefreshError, RejectReason};
use crate::discovery::list_builder::{ElementPosition, ListBuilder};
use crate::mapping::{MAX_DEPTH, too_deep};
use crate::observation::Reason;

/// Parses a list in JSON, and adds its elements to `list`.
///
/// # Errors
/// The body is not a JSON array, is nested deeper than 128, or has too many elements; then `list` has
/// a part of it.
pub fn parse_json(body: &[u8], list: &mut ListBuilder<'_>) -> Result<(), RefreshError> {
    // RFC 8259 allows parsers to ignore a byte-order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if too_deep(body) {
        let message = format!("nested deeper than {MAX_DEPTH}");
        return Err(RefreshError::new(Reason::Decode, message));
    }
    let mut number = 0;
    for_each_item(body, &mut |item| {
        number += 1;
        add_element(item.get(), number, list)
    })
}

fn add_element(text: &str, number: usize, list: &mut ListBuilder<'_>) -> Result<(), RefreshError> {
    let position = ElementPosition::Element(number);
    match value(text) {
        ElementValue::Other(AN_OBJECT) => match object(text) {
            Ok(object) => {
                object.add(list, number, text, |targets, add| for_each_target(targets, add))
            }
            Err(error) => list.reject(position, text, &error),
        },
        id @ (ElementValue::Text(_) | ElementValue::Number(_)) => list.add_bare(position, &id),
        ElementValue::Null => list.reject(position, text, &not_an_element("null")),
        ElementValue::Other(kind) => list.reject(position, text, &not_an_element(kind)),
    }
}

fn not_an_element(kind: &str) -> ElementError {
    ElementError::new(RejectReason::Id, format!("must be an ID or an object, not {kind}"))
}

fn for_each_target(targets: &RawValue, add: &mut AddTarget<'_>) -> Result<(), RefreshError> {
    for_each_item(targets.get().as_bytes(), &mut |target| add(value(target.get())))
}

pub const AN_OBJECT: &str = "an object";
const A_LIST: &str = "a list";

/// Returns a value from its text, which is valid JSON.
pub fn value(text: &str) -> ElementValue<'_> {
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            if let Some(inner) = inner.filter(|inner| !inner.contains('\\')) {
                return ElementValue::Text(inner.into());
            }
            match serde_json::from_str::<String>(text) {
                Ok(text) => ElementValue::Text(text.into()),
                Err(_) => ElementValue::Other("half of a surrogate pair"),
            }
        }
        Some(b'{') => ElementValue::Other(AN_OBJECT),
        Some(b'[') => ElementValue::Other(A_LIST),
        Some(b't' | b'f') => ElementValue::Other("true or false"),
        Some(b'n') => ElementValue::Null,
        _ => ElementValue::Number(text.into()),
    }
}

/// The values of an element's known keys.
#[derive(Default)]
struct KnownKeys<'e> {
    id: Option<&'e RawValue>,
    targets: Option<&'e RawValue>,
    provider: Option<&'e RawValue>,
    labels: Option<&'e RawValue>,
    params: Option<&'e RawValue>,
    enqueue_time: Option<&'e RawValue>,
    ttl: Option<&'e RawValue>,
}

impl<'e> KnownKeys<'e> {
    fn set(&mut self, key: &str, value: &'e RawValue) {
        *match key {
            "id" => &mut self.id,
            "targets" => &mut self.targets,
            "provider" => &mut self.provider,
            "labels" => &mut self.labels,
            "params" => &mut self.params,
            "enqueue_time" => &mut self.enqueue_time,
            "ttl" => &mut self.ttl,
            _ => return,
        } = Some(value);
    }
}

/// Parses the object of an element.
fn object<'e>(text: &'e str) -> Result<ElementObject<'e, &'e RawValue>, ElementError> {
    let invalid = |message| ElementError::new(RejectReason::Id, message);
    let mut keys = KnownKeys::default();
    for_each_entry(text, &mut |key, value| keys.set(&key, value)).map_err(invalid)?;
    let KnownKeys { id, targets, provider, labels, params, enqueue_time, ttl } = keys;
    if targets.is_some_and(|targets| !targets.get().starts_with('[')) {
        return Err(invalid("targets must be a list"));
    }
    let of = |raw: Option<&'e RawValue>| raw.map(|raw| value(raw.get()));
    let properties = || {
        Ok(RawProperties {
            provider: of(provider),
            labels: table(labels, RejectReason::Labels, "labels")?,
            params: table(params, RejectReason::Params, "params")?,
            enqueue_time: of(enqueue_time).map(ElementTime::Unparsed),
            ttl: of(ttl),
        })
    };
    Ok(ElementObject { id: of(id), targets, properties: properties() })
}

/// Parses the value of the key `name`, which is an object of texts or null.
pub fn table<'e>(
    raw: Option<&'e RawValue>,
    reason: RejectReason,
    name: &str,
) -> Result<Vec<(Cow<'e, str>, ElementValue<'e>)>, ElementError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    match value(raw.get()) {
        ElementValue::Null => return Ok(Vec::new()),
        ElementValue::Other(AN_OBJECT) => {}
        ElementValue::Text(_) => return Err(not_a_table(reason, name, "text")),
        ElementValue::Number(_) => return Err(not_a_table(reason, name, "a number")),
        ElementValue::Other(kind) => return Err(not_a_table(reason, name, kind)),
    }
    let (mut entries, mut count) = (Vec::new(), 0_usize);
    for_each_entry(raw.get(), &mut |key, raw| {
        count += 1;
        if count <= MAX_KEYS {
            entries.push((key, value(raw.get())));
        }
    })
    .map_err(|message| ElementError::new(reason, message))?;
    if count > MAX_KEYS { Err(too_many_keys(reason, name)) } else { Ok(entries) }
}

/// Passes the items of a JSON array to `take`, until that fails.
///
/// # Errors
/// The text is not one JSON array, or `take` has failed.
fn for_each_item<'e>(
    text: &'e [u8],
    take: &mut dyn FnMut(&'e RawValue) -> Result<(), RefreshError>,
) -> Result<(), RefreshError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'[') => {}
        Some(_) => {
            let raw: &RawValue = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
            return Err(not_a_list(match value(raw.get()) {
                ElementValue::Text(_) => "text",
                ElementValue::Number(_) => "a number",
                ElementValue::Null => "null",
                ElementValue::Other(kind) => kind,
            }));
        }
        None => {
            let message = "empty: a list without tasks is []";
            return Err(RefreshError::new(Reason::Decode, message));
        }
    }
    let mut failure = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = json.deserialize_seq(Items { take, failure: &mut failure });
    let parsed = parsed.and_then(|()| json.end()).map_err(|error| not_json(&error));
    failure.map_or(parsed, Err)
}

/// Returns the error for a document that is not JSON. Contains nothing of it.
fn not_json(error: &serde_json::Error) -> RefreshError {
    let message = match error.is_eof() {
        true => "the JSON is cut off".to_owned(),
        false => format!("not JSON: line {} column {}", error.line(), error.column()),
    };
    RefreshError::new(Reason::Decode, message)
}

/// Visits the items of an array.
struct Items<'v, 'e> {
    take: &'v mut dyn FnMut(&'e RawValue) -> Result<(), RefreshError>,
    failure: &'v mut Option<RefreshError>,
}

impl<'e> Visitor<'e> for Items<'_, 'e> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'e>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            if let Err(failure) = (self.take)(item) {
                *self.failure = Some(failure);
                return Err(de::Error::custom("not read any further"));
            }
        }
        Ok(())
    }
}

/// Passes the entries of a JSON object to `take`.
///
/// # Errors
/// A key is not text.
pub fn for_each_entry<'e>(
    text: &'e str,
    take: &mut dyn FnMut(Cow<'e, str>, &'e RawValue),
) -> Result<(), &'static str> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Entries(take)).map_err(|_| "a key is not text")
}

/// Visits the entries of an object.
struct Entries<'v, 'e>(&'v mut dyn FnMut(Cow<'e, str>, &'e RawValue));

impl<'e> Visitor<'e> for Entries<'_, 'e> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'e>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = entries.next_key()? {
            (self.0)(key, entries.next_value()?);
        }
        Ok(())
    }
}

/// A key, which is borrowed from the document if it has no escapes.
struct Key<'e>(Cow<'e, str>);

impl<'e> Deserialize<'e> for Key<'e> {
    fn deserialize<D: Deserializer<'e>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Visits a key.
struct KeyVisitor;

impl<'e> Visitor<'e> for KeyVisitor {
    type Value = Key<'e>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'e str) -> Result<Key<'e>, E> {
        Ok(Key(key.into()))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'e>, E> {
        Ok(Key(key.to_owned().into()))
    }
}
