//! A YAML file as a tree that keeps the exact text of scalars, the order of keys, duplicate keys, null,
//! and where everything stands.
//!
//! A long list is no tree: its items are read one after another, each a tree of its own for as long as
//! it is looked at.

mod core_schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::events::{Event, Events, Extent, What};
use super::place::{Place, Spot};
use super::syntax::SyntaxError;
use core_schema::scalar;

/// The largest YAML file that is read, in bytes. A million tasks with labels fit; lists beyond
/// that belong into `*.txt`, which take less time.
pub const MAX_YAML_BYTES: usize = 64 << 20;
/// How many nodes a tree may have: a thousand providers have fewer, and a task far fewer. A node takes
/// some hundred bytes by the time it is understood.
const MAX_TREE_NODES: usize = 100_000;
/// How many nodes a text may have beyond what it holds, because of aliases.
const MAX_ALIASED_NODES: usize = 100_000;
/// Bytes of text that they may add.
const MAX_ALIASED_BYTES: usize = 4 << 20;
/// How many nodes are kept because an alias may mean them, and how many bytes of text.
const MAX_KEPT_NODES: usize = 20_000;
const MAX_KEPT_BYTES: usize = 4 << 20;
/// How many anchors a text may have. The parser remembers each.
const MAX_ANCHORS: usize = 10_000;

/// A value or a key.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// The bytes of the text that it is, where it is a scalar.
    pub extent: Extent,
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

/// The list of a text whose items are read one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongList {
    /// None.
    Nowhere,
    /// The whole of the text.
    Root,
    /// The value of a key of the block that the text is, where the key stands for the first time.
    At(&'static str),
}

/// Reads a text without its byte-order mark into a tree.
///
/// # Errors
/// The text is not YAML, or too much of it.
pub fn parse(text: &str, document: u32) -> Result<Node, SyntaxError> {
    outline(text, document, LongList::Nowhere)
}

/// The same with an empty list in the place of the long one, whose items are checked nevertheless.
///
/// # Errors
/// The text is not YAML, or too much of it.
pub fn outline(text: &str, document: u32, long: LongList) -> Result<Node, SyntaxError> {
    read(text, document, long, &mut drop)
}

/// Reads the items of the long list of a text that has an outline. There are none where the list is an
/// alias, since the outline has these.
pub fn for_each_item(text: &str, document: u32, long: LongList, take: &mut dyn FnMut(Node)) {
    // What it stops at was told with the outline.
    let _ = read(text, document, long, take);
}

fn read(
    text: &str,
    document: u32,
    long: LongList,
    take: &mut dyn FnMut(Node),
) -> Result<Node, SyntaxError> {
    if text.len() > MAX_YAML_BYTES {
        let error = SyntaxError::new(Spot::File, "the file is larger than 64 MiB");
        return Err(error.hint("put long lists of tasks into *.txt files, one ID a line"));
    }
    if let Some(spot) = find_control(text) {
        return Err(SyntaxError::new(spot, "not valid YAML: a control character"));
    }
    let root = Reader::new(text, document).root(long, take)?;
    match root.kind {
        Kind::Null => Err(SyntaxError::new(Spot::File, "the file is empty")),
        _ => Ok(root),
    }
}

/// Returns where the first character is that no YAML text may have.
fn find_control(text: &str) -> Option<Spot> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let at = text.find(is_control)?;
    let before = text.get(..at)?.replace("\r\n", "\n");
    let mut lines = before.split(['\n', '\r']);
    let line = u32::try_from(lines.clone().count()).unwrap_or(u32::MAX);
    let column = lines.next_back().map_or(0, |line| line.chars().count());
    Some(Spot::At(line, u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1)))
}

/// A way through a text.
struct Reader<'t> {
    events: Events<'t>,
    document: u32,
    /// What aliases may mean, by the numbers of the anchors.
    anchored: HashMap<usize, Node>,
    kept: Budget,
    /// What may still come.
    left: Budget,
    /// Nodes that the present tree may still have.
    tree_left: usize,
}

/// A number of nodes, and of bytes of their texts.
#[derive(Clone, Copy)]
struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    /// Takes a tree out of it, as far as it goes.
    fn spend(&mut self, node: &Node) -> Option<()> {
        self.nodes = self.nodes.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(node.text().map_or(0, str::len))?;
        match &node.kind {
            Kind::List(items) => items.iter().try_for_each(|item| self.spend(item)),
            Kind::Map(entries) => entries.iter().try_for_each(|(key, value)| {
                self.spend(key)?;
                self.spend(value)
            }),
            _ => Some(()),
        }
    }
}

const TOO_MANY: &str = "aliases expand to more than the file can hold";

impl<'t> Reader<'t> {
    fn new(text: &'t str, document: u32) -> Self {
        Self {
            events: Events::new(text),
            document,
            anchored: HashMap::new(),
            kept: Budget { nodes: MAX_KEPT_NODES, bytes: MAX_KEPT_BYTES },
            // Two bytes, as in `a,`, make two nodes at most: a key and its null. An escape, as in
            // `"\L"`, is at most half as long as what it stands for.
            left: Budget {
                nodes: text.len() * 2 + MAX_ALIASED_NODES,
                bytes: text.len() * 2 + MAX_ALIASED_BYTES,
            },
            tree_left: MAX_TREE_NODES,
        }
    }

    fn root(&mut self, long: LongList, take: &mut dyn FnMut(Node)) -> Result<Node, SyntaxError> {
        if self.events.next()?.what == What::Last {
            return Ok(self.make(Spot::File, Extent::default(), Kind::Null));
        }
        let event = self.events.next()?;
        let root = match (&event.what, long) {
            (What::List, LongList::Root) => self.long_list((event.spot, event.extent), take),
            (What::Map, LongList::At(key)) => self.sections((event.spot, event.extent), key, take),
            _ => self.node(event),
        }?;
        match self.events.next()?.what {
            What::Last => Ok(root),
            _ => {
                let error = SyntaxError::new(Spot::File, "more than one YAML document in the file");
                Err(error.hint("remove the `---` between them"))
            }
        }
    }

    /// The block that a text is, without the items of the list at `long`.
    fn sections(
        &mut self,
        (spot, extent): (Spot, Extent),
        long: &str,
        take: &mut dyn FnMut(Node),
    ) -> Result<Node, SyntaxError> {
        let (mut entries, mut is_new) = (Vec::new(), true);
        loop {
            let event = self.events.next()?;
            if event.what == What::End {
                return Ok(self.make(spot, extent, Kind::Map(entries)));
            }
            let key = self.node(event)?;
            let event = self.events.next()?;
            let is_long = key.text() == Some(long) && std::mem::take(&mut is_new);
            let value = match event.what {
                What::List if is_long => self.long_list((event.spot, event.extent), take),
                _ => {
                    is_new |= is_long;
                    self.node(event)
                }
            }?;
            entries.push((key, value));
        }
    }

    /// A list whose items are taken one after another.
    fn long_list(
        &mut self,
        (spot, extent): (Spot, Extent),
        take: &mut dyn FnMut(Node),
    ) -> Result<Node, SyntaxError> {
        let outside = self.tree_left;
        loop {
            let event = self.events.next()?;
            if event.what == What::End {
                self.tree_left = outside;
                return Ok(self.make(spot, extent, Kind::List(Vec::new())));
            }
            self.tree_left = MAX_TREE_NODES;
            take(self.node(event)?);
        }
    }

    /// The node that begins with an event.
    fn node(&mut self, start: Event<'t>) -> Result<Node, SyntaxError> {
        let too_many = SyntaxError::new(start.spot, TOO_MANY);
        self.left.nodes = self.left.nodes.checked_sub(1).ok_or(too_many)?;
        self.tree_left = self.tree_left.checked_sub(1).ok_or_else(|| {
            SyntaxError::new(start.spot, "more keys and values than a configuration has")
        })?;
        if start.anchor.is_some_and(|anchor| anchor > MAX_ANCHORS) {
            return Err(SyntaxError::new(start.spot, "more than 10000 anchors"));
        }
        let Event { what, spot, extent, anchor } = start;
        let kind = match what {
            What::Alias(anchor) => return self.alias(anchor, spot),
            What::Nothing | What::End | What::Document | What::Last => Kind::Null,
            What::Text(text) => Kind::Text(text.into()),
            What::Plain(text) => scalar(&text),
            What::List => {
                let mut items = Vec::new();
                loop {
                    let event = self.events.next()?;
                    if event.what == What::End {
                        break Kind::List(items);
                    }
                    items.push(self.node(event)?);
                }
            }
            What::Map => {
                let mut entries = Vec::new();
                loop {
                    let event = self.events.next()?;
                    if event.what == What::End {
                        break Kind::Map(entries);
                    }
                    let key = self.node(event)?;
                    let event = self.events.next()?;
                    entries.push((key, self.node(event)?));
                }
            }
        };
        let node = self.make(spot, extent, kind);
        if let Some(anchor) = anchor {
            let mut kept = self.kept;
            if kept.spend(&node).is_some() {
                self.kept = kept;
                self.anchored.insert(anchor, node.clone());
            }
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, spot: Spot) -> Result<Node, SyntaxError> {
        let too_many = || SyntaxError::new(spot, TOO_MANY);
        // It is not there where it was too large, or where the alias is within it.
        let node = self.anchored.get(&anchor).ok_or_else(too_many)?;
        let before = self.left.nodes;
        self.left.spend(node).ok_or_else(too_many)?;
        let nodes = before - self.left.nodes;
        self.tree_left = self.tree_left.checked_sub(nodes).ok_or_else(too_many)?;
        Ok(node.clone())
    }

    fn make(&self, spot: Spot, extent: Extent, kind: Kind) -> Node {
        Node { place: Place { document: self.document, spot }, extent, kind }
    }
}
