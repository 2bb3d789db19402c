//! A YAML file as a tree that keeps what `serde_yaml` would drop: the exact text of scalars, the
//! order of keys, duplicate keys, null, and where everything stands.
//!
//! `serde_yaml` tells positions only in errors. So nodes are numbered in the order in which they
//! are visited, and [`locate`] walks the text again and fails on purpose at a number: the error
//! knows line and column. Nobody pays for positions but who made a mistake.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::nesting;
use super::place::{Place, Spot};
use super::syntax::{self, Cause, SyntaxError};

/// The largest YAML file that is read, in bytes. A million tasks with labels fit; lists beyond
/// that belong into `*.txt`, which take a tenth of the memory.
pub const MAX_YAML_BYTES: usize = 64 << 20;
/// Nodes that aliases may add to what the text holds.
const MAX_ALIASED_NODES: usize = 100_000;
/// Bytes of text that they may add: a few hundred for each of these nodes.
const MAX_ALIASED_BYTES: usize = 32 << 20;

/// A value or a key.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a node is. Scalars hold their text exactly as written, without quotes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(Box<str>),
    /// What YAML takes for a number: `15`, `0x1F`, `1e5`.
    Number(Box<str>),
    /// Any other scalar.
    Text(Box<str>),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; a key may stand in it twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar other than null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Bool(text) | Kind::Number(text) | Kind::Text(text) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The entries, where this is a map.
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// What this is, for people.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a block of keys",
        }
    }
}

/// Reads a text without its byte-order mark into a tree.
pub fn parse(text: &str, document: u32) -> Result<Node, SyntaxError> {
    if text.len() > MAX_YAML_BYTES {
        const HINT: &str = "put long lists of tasks into *.txt files, one ID a line";
        return Err(SyntaxError::new(Spot::File, "the file is larger than 64 MiB", Some(HINT)));
    }
    if let Some(spot) = nesting::too_deep(text) {
        return Err(SyntaxError::new(spot, "nested too deeply", None));
    }
    let walk = Walk::new(text, document, None);
    let mut root = walk
        .seed()
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| syntax::explain(&error, walk.cause.get()))?;
    if matches!(root.kind, Kind::Null) {
        return Err(SyntaxError::new(Spot::File, "the file is empty", None));
    }
    if walk.inexact.get() {
        Exact { node: &mut root, walk: &walk }
            .deserialize(serde_yaml::Deserializer::from_str(text))
            .map_err(|error| syntax::explain(&error, walk.cause.get()))?;
    }
    Ok(root)
}

/// Line and column of a node, from 1. Costs one parse of the text.
pub fn locate(text: &str, node: u32) -> Option<(u32, u32)> {
    let walk = Walk::new(text, 0, Some(node));
    let error = walk.seed().deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    syntax::position(&error)
}

/// One walk over a text, with the number of the next node.
struct Walk {
    document: u32,
    next: Cell<u32>,
    most: u32,
    /// How many bytes of scalars may still come.
    left: Cell<usize>,
    stop: Option<u32>,
    cause: Cell<Option<Cause>>,
    /// Whether a scalar was seen whose text `serde_yaml` has replaced by a value.
    inexact: Cell<bool>,
}

impl Walk {
    fn new(text: &str, document: u32, stop: Option<u32>) -> Self {
        // Two bytes, as in `a,`, make two nodes at most: a key and its null.
        let most = u32::try_from(text.len() * 2 + MAX_ALIASED_NODES).unwrap_or(u32::MAX);
        // An escape, as in `"\L"`, is at most half as long as what it stands for; a number is read
        // twice.
        let left = Cell::new(text.len() * 2 + MAX_ALIASED_BYTES);
        let (next, cause, inexact) = (Cell::new(0), Cell::new(None), Cell::new(false));
        Self { document, next, most, left, stop, cause, inexact }
    }

    /// A scalar of so many bytes is kept.
    fn keep<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let Some(left) = self.left.get().checked_sub(bytes) else {
            self.cause.set(Some(Cause::TooMany));
            return Err(E::custom("too much text"));
        };
        self.left.set(left);
        Ok(())
    }

    const fn seed(&self) -> Seed<'_> {
        Seed { walk: self, number: 0 }
    }
}

/// A node that is about to be visited.
#[derive(Clone, Copy)]
struct Seed<'w> {
    walk: &'w Walk,
    number: u32,
}

impl Seed<'_> {
    fn node<E: de::Error>(self, kind: Kind) -> Result<Node, E> {
        let place = Place { document: self.walk.document, spot: Spot::Node(self.number) };
        self.enter()?;
        Ok(Node { place, kind })
    }

    fn value<E: de::Error>(self, kind: Kind) -> Result<Node, E> {
        self.walk.inexact.set(true);
        self.node(kind)
    }

    fn enter<E: de::Error>(self) -> Result<(), E> {
        if self.walk.stop == Some(self.number) {
            return Err(E::custom("here"));
        }
        if self.number >= self.walk.most {
            self.walk.cause.set(Some(Cause::TooMany));
            return Err(E::custom("too many nodes"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: de::Deserializer<'de>>(mut self, deserializer: D) -> Result<Node, D::Error> {
        self.number = self.walk.next.get();
        self.walk.next.set(self.number.saturating_add(1));
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node(Kind::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.node(Kind::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.value(Kind::Bool(value.to_string().into()))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
        self.value(Kind::Number(Box::default()))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
        self.value(Kind::Number(Box::default()))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        self.value(Kind::Number(Box::default()))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        self.value(Kind::Number(Box::default()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
        self.value(Kind::Number(Box::default()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        self.walk.keep(text.len())?;
        self.node(Kind::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self.walk.seed())? {
            nodes.push(node);
        }
        self.node(Kind::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        self.enter()?;
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry_seed(self.walk.seed(), self.walk.seed())? {
            entries.push(entry);
        }
        self.node(Kind::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        self.enter()?;
        self.walk.cause.set(Some(Cause::Tag));
        Err(de::Error::custom("tag"))
    }
}

/// Fills in the text of the scalars of a tree, in a second walk over the same text.
struct Exact<'n> {
    node: &'n mut Node,
    walk: &'n Walk,
}

impl<'de> DeserializeSeed<'de> for Exact<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node.kind {
            Kind::Null => deserializer.deserialize_ignored_any(de::IgnoredAny).map(drop),
            Kind::List(_) => deserializer.deserialize_seq(self),
            Kind::Map(_) => deserializer.deserialize_map(self),
            _ => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Exact<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the same YAML")
    }

    fn visit_str<E: de::Error>(self, exact: &str) -> Result<(), E> {
        if let Kind::Bool(text) | Kind::Number(text) = &mut self.node.kind {
            self.walk.keep(exact.len())?;
            *text = exact.into();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Kind::List(nodes) = &mut self.node.kind else { return Ok(()) };
        for node in nodes {
            list.next_element_seed(Exact { node, walk: self.walk })?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Kind::Map(entries) = &mut self.node.kind else { return Ok(()) };
        let exact = |node| Exact { node, walk: self.walk };
        for (key, value) in entries {
            map.next_entry_seed(exact(key), exact(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_add_little_text() {
        let aliases = ", *a".repeat(100);
        // Text and numbers are kept in different walks.
        for scalar in ["x".repeat(1 << 20), format!("1.{}", "0".repeat(1 << 20))] {
            let error = parse(&format!("[&a {scalar}{aliases}]"), 0).unwrap_err();
            assert_eq!(error.message, "aliases expand to more than the file can hold");
            assert!(parse(&format!("[&a {scalar}, *a, *a]"), 0).is_ok());
        }
        assert!(parse(&format!("[\"{}\"]", "\\L".repeat(1 << 20)), 0).is_ok());
    }
}
