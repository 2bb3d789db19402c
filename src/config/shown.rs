//! The configuration for people: presets and defaults filled in, secrets not.

use serde_yaml::{Mapping, Value};

use super::check::Global;
use super::document::{Kind, Node};
use super::privacy;
use crate::duration;

/// What stands where a secret is.
const SECRET: &str = "<secret>";

/// The main file as YAML, with `global` filled in and without secrets. The providers of `root`
/// have their presets filled in already.
pub fn config(root: &Node, global: &Global) -> String {
    let mut shown = Mapping::new();
    shown.insert("global".into(), Value::Mapping(globals(global)));
    for (key, block) in root.entries() {
        match (key.text(), &block.kind) {
            (Some("providers"), Kind::List(providers)) => {
                let providers = providers.iter().map(provider).collect();
                shown.insert("providers".into(), Value::Sequence(providers));
            }
            (Some("global") | None, _) => {}
            (Some(key), _) => {
                shown.insert(key.into(), guarded(block));
            }
        }
    }
    serde_yaml::to_string(&Value::Mapping(shown)).unwrap_or_default()
}

fn globals(global: &Global) -> Mapping {
    let limits = &global.limits;
    let duration = |duration: std::time::Duration| Value::from(duration::format(duration));
    let number = |number: usize| Value::from(number);
    let series = format!("{:?}", limits.per_task_series).to_lowercase();
    [
        ("poll_interval", duration(limits.poll_interval)),
        ("poll_timeout", duration(limits.poll_timeout)),
        ("stuck_after", duration(limits.stuck_after)),
        ("retain_finished", duration(limits.retain_finished)),
        ("per_task_series", series.into()),
        ("body_size_limit", number(limits.body_size_limit)),
        ("max_tasks", number(global.max_tasks)),
        ("label_limit", number(global.label_limit)),
        ("label_name_length_limit", number(global.label_name_length_limit)),
        ("label_value_length_limit", number(global.label_value_length_limit)),
    ]
    .into_iter()
    .map(|(key, value)| (Value::from(key), value))
    .collect()
}

fn provider(provider: &Node) -> Value {
    entries(provider, |key, block| match key {
        "authorization" => entries(block, |key, value| match key {
            "credentials" | "access_key" | "secret_key" => SECRET.into(),
            _ => self::value(value),
        }),
        "basic_auth" => entries(block, |key, value| match key {
            "password" => SECRET.into(),
            _ => self::value(value),
        }),
        "http_headers" => entries(block, |name, header| {
            entries(header, |key, value| match key {
                "files" => self::value(value),
                "values" if !privacy::sensitive(name) => self::value(value),
                _ => hidden(value),
            })
        }),
        "base_url" | "proxy_url" => {
            match block.text().and_then(|text| reqwest::Url::parse(text).ok()) {
                Some(url) => url_text(url).into(),
                None => SECRET.into(),
            }
        }
        "request" => guarded(block),
        _ => value(block),
    })
}

/// A URL whose user and password are not shown. A user's name alone can be a token.
fn url_text(mut url: reqwest::Url) -> String {
    let has_user = !url.username().is_empty() || url.password().is_some();
    // Fails only for URLs without a host, which have no user.
    if has_user && url.set_username("").and_then(|()| url.set_password(None)).is_ok() {
        let (scheme, rest) = (url.scheme(), url.as_str());
        let rest = rest.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        return format!("{scheme}://{SECRET}@{}", rest.unwrap_or_default());
    }
    url.into()
}

/// The scalars of a block without those whose keys say that they are secrets.
fn guarded(node: &Node) -> Value {
    match &node.kind {
        Kind::List(nodes) => Value::Sequence(nodes.iter().map(guarded).collect()),
        Kind::Map(_) => entries(node, |key, value| match privacy::sensitive(key) {
            true => hidden(value),
            false => guarded(value),
        }),
        _ => value(node),
    }
}

/// A block of which only the shape is shown.
fn hidden(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::List(nodes) => Value::Sequence(nodes.iter().map(hidden).collect()),
        _ => SECRET.into(),
    }
}

fn entries(node: &Node, show: impl Fn(&str, &Node) -> Value) -> Value {
    let shown = node.entries().iter().filter_map(|(key, value)| {
        let name = key.text()?;
        Some((Value::from(name), show(name, value)))
    });
    match node.kind {
        Kind::Map(_) => Value::Mapping(shown.collect()),
        _ => value(node),
    }
}

/// A tree as it is, secrets and all.
pub fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(text) => Value::Bool(text.eq_ignore_ascii_case("true")),
        // A number that would be written differently stays text.
        Kind::Number(text) => match text.parse::<u64>() {
            Ok(number) if number.to_string() == **text => number.into(),
            _ => Value::from(&**text),
        },
        Kind::Text(text) => Value::from(&**text),
        Kind::List(nodes) => Value::Sequence(nodes.iter().map(value).collect()),
        Kind::Map(_) => entries(node, |_, node| value(node)),
    }
}
