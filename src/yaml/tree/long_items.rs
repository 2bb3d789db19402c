//! Items of a list that may hold long lists themselves, which are read without a tree.

use std::borrow::Cow;

use super::{MAX_TREE_NODES, NodeKind, TOO_MANY, TreeReader, YamlNode, check_text, scalar};
use crate::yaml::events::{EventKind, SyntaxError, YamlEvent};

/// An item of a list.
#[derive(Debug)]
pub struct LongItem<'t> {
    /// The item. If it has a long list, an empty one takes its place, unless an anchor is on either.
    pub node: YamlNode,
    /// The values of the long list.
    pub values: Vec<ItemValue<'t>>,
}

/// A value of a long list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemValue<'t> {
    /// A scalar as it is written, without quotes.
    Text(Cow<'t, str>),
    /// `null`, `~` or nothing at all.
    Null,
    /// A list or a block of keys.
    Other(&'static str),
}

/// Reads the items of the list that a text is. In an item that is a block, the value of `key` may be a
/// long list, of which at most `max_values` values and one more are kept. Returns what the text is
/// if it is no list, in words.
///
/// # Errors
/// The text is not YAML, or too much of it, or `take` has failed.
pub fn for_each_long_item<'t, E: From<SyntaxError>>(
    text: &'t str,
    key: &str,
    max_values: usize,
    take: &mut dyn FnMut(LongItem<'t>) -> Result<(), E>,
) -> Result<Option<&'static str>, E> {
    check_text(text)?;
    let mut reader = TreeReader::new(text, 0);
    let Some(first) = reader.first()? else { return Ok(Some("nothing")) };
    if first.kind != EventKind::List {
        let root = reader.node(first)?;
        reader.end()?;
        return Ok(Some(root.kind_name()));
    }
    loop {
        let event = reader.events.next()?;
        if event.kind == EventKind::End {
            reader.end()?;
            return Ok(None);
        }
        reader.tree_left = MAX_TREE_NODES;
        take(reader.long_item(event, key, max_values)?)?;
    }
}

impl<'t> TreeReader<'t> {
    fn long_item(
        &mut self,
        start: YamlEvent<'t>,
        long: &str,
        max_values: usize,
    ) -> Result<LongItem<'t>, SyntaxError> {
        // An alias to the item needs all of it.
        if start.kind != EventKind::Map || start.anchor.is_some() {
            return Ok(LongItem { node: self.node(start)?, values: Vec::new() });
        }
        let (mut entries, mut values) = (Vec::new(), Vec::new());
        loop {
            let event = self.events.next()?;
            if event.kind == EventKind::End {
                let node = self.make(start.position, start.bytes, NodeKind::Map(entries));
                return Ok(LongItem { node, values });
            }
            let key = self.node(event)?;
            let event = self.events.next()?;
            let is_long = key.text() == Some(long);
            if is_long {
                // Of several lists the last counts.
                values = Vec::new();
            }
            let value = if is_long && event.kind == EventKind::List && event.anchor.is_none() {
                values = self.values(max_values)?;
                self.make(event.position, event.bytes, NodeKind::List(Vec::new()))
            } else {
                self.node(event)?
            };
            entries.push((key, value));
        }
    }

    fn values(&mut self, max_values: usize) -> Result<Vec<ItemValue<'t>>, SyntaxError> {
        let mut values = Vec::new();
        loop {
            let event = self.events.next()?;
            if event.kind == EventKind::End {
                return Ok(values);
            }
            let too_many = SyntaxError::new(event.position, TOO_MANY);
            self.left.nodes = self.left.nodes.checked_sub(1).ok_or(too_many)?;
            let value = match event.kind {
                EventKind::Text(text) if event.anchor.is_none() => ItemValue::Text(text),
                EventKind::Plain(text) if event.anchor.is_none() => match scalar(&text) {
                    NodeKind::Null => ItemValue::Null,
                    _ => ItemValue::Text(text),
                },
                EventKind::Nothing => ItemValue::Null,
                _ => {
                    let node = self.node(event)?;
                    match node.kind {
                        NodeKind::Bool(text) | NodeKind::Number(text) | NodeKind::Text(text) => {
                            ItemValue::Text(String::from(text).into())
                        }
                        NodeKind::Null => ItemValue::Null,
                        NodeKind::List(_) | NodeKind::Map(_) => ItemValue::Other(node.kind_name()),
                    }
                }
            };
            if values.len() <= max_values {
                values.push(value);
            }
        }
    }
}
