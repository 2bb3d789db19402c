//! Extraction of the elements of a list from a body, one after another.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::page::DocumentField;
use super::{ListMapping, MappedElement, RankedSlot};
use crate::mapping::extract::too_deep;
use crate::mapping::fields::{A_BOOLEAN, FieldValue, RankedValue};
use crate::mapping::paths::{MAX_DEPTH, PathNode};

/// The content of a response beside its elements.
#[derive(Debug)]
pub struct ListPage {
    /// Number of elements.
    pub elements: usize,
    document: [FieldValue<'static>; DocumentField::COUNT],
}

impl ListPage {
    /// Returns the content of a response with this number of elements and nothing beside them.
    pub(in crate::mapping) fn of_elements(elements: usize) -> Self {
        Self { elements, document: Default::default() }
    }

    /// Returns the value of a field beside the tasks.
    pub fn get(&self, field: DocumentField) -> &FieldValue<'static> {
        self.document.get(field.slot()).unwrap_or(&FieldValue::Missing)
    }
}

/// Error of a response that is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is not JSON, or nested too deeply.
    #[error("not JSON: {0}")]
    Invalid(String),
    /// It has no array at the place of the tasks.
    #[error("{0}")]
    NoTasks(String),
}

impl ListMapping {
    /// Reads a body, and gives each element to `each`.
    ///
    /// # Errors
    /// The body is no list; then `each` may have been given a part of it.
    pub fn read(
        &self,
        body: &[u8],
        each: &mut dyn FnMut(MappedElement<'_>),
    ) -> Result<ListPage, ListError> {
        let ListExtract { document, elements, .. } = self.extract(body, each)?;
        let document = document.map(|ranked| ranked.value.into_owned());
        Ok(ListPage { elements, document })
    }

    /// Reports whether a path leads to the tasks or into them.
    pub(super) fn is_in_tasks(&self, keys: &[String]) -> bool {
        let mut node = Some(&self.document);
        let mut keys = keys.iter();
        while let Some(place) = node {
            if place.is_task {
                return true;
            }
            node = keys.next().and_then(|key| place.child(key));
        }
        false
    }

    fn extract<'de>(
        &self,
        body: &'de [u8],
        each: &mut dyn FnMut(MappedElement<'_>),
    ) -> Result<ListExtract<'de>, ListError> {
        // Some gateways send a byte-order mark, which RFC 8259 allows parsers to ignore.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if too_deep(body) {
            return Err(ListError::Invalid(format!("nested deeper than {MAX_DEPTH}")));
        }
        let mut extract = ListExtract::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let mut extractor = ListExtractor {
            mapping: self,
            extract: &mut extract,
            element: vec![RankedValue::default(); self.fields.len()],
            is_in_element: false,
            each,
        };
        let walk = ListWalk { node: &self.document, extractor: &mut extractor };
        let read = walk.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| {
            ListError::Invalid(format!("line {} column {}", error.line(), error.column()))
        })?;
        let place = match self.tasks.as_str() {
            "" => "at its top".to_owned(),
            pointer => format!("at {pointer}"),
        };
        match extract.tasks {
            Tasks::Array => Ok(extract),
            Tasks::Missing => Err(ListError::NoTasks(format!("the response has nothing {place}"))),
            Tasks::Other(kind) => Err(ListError::NoTasks(format!(
                "the response has {kind} {place}, not an array of tasks"
            ))),
        }
    }
}

/// Content of a body, without its elements.
#[derive(Debug, Default)]
struct ListExtract<'de> {
    document: [RankedValue<'de>; DocumentField::COUNT],
    tasks: Tasks,
    elements: usize,
}

/// Value at the place of the tasks.
#[derive(Clone, Copy, Debug, Default)]
enum Tasks {
    #[default]
    Missing,
    /// An array, or null, which some languages write for an empty one.
    Array,
    Other(&'static str),
}

/// State of an extraction.
struct ListExtractor<'m, 'x, 'de> {
    mapping: &'m ListMapping,
    extract: &'x mut ListExtract<'de>,
    /// Values of the current element.
    element: Vec<RankedValue<'de>>,
    is_in_element: bool,
    each: &'x mut dyn FnMut(MappedElement<'_>),
}

impl<'de> ListExtractor<'_, '_, 'de> {
    /// Visits the elements of the list.
    fn elements<A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        self.extract.tasks = Tasks::Array;
        self.is_in_element = true;
        let node = &self.mapping.element;
        loop {
            self.element.fill(RankedValue::default());
            if seq.next_element_seed(ListWalk { node, extractor: self })?.is_none() {
                break;
            }
            self.extract.elements += 1;
            (self.each)(MappedElement { mapping: self.mapping, values: &self.element });
        }
        self.is_in_element = false;
        Ok(())
    }
}

/// Visitor of one value, with the node of the trie that leads to it.
struct ListWalk<'w, 'm, 'x, 'de> {
    node: &'m PathNode<RankedSlot>,
    extractor: &'w mut ListExtractor<'m, 'x, 'de>,
}

impl<'de> ListWalk<'_, '_, '_, 'de> {
    fn is_tasks(&self) -> bool {
        self.node.is_task && !self.extractor.is_in_element
    }

    fn set(&mut self, value: &FieldValue<'de>) {
        let ListExtractor { element, extract, is_in_element, .. } = &mut *self.extractor;
        let values = if *is_in_element { &mut **element } else { &mut extract.document[..] };
        for RankedSlot { slot, rank } in &self.node.fields {
            if let Some(known) = values.get_mut(*slot) {
                known.offer(*rank, value.clone());
            }
        }
    }

    /// Records a value at the place of the tasks, if this is the place.
    fn found(&mut self, tasks: Tasks) {
        if self.is_tasks() {
            self.extractor.extract.tasks = tasks;
        }
    }
}

impl<'de> DeserializeSeed<'de> for ListWalk<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        if self.node.fields.is_empty() {
            return deserializer.deserialize_any(self);
        }
        // A value counts as it is written: a parser of numbers would round long ones.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        self.set(&value(text));
        if self.node.is_leaf() || !text.starts_with(['{', '[']) {
            return Ok(());
        }
        let mut nested = serde_json::Deserializer::from_str(text);
        nested.deserialize_any(self).map_err(de::Error::custom)
    }
}

/// Returns a value from its text, which is valid JSON.
fn value(text: &str) -> FieldValue<'_> {
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            match inner.filter(|inner| !inner.contains('\\')) {
                Some(inner) => FieldValue::Text(inner.into()),
                None => match serde_json::from_str::<String>(text) {
                    Ok(text) => FieldValue::Text(text.into()),
                    Err(_) => FieldValue::Other("half of a surrogate pair"),
                },
            }
        }
        Some(b'{') => FieldValue::Other("an object"),
        Some(b'[') => FieldValue::Other("an array"),
        Some(b'n') => FieldValue::Null,
        Some(b't') => FieldValue::Boolean(true),
        Some(b'f') => FieldValue::Boolean(false),
        _ => FieldValue::Text(text.into()),
    }
}

impl<'de> Visitor<'de> for ListWalk<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.found(Tasks::Array);
        Ok(())
    }

    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        self.found(Tasks::Other(A_BOOLEAN));
        Ok(())
    }

    fn visit_i64<E>(mut self, _: i64) -> Result<(), E> {
        self.found(Tasks::Other("a number"));
        Ok(())
    }

    fn visit_u64<E>(mut self, _: u64) -> Result<(), E> {
        self.found(Tasks::Other("a number"));
        Ok(())
    }

    fn visit_f64<E>(mut self, _: f64) -> Result<(), E> {
        self.found(Tasks::Other("a number"));
        Ok(())
    }

    fn visit_str<E>(mut self, _: &str) -> Result<(), E> {
        self.found(Tasks::Other("a string"));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.is_tasks() {
            return self.extractor.elements(seq);
        }
        let Self { node, extractor } = self;
        for index in 0_usize.. {
            let is_there = match node.child(itoa::Buffer::new().format(index)) {
                Some(node) => seq.next_element_seed(ListWalk { node, extractor })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.found(Tasks::Other("an object"));
        let Self { node, extractor } = self;
        while let Some(child) = map.next_key_seed(ListKeySeed(node))? {
            match child {
                Some(node) => map.next_value_seed(ListWalk { node, extractor })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Visitor of a key, which finds the node below it without keeping the key.
struct ListKeySeed<'m>(&'m PathNode<RankedSlot>);

impl<'de, 'm> DeserializeSeed<'de> for ListKeySeed<'m> {
    type Value = Option<&'m PathNode<RankedSlot>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'m> Visitor<'_> for ListKeySeed<'m> {
    type Value = Option<&'m PathNode<RankedSlot>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(key))
    }
}
