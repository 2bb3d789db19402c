//! The regions of a YAML file that must not be shown.

use std::collections::{BTreeSet, HashSet};

use super::events::ByteSpan;
use super::source::lines;
use super::span::{Location, Position};
use super::tree::YamlNode;

/// Maximum number of nodes of a file that are hidden one by one; if there are more, all of the file is hidden.
/// Each is looked for in its text, and a file of secrets for as many providers has fewer.
pub const MAX_HIDDEN: usize = 20_000;

/// A node that must not be shown.
#[derive(Clone)]
pub struct HiddenNode {
    /// The location of its first character.
    pub location: Location,
    /// The bytes of the node in the text, if it is a scalar.
    pub bytes: ByteSpan,
    /// The kind of node.
    pub kind: HiddenKind,
}

impl HiddenNode {
    /// Hides a node.
    pub fn new(node: &YamlNode, kind: HiddenKind) -> Self {
        Self { location: node.location, bytes: node.bytes, kind }
    }
}

/// The kind of a hidden node.
#[derive(Clone)]
pub enum HiddenKind {
    /// A scalar with this text.
    Text(Box<str>),
    /// A key without a value. One that no `:` follows is not meant as a key: it may be a value that
    /// has lost its key. One that a `:` follows is a name, and shown.
    BareKey(Box<str>),
    /// No text, where a secret belongs.
    Empty,
    /// No text, where nothing belongs. What looks like an anchor or a tag may be a text.
    Nothing,
    /// A list or a block, whose texts are listed too.
    Collection,
}

/// The lines and places of a file that must not be shown.
#[derive(Debug, Default)]
pub struct HiddenRegions {
    /// The positions at which hidden values start. A text with an anchor is hidden at each alias, too.
    starts: HashSet<Position>,
    lines: BTreeSet<u32>,
    /// True if a node was not found in the text, so that it may be anywhere.
    everywhere: bool,
}

impl HiddenRegions {
    /// Finds the regions of the hidden nodes in a text.
    pub fn find(text: &str, hidden: &[HiddenNode]) -> Self {
        let mut found = Self { everywhere: hidden.len() > MAX_HIDDEN, ..Self::default() };
        for HiddenNode { location, bytes, kind } in hidden {
            let own = bytes.of(text).map(str::trim_end);
            let end = usize::try_from(bytes.end).ok();
            let behind = end.and_then(|end| text.get(end..)).unwrap_or_default();
            let (Position::LineColumn(line, _), Some(own)) = (location.position, own) else {
                found.everywhere = true;
                continue;
            };
            if is_shown(own, behind, kind) {
                continue;
            }
            found.starts.insert(location.position);
            if !matches!(kind, HiddenKind::Collection) {
                let more = lines(own).count().saturating_sub(1);
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                found.lines.extend(line..=line.saturating_add(more));
            }
        }
        found
    }

    /// Reports whether a part of a hidden node is on a line.
    pub fn has_line(&self, line: u32) -> bool {
        self.everywhere || self.lines.contains(&line)
    }

    /// Reports whether the node at a location is hidden.
    pub fn has(&self, location: Location) -> bool {
        self.everywhere || self.starts.contains(&location.position)
    }
}

/// Reports whether a value may be shown after all, given how it is written and what follows it.
fn is_shown(own: &str, behind: &str, kind: &HiddenKind) -> bool {
    match kind {
        HiddenKind::BareKey(_) => behind.trim_start_matches([' ', '\t']).starts_with(':'),
        HiddenKind::Nothing => !own.starts_with(['&', '!']),
        HiddenKind::Text(_) | HiddenKind::Empty | HiddenKind::Collection => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::tree::{self, NodeKind, YamlNode};

    /// The lines of the texts that hold `x`, in a file that is hidden as far as they go.
    fn lines(text: &str) -> Vec<u32> {
        let mut hidden = Vec::new();
        collect(&tree::parse(text, 0).expect(text), &mut hidden);
        assert!(!hidden.is_empty(), "{text}");
        let locations = HiddenRegions::find(text, &hidden);
        assert!(!locations.everywhere, "{text}");
        locations.lines.into_iter().collect()
    }

    fn collect(node: &YamlNode, hidden: &mut Vec<HiddenNode>) {
        match &node.kind {
            NodeKind::List(items) => items.iter().for_each(|node| collect(node, hidden)),
            NodeKind::Map(entries) => entries.iter().for_each(|(key, value)| {
                if let (NodeKind::Null, Some(name)) = (&value.kind, key.text()) {
                    hidden.push(HiddenNode::new(key, HiddenKind::BareKey(name.into())));
                }
                collect(value, hidden);
            }),
            _ => match node.text() {
                Some(text) if text.contains('x') => {
                    hidden.push(HiddenNode::new(node, HiddenKind::Text(text.into())));
                }
                Some(_) => {}
                None => hidden.push(HiddenNode::new(node, HiddenKind::Nothing)),
            },
        }
    }

    #[test]
    fn a_text_covers_the_lines_from_its_start_to_its_end() {
        for (text, expected) in [
            ("a: x", &[1][..]),
            ("a:\n  x\nb: c", &[2]),
            ("a: x\n  y\n\n  z\nb: c", &[1, 2, 3, 4]),
            ("{ a: \"x\\\"\n y\\\\\", b: c }", &[1, 2]),
            ("a: 'x''\n  y'\nb: c", &[1, 2]),
            ("a: |\n  x\n\n  y\n\nb: c", &[1, 2, 3, 4]),
            ("a: >2-  # why\n\n    x\n  y\nb: c", &[1, 2, 3, 4]),
            ("a: &n\n  x\nb: c\nd: *n", &[1, 2]),
            ("- !!str\n  x\n- b\n- x", &[2, 4]),
            ("é: [é, x]", &[1]),
            ("b: c\r\na: x\r\n y\r\n", &[2, 3]),
            ("a: b\u{2028}c\nd: x", &[2]),
            ("{ a: b,\n x }", &[2]),
            ("{ \"x y\"\n }", &[1]),
            ("a: x\nb: &x\nd:\n", &[1, 2]),
        ] {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_a_name_where_a_colon_follows() {
        for text in ["x:", "x :\ny: x", "{ \"x\": ,\n y: x }"] {
            let hidden = lines(text);
            assert!(!hidden.contains(&1), "{text}: {hidden:?}");
        }
    }

    #[test]
    fn many_texts_are_found_or_hide_everything() {
        let text = format!("[{}]", "xé, ".repeat(MAX_HIDDEN - 1));
        assert_eq!(lines(&text), [1]);
        let root = tree::parse("\n\nx", 0).unwrap();
        let hidden = vec![HiddenNode::new(&root, HiddenKind::Text("x".into())); MAX_HIDDEN + 1];
        assert!(HiddenRegions::find("\n\nx", &hidden).has_line(2));
    }

    #[test]
    fn what_is_not_found_hides_everything() {
        let root = tree::parse("a: x\nb: cc", 0).unwrap();
        let hidden = HiddenNode::new(root.get("b").unwrap(), HiddenKind::Text("cc".into()));
        let location = root.get("a").unwrap().location;
        let whole = HiddenRegions::find("a: x\nb: cc", std::slice::from_ref(&hidden));
        assert!(whole.has_line(2) && !whole.has_line(1) && !whole.has(location));
        let other = HiddenRegions::find("a: x", &[hidden]);
        assert!(other.has_line(1) && other.has(location));
    }
}
