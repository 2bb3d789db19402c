//! Mapping of a response that lists tasks: which elements it has, and what they say of their tasks.
//! Pure.

mod extract;
pub mod page;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::{Compiler, HTTP_STATUS};
use super::fields::{FieldValue, RankedValue};
use super::paths::{PathNode, parse_pointer};
use super::schema::RawField;
use super::time::TimeFormat;
use crate::clock::Timestamp;
use crate::yaml::diagnostic::BlockError;
use crate::yaml::span::{OrderedMap, Spanned};
pub use extract::{ListError, ListPage};
use page::{DocumentField, Paging, RawPage};

/// The place of tasks in a response, and of their properties in an element.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id"]))]
pub struct RawListResponse {
    /// JSON Pointer to the array of tasks. The other paths are relative to an element of it. Default:
    /// the response itself.
    pub tasks: Spanned<String>,
    /// Path to the task's ID.
    pub id: Spanned<RawField>,
    /// Path to the name of the provider. Default: none.
    pub provider: Spanned<RawField>,
    /// Path to the time at which the task was accepted. Without a `format`, it is RFC 3339 or seconds
    /// since the Unix epoch. Default: none.
    pub enqueue_time: Spanned<RawField>,
    /// Paths to labels, by the name of the label. An element without a value at the path lacks the
    /// label. Default: none.
    pub labels: Spanned<OrderedMap<RawField>>,
    /// Paths to params, by the name of the param. Default: none.
    pub params: Spanned<OrderedMap<RawField>>,
}

/// A mapping of lists with all paths and formats resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListMapping {
    /// Trie from the top of the response, with the place of the tasks and the fields of the page.
    document: PathNode<RankedSlot>,
    /// Trie from an element.
    element: PathNode<RankedSlot>,
    /// Pointer to the tasks, as it is written.
    tasks: String,
    /// Fields of an element, in the order of their slots.
    fields: Vec<ElementField>,
    /// Format of the enqueue time, if it is given.
    time_format: Option<TimeFormat>,
}

/// A field of an element.
#[derive(Clone, Debug, PartialEq)]
struct ElementField {
    name: ElementFieldName,
    /// Text that ends the value.
    until: Option<Box<str>>,
}

/// Name of a field of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ElementFieldName {
    Id,
    Provider,
    EnqueueTime,
    Label(Box<str>),
    Param(Box<str>),
}

/// A slot for a value, and the rank of one of its paths.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RankedSlot {
    slot: usize,
    rank: u8,
}

/// An element of a list, with the values that were found in it.
#[derive(Clone, Copy)]
pub struct MappedElement<'m> {
    mapping: &'m ListMapping,
    values: &'m [RankedValue<'m>],
}

/// The enqueue time of an element.
#[derive(Clone, Debug, PartialEq)]
pub enum MappedTime<'m> {
    /// A value without a format in the configuration.
    Unparsed(FieldValue<'m>),
    /// A value in the format of the configuration; `None` if it means that there is no time. An error
    /// says what is wrong with it.
    Parsed(Result<Option<Timestamp>, &'static str>),
}

impl ListMapping {
    /// Compiles the blocks `response` and `page` of a source. A response that consists of the standard
    /// elements has no mapping.
    ///
    /// # Errors
    /// All errors of both blocks, with their keys below the source.
    pub fn compile(
        response: Option<&RawListResponse>,
        page: Option<&RawPage>,
    ) -> Result<(Option<Self>, Option<Paging>), Vec<BlockError>> {
        let mut compiler = Compiler::default();
        let mut mapping = response.map(|raw| Self::compile_response(raw, &mut compiler));
        let paging = page.and_then(|raw| page::compile(raw, mapping.as_mut(), &mut compiler));
        if compiler.errors.is_empty() { Ok((mapping, paging)) } else { Err(compiler.errors) }
    }

    /// Compiles the block `page` of a list whose tasks are at the pointer `tasks`, without a mapping of
    /// its elements.
    ///
    /// # Errors
    /// All errors of the block, with their keys below the list.
    pub fn compile_page(tasks: &str, page: &RawPage) -> Result<(Self, Paging), Vec<BlockError>> {
        let mut compiler = Compiler::default();
        let mut mapping = Self { tasks: tasks.to_owned(), ..Self::default() };
        // An error of the pointer belongs to the key that has it.
        let keys = parse_pointer(tasks).unwrap_or_default();
        mapping.document.at(&keys).is_task = true;
        let paging = page::compile(page, Some(&mut mapping), &mut compiler);
        match paging.filter(|_| compiler.errors.is_empty()) {
            Some(paging) => Ok((mapping, paging)),
            None => Err(compiler.errors),
        }
    }

    fn compile_response(raw: &RawListResponse, compiler: &mut Compiler) -> Self {
        let tasks = raw.tasks.get().map_or("", String::as_str);
        let mut mapping = Self { tasks: tasks.to_owned(), ..Self::default() };
        let keys = compiler.pointer(tasks, &["response", "tasks"]);
        mapping.document.at(&keys).is_task = true;
        if raw.id.is_absent() {
            let hint = "write the path to the ID in an element, such as `id: /task_id`";
            compiler.hinted(&["response"], "the response has no `id`", hint);
        }
        for (name, key, field) in [
            (ElementFieldName::Id, "id", &raw.id),
            (ElementFieldName::Provider, "provider", &raw.provider),
            (ElementFieldName::EnqueueTime, "enqueue_time", &raw.enqueue_time),
        ] {
            if let Some(field) = field.get() {
                mapping.add(name, field, &["response", key], compiler);
            }
        }
        for (_, name, field) in raw.labels.get().into_iter().flat_map(OrderedMap::entries) {
            let label = ElementFieldName::Label(name.into());
            mapping.add(label, field, &["response", "labels", name], compiler);
        }
        for (_, name, field) in raw.params.get().into_iter().flat_map(OrderedMap::entries) {
            let param = ElementFieldName::Param(name.into());
            mapping.add(param, field, &["response", "params", name], compiler);
        }
        mapping
    }

    /// Adds a field of an element, with these keys below the source.
    fn add(
        &mut self,
        name: ElementFieldName,
        field: &RawField,
        keys: &[&str],
        compiler: &mut Compiler,
    ) {
        let at = |key: &'static str| [keys, &[key]].concat();
        let is_time = name == ElementFieldName::EnqueueTime;
        if field.header().is_some() {
            let message = "a header belongs to the whole response, not to a task";
            compiler.hinted(&at("header"), message, "write a `path`");
        }
        for (key, value) in [("format", field.format()), ("zone", field.zone())] {
            if value.is_some() && !is_time {
                let message = format!("only `enqueue_time` has a `{key}`");
                compiler.hinted(&at(key), message, &format!("remove `{key}`"));
            }
        }
        if is_time {
            self.time_format = compiler.format_of_time(field, keys);
            if field.zone().is_some() && field.format().is_none() {
                let hint = "write `format: rfc3339`";
                compiler.hinted(&at("zone"), "a `zone` needs a `format`", hint);
            }
        }
        if field.until() == Some("") {
            compiler.wrong(&at("until"), "`until` must not be empty");
        }
        let paths = field.paths();
        if paths.is_empty() && field.header().is_none() {
            compiler.wrong(keys, "a field needs a `path`");
        }
        if *paths == [HTTP_STATUS] {
            compiler
                .wrong(&at("path"), "`http_status` belongs to the whole response, not to a task");
            return;
        }
        compiler.check_count(paths.len(), keys);
        let slot = self.fields.len();
        for (rank, pointer) in (0..).zip(compiler.pointers(field, keys)) {
            self.element.at(&pointer).fields.push(RankedSlot { slot, rank });
        }
        self.fields.push(ElementField { name, until: field.until().map(Into::into) });
    }

    /// Adds a field of the page at a JSON Pointer.
    fn add_document_field(&mut self, field: DocumentField, pointer: &[String]) {
        let slot = RankedSlot { slot: field.slot(), rank: 0 };
        self.document.at(pointer).fields.push(slot);
    }
}

impl<'m> MappedElement<'m> {
    /// Returns the ID.
    pub fn id(self) -> FieldValue<'m> {
        self.value(&ElementFieldName::Id)
    }

    /// Returns the name of the provider.
    pub fn provider(self) -> FieldValue<'m> {
        self.value(&ElementFieldName::Provider)
    }

    /// Returns the labels that the element has.
    pub fn labels(self) -> impl Iterator<Item = (&'m str, FieldValue<'m>)> {
        self.present().filter_map(|(name, value)| match name {
            ElementFieldName::Label(label) => Some((&**label, value)),
            _ => None,
        })
    }

    /// Returns the params that the element has.
    pub fn params(self) -> impl Iterator<Item = (&'m str, FieldValue<'m>)> {
        self.present().filter_map(|(name, value)| match name {
            ElementFieldName::Param(param) => Some((&**param, value)),
            _ => None,
        })
    }

    /// Returns the enqueue time in a response that was sent at `sent`; `None` if the element has none.
    pub fn enqueue_time(self, sent: Timestamp) -> Option<MappedTime<'m>> {
        let value = self.value(&ElementFieldName::EnqueueTime);
        Some(match (value, self.mapping.time_format) {
            (FieldValue::Missing | FieldValue::Null, _) => return None,
            (value, None) => MappedTime::Unparsed(value),
            (FieldValue::Text(text), Some(format)) => MappedTime::Parsed(format.parse(&text, sent)),
            (FieldValue::Boolean(_), Some(_)) => MappedTime::Parsed(Err("a boolean")),
            (FieldValue::Other(kind), Some(_)) => MappedTime::Parsed(Err(kind)),
        })
    }

    fn value(self, name: &ElementFieldName) -> FieldValue<'m> {
        let found = self.all().find(|(known, _)| *known == name);
        found.map_or(FieldValue::Missing, |(_, value)| value)
    }

    fn present(self) -> impl Iterator<Item = (&'m ElementFieldName, FieldValue<'m>)> {
        self.all().filter(|(_, value)| value.is_present())
    }

    fn all(self) -> impl Iterator<Item = (&'m ElementFieldName, FieldValue<'m>)> {
        self.mapping.fields.iter().zip(self.values).map(|(field, RankedValue { value, .. })| {
            let value = match (value, &field.until) {
                (FieldValue::Text(text), until) => {
                    let end = until.as_ref().and_then(|until| text.find(&**until));
                    let kept = end.and_then(|end| text.get(..end)).unwrap_or(text);
                    FieldValue::Text(Cow::Borrowed(kept))
                }
                (other, _) => other.clone(),
            };
            (&field.name, value)
        })
    }
}
