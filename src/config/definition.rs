//! The request and response blocks as the definitions that [`crate::request`] and
//! [`crate::mapping`] compile, and their mistakes as ours.

use serde_json::Value;

use super::diagnostic::Mistake;
use super::document::{Kind, Node};
use super::placed::{At, Either, OneOrMany, Table};
use super::privacy::redact_template;
use super::raw;
use super::scalar::{SECRET, TemplateText, Text};
use crate::mapping::definition::{self as mapping, Definition, Field};
use crate::request;

/// The definition of a request.
pub fn request(raw: &raw::Request) -> request::Definition {
    request::Definition {
        method: raw.method.value.clone(),
        path: raw.path.value.clone(),
        query: raw.query.get().map(query).unwrap_or_default(),
        body: raw.body.get().map(|body| body.0.clone()),
    }
}

/// The definition of a request for several tasks.
pub fn batch(raw: &raw::Batch) -> request::Definition {
    request::Definition {
        method: raw.method.value.clone(),
        path: raw.path.value.clone(),
        query: raw.query.get().map(query).unwrap_or_default(),
        body: raw.body.get().map(|body| body.0.clone()),
    }
}

fn query(table: &Table<TemplateText>) -> Vec<(String, String)> {
    let entries = table.entries();
    entries.map(|(_, name, TemplateText(text))| (name.to_owned(), text.clone().into())).collect()
}

/// The same definition as people may see it: without what the user wrote beside the placeholders of
/// the query and the body, which may be a token. `block` is the provider's, merged with its preset.
pub fn redacted_request(raw: &raw::Request, block: &Node) -> request::Definition {
    let users = block.place.document;
    let mut definition = request(raw);
    let request = block.get("request");
    let node_of = |key: &str| request.and_then(|request| request.get(key));
    for (name, text) in &mut definition.query {
        let node = node_of("query").and_then(|query| query.get(name));
        if node.is_some_and(|node| node.place.document == users) {
            *text = redact_template(text);
        }
    }
    if let (Some(body), Some(node)) = (&mut definition.body, node_of("body")) {
        redact(body, node, users);
    }
    definition
}

/// Replaces in a JSON value what stands beside placeholders and comes from the file `users`.
fn redact(value: &mut Value, node: &Node, users: u32) {
    match (value, &node.kind) {
        (Value::Array(items), Kind::List(nodes)) => {
            items.iter_mut().zip(nodes).for_each(|(value, node)| redact(value, node, users));
        }
        (Value::Object(entries), Kind::Map(_)) => {
            for (key, value) in entries {
                if let Some(node) = node.get(key) {
                    redact(value, node, users);
                }
            }
        }
        (value @ (Value::String(_) | Value::Number(_)), _) if node.place.document == users => {
            *value = match &value {
                Value::String(text) => redact_template(text).into(),
                _ => SECRET.into(),
            };
        }
        _ => {}
    }
}

/// The definition of a mapping.
pub fn mapping(raw: &raw::Response) -> Definition {
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

fn field(raw: &At<raw::Field>) -> Option<Field> {
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
        OneOrMany::Many(paths) => paths.iter().filter_map(At::get).cloned().collect(),
    }
}

fn refine(raw: &At<raw::Refine>) -> Option<mapping::Refine> {
    let raw = raw.get()?;
    let when = raw.when.get().map(texts).unwrap_or_default();
    Some(mapping::Refine { when, state: raw.state.value.clone().unwrap_or_default() })
}

fn words(raw: &At<raw::Words>) -> Vec<String> {
    raw.get().into_iter().flatten().filter_map(At::get).map(owned).collect()
}

fn tables(raw: &At<Table<raw::Words>>) -> Vec<(String, Vec<String>)> {
    let entries = raw.get().into_iter().flat_map(|table| &table.0);
    entries.filter_map(|(key, value)| Some((key.value.clone()?, words(value)))).collect()
}

fn texts(raw: &Table<Text>) -> Vec<(String, String)> {
    raw.entries().map(|(_, key, value)| (key.to_owned(), owned(value))).collect()
}

fn owned(text: &Text) -> String {
    text.0.clone().into()
}

/// A mistake below `block` at the node that it names, or at the nearest one above.
pub fn place(mistake: mapping::Mistake, block: &Node) -> Mistake {
    let mut place = block.place;
    let mut node = block;
    for step in &mistake.at {
        let below = match &node.kind {
            Kind::List(nodes) => step.parse().ok().and_then(|index: usize| nodes.get(index)),
            _ => node.get(step),
        };
        let Some(below) = below else { break };
        (place, node) = (below.place, below);
    }
    // The message may hold text of the file.
    let ours = Mistake::new(place, "not valid").detail(mistake.message);
    match mistake.hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}
