//! Lists in YAML. Scalars without quotes are text as they are written.

use std::borrow::Cow;

use super::{ElementObject, MAX_KEYS, not_a_list, not_a_table, syntax_error, too_many_keys};
use crate::discovery::element::{ElementError, ElementTime, ElementValue, RawProperties};
use crate::discovery::list::{MAX_ELEMENTS, RefreshError, RejectReason};
use crate::discovery::list_builder::{ElementPosition, ListBuilder};
use crate::yaml::events::SyntaxError;
use crate::yaml::tree::long_items::{ItemValue, LongItem, for_each_long_item};
use crate::yaml::tree::{NodeKind, YamlNode};

/// The key of the list of a group.
const TARGETS: &str = "targets";

/// Parses a list in YAML, and adds its elements to `list`.
pub fn parse(text: &str, list: &mut ListBuilder<'_>) -> Result<(), RefreshError> {
    let mut number = 0;
    let other = for_each_long_item(text, TARGETS, MAX_ELEMENTS, &mut |item| {
        number += 1;
        add_element(item, number, list)
    })?;
    other.map_or(Ok(()), |kind| Err(not_a_list(kind)))
}

impl From<SyntaxError> for RefreshError {
    fn from(error: SyntaxError) -> Self {
        syntax_error(&error)
    }
}

fn add_element(
    LongItem { node, values }: LongItem<'_>,
    number: usize,
    list: &mut ListBuilder<'_>,
) -> Result<(), RefreshError> {
    let position = ElementPosition::Element(number);
    match &node.kind {
        NodeKind::Map(entries) => {
            let text = keys_text(entries);
            match object(entries, values) {
                Ok(object) => object
                    .add(list, number, &text, |targets, add| targets.into_iter().try_for_each(add)),
                Err(error) => list.reject(position, &text, &error),
            }
        }
        NodeKind::Null | NodeKind::List(_) => {
            let message = format!("must be an ID or a block of keys, not {}", node.kind_name());
            let error = ElementError::new(RejectReason::Id, message);
            list.reject(position, node.kind_name(), &error)
        }
        NodeKind::Bool(_) | NodeKind::Number(_) | NodeKind::Text(_) => {
            list.add_bare(position, &value(&node))
        }
    }
}

/// Returns the names of the keys of a block, which stand for it in messages.
fn keys_text(entries: &[(YamlNode, YamlNode)]) -> String {
    let keys: Vec<_> = entries.iter().filter_map(|(key, _)| key.text()).take(MAX_SHOWN).collect();
    format!("{{ {} }}", keys.join(", "))
}

/// Maximum number of keys that stand for a block.
const MAX_SHOWN: usize = 10;

fn value(node: &YamlNode) -> ElementValue<'_> {
    match &node.kind {
        NodeKind::Bool(text) | NodeKind::Number(text) | NodeKind::Text(text) => {
            ElementValue::Text((&**text).into())
        }
        NodeKind::Null => ElementValue::Null,
        NodeKind::List(_) | NodeKind::Map(_) => ElementValue::Other(node.kind_name()),
    }
}

/// Reads the block of an element. `values` are the targets that the tree lacks.
fn object<'n>(
    entries: &'n [(YamlNode, YamlNode)],
    values: Vec<ItemValue<'n>>,
) -> Result<ElementObject<'n, Vec<ElementValue<'n>>>, ElementError> {
    let get = |name: &str| {
        let mut entries = entries.iter().rev();
        entries.find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    };
    if get("<<").is_some() {
        let message = "merge keys (`<<`) are not supported";
        return Err(ElementError::new(RejectReason::Id, message));
    }
    let targets = match get(TARGETS).map(|node| &node.kind) {
        None => None,
        Some(NodeKind::List(items)) if items.is_empty() => Some(targets(values)),
        Some(NodeKind::List(items)) => Some(items.iter().map(value).collect()),
        Some(_) => return Err(ElementError::new(RejectReason::Id, "targets must be a list")),
    };
    let properties = || {
        Ok(RawProperties {
            provider: get("provider").map(value),
            labels: table(get("labels"), RejectReason::Labels, "labels")?,
            params: table(get("params"), RejectReason::Params, "params")?,
            enqueue_time: get("enqueue_time").map(value).map(ElementTime::Unparsed),
            ttl: None,
        })
    };
    Ok(ElementObject { id: get("id").map(value), targets, properties: properties() })
}

fn targets(values: Vec<ItemValue<'_>>) -> Vec<ElementValue<'_>> {
    let target = |value| match value {
        ItemValue::Text(text) => ElementValue::Text(text),
        ItemValue::Null => ElementValue::Null,
        ItemValue::Other(kind) => ElementValue::Other(kind),
    };
    values.into_iter().map(target).collect()
}

fn table<'n>(
    node: Option<&'n YamlNode>,
    reason: RejectReason,
    name: &str,
) -> Result<Vec<(Cow<'n, str>, ElementValue<'n>)>, ElementError> {
    match node.map(|node| (&node.kind, node)) {
        None | Some((NodeKind::Null, _)) => Ok(Vec::new()),
        Some((NodeKind::Map(entries), _)) if entries.len() > MAX_KEYS => {
            Err(too_many_keys(reason, name))
        }
        Some((NodeKind::Map(entries), _)) => {
            let entry = |(key, node): &'n (YamlNode, YamlNode)| match key.text() {
                Some(key) => Ok((key.into(), value(node))),
                None => Err(ElementError::new(reason, format!("a key of {name} is not text"))),
            };
            entries.iter().map(entry).collect()
        }
        Some((_, node)) => Err(not_a_table(reason, name, node.kind_name())),
    }
}
