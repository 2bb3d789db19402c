//! Trees to the structs of [`super::raw`]. A mistake does not end the decoding: whatever stands in an
//! [`At`] reports it and is left out, so that one run finds all mistakes of a file.

mod access;

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, Visitor};
use serde::forward_to_deserialize_any;

use super::diagnostic::{Mistake, Mistakes};
use super::document::{Kind, Node};
use super::foreign;
use super::placed::{At, EITHER, ONE_OR_MANY, PLACED};
use access::{Elements, Entries, Entry, Placed, Variant};

/// Where mistakes go.
pub type Sink = RefCell<Mistakes>;

/// Decodes a tree; its mistakes go into `sink`.
pub fn decode<'de, T: Deserialize<'de>>(node: &'de Node, sink: &'de Sink) -> At<T> {
    // An `At` never fails: it reports.
    At::deserialize(Decoder::new(node, sink)).unwrap_or_else(|_| At::mistaken(node.place))
}

/// A node that is being decoded.
#[derive(Clone, Copy)]
struct Decoder<'de> {
    node: &'de Node,
    sink: &'de Sink,
    /// Whether the node has been reported already, so that it only lends its place.
    is_reported: bool,
}

/// A mistake whose place is that of the nearest [`At`] around it.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    /// A second line of the message is its hint.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (message, hint) = match text.split_once('\n') {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        Self { message, hint }
    }
}

impl<'de> Decoder<'de> {
    const fn new(node: &'de Node, sink: &'de Sink) -> Self {
        Self { node, sink, is_reported: false }
    }

    fn mismatch(self, expected: &dyn de::Expected) -> Error {
        de::Error::custom(format!("expected {expected}, found {}", self.node.kind_name()))
    }

    fn report(self, error: Error) {
        let mut mistake = Mistake::new(self.node.place, error.message);
        mistake.hint = error.hint;
        if let Some(text) = self.node.text() {
            mistake = mistake.quote(text);
        }
        self.sink.borrow_mut().push(mistake);
    }

    /// The entries of a map; a key that stands twice or is none is reported and left out.
    fn entries(self) -> Vec<&'de (Node, Node)> {
        let entries = self.node.entries();
        let mut order: Vec<_> = entries.iter().enumerate().collect();
        order.sort_by_key(|(_, (key, _))| key.text());
        let mut doubles = Vec::new();
        for pair in order.windows(2) {
            if let [(_, (first, _)), (index, (second, _))] = pair
                && second.text().is_some()
                && first.text() == second.text()
            {
                doubles.push(*index);
                let mistake = key_mistake("duplicate key", second).first(first.place);
                self.sink.borrow_mut().push(mistake);
            }
        }
        doubles.sort_unstable();
        let kept = entries.iter().enumerate().filter(|(index, (key, _))| {
            if key.text().is_none() {
                self.sink.borrow_mut().push(key_mistake("a key must be text", key));
            }
            key.text().is_some() && doubles.binary_search(index).is_err()
        });
        kept.map(|(_, entry)| entry).collect()
    }

    /// Reports a key that the struct named `block` does not know, and returns the field that it is likely to mean.
    fn unknown_key(self, block: &str, key: &Node, fields: &[&'static str]) -> Option<&'static str> {
        let name = key.text().unwrap_or_default();
        if let Some(mistake) = foreign::mistake(block, name, key.place) {
            self.sink.borrow_mut().push(mistake);
            return None;
        }
        let nearest = nearest(name, fields.iter().copied());
        let hint = match nearest {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => format!("the keys here are {}", fields.join(", ")),
        };
        self.sink.borrow_mut().push(key_mistake("unknown key", key).hint(hint));
        nearest
    }

    /// The entries of a map that is decoded into a struct with these fields. For a misspelt key the
    /// field counts as written and mistaken, so that it is not missed as well.
    fn fields(self, block: &str, fields: &[&'static str]) -> Vec<Entry<'de>> {
        let (mut entries, mut misspelt) = (Vec::new(), Vec::new());
        for (key, value) in self.entries() {
            if key.text().is_some_and(|key| fields.contains(&key)) {
                entries.push(Entry { key, field: None, value });
            } else if let Some(meant) = self.unknown_key(block, key, fields) {
                misspelt.push(Entry { key, field: Some(meant), value });
            }
        }
        for entry in misspelt {
            if entries.iter().all(|known| known.name() != entry.name()) {
                entries.push(entry);
            }
        }
        entries
    }
}

/// A mistake about a key, whose name is said.
fn key_mistake(message: &str, key: &Node) -> Mistake {
    let mistake = Mistake::new(key.place, message);
    match key.text() {
        Some(text) => mistake.quote(text),
        None => mistake,
    }
}

/// The candidate that a misspelt name is likely to mean.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(text) => visitor.visit_bool(is_true(text)),
            Kind::Number(text) => {
                if let Ok(number) = text.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = text.parse::<i64>() {
                    visitor.visit_i64(number)
                } else if let Ok(number) = text.parse::<f64>() {
                    visitor.visit_f64(number)
                } else {
                    visitor.visit_borrowed_str(text)
                }
            }
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Bool(text) => visitor.visit_bool(is_true(text)),
            _ => Err(self.mismatch(&"true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::List(nodes) => {
                visitor.visit_seq(Elements { nodes: nodes.iter(), sink: self.sink })
            }
            _ => Err(self.mismatch(&"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Map(_) => {
                let entries = self.entries().into_iter();
                let entries = entries.map(|(key, value)| Entry { key, field: None, value });
                visitor.visit_map(Entries::new(entries.collect(), self.sink))
            }
            _ => Err(self.mismatch(&"a block of keys")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        block: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Map(_) => visitor.visit_map(Entries::new(self.fields(block, fields), self.sink)),
            _ => Err(self.mismatch(&"a block of keys")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            PLACED => visitor.visit_seq(Placed { decoder: self, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == EITHER {
            let block = matches!(self.node.kind, Kind::Map(_));
            let variant = variants.get(usize::from(block)).copied().unwrap_or_default();
            return visitor.visit_enum(Variant { variant, decoder: self });
        }
        if name == ONE_OR_MANY {
            let is_list = matches!(self.node.kind, Kind::List(_));
            let variant = variants.get(usize::from(is_list)).copied().unwrap_or_default();
            return visitor.visit_enum(Variant { variant, decoder: self });
        }
        let words = variants.join(", ");
        let Some(text) = self.node.text() else {
            return Err(self.mismatch(&format!("one of {words}").as_str()));
        };
        if !variants.contains(&text) {
            return Err(de::Error::custom(format!("expected one of {words}")));
        }
        visitor.visit_enum(StrDeserializer::new(text))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit
        unit_struct tuple tuple_struct identifier
    }
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}
