//! Lines and columns of many scalars of a YAML file at once, by one parse. `serde_yaml` tells
//! positions only in errors, so each scalar that is looked for fails on purpose; unlike a list or a
//! block, a scalar has been read by then, and the walk goes on behind it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::de::{self, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// What an error says by which a scalar fails on purpose.
const HERE: &str = "here";

/// Line and column, from 1, of the scalars of `nodes`, which have the numbers that
/// [`super::document::parse`] gives them. What is not found is left out.
pub fn scalars(text: &str, nodes: &BTreeSet<u32>) -> HashMap<u32, (u32, u32)> {
    let (next, failed, found) = (Cell::new(0), Cell::new(None), RefCell::default());
    let walk = Walk { nodes, next, failed, found };
    // What it stops at was told when the text was parsed.
    let _ = Seed(&walk).deserialize(serde_yaml::Deserializer::from_str(text));
    walk.found.into_inner()
}

struct Walk<'n> {
    nodes: &'n BTreeSet<u32>,
    next: Cell<u32>,
    /// The scalar that has just failed on purpose.
    failed: Cell<Option<u32>>,
    found: RefCell<HashMap<u32, (u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Seed<'w>(&'w Walk<'w>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self(walk) = self;
        let number = walk.next.get();
        walk.next.set(number.saturating_add(1));
        let node = Node { walk, number, is_wanted: walk.nodes.contains(&number) };
        let Err(error) = deserializer.deserialize_any(node) else { return Ok(()) };
        if walk.failed.take() != Some(number) {
            return Err(error);
        }
        if let Some(position) = position(&error.to_string()) {
            walk.found.borrow_mut().insert(number, position);
        }
        Ok(())
    }
}

/// Line and column at the end of a message; the very beginning of a text is not mentioned.
fn position(message: &str) -> Option<(u32, u32)> {
    if message.ends_with(HERE) {
        return Some((1, 1));
    }
    let (_, place) = message.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

struct Node<'w> {
    walk: &'w Walk<'w>,
    number: u32,
    is_wanted: bool,
}

impl Node<'_> {
    fn scalar<E: Error>(self) -> Result<(), E> {
        if !self.is_wanted {
            return Ok(());
        }
        self.walk.failed.set(Some(self.number));
        Err(E::custom(HERE))
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Seed(self.walk))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry_seed(Seed(self.walk), Seed(self.walk))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::{self, Kind};

    /// The numbers of all scalars.
    fn numbers(node: &document::Node, found: &mut BTreeSet<u32>) {
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|node| numbers(node, found)),
            Kind::Map(entries) => entries.iter().for_each(|(key, value)| {
                numbers(key, found);
                numbers(value, found);
            }),
            _ => found.extend(node.place.node()),
        }
    }

    #[test]
    fn many_are_found_where_one_is() {
        for text in [
            "a: 1\nb: [é, true, ~, 1.5, -3, 99999999999999999999999999]\n",
            "'a at line 7 column 8': { here: [x, [y, { z: }]] }\n? [k]\n: v\n",
            "- &n { a: b }\n- *n\n- &s text\n- [*s, *s]\n",
            "text",
            "  # a comment\n\n- |\n  a\n  b\n- \"c\n  d\" \n",
        ] {
            let root = document::parse(text, 0).unwrap();
            let mut all = BTreeSet::new();
            numbers(&root, &mut all);
            let found = scalars(text, &all);
            assert_eq!(found.len(), all.len(), "{text}");
            for (node, position) in found {
                assert_eq!(document::locate(text, node), Some(position), "{node} of {text}");
            }
        }
    }
}
