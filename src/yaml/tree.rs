//! A YAML file as a tree that keeps the exact text of scalars, the order of keys, duplicate keys, null,
//! and all locations.
//!
//! A long list is no tree: its items are read one after another, each a tree of its own for as long as
//! it is looked at.

pub mod long_items;
#[cfg(test)]
mod tests;

use super::events::{ByteSpan, EventKind, SyntaxError, YamlEvent, YamlEvents};
use super::span::{Location, Position};
use std::collections::HashMap;

/// Maximum size of a YAML file, in bytes. A million tasks with labels fit; lists beyond
/// that belong into `*.txt`, which take less time.
pub const MAX_YAML_BYTES: usize = 64 << 20;
/// Maximum number of nodes of a tree: a thousand providers have fewer, and a task far fewer. A node
/// takes some hundred bytes by the time it is decoded.
const MAX_TREE_NODES: usize = 100_000;
/// Maximum number of nodes that aliases may add to those of the text.
const MAX_ALIASED_NODES: usize = 100_000;
/// Maximum number of bytes of text that aliases may add.
const MAX_ALIASED_BYTES: usize = 4 << 20;
/// Maximum number of nodes that are kept for aliases, and of the bytes of their texts.
const MAX_KEPT_NODES: usize = 20_000;
const MAX_KEPT_BYTES: usize = 4 << 20;
/// Maximum number of anchors of a text. The parser remembers each.
const MAX_ANCHORS: usize = 10_000;

/// A value or a key.
#[derive(Clone, Debug)]
pub struct YamlNode {
    /// The location of its first character.
    pub location: Location,
    /// The bytes of the text that it is, where it is a scalar.
    pub bytes: ByteSpan,
    /// The kind and content.
    pub kind: NodeKind,
}

/// The kind and content of a node. Scalars hold their text exactly as written, without quotes.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(Box<str>),
    /// A number by the rules of YAML: `15`, `0x1F`, `1e5`.
    Number(Box<str>),
    /// Any other scalar.
    Text(Box<str>),
    /// A sequence.
    List(Vec<YamlNode>),
    /// A mapping in the order of the text; a key may occur twice.
    Map(Vec<(YamlNode, YamlNode)>),
}

impl YamlNode {
    /// Returns the text of a scalar other than null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Bool(text) | NodeKind::Number(text) | NodeKind::Text(text) => Some(text),
            NodeKind::Null | NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }

    /// Returns the entries of a map.
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Returns the kind in words.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "true or false",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a block of keys",
        }
    }
}

/// The list of a text whose items are read one after another, because there may be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongList {
    /// No list.
    Nowhere,
    /// The whole of the text.
    Root,
    /// The value of a key of the block at the root; the first one, if the key is duplicate.
    Section(&'static str),
}

/// Reads a text without its byte-order mark into a tree.
///
/// # Errors
/// The text is not YAML, or too much of it.
pub fn parse(text: &str, document: u32) -> Result<YamlNode, SyntaxError> {
    outline(text, document, LongList::Nowhere)
}

/// Reads a text into a tree, with an empty list in place of the long one, whose items are checked
/// nevertheless.
///
/// # Errors
/// The text is not YAML, or too much of it.
pub fn outline(text: &str, document: u32, long: LongList) -> Result<YamlNode, SyntaxError> {
    read(text, document, long, &mut drop)
}

/// Reads the items of the long list of a text that has an outline. There are none where the list is an
/// alias, since the outline has these.
pub fn for_each_item(text: &str, document: u32, long: LongList, take: &mut dyn FnMut(YamlNode)) {
    // The error was reported with the outline.
    let _ = read(text, document, long, take);
}

fn read(
    text: &str,
    document: u32,
    long: LongList,
    take: &mut dyn FnMut(YamlNode),
) -> Result<YamlNode, SyntaxError> {
    check_text(text)?;
    let root = TreeReader::new(text, document).root(long, take)?;
    match root.kind {
        NodeKind::Null => {
            let error = SyntaxError::new(Position::File, "the file is empty");
            Err(error.hint("a file without settings is `{}`, one without tasks is `[]`"))
        }
        _ => Ok(root),
    }
}

/// Checks what a parser would not.
fn check_text(text: &str) -> Result<(), SyntaxError> {
    if text.len() > MAX_YAML_BYTES {
        let error = SyntaxError::new(Position::File, "the file is larger than 64 MiB");
        return Err(error.hint("put long lists of tasks into *.txt files, one ID a line"));
    }
    match find_control(text) {
        Some(position) => Err(SyntaxError::new(position, "not valid YAML: a control character")),
        None => Ok(()),
    }
}

/// Decodes the content of a file, and removes its byte-order mark. If the content is not UTF-8, returns
/// an error as well, and `\u{fffd}` in the place of what cannot be decoded.
pub fn decode_utf8(content: Vec<u8>) -> (String, Option<SyntaxError>) {
    const MARK: char = '\u{feff}';
    let (mut text, error) = match String::from_utf8(content) {
        Ok(text) => (text, None),
        Err(error) => {
            let content = error.as_bytes();
            let before = content.get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let before = String::from_utf8_lossy(before);
            let position = position_after(before.strip_prefix(MARK).unwrap_or(&before));
            let is_utf16 = content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff");
            let hint = match is_utf16 {
                true => "this looks like UTF-16: save the file as UTF-8",
                false => "save the file as UTF-8",
            };
            let text = String::from_utf8_lossy(content).into_owned();
            (text, Some(SyntaxError::new(position, "not UTF-8 text").hint(hint)))
        }
    };
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    (text, error)
}

/// Returns the position of the first character that YAML forbids.
fn find_control(text: &str) -> Option<Position> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    Some(position_after(text.get(..text.find(is_control)?)?))
}

/// Returns the position of the character that follows a text.
fn position_after(text: &str) -> Position {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let line = u32::try_from(lines.clone().count()).unwrap_or(u32::MAX);
    let column = lines.next_back().map_or(0, |line| line.chars().count());
    Position::LineColumn(line, u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1))
}

/// A reader of one text.
struct TreeReader<'t> {
    events: YamlEvents<'t>,
    document: u32,
    /// The nodes with anchors, by the numbers of the anchors.
    anchored: HashMap<usize, YamlNode>,
    kept: NodeBudget,
    /// The nodes and bytes that may still come.
    left: NodeBudget,
    /// Nodes that the present tree may still have.
    tree_left: usize,
}

/// A number of nodes, and of bytes of their texts.
#[derive(Clone, Copy)]
struct NodeBudget {
    nodes: usize,
    bytes: usize,
}

impl NodeBudget {
    /// Subtracts a tree. Returns `None` if the budget does not suffice.
    fn spend(&mut self, node: &YamlNode) -> Option<()> {
        self.nodes = self.nodes.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(node.text().map_or(0, str::len))?;
        match &node.kind {
            NodeKind::List(items) => items.iter().try_for_each(|item| self.spend(item)),
            NodeKind::Map(entries) => entries.iter().try_for_each(|(key, value)| {
                self.spend(key)?;
                self.spend(value)
            }),
            _ => Some(()),
        }
    }
}

const TOO_MANY: &str = "aliases expand to more than the file may contain";

impl<'t> TreeReader<'t> {
    fn new(text: &'t str, document: u32) -> Self {
        Self {
            events: YamlEvents::new(text),
            document,
            anchored: HashMap::new(),
            kept: NodeBudget { nodes: MAX_KEPT_NODES, bytes: MAX_KEPT_BYTES },
            // Two bytes, as in `a,`, make two nodes at most: a key and its null. An escape, as in
            // `"\L"`, is at most half as long as its value.
            left: NodeBudget {
                nodes: text.len() * 2 + MAX_ALIASED_NODES,
                bytes: text.len() * 2 + MAX_ALIASED_BYTES,
            },
            tree_left: MAX_TREE_NODES,
        }
    }

    fn root(
        &mut self,
        long: LongList,
        take: &mut dyn FnMut(YamlNode),
    ) -> Result<YamlNode, SyntaxError> {
        let Some(event) = self.first()? else {
            return Ok(self.make(Position::File, ByteSpan::default(), NodeKind::Null));
        };
        let root = match (&event.kind, long) {
            (EventKind::List, LongList::Root) => {
                self.long_list((event.position, event.bytes), take)
            }
            (EventKind::Map, LongList::Section(key)) => {
                self.sections((event.position, event.bytes), key, take)
            }
            _ => self.node(event),
        }?;
        self.end()?;
        Ok(root)
    }

    /// Returns the first event of the document, if there is one.
    fn first(&mut self) -> Result<Option<YamlEvent<'t>>, SyntaxError> {
        match self.events.next()?.kind {
            EventKind::Last => Ok(None),
            _ => self.events.next().map(Some),
        }
    }

    /// Fails when another document follows.
    fn end(&mut self) -> Result<(), SyntaxError> {
        let event = self.events.next()?;
        match event.kind {
            EventKind::Last => Ok(()),
            _ => {
                let error =
                    SyntaxError::new(event.position, "more than one YAML document in the file");
                Err(error.hint("remove the `---` between them"))
            }
        }
    }

    /// Reads the block at the root, without the items of the list at `long`.
    fn sections(
        &mut self,
        (position, bytes): (Position, ByteSpan),
        long: &str,
        take: &mut dyn FnMut(YamlNode),
    ) -> Result<YamlNode, SyntaxError> {
        let (mut entries, mut is_new) = (Vec::new(), true);
        loop {
            let event = self.events.next()?;
            if event.kind == EventKind::End {
                return Ok(self.make(position, bytes, NodeKind::Map(entries)));
            }
            let key = self.node(event)?;
            let event = self.events.next()?;
            let is_long = key.text() == Some(long) && std::mem::take(&mut is_new);
            let value = match event.kind {
                EventKind::List if is_long => self.long_list((event.position, event.bytes), take),
                _ => {
                    is_new |= is_long;
                    self.node(event)
                }
            }?;
            entries.push((key, value));
        }
    }

    /// Reads a list whose items are taken one after another.
    fn long_list(
        &mut self,
        (position, bytes): (Position, ByteSpan),
        take: &mut dyn FnMut(YamlNode),
    ) -> Result<YamlNode, SyntaxError> {
        let outside = self.tree_left;
        loop {
            let event = self.events.next()?;
            if event.kind == EventKind::End {
                self.tree_left = outside;
                return Ok(self.make(position, bytes, NodeKind::List(Vec::new())));
            }
            self.tree_left = MAX_TREE_NODES;
            take(self.node(event)?);
        }
    }

    /// Reads the node that starts with an event.
    fn node(&mut self, start: YamlEvent<'t>) -> Result<YamlNode, SyntaxError> {
        let too_many = SyntaxError::new(start.position, TOO_MANY);
        self.left.nodes = self.left.nodes.checked_sub(1).ok_or(too_many)?;
        self.tree_left = self.tree_left.checked_sub(1).ok_or_else(|| {
            SyntaxError::new(start.position, "more keys and values than a configuration has")
        })?;
        if start.anchor.is_some_and(|anchor| anchor > MAX_ANCHORS) {
            return Err(SyntaxError::new(start.position, "more than 10000 anchors"));
        }
        let YamlEvent { kind, position, bytes, anchor } = start;
        let kind = match kind {
            EventKind::Alias(anchor) => return self.alias(anchor, position),
            EventKind::Nothing | EventKind::End | EventKind::Document | EventKind::Last => {
                NodeKind::Null
            }
            EventKind::Text(text) => NodeKind::Text(text.into()),
            EventKind::Plain(text) => scalar(&text),
            EventKind::List => {
                let mut items = Vec::new();
                loop {
                    let event = self.events.next()?;
                    if event.kind == EventKind::End {
                        break NodeKind::List(items);
                    }
                    items.push(self.node(event)?);
                }
            }
            EventKind::Map => {
                let mut entries = Vec::new();
                loop {
                    let event = self.events.next()?;
                    if event.kind == EventKind::End {
                        break NodeKind::Map(entries);
                    }
                    let key = self.node(event)?;
                    let event = self.events.next()?;
                    entries.push((key, self.node(event)?));
                }
            }
        };
        let node = self.make(position, bytes, kind);
        if let Some(anchor) = anchor {
            let mut kept = self.kept;
            if kept.spend(&node).is_some() {
                self.kept = kept;
                self.anchored.insert(anchor, node.clone());
            }
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<YamlNode, SyntaxError> {
        let too_many = || SyntaxError::new(position, TOO_MANY);
        // It is not there where it was too large, or where the alias is within it.
        let node = self.anchored.get(&anchor).ok_or_else(too_many)?;
        let before = self.left.nodes;
        self.left.spend(node).ok_or_else(too_many)?;
        let nodes = before - self.left.nodes;
        self.tree_left = self.tree_left.checked_sub(nodes).ok_or_else(too_many)?;
        Ok(node.clone())
    }

    fn make(&self, position: Position, bytes: ByteSpan, kind: NodeKind) -> YamlNode {
        YamlNode { location: Location { document: self.document, position }, bytes, kind }
    }
}

/// Returns the kind of a scalar without quotes, by the core schema of YAML 1.2.
pub fn scalar(text: &str) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => NodeKind::Bool(text.into()),
        _ if is_number(text) => NodeKind::Number(text.into()),
        _ => NodeKind::Text(text.into()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let digits =
        radix.iter().find_map(|(prefix, radix)| Some((unsigned.strip_prefix(prefix)?, *radix)));
    if let Some((digits, radix)) = digits {
        return !digits.starts_with(['+', '-']) && u128::from_str_radix(digits, radix).is_ok();
    }
    // By YAML 1.2 a number does not begin with a zero.
    let is_padded = unsigned.len() > 1
        && unsigned.starts_with('0')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    let is_special =
        matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let is_finite = || unsigned.parse::<f64>().is_ok_and(f64::is_finite);
    is_special || (!is_padded && !unsigned.starts_with(['+', '-']) && is_finite())
}
