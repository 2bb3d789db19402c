//! Access of serde's visitors to the content of a node.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{DecodeError, NodeDecoder};
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink};
use crate::yaml::span;
use crate::yaml::tree::{NodeKind, YamlNode};

/// The location of a node, then its value, unless that is invalid.
pub struct SpannedAccess<'de> {
    /// The node.
    pub decoder: NodeDecoder<'de>,
    /// The number of parts that were read: location, value.
    pub next: u8,
}

impl<'de> SeqAccess<'de> for SpannedAccess<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        self.next += 1;
        if self.next == 1 {
            return seed
                .deserialize(span::pack(self.decoder.node.location).into_deserializer())
                .map(Some);
        }
        if self.decoder.is_reported {
            return Ok(None);
        }
        if matches!(self.decoder.node.kind, NodeKind::Null) {
            let diagnostic = Diagnostic::new(self.decoder.node.location, "missing value");
            self.decoder
                .sink
                .push(diagnostic.hint("add a value, or remove the key or the list item"));
            return Ok(None);
        }
        Ok(seed.deserialize(self.decoder).map_err(|error| self.decoder.report(error)).ok())
    }
}

/// The nodes of a list.
pub struct ListAccess<'de> {
    /// The remaining nodes.
    pub nodes: std::slice::Iter<'de, YamlNode>,
    /// The sink of the diagnostics.
    pub sink: &'de DiagnosticSink,
}

impl<'de> SeqAccess<'de> for ListAccess<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        seed.deserialize(NodeDecoder::new(node, self.sink)).map(Some)
    }
}

/// A key and its value.
pub struct BlockEntry<'de> {
    /// The key.
    pub key: &'de YamlNode,
    /// The field that a misspelt key means.
    pub field: Option<&'static str>,
    /// The value.
    pub value: &'de YamlNode,
}

impl<'de> BlockEntry<'de> {
    /// Returns the name of the field that the key means.
    pub fn name(&self) -> Option<&'de str> {
        self.field.or_else(|| self.key.text())
    }
}

/// The entries of a map.
pub struct BlockAccess<'de> {
    rest: std::vec::IntoIter<BlockEntry<'de>>,
    value: Option<NodeDecoder<'de>>,
    sink: &'de DiagnosticSink,
}

impl<'de> BlockAccess<'de> {
    /// Returns an access to `entries`, in their order.
    pub fn new(entries: Vec<BlockEntry<'de>>, sink: &'de DiagnosticSink) -> Self {
        Self { rest: entries.into_iter(), value: None, sink }
    }
}

impl<'de> MapAccess<'de> for BlockAccess<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some(BlockEntry { key, field, value }) = self.rest.next() else { return Ok(None) };
        let of = |node| NodeDecoder::new(node, self.sink);
        match field {
            Some(field) => {
                self.value = Some(NodeDecoder { is_reported: true, ..of(key) });
                seed.deserialize(StrDeserializer::new(field)).map(Some)
            }
            None => {
                self.value = Some(of(value));
                seed.deserialize(KeyDecoder(of(key))).map(Some)
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(value)
    }
}

/// A key is text, whatever it looks like.
struct KeyDecoder<'de>(NodeDecoder<'de>);

impl<'de> de::Deserializer<'de> for KeyDecoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.0.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// One of the two variants of an `Either`, chosen by what the node is.
pub struct EitherAccess<'de> {
    /// The name of the variant.
    pub variant: &'static str,
    /// The node.
    pub decoder: NodeDecoder<'de>,
}

impl<'de> de::EnumAccess<'de> for EitherAccess<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let variant = seed.deserialize(StrDeserializer::<DecodeError>::new(self.variant))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for EitherAccess<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        Err(self.decoder.mismatch(&visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(self.decoder.mismatch(&visitor))
    }
}
