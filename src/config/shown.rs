//! The configuration for people: presets and defaults filled in, and only what the type of its place
//! makes public.

use serde_yaml::{Mapping, Value};

use super::check::Global;
use super::document::{Kind, Node};
use super::privacy::{Shape, Shown, redact_template};
use super::raw;
use super::scalar::SECRET;
use crate::duration;

/// The main file as YAML, with `global` filled in and without secrets. The providers of `root`
/// have their presets filled in already; `tasks` are those that are not in it.
pub fn config(root: &Node, global: &Global, tasks: Tasks) -> String {
    let shape = Shape::of::<raw::Main>();
    let mut shown = section("global", Value::Mapping(globals(global)));
    let mut tasks = Some(tasks.finish()).filter(|tasks| !tasks.is_empty());
    for (key, block) in root.entries() {
        let Some(name) = key.text().filter(|name| *name != "global") else { continue };
        if let Some(tasks) = tasks.take_if(|_| name == "tasks") {
            shown.push_str("tasks:\n");
            shown.push_str(&tasks);
            continue;
        }
        let view = View { users: root.place.document, around: Some(root) };
        let block = shape.entry(name, None).map_or(Value::Null, |shape| view.of(block, shape));
        shown.push_str(&section(name, block));
    }
    shown
}

fn section(name: &str, block: Value) -> String {
    let section = Mapping::from_iter([(name.into(), block)]);
    serde_yaml::to_string(&Value::Mapping(section)).unwrap_or_default()
}

/// How many tasks are written at once.
const TASKS_AT_ONCE: usize = 1_000;

/// Tasks of the main file as YAML.
#[derive(Default)]
pub struct Tasks {
    text: String,
    next: Vec<Value>,
}

impl Tasks {
    /// Adds a task without mistakes, all of which may be shown.
    pub fn push(&mut self, task: &Node) {
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

fn globals(global: &Global) -> Mapping {
    let limits = &global.limits;
    let duration = |duration: std::time::Duration| Value::from(duration::format(duration));
    let number = |number: usize| Value::from(number);
    let series = format!("{:?}", limits.per_task_series).to_lowercase();
    let probe: Mapping = [
        (Value::from("max_in_flight"), number(limits.probe.max_in_flight)),
        (Value::from("share"), limits.probe.share.into()),
    ]
    .into_iter()
    .collect();
    [
        ("poll_interval", duration(limits.poll_interval)),
        ("poll_timeout", duration(limits.poll_timeout)),
        ("stuck_after", duration(limits.stuck_after)),
        ("retain_finished", duration(limits.retain_finished)),
        ("per_task_series", series.into()),
        ("body_size_limit", number(limits.body_size_limit)),
        ("probe", probe.into()),
        ("max_tasks", number(global.max_tasks)),
        ("label_limit", number(global.label_limit)),
        ("label_name_length_limit", number(global.label_name_length_limit)),
        ("label_value_length_limit", number(global.label_value_length_limit)),
    ]
    .into_iter()
    .map(|(key, value)| (Value::from(key), value))
    .collect()
}

/// How a value is looked at.
#[derive(Clone, Copy)]
struct View<'n> {
    /// The file that the user wrote; presets hold no secrets.
    users: u32,
    /// The block in which the value stands.
    around: Option<&'n Node>,
}

impl<'n> View<'n> {
    /// What may be shown of a value of this shape. What has no shape is not shown.
    fn of(self, node: &'n Node, shape: &Shape) -> Value {
        let within = Self { around: Some(node), ..self };
        match (&node.kind, shape) {
            (Kind::Map(_) | Kind::List(_), Shape::Either(_, block)) => self.of(node, block),
            (Kind::Map(entries), _) => {
                let shown = entries.iter().filter_map(|(key, value)| {
                    let name = key.text()?;
                    Some((Value::from(name), within.of(value, shape.entry(name, self.around)?)))
                });
                Value::Mapping(shown.collect())
            }
            (Kind::List(items), Shape::List(item)) => {
                Value::Sequence(items.iter().map(|node| self.of(node, item)).collect())
            }
            (Kind::List(items), Shape::Template) => {
                Value::Sequence(items.iter().map(|node| self.of(node, shape)).collect())
            }
            (Kind::List(_) | Kind::Null, _) => Value::Null,
            _ => match shape.scalar() {
                Some(shown) => self.scalar(node, shown),
                None => SECRET.into(),
            },
        }
    }

    fn scalar(self, node: &Node, shown: Shown) -> Value {
        let text = node.text().unwrap_or_default();
        let is_flag = matches!(node.kind, Kind::Bool(_));
        match shown {
            Shown::PlainUrl => reqwest::Url::parse(text).map_or(SECRET.into(), url_text).into(),
            Shown::Placeholders if node.place.document == self.users && !is_flag => {
                redact_template(text).into()
            }
            Shown::Never | Shown::Word if !shown.shows(text) => SECRET.into(),
            _ => value(node),
        }
    }
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
        Kind::Map(entries) => {
            let entries = entries
                .iter()
                .filter_map(|(key, node)| Some((Value::from(key.text()?), value(node))));
            Value::Mapping(entries.collect())
        }
    }
}
