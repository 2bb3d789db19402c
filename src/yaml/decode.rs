//! Decoding of trees into structs. An error does not end the decoding: a [`Spanned`] reports it and has
//! no value, so that one run finds all errors of a file.

mod access;

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, Visitor};
use serde::forward_to_deserialize_any;

use super::diagnostic::{Diagnostic, DiagnosticSink};
use super::span::{EITHER, ONE_OR_MANY, SPANNED, Spanned};
use super::tree::{NodeKind, YamlNode};
use access::{BlockAccess, BlockEntry, EitherAccess, ListAccess, SpannedAccess};

/// Decodes a tree, and reports its errors to `sink`.
pub fn decode<'de, T: Deserialize<'de>>(
    node: &'de YamlNode,
    sink: &'de DiagnosticSink,
) -> Spanned<T> {
    // An `Spanned` never fails: it reports.
    Spanned::deserialize(NodeDecoder::new(node, sink))
        .unwrap_or_else(|_| Spanned::invalid(node.location))
}

/// A node that is being decoded.
#[derive(Clone, Copy)]
struct NodeDecoder<'de> {
    node: &'de YamlNode,
    sink: &'de DiagnosticSink,
    /// True if the node has been reported already, so that only its location is used.
    is_reported: bool,
}

/// An error that is reported at the location of the nearest [`Spanned`] around it.
#[derive(Debug)]
pub struct DecodeError {
    message: String,
    hint: Option<String>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
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

impl<'de> NodeDecoder<'de> {
    const fn new(node: &'de YamlNode, sink: &'de DiagnosticSink) -> Self {
        Self { node, sink, is_reported: false }
    }

    fn mismatch(self, expected: &dyn de::Expected) -> DecodeError {
        de::Error::custom(format!("expected {expected}, found {}", self.node.kind_name()))
    }

    fn report(self, error: DecodeError) {
        let mut diagnostic = Diagnostic::new(self.node.location, error.message);
        diagnostic.hint = error.hint;
        if let Some(text) = self.node.text() {
            diagnostic = diagnostic.quote(text);
        }
        self.sink.push(diagnostic);
    }

    /// Returns the entries of a map. A duplicate key and one that is not text are reported and left out.
    fn entries(self) -> Vec<&'de (YamlNode, YamlNode)> {
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
                let diagnostic = key_mistake("duplicate key", second).first(first.location);
                self.sink.push(diagnostic);
            }
        }
        doubles.sort_unstable();
        let kept = entries.iter().enumerate().filter(|(index, (key, _))| {
            if key.text().is_none() {
                self.sink.push(key_mistake("a key must be text", key));
            }
            key.text().is_some() && doubles.binary_search(index).is_err()
        });
        kept.map(|(_, entry)| entry).collect()
    }

    /// Reports a key that the struct named `block` does not know, and returns the field that it is likely to mean.
    fn unknown_key(
        self,
        block: &str,
        key: &YamlNode,
        fields: &[&'static str],
    ) -> Option<&'static str> {
        let name = key.text().unwrap_or_default();
        if let Some((message, hint)) = (self.sink.foreign_keys)(block, name) {
            self.sink.push(Diagnostic::new(key.location, message).hint(hint));
            return None;
        }
        let nearest = nearest(name, fields.iter().copied());
        let hint = match nearest {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => format!("the keys here are {}", fields.join(", ")),
        };
        self.sink.push(key_mistake("unknown key", key).hint(hint));
        nearest
    }

    /// Returns the entries of a map that is decoded into a struct with these fields. A misspelt key counts
    /// as the field with an invalid value, so that the field is not reported as missing, too.
    fn fields(self, block: &str, fields: &[&'static str]) -> Vec<BlockEntry<'de>> {
        let (mut entries, mut misspelt) = (Vec::new(), Vec::new());
        for (key, value) in self.entries() {
            if key.text().is_some_and(|key| fields.contains(&key)) {
                entries.push(BlockEntry { key, field: None, value });
            } else if let Some(meant) = self.unknown_key(block, key, fields) {
                misspelt.push(BlockEntry { key, field: Some(meant), value });
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

/// Returns a diagnostic about a key, with its name.
fn key_mistake(message: &str, key: &YamlNode) -> Diagnostic {
    let diagnostic = Diagnostic::new(key.location, message);
    match key.text() {
        Some(text) => diagnostic.quote(text),
        None => diagnostic,
    }
}

/// Returns the candidate that a misspelt name is likely to mean.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl<'de> de::Deserializer<'de> for NodeDecoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Null => visitor.visit_unit(),
            NodeKind::Bool(text) => visitor.visit_bool(is_true(text)),
            NodeKind::Number(text) => {
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
            NodeKind::Text(text) => visitor.visit_borrowed_str(text),
            NodeKind::List(_) => self.deserialize_seq(visitor),
            NodeKind::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Bool(text) => visitor.visit_bool(is_true(text)),
            _ => Err(self.mismatch(&"true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::List(nodes) => {
                visitor.visit_seq(ListAccess { nodes: nodes.iter(), sink: self.sink })
            }
            _ => Err(self.mismatch(&"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Map(_) => {
                let entries = self.entries().into_iter();
                let entries = entries.map(|(key, value)| BlockEntry { key, field: None, value });
                visitor.visit_map(BlockAccess::new(entries.collect(), self.sink))
            }
            _ => Err(self.mismatch(&"a block of keys")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        block: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            NodeKind::Map(_) => {
                visitor.visit_map(BlockAccess::new(self.fields(block, fields), self.sink))
            }
            _ => Err(self.mismatch(&"a block of keys")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            SPANNED => visitor.visit_seq(SpannedAccess { decoder: self, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == EITHER {
            let block = matches!(self.node.kind, NodeKind::Map(_));
            let variant = variants.get(usize::from(block)).copied().unwrap_or_default();
            return visitor.visit_enum(EitherAccess { variant, decoder: self });
        }
        if name == ONE_OR_MANY {
            let is_list = matches!(self.node.kind, NodeKind::List(_));
            let variant = variants.get(usize::from(is_list)).copied().unwrap_or_default();
            return visitor.visit_enum(EitherAccess { variant, decoder: self });
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

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
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
