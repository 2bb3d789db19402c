//! Text with placeholders, which tasks or params fill.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::RawRequest;
use crate::mapping::schema::find_placeholder;
use crate::task::TaskGroup;
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::TemplateText;
use crate::yaml::span::OrderedMap;

/// All that RFC 3986 does not call unreserved: what a value holds can never become structure.
pub(super) const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same without what parts the segments of a path, and what names such as `a:b` have. RFC 6570
/// leaves more to `{+name}`, which servers take for structure: `;` for one.
pub(super) const KEPT_SLASHES: &AsciiSet = &RESERVED.remove(b'/').remove(b':');

/// Text with placeholders.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Template(pub Vec<Segment>);

impl fmt::Debug for Template {
    /// Shows the placeholders only: the text between them may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placeholders = self.0.iter().filter(|piece| !matches!(piece, Segment::Text(_)));
        f.debug_list().entries(placeholders).finish()
    }
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Segment {
    /// Text that stays as it is.
    Text(Box<str>),
    /// A placeholder.
    Value(Placeholder, Slashes),
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Placeholder {
    /// The ID of the task.
    TaskId,
    /// The IDs of all tasks of the request, separated by commas.
    TaskIds,
    /// The same as strings of a JSON array.
    TaskIdStrings,
    /// The value of a param.
    Param(Box<str>),
}

impl Placeholder {
    /// Reports whether IDs fill the placeholder.
    pub const fn is_of_id(&self) -> bool {
        matches!(self, Self::TaskId | Self::TaskIds | Self::TaskIdStrings)
    }
}

/// The treatment of the slashes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slashes {
    /// As of any other sign, for `{name}`.
    Encoded,
    /// Slashes separate segments of the path, for `{+name}`.
    Kept,
}

/// The tasks that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// One task.
    Task,
    /// Several tasks.
    Batch,
    /// All tasks that the API lists.
    List,
}

/// Part of a request that a text belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// True in the path, the only part in which a value can keep its slashes.
    pub is_path: bool,
    /// The kind of the request.
    pub kind: RequestKind,
}

impl Scope {
    /// Returns the end of a sentence about placeholders that names those of the request.
    const fn placeholders(self) -> &'static str {
        match self.kind {
            RequestKind::Task => "`{task_id}` and names of params",
            RequestKind::Batch => "`{task_ids}` and names of params",
            RequestKind::List => "the names in `params`",
        }
    }
}

impl Template {
    /// Returns the text with the values of `tasks`, each as `encode` writes it.
    pub fn fill(&self, tasks: &TaskGroup, encode: impl Fn(&str, Slashes, &mut String)) -> String {
        let mut out = String::with_capacity(128);
        let first = tasks.first();
        for piece in &self.0 {
            match piece {
                Segment::Text(text) => out.push_str(text),
                Segment::Value(Placeholder::TaskId, slashes) => {
                    encode(&first.id, *slashes, &mut out);
                }
                Segment::Value(
                    placeholder @ (Placeholder::TaskIds | Placeholder::TaskIdStrings),
                    slashes,
                ) => {
                    let are_strings = *placeholder == Placeholder::TaskIdStrings;
                    let separator = if are_strings { "\",\"" } else { "," };
                    for (index, task) in tasks.iter().enumerate() {
                        out.push_str(if index == 0 { "" } else { separator });
                        encode(&task.id, *slashes, &mut out);
                    }
                }
                Segment::Value(Placeholder::Param(name), slashes) => {
                    // The configuration refuses a task that leaves a placeholder open.
                    let value = first.common.params.iter().find(|(key, _)| key == name);
                    encode(value.map_or("", |(_, value)| value), *slashes, &mut out);
                }
            }
        }
        out
    }

    fn push_text(&mut self, text: &str) {
        if let Some(Segment::Text(last)) = self.0.last_mut() {
            *last = format!("{last}{text}").into();
        } else if !text.is_empty() {
            self.0.push(Segment::Text(text.into()));
        }
    }

    /// Appends `text`: its placeholders as such, the rest as `encode` returns it.
    fn push(
        &mut self,
        text: &str,
        scope: Scope,
        encode: impl Fn(&str) -> String,
    ) -> Result<(), BlockError> {
        let wrong = |message| {
            let hint = format!("placeholders are {}", scope.placeholders());
            BlockError::new(&[], message).hint(hint)
        };
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                return Err(wrong("a `{` without a `}`".to_owned()));
            };
            let (bare, slashes) = match name.strip_prefix('+') {
                Some(bare) => (bare, Slashes::Kept),
                None => (name, Slashes::Encoded),
            };
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if bare.is_empty() || !bare.chars().all(valid) {
                return Err(wrong(format!("`{{{name}}}` is not a placeholder")));
            }
            if slashes == Slashes::Kept && !scope.is_path {
                let message =
                    format!("`{{{name}}}`, which keeps the slashes of a value, is only for paths");
                return Err(BlockError::new(&[], message).hint(format!("write `{{{bare}}}`")));
            }
            if bare == "task_id" && scope.kind == RequestKind::Batch {
                let message = format!("in a batch `{{{name}}}` would be the first task alone");
                return Err(BlockError::new(&[], message).hint("write `{task_ids}`"));
            }
            if matches!(bare, "task_id" | "task_ids") && scope.kind == RequestKind::List {
                let message = format!("a list is not about one task: `{{{name}}}` has no value");
                return Err(BlockError::new(&[], message).hint("write the request for all tasks"));
            }
            self.push_text(&encode(before));
            let placeholder = match bare {
                "task_id" => Placeholder::TaskId,
                "task_ids" => Placeholder::TaskIds,
                name => Placeholder::Param(name.into()),
            };
            self.0.push(Segment::Value(placeholder, slashes));
            rest = after;
        }
        self.push_text(&encode(rest));
        Ok(())
    }

    /// Appends a JSON value as text; only its strings can have placeholders.
    pub fn push_json(
        &mut self,
        value: &Value,
        scope: Scope,
        at: &mut Vec<String>,
        errors: &mut Vec<BlockError>,
    ) {
        match value {
            // All IDs, each a string of the array that they replace.
            Value::Array(items) if *items == ["{task_ids}"] => {
                self.push_text("[\"");
                self.0.push(Segment::Value(Placeholder::TaskIdStrings, Slashes::Encoded));
                self.push_text("\"]");
            }
            Value::String(text) => {
                self.push_text("\"");
                if let Err(error) = self.push(text, scope, json_inner) {
                    errors.push(BlockError { keys: at.clone(), ..error });
                }
                self.push_text("\"");
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.push_text(if index == 0 { "[" } else { "," });
                    at.push(index.to_string());
                    self.push_json(item, scope, at, errors);
                    at.pop();
                }
                self.push_text(if items.is_empty() { "[]" } else { "]" });
            }
            Value::Object(entries) => {
                for (index, (key, item)) in entries.iter().enumerate() {
                    self.push_text(if index == 0 { "{" } else { "," });
                    self.push_text(&format!("\"{}\":", json_inner(key)));
                    at.push(key.clone());
                    errors.extend(check_name(key, at));
                    self.push_json(item, scope, at, errors);
                    at.pop();
                }
                self.push_text(if entries.is_empty() { "{}" } else { "}" });
            }
            scalar => self.push_text(&scalar.to_string()),
        }
    }
}

/// Compiles path and query of a request as one template.
pub(super) fn compile_target(
    raw: &RawRequest,
    kind: RequestKind,
    errors: &mut Vec<BlockError>,
) -> Template {
    let mut target = Template::default();
    let scope = |is_path| Scope { is_path, kind };
    let path = raw.path.get().map(String::as_str).unwrap_or_default();
    if !path.starts_with('/') {
        errors.push(BlockError::new(&["path"], "a path must start with `/`"));
    } else if path.contains(['?', '#']) {
        errors.push(
            BlockError::new(&["path"], "a path must not contain `?` or `#`")
                .hint("write parameters under `query`"),
        );
    } else if path.contains(|c: char| c.is_control() || c == ' ') {
        errors.push(BlockError::new(
            &["path"],
            "a path must not contain spaces or control characters",
        ));
    } else if let Err(error) = target.push(path, scope(true), str::to_owned) {
        errors.push(BlockError { keys: vec!["path".to_owned()], ..error });
    }
    let query = raw.query.get().into_iter().flat_map(OrderedMap::entries);
    for (index, (_, name, TemplateText(value))) in query.enumerate() {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        errors.extend(check_name(name, &["query".to_owned(), name.to_owned()]));
        target.push_text(if index == 0 { "?" } else { "&" });
        target.push_text(&format!("{}=", encode(name)));
        if let Err(error) = target.push(value, scope(false), encode) {
            errors.push(BlockError { keys: vec!["query".to_owned(), name.to_owned()], ..error });
        }
    }
    target
}

/// Checks the name of a query parameter or of a key of the body, which no value replaces.
fn check_name(name: &str, keys: &[String]) -> Option<BlockError> {
    let placeholder = find_placeholder(name)?;
    let message =
        format!("a name contains no placeholder: `{placeholder}` would be taken literally");
    let error = BlockError::new(&[], message).hint("values can contain placeholders");
    Some(BlockError { keys: keys.to_vec(), ..error })
}

/// Returns `text` as written between the quotes of a JSON string.
pub(super) fn json_inner(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}
