//! Trees to the structs of [`super::raw`]. A mistake does not end the decoding: whatever stands in an
//! [`At`] reports it and is left out, so that one run finds all mistakes of a file.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::diagnostic::Mistake;
use super::document::{Kind, Node};
use super::foreign;
use super::placed::{self, At, EITHER, PLACED};
use super::privacy;

/// Where mistakes go.
pub type Sink = RefCell<Vec<Mistake>>;

/// Decodes a tree; its mistakes go into `sink`.
pub fn decode<'de, T: Deserialize<'de>>(node: &'de Node, sink: &'de Sink) -> At<T> {
    // An `At` never fails: it reports.
    At::deserialize(Decoder { node, sink }).unwrap_or_else(|_| At::mistaken(node.place))
}

/// A node that is being decoded.
#[derive(Clone, Copy)]
struct Decoder<'de> {
    node: &'de Node,
    sink: &'de Sink,
}

/// A mistake whose place is that of the nearest [`At`] around it.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
    private: bool,
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
        Self { message, hint, private: false }
    }
}

impl<'de> Decoder<'de> {
    fn mismatch(self, expected: &dyn de::Expected) -> Error {
        de::Error::custom(format!("expected {expected}, found {}", self.node.kind_name()))
    }

    /// What stands where a block should be may be a secret that slipped out of its own.
    fn no_block(self) -> Error {
        let harmless = matches!(self.node.kind, Kind::Null | Kind::Bool(_) | Kind::Number(_));
        Error { private: !harmless, ..self.mismatch(&"a block of keys") }
    }

    fn report(self, error: Error) {
        let mut mistake = Mistake::new(self.node.place, error.message);
        mistake.hint = error.hint;
        mistake.private = error.private;
        if let Some(text) = self.node.text().filter(|_| !error.private) {
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
            if let [(_, (first, _)), (index, (second, value))] = pair
                && second.text().is_some()
                && first.text() == second.text()
            {
                doubles.push(*index);
                self.sink
                    .borrow_mut()
                    .push(key_mistake("duplicate key", second, value).first(first.place));
            }
        }
        doubles.sort_unstable();
        let kept = entries.iter().enumerate().filter(|(index, (key, _))| {
            if key.text().is_none() {
                let mistake = Mistake::new(key.place, "a key must be text");
                self.sink.borrow_mut().push(mistake.private());
            }
            key.text().is_some() && doubles.binary_search(index).is_err()
        });
        kept.map(|(_, entry)| entry).collect()
    }

    /// Reports a key that the struct named `block` does not know.
    fn unknown_key(self, block: &str, key: &Node, value: &Node, fields: &[&str]) {
        let name = key.text().unwrap_or_default();
        if let Some(mistake) = foreign::mistake(block, name, key.place) {
            self.sink.borrow_mut().push(mistake);
            return;
        }
        let mut mistake = key_mistake("unknown key", key, value);
        if name == "<<" {
            mistake.hint =
                Some("merge keys are not supported: use an alias for the whole block".into());
        } else if let Some(nearest) = nearest(name, fields.iter().copied()) {
            mistake.private = privacy::sensitive(nearest);
            mistake.hint = Some(format!("did you mean {nearest:?}?"));
        } else {
            // Nothing tells what this was meant to be.
            mistake.private = true;
            mistake.hint = Some(format!("the keys here are {}", fields.join(", ")));
        }
        self.sink.borrow_mut().push(mistake);
    }
}

/// A mistake about a key. A key without a value may be a value that lost its key: not quoted.
fn key_mistake(message: &str, key: &Node, value: &Node) -> Mistake {
    let mistake = Mistake::new(key.place, message);
    match (key.text(), &value.kind) {
        (None, _) | (_, Kind::Null) => mistake.private(),
        (Some(text), _) => mistake.quote(text),
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
            Kind::Map(_) => visitor.visit_map(Entries::new(self.entries(), self.sink)),
            _ => Err(self.no_block()),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        block: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if !matches!(self.node.kind, Kind::Map(_)) {
            return Err(self.no_block());
        }
        let mut entries = self.entries();
        entries.retain(|(key, value)| {
            let known = key.text().is_some_and(|key| fields.contains(&key));
            if !known {
                self.unknown_key(block, key, value, fields);
            }
            known
        });
        visitor.visit_map(Entries::new(entries, self.sink))
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

/// The place of a node, then its value, unless that is a mistake.
struct Placed<'de> {
    decoder: Decoder<'de>,
    next: u8,
}

impl<'de> SeqAccess<'de> for Placed<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.next += 1;
        if self.next == 1 {
            return seed
                .deserialize(placed::pack(self.decoder.node.place).into_deserializer())
                .map(Some);
        }
        if matches!(self.decoder.node.kind, Kind::Null) {
            let mistake = Mistake::new(self.decoder.node.place, "has no value");
            self.decoder.sink.borrow_mut().push(mistake.hint("give it one, or remove it"));
            return Ok(None);
        }
        Ok(seed.deserialize(self.decoder).map_err(|error| self.decoder.report(error)).ok())
    }
}

struct Elements<'de> {
    nodes: std::slice::Iter<'de, Node>,
    sink: &'de Sink,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        seed.deserialize(Decoder { node, sink: self.sink }).map(Some)
    }
}

struct Entries<'de> {
    rest: std::vec::IntoIter<&'de (Node, Node)>,
    value: Option<&'de Node>,
    sink: &'de Sink,
}

impl<'de> Entries<'de> {
    fn new(entries: Vec<&'de (Node, Node)>, sink: &'de Sink) -> Self {
        Self { rest: entries.into_iter(), value: None, sink }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Key(Decoder { node: key, sink: self.sink })).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(Decoder { node, sink: self.sink })
    }
}

/// A key is text, whatever it looks like.
struct Key<'de>(Decoder<'de>);

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// One of the two variants of an `Either`, chosen by what the node is.
struct Variant<'de> {
    variant: &'static str,
    decoder: Decoder<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let variant = seed.deserialize(StrDeserializer::<Error>::new(self.variant))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        Err(self.decoder.mismatch(&visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        Err(self.decoder.mismatch(&visitor))
    }
}
