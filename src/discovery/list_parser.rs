//! Parsing of lists, element by element: no list becomes a tree.
//!
//! An element is an ID, an object with an ID (`{"id": …, "provider": …, "labels": …, "params": …,
//! "enqueue_time": …}`), or a group as of Prometheus (`{"targets": […], "labels": …}`). Other keys are
//! ignored, and of several equal keys the last counts. Whatever cannot be an element is rejected and
//! does not affect the others; what is not a list at all fails as a whole.

pub(super) mod json;
#[cfg(test)]
mod tests;
mod yaml;

use super::element::{ElementError, ElementValue, RawProperties};
use super::list::{RefreshError, RejectReason};
use super::list_builder::{ElementPosition, ListBuilder};
use crate::config::discovery::ListFormat;
use crate::config::task_rules::find_beside_id;
use crate::observation::Reason;
use crate::yaml::events::SyntaxError;
use crate::yaml::source::lines;
use crate::yaml::span::Position;
use crate::yaml::tree::decode_utf8;
pub use json::parse_json;

/// Parses a list, and adds its elements to `list`.
///
/// # Errors
/// The content is not a list of this format, or has too many elements; then `list` has a part of it.
pub fn parse(
    content: Vec<u8>,
    format: ListFormat,
    list: &mut ListBuilder<'_>,
) -> Result<(), RefreshError> {
    match format {
        ListFormat::Json => parse_json(&content, list),
        ListFormat::Yaml => yaml::parse(&decode(content)?, list),
        ListFormat::Lines => parse_lines(&decode(content)?, list),
    }
}

fn parse_lines(text: &str, list: &mut ListBuilder<'_>) -> Result<(), RefreshError> {
    for (number, line) in (1..).zip(lines(text)) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let position = ElementPosition::Line(number);
        match find_beside_id(line) {
            None => list.add_bare(position, &ElementValue::Text(line.into()))?,
            Some((_, message, _)) => {
                list.reject(position, line, &ElementError::new(RejectReason::Id, message))?;
            }
        }
    }
    Ok(())
}

fn decode(content: Vec<u8>) -> Result<String, RefreshError> {
    match decode_utf8(content) {
        (text, None) => Ok(text),
        (_, Some(error)) => Err(syntax_error(&error)),
    }
}

fn syntax_error(error: &SyntaxError) -> RefreshError {
    let message = match error.position {
        Position::File => error.message.to_owned(),
        Position::LineColumn(line, column) => {
            format!("line {line} column {column}: {}", error.message)
        }
    };
    RefreshError::new(Reason::Decode, message)
}

/// The error of a document that is something else than a list.
fn not_a_list(kind: &str) -> RefreshError {
    RefreshError::new(Reason::Decode, format!("not a list of tasks, but {kind}"))
}

/// The object of an element. `T` is the list of its targets, in its format.
struct ElementObject<'e, T> {
    id: Option<ElementValue<'e>>,
    targets: Option<T>,
    properties: Result<RawProperties<'e>, ElementError>,
}

impl<T> ElementObject<'_, T> {
    /// Adds the tasks of the object, which is written as `text`, and is the element `number` of the
    /// list. `for_each` passes each target to its second argument.
    fn add(
        self,
        list: &mut ListBuilder<'_>,
        number: usize,
        text: &str,
        for_each: impl FnOnce(T, &mut AddTarget<'_>) -> Result<(), RefreshError>,
    ) -> Result<(), RefreshError> {
        let position = ElementPosition::Element(number);
        let properties = match &self.properties {
            Ok(raw) => list.properties(raw),
            Err(error) => Err(error.clone()),
        };
        match (self.id, self.targets) {
            (Some(id), None) => list.add(position, &id, &properties),
            (None, Some(targets)) => {
                let mut count = 0;
                for_each(targets, &mut |id| {
                    count += 1;
                    list.add(ElementPosition::Target(number, count), &id, &properties)
                })?;
                if count == 0 { list.count() } else { Ok(()) }
            }
            (id, _) => {
                let message = match id {
                    Some(_) => "both id and targets",
                    None => "neither id nor targets",
                };
                list.reject(position, text, &ElementError::new(RejectReason::Id, message))
            }
        }
    }
}

/// Adds a target.
type AddTarget<'t> = dyn FnMut(ElementValue<'_>) -> Result<(), RefreshError> + 't;

/// The error of a value that is no table of texts.
fn not_a_table(reason: RejectReason, key: &str, kind: &str) -> ElementError {
    ElementError::new(reason, format!("{key} must be an object, not {kind}"))
}

/// Maximum number of keys of a table of an element.
const MAX_KEYS: usize = 1_000;

/// The error of a table with more than [`MAX_KEYS`] keys.
fn too_many_keys(reason: RejectReason, key: &str) -> ElementError {
    ElementError::new(reason, format!("{key} has more than {MAX_KEYS} keys"))
}
