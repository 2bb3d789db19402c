//! The request and response blocks as the definitions that [`crate::request`] and
//! [`crate::mapping`] compile, and their mistakes as ours.

use serde_json::Value;

use super::privacy::redact_template;
use super::raw;
use crate::mapping::definition::{self as mapping, Definition, Field};
use crate::request::RawRequest;
use crate::yaml::scalar::{PublicText, SECRET, TemplateBody, TemplateText};
use crate::yaml::span::{Either, OneOrMany, OrderedMap, Spanned};
use crate::yaml::tree::{NodeKind, YamlNode};

/// Returns a request as people may see it: without the text that the user wrote beside the
/// placeholders of the query and the body, which may be a token. `block` is the provider's, merged
/// with its preset.
pub fn redacted_request(raw: &RawRequest, block: &YamlNode) -> RawRequest {
    let users = block.location.document;
    let mut redacted = raw.clone();
    for (_, text) in redacted.query.value.iter_mut().flat_map(|query| &mut query.0) {
        let is_users = text.location.is_some_and(|location| location.document == users);
        if let Some(TemplateText(text)) = text.value.as_mut().filter(|_| is_users) {
            *text = redact_template(text).into();
        }
    }
    let node = block.get("request").and_then(|request| request.get("body"));
    if let (Some(TemplateBody(body)), Some(node)) = (&mut redacted.body.value, node) {
        redact(body, node, users);
    }
    redacted
}

/// Replaces in a JSON value what stands beside placeholders and comes from the file `users`.
fn redact(value: &mut Value, node: &YamlNode, users: u32) {
    match (value, &node.kind) {
        (Value::Array(items), NodeKind::List(nodes)) => {
            items.iter_mut().zip(nodes).for_each(|(value, node)| redact(value, node, users));
        }
        (Value::Object(entries), NodeKind::Map(_)) => {
            for (key, value) in entries {
                if let Some(node) = node.get(key) {
                    redact(value, node, users);
                }
            }
        }
        (value @ (Value::String(_) | Value::Number(_)), _) if node.location.document == users => {
            *value = match &value {
                Value::String(text) => redact_template(text).into(),
                _ => SECRET.into(),
            };
        }
        _ => {}
    }
}

/// The definition of a mapping.
pub fn mapping(raw: &raw::RawResponse) -> Definition {
    Definition {
        accept: words(&raw.accept),
        body: raw.body.value.clone(),
        code: field(&raw.code),
        message: field(&raw.message),
        retry_after: field(&raw.retry_after),
        success: words(&raw.success),
        codes: tables(&raw.codes),
        task: raw.task.value.clone(),
        id: field(&raw.id),
        status: field(&raw.status),
        job_type: field(&raw.job_type),
        enqueue_time: field(&raw.enqueue_time),
        finish_time: field(&raw.finish_time),
        progress: field(&raw.progress),
        failure_code: field(&raw.failure_code),
        failure_reason: field(&raw.failure_reason),
        states: tables(&raw.states),
        refine: raw.refine.get().into_iter().flatten().filter_map(refine).collect(),
    }
}

fn field(raw: &Spanned<raw::RawField>) -> Option<Field> {
    Some(match raw.get()? {
        Either::Short(path) => Field { paths: vec![path.clone()], ..Field::default() },
        Either::Long(long) => Field {
            paths: long.path.get().map(paths).unwrap_or_default(),
            header: long.header.value.clone(),
            format: long.format.value.clone(),
            zone: long.zone.get().map(owned),
            until: long.until.get().map(owned),
        },
    })
}

fn paths(raw: &OneOrMany<String>) -> Vec<String> {
    match raw {
        OneOrMany::One(path) => vec![path.clone()],
        OneOrMany::Many(paths) => paths.iter().filter_map(Spanned::get).cloned().collect(),
    }
}

fn refine(raw: &Spanned<raw::RawRefine>) -> Option<mapping::Refine> {
    let raw = raw.get()?;
    let when = raw.when.get().map(texts).unwrap_or_default();
    Some(mapping::Refine { when, state: raw.state.value.clone().unwrap_or_default() })
}

fn words(raw: &Spanned<raw::RawWords>) -> Vec<String> {
    raw.get().into_iter().flatten().filter_map(Spanned::get).map(owned).collect()
}

fn tables(raw: &Spanned<OrderedMap<raw::RawWords>>) -> Vec<(String, Vec<String>)> {
    let entries = raw.get().into_iter().flat_map(|table| &table.0);
    entries.filter_map(|(key, value)| Some((key.value.clone()?, words(value)))).collect()
}

fn texts(raw: &OrderedMap<PublicText>) -> Vec<(String, String)> {
    raw.entries().map(|(_, key, value)| (key.to_owned(), owned(value))).collect()
}

fn owned(text: &PublicText) -> String {
    text.0.clone().into()
}
