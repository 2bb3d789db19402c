//! The effective configuration, as `/config` shows it: presets and defaults filled in, and secrets
//! replaced by `<secret>`, by the type of the place.

use serde_yaml::{Mapping, Value};

use super::privacy::{Shape, Visibility, redact_template};
use super::{GlobalSettings, raw};
use crate::request::RawRequest;
use crate::request::list::RawListRequest;
use crate::yaml::scalar::{SECRET, TemplateBody, TemplateText};
use crate::yaml::span::{OrderedMap, Spanned};
use crate::yaml::tree::{NodeKind, YamlNode};

/// Returns the main file as YAML, with `global` filled in and without secrets. The providers of `root`
/// have their presets filled in already; `tasks` are those that are not in the tree.
pub fn config(root: &YamlNode, global: &GlobalSettings, tasks: EffectiveTasks) -> String {
    let shape = Shape::of::<raw::RawConfig>();
    let mut shown = section("global", serde_yaml::to_value(global).unwrap_or_default());
    let mut tasks = Some(tasks.finish()).filter(|tasks| !tasks.is_empty());
    for (key, block) in root.entries() {
        let Some(name) = key.text().filter(|name| *name != "global") else { continue };
        if let Some(tasks) = tasks.take_if(|_| name == "tasks") {
            shown.push_str("tasks:\n");
            shown.push_str(&tasks);
            continue;
        }
        let view = Redaction { users: root.location.document, around: Some(root) };
        let block = shape.entry(name, None).map_or(Value::Null, |shape| view.of(block, shape));
        shown.push_str(&section(name, block));
    }
    shown
}

fn section(name: &str, block: Value) -> String {
    let section = Mapping::from_iter([(name.into(), block)]);
    serde_yaml::to_string(&Value::Mapping(section)).unwrap_or_default()
}

/// The number of tasks that are serialized at once.
const TASKS_AT_ONCE: usize = 1_000;

/// The tasks of the main file as YAML.
#[derive(Default)]
pub struct EffectiveTasks {
    text: String,
    next: Vec<Value>,
}

impl EffectiveTasks {
    /// Adds a valid task, which is public as a whole.
    pub fn push(&mut self, task: &YamlNode) {
        self.next.push(value(task));
        if self.next.len() == TASKS_AT_ONCE {
            self.write();
        }
    }

    fn write(&mut self) {
        let tasks = std::mem::take(&mut self.next);
        if !tasks.is_empty() {
            self.text += &serde_yaml::to_string(&Value::Sequence(tasks)).unwrap_or_default();
        }
    }

    fn finish(mut self) -> String {
        self.write();
        self.text
    }
}

/// The context in which values are redacted.
#[derive(Clone, Copy)]
struct Redaction<'n> {
    /// The number of the user's file; presets hold no secrets.
    users: u32,
    /// The block around the value.
    around: Option<&'n YamlNode>,
}

impl<'n> Redaction<'n> {
    /// Returns the public part of a value of this shape. A value without a shape is left out.
    fn of(self, node: &'n YamlNode, shape: &Shape) -> Value {
        let within = Self { around: Some(node), ..self };
        match (&node.kind, shape) {
            (NodeKind::Map(_) | NodeKind::List(_), Shape::Either(_, block)) => self.of(node, block),
            (NodeKind::Map(entries), _) => {
                let shown = entries.iter().filter_map(|(key, value)| {
                    let name = key.text()?;
                    Some((Value::from(name), within.of(value, shape.entry(name, self.around)?)))
                });
                Value::Mapping(shown.collect())
            }
            (NodeKind::List(items), Shape::List(item)) => {
                Value::Sequence(items.iter().map(|node| self.of(node, item)).collect())
            }
            (NodeKind::List(items), Shape::Template) => {
                Value::Sequence(items.iter().map(|node| self.of(node, shape)).collect())
            }
            (NodeKind::List(_) | NodeKind::Null, _) => Value::Null,
            _ => match shape.scalar() {
                Some(shown) => self.scalar(node, shown),
                None => SECRET.into(),
            },
        }
    }

    fn scalar(self, node: &YamlNode, shown: Visibility) -> Value {
        let text = node.text().unwrap_or_default();
        let is_flag = matches!(node.kind, NodeKind::Bool(_));
        match shown {
            Visibility::PlainUrl => {
                reqwest::Url::parse(text).map_or(SECRET.into(), url_text).into()
            }
            Visibility::Placeholders if node.location.document == self.users && !is_flag => {
                redact_template(text).into()
            }
            Visibility::Never | Visibility::Word if !shown.shows(text) => SECRET.into(),
            _ => value(node),
        }
    }
}

/// Returns a URL with `<secret>` in place of user and password, and of its query. A user's name alone
/// can be a token.
fn url_text(mut url: reqwest::Url) -> String {
    let has_query = url.query().is_some();
    url.set_query(None);
    let query = if has_query { format!("?{SECRET}") } else { String::new() };
    let has_user = !url.username().is_empty() || url.password().is_some();
    // Fails only for URLs without a host, which have no user.
    if has_user && url.set_username("").and_then(|()| url.set_password(None)).is_ok() {
        let (scheme, rest) = (url.scheme(), url.as_str());
        let rest = rest.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        return format!("{scheme}://{SECRET}@{}{query}", rest.unwrap_or_default());
    }
    format!("{url}{query}")
}

/// Converts a tree as it is, including secrets.
pub fn value(node: &YamlNode) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Bool(text) => Value::Bool(text.eq_ignore_ascii_case("true")),
        // A number that would be written differently stays text.
        NodeKind::Number(text) => match text.parse::<u64>() {
            Ok(number) if number.to_string() == **text => number.into(),
            _ => Value::from(&**text),
        },
        NodeKind::Text(text) => Value::from(&**text),
        NodeKind::List(nodes) => Value::Sequence(nodes.iter().map(value).collect()),
        NodeKind::Map(entries) => {
            let entries = entries
                .iter()
                .filter_map(|(key, node)| Some((Value::from(key.text()?), value(node))));
            Value::Mapping(entries.collect())
        }
    }
}

/// Returns a request as people may see it: without the text that the user wrote beside the
/// placeholders of the query and the body, which may be a token. `block` is the provider's, merged
/// with its preset.
pub fn redacted_request(raw: &RawRequest, block: &YamlNode) -> RawRequest {
    let (mut redacted, users) = (raw.clone(), block.location.document);
    let body = block.get("request").and_then(|request| request.get("body"));
    redact_texts(&mut redacted.query, &mut redacted.body, body, users);
    redacted
}

/// Returns the request for a list as people may see it, as [`redacted_request`] does. `block` is that of
/// the list, and `users` the number of the user's file.
pub fn redacted_list(raw: &RawListRequest, block: &YamlNode, users: u32) -> RawListRequest {
    let mut redacted = raw.clone();
    redact_texts(&mut redacted.query, &mut redacted.body, block.get("body"), users);
    redacted
}

/// Replaces the text beside placeholders in a query and in a body, whose node is `node`, where it comes
/// from the file `users`.
fn redact_texts(
    query: &mut Spanned<OrderedMap<TemplateText>>,
    body: &mut Spanned<TemplateBody>,
    node: Option<&YamlNode>,
    users: u32,
) {
    for (_, text) in query.value.iter_mut().flat_map(|query| &mut query.0) {
        let is_users = text.location.is_some_and(|location| location.document == users);
        if let Some(TemplateText(text)) = text.value.as_mut().filter(|_| is_users) {
            *text = redact_template(text).into();
        }
    }
    if let (Some(TemplateBody(body)), Some(node)) = (&mut body.value, node) {
        redact_body(body, node, users);
    }
}

/// Replaces the text beside placeholders in a JSON value, where it comes from the file `users`.
fn redact_body(value: &mut serde_json::Value, node: &YamlNode, users: u32) {
    match (value, &node.kind) {
        (serde_json::Value::Array(items), NodeKind::List(nodes)) => {
            items.iter_mut().zip(nodes).for_each(|(value, node)| redact_body(value, node, users));
        }
        (serde_json::Value::Object(entries), NodeKind::Map(_)) => {
            for (key, value) in entries {
                if let Some(node) = node.get(key) {
                    redact_body(value, node, users);
                }
            }
        }
        (value @ (serde_json::Value::String(_) | serde_json::Value::Number(_)), _)
            if node.location.document == users =>
        {
            *value = match &value {
                serde_json::Value::String(text) => redact_template(text).into(),
                _ => SECRET.into(),
            };
        }
        _ => {}
    }
}
