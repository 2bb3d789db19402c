//! Any mixture of elements means what a simple model of them says.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{CONFIG, NOW, config, parse_with};
use crate::config::discovery::ListFormat;
use crate::discovery::list::{MAX_ELEMENTS, RejectReason, SourceList};

/// The params, labels and the enqueue time of a task with its provider and ID.
type Properties = (BTreeMap<String, String>, BTreeMap<String, String>, Option<i64>);
type ModelTask = (String, String, Properties);

/// Any value, of which few are right anywhere.
fn leaf() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(7),
        json!(0),
        json!(-1.5),
        json!(1_796_022_000),
        json!(""),
        json!("a"),
        json!(".."),
        json!("kling"),
        json!("2026-11-30T07:00:00Z"),
        json!("seventeen-letters"),
        json!([]),
        json!({}),
    ])
}

/// Mostly one of these values, and any value at times.
fn mostly(values: Vec<Value>) -> BoxedStrategy<Value> {
    prop_oneof![8 => select(values), 1 => leaf()].boxed()
}

fn text() -> BoxedStrategy<Value> {
    mostly(vec![json!("a"), json!("b"), json!("c/d"), json!("\"\\\n\u{1f600}x")])
}

fn provider() -> BoxedStrategy<Value> {
    mostly(vec![json!("kling"), json!("mj")])
}

fn time() -> BoxedStrategy<Value> {
    mostly(vec![json!(1_796_022_000), json!("2026-11-30T07:00:00Z"), json!("")])
}

/// An object that has some of the keys.
fn object(keys: Vec<(&'static str, f64, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let entries = keys.into_iter().map(|(name, often, value)| {
        let value = proptest::option::weighted(often, value);
        value.prop_map(move |value| Some((name.to_owned(), value?)))
    });
    let object = entries.collect::<Vec<_>>();
    object.prop_map(|entries| entries.into_iter().flatten().collect::<Map<_, _>>().into()).boxed()
}

fn element() -> impl Strategy<Value = Value> {
    let labels = object(vec![
        ("provider", 0.5, provider()),
        ("__param_kind", 0.5, text()),
        ("__param_z", 0.2, leaf().boxed()),
        ("__enqueue_time__", 0.3, time()),
        ("__x", 0.2, leaf().boxed()),
        ("app", 0.2, text()),
        ("team", 0.2, text()),
        ("customer", 0.3, text()),
        ("b", 0.2, text()),
        ("status", 0.02, text()),
        ("a-b", 0.02, text()),
    ]);
    let params = object(vec![("kind", 0.7, text()), ("z", 0.2, leaf().boxed())]);
    let rest = |id, targets| {
        object(vec![
            ("id", id, text()),
            (
                "targets",
                targets,
                prop_oneof![9 => vec(text(), 0..4).prop_map(Value::from), 1 => leaf()].boxed(),
            ),
            ("provider", 0.3, provider()),
            ("labels", 0.7, prop_oneof![9 => labels.clone(), 1 => leaf()].boxed()),
            ("params", 0.4, prop_oneof![9 => params.clone(), 1 => leaf()].boxed()),
            ("enqueue_time", 0.3, time()),
        ])
    };
    prop_oneof![2 => leaf(), 2 => text(), 6 => rest(0.98, 0.02), 6 => rest(0.02, 0.98)]
}

/// The tasks of an element and the reasons for which others are rejected.
fn model(element: &Value) -> Vec<Result<ModelTask, RejectReason>> {
    let Some(object) = element.as_object() else {
        return vec![task(element, &properties(&Map::new()))];
    };
    let targets = match object.get("targets").map(Value::as_array) {
        None => None,
        Some(Some(targets)) => Some(targets),
        Some(None) => return vec![Err(RejectReason::Id)],
    };
    let properties = properties(object);
    match (object.get("id"), targets) {
        (Some(id), None) => vec![task(id, &properties)],
        (None, Some(targets)) => targets.iter().map(|id| task(id, &properties)).collect(),
        _ => vec![Err(RejectReason::Id)],
    }
}

fn task(
    id: &Value,
    properties: &Result<(String, Properties), RejectReason>,
) -> Result<ModelTask, RejectReason> {
    let id = match id {
        Value::String(id) if !["", ".."].contains(&id.as_str()) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return Err(RejectReason::Id),
    };
    let (provider, properties) = properties.clone()?;
    Ok((provider, id, properties))
}

fn properties(object: &Map<String, Value>) -> Result<(String, Properties), RejectReason> {
    let none = Map::new();
    let table = |name: &str, reason| match object.get(name) {
        None | Some(Value::Null) => Ok(&none),
        Some(value) => value.as_object().ok_or(reason),
    };
    let labels = table("labels", RejectReason::Labels)?;
    let params = table("params", RejectReason::Params)?;
    let get = |key: &str, label: &str| {
        object.get(key).filter(|value| !value.is_null()).or_else(|| labels.get(label))
    };
    let provider = match get("provider", "provider") {
        None => "mj",
        Some(name) => name.as_str().unwrap_or_default(),
    };
    let mut kinds = BTreeMap::new();
    match provider {
        "mj" => {}
        "kling" => {
            let kind = params.get("kind").or_else(|| labels.get("__param_kind"));
            let kind = kind.and_then(Value::as_str).filter(|kind| !["", ".."].contains(kind));
            // Its slashes are kept.
            let kind = kind.filter(|kind| !kind.contains('\\'));
            kinds.insert("kind".to_owned(), kind.ok_or(RejectReason::Params)?.to_owned());
        }
        _ => return Err(RejectReason::Provider),
    }
    let mut all = BTreeMap::from([("app", "studio"), ("team", "a")]);
    for (name, value) in labels.iter().filter(|(name, _)| *name != "provider") {
        if name.starts_with("__") {
            continue;
        }
        let value = value.as_str().filter(|value| value.len() <= 16);
        let is_name = !["status", "a-b"].contains(&name.as_str());
        all.insert(name, value.filter(|_| is_name).ok_or(RejectReason::Labels)?);
    }
    if all.len() > 3 {
        return Err(RejectReason::Labels);
    }
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let time = match get("enqueue_time", "__enqueue_time__") {
        None | Some(Value::Null) => None,
        Some(value) if *value == json!("") || *value == json!(0) => None,
        Some(value) if *value == json!("2026-11-30T07:00:00Z") => Some(NOW),
        Some(value) if *value == json!(1_796_022_000) => Some(NOW),
        Some(_) => return Err(RejectReason::Time),
    };
    Ok((provider.to_owned(), (kinds, all.collect(), time)))
}

/// The tasks of a list, the first of equal ones, and the number of those rejected by reason.
type Outcome = (Vec<ModelTask>, Vec<(RejectReason, usize)>);

fn expected(elements: &[Value]) -> Outcome {
    let (mut tasks, mut counts) = (Vec::<ModelTask>::new(), RejectReason::ALL.map(|of| (of, 0)));
    for outcome in elements.iter().flat_map(model) {
        match outcome {
            Ok(task)
                if tasks.iter().any(|(provider, id, _)| (provider, id) == (&task.0, &task.1)) => {}
            Ok(task) => tasks.push(task),
            Err(reason) => {
                counts
                    .iter_mut()
                    .filter(|(of, _)| *of == reason)
                    .for_each(|(_, count)| *count += 1);
            }
        }
    }
    (tasks, counts.to_vec())
}

fn outcome(list: &SourceList) -> Outcome {
    let pairs = |labels: &[(Box<str>, Box<str>)]| {
        labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let tasks = list.tasks.iter().map(|listed| {
        let common = &listed.task.common;
        let time = listed.enqueue_time.map(crate::clock::Timestamp::micros);
        let properties = (pairs(&common.params), pairs(&common.labels), time);
        (common.provider.to_string(), listed.task.id.to_string(), properties)
    });
    (tasks.collect(), list.rejected.counts().collect())
}

/// Reports whether a value is the same in JSON and as a YAML scalar as it is written.
fn has_typed_scalars(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Number(_) => true,
        Value::Array(items) => items.iter().any(has_typed_scalars),
        Value::Object(entries) => entries.values().any(has_typed_scalars),
        Value::Null | Value::String(_) => false,
    }
}

proptest! {
    #[test]
    fn any_mixture_means_what_a_model_says(elements in vec(element(), 0..8)) {
        let config = config(CONFIG);
        let parse = |elements: &[Value], format| {
            let text = serde_json::to_string_pretty(elements).unwrap();
            let list = parse_with(&config, text.as_bytes(), format, MAX_ELEMENTS);
            (outcome(&list.unwrap()), text)
        };
        let (found, text) = parse(&elements, ListFormat::Json);
        prop_assert_eq!(found, expected(&elements), "{}", text);
        // JSON is YAML, too.
        let texts: Vec<_> = elements.into_iter().filter(|value| !has_typed_scalars(value)).collect();
        let (found, text) = parse(&texts, ListFormat::Yaml);
        prop_assert_eq!(found, expected(&texts), "{}", text);
    }
}
