//! Values that know where they were written, for use in structs that derive `Deserialize`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};

use super::place::{Place, Spot};

/// The name by which an [`At`] asks the decoder for a place.
pub const PLACED: &str = "$placed";
/// The name by which an [`Either`] asks the decoder which of the two a node is.
pub const EITHER: &str = "$either";

/// The name by which a [`OneOrMany`] asks the decoder which of the two a node is.
pub const ONE_OR_MANY: &str = "$one_or_many";

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// `None` where nothing was written.
    pub place: Option<Place>,
    /// `None` where nothing was written, or a mistake, which has then been reported.
    pub value: Option<T>,
}

impl<T> At<T> {
    /// A value that was a mistake.
    pub const fn mistaken(place: Place) -> Self {
        Self { place: Some(place), value: None }
    }

    /// The value, if there is a good one.
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value and where it stands, if there is a good one.
    pub const fn placed(&self) -> Option<(Place, &T)> {
        match (self.place, &self.value) {
            (Some(place), Some(value)) => Some((place, value)),
            _ => None,
        }
    }

    /// Whether what was written is a mistake, which has been reported.
    pub const fn is_mistaken(&self) -> bool {
        self.place.is_some() && self.value.is_none()
    }

    /// Whether nothing was written.
    pub const fn is_absent(&self) -> bool {
        self.place.is_none()
    }
}

impl<T> Default for At<T> {
    fn default() -> Self {
        Self { place: None, value: None }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlacedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a place and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let place = parts.next_element()?.map(unpack);
                Ok(At { place, value: parts.next_element()? })
            }
        }

        deserializer.deserialize_newtype_struct(PLACED, PlacedVisitor(PhantomData))
    }
}

/// A place as one number, which serde can carry through a derived `Deserialize`.
pub fn pack(place: Place) -> u128 {
    // Lines are counted from 1.
    let (line, column) = match place.spot {
        Spot::At(line, column) => (line, column),
        Spot::File => (0, 0),
    };
    (u128::from(place.document) << 64) | (u128::from(line) << 32) | u128::from(column)
}

fn unpack(packed: u128) -> Place {
    let part = |shift| u32::try_from((packed >> shift) & u128::from(u32::MAX)).unwrap_or_default();
    let spot = match (part(32), part(0)) {
        (0, _) => Spot::File,
        (line, column) => Spot::At(line, column),
    };
    Place { document: part(64), spot }
}

impl<T: JsonSchema> JsonSchema for At<T> {
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
pub struct Table<T>(pub Vec<(At<String>, At<T>)>);

impl<T> Table<T> {
    /// The entries whose key and value are good, with the key's place.
    pub fn entries(&self) -> impl Iterator<Item = (Place, &str, &T)> {
        self.0.iter().filter_map(|(key, value)| {
            let (place, key) = key.placed()?;
            Some((place, key.as_str(), value.get()?))
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a block of keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }

        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
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

/// Something that can be written short, as a scalar, or long, as a block.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename = "$either")]
#[schemars(untagged, inline)]
pub enum Either<S, B> {
    /// Written short.
    Short(S),
    /// Written as a block of keys.
    Long(Box<B>),
}

/// One value, or a list of such.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename = "$one_or_many")]
#[schemars(untagged, inline)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list, possibly empty.
    Many(Vec<At<T>>),
}
