//! Values with their locations, for structs that derive `Deserialize`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The name by which a [`Spanned`] asks the decoder for the location.
pub const SPANNED: &str = "$spanned";
/// The name by which an [`Either`] asks the decoder which of the two a node is.
pub const EITHER: &str = "$either";

/// The name by which a [`OneOrMany`] asks the decoder which of the two a node is.
pub const ONE_OR_MANY: &str = "$one_or_many";

/// A value with its location.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The location, or `None` if nothing was written.
    pub location: Option<Location>,
    /// The value, or `None` if nothing was written or the value was invalid, which has been reported.
    pub value: Option<T>,
}

impl<T> Spanned<T> {
    /// Returns an invalid value.
    pub const fn invalid(location: Location) -> Self {
        Self { location: Some(location), value: None }
    }

    /// Returns the value, if there is a valid one.
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Returns the location and the value, if there is a valid one.
    pub const fn located(&self) -> Option<(Location, &T)> {
        match (self.location, &self.value) {
            (Some(location), Some(value)) => Some((location, value)),
            _ => None,
        }
    }

    /// Reports whether an invalid value was written, which has been reported.
    pub const fn is_invalid(&self) -> bool {
        self.location.is_some() && self.value.is_none()
    }

    /// Reports whether nothing was written.
    pub const fn is_absent(&self) -> bool {
        self.location.is_none()
    }
}

impl<T> From<T> for Spanned<T> {
    /// Returns a value that was not written in a file.
    fn from(value: T) -> Self {
        Self { location: None, value: Some(value) }
    }
}

impl<T> Default for Spanned<T> {
    fn default() -> Self {
        Self { location: None, value: None }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpannedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a location and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Spanned<T>, A::Error> {
                let location = parts.next_element()?.map(unpack);
                Ok(Spanned { location, value: parts.next_element()? })
            }
        }

        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(PhantomData))
    }
}

/// Packs a location into one number, which serde can carry through a derived `Deserialize`.
pub fn pack(location: Location) -> u128 {
    // Lines are counted from 1.
    let (line, column) = match location.position {
        Position::LineColumn(line, column) => (line, column),
        Position::File => (0, 0),
    };
    (u128::from(location.document) << 64) | (u128::from(line) << 32) | u128::from(column)
}

fn unpack(packed: u128) -> Location {
    let part = |shift| u32::try_from((packed >> shift) & u128::from(u32::MAX)).unwrap_or_default();
    let position = match (part(32), part(0)) {
        (0, _) => Position::File,
        (line, column) => Position::LineColumn(line, column),
    };
    Location { document: part(64), position }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map in the order of the file.
#[derive(Clone, Debug)]
pub struct OrderedMap<T>(pub Vec<(Spanned<String>, Spanned<T>)>);

impl<T> OrderedMap<T> {
    /// Returns the entries with a valid key and value, each with the location of the key.
    pub fn entries(&self) -> impl Iterator<Item = (Location, &str, &T)> {
        self.0.iter().filter_map(|(key, value)| {
            let (location, key) = key.located()?;
            Some((location, key.as_str(), value.get()?))
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrderedMap<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = OrderedMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a block of keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedMap<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(OrderedMap(entries))
            }
        }

        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OrderedMap<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Table_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": values })
    }
}

/// A value that is written short, as a scalar, or long, as a block.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename = "$either")]
#[schemars(untagged, inline)]
pub enum Either<S, B> {
    /// The short form.
    Short(S),
    /// The long form: a block of keys.
    Long(Box<B>),
}

/// One value, or a list of such.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename = "$one_or_many")]
#[schemars(untagged, inline)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// A list, possibly empty.
    Many(Vec<Spanned<T>>),
}

/// A location in the files of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The number of the file.
    pub document: u32,
    /// The position in the file.
    pub position: Position,
}

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// The file as a whole.
    File,
    /// Line and column, from 1; columns count characters.
    LineColumn(u32, u32),
}
