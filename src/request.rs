//! Task to request: which URL and body ask for a task. Pure.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::task::TaskGroup;
use crate::task::check_segments;
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::{TemplateBody, TemplateText};
use crate::yaml::span::{OrderedMap, Spanned};

/// All that RFC 3986 does not call unreserved: what a value holds can never become structure.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same without what parts the segments of a path, and what names such as `a:b` have. RFC 6570
/// leaves more to `{+name}`, which servers take for structure: `;` for one.
const KEPT_SLASHES: &AsciiSet = &RESERVED.remove(b'/').remove(b':');

/// The request for one task, as the configuration writes it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRequest {
    /// GET or POST. Default GET.
    pub method: Spanned<String>,
    /// The path below `base_url`. `{task_id}` is replaced by the ID, other placeholders by the task's
    /// `params`. Values are percent-encoded; `{+kind}` keeps the `/` and `:` of a value.
    pub path: Spanned<String>,
    /// Query parameters; values may hold placeholders. The text beside placeholders is not shown.
    pub query: Spanned<OrderedMap<TemplateText>>,
    /// A JSON body; its texts may hold placeholders. The text beside placeholders is not shown.
    pub body: Spanned<TemplateBody>,
    /// The request for several tasks at once, where the API has one.
    pub batch: Spanned<RawBatch>,
}

/// The request for several tasks at once. `response.task` points to an array in the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBatch {
    /// GET or POST. Default GET.
    pub method: Spanned<String>,
    /// The path below `base_url`. `{task_ids}` is replaced by the IDs with commas between them.
    pub path: Spanned<String>,
    /// Query parameters; values may hold placeholders. The text beside placeholders is not shown.
    pub query: Spanned<OrderedMap<TemplateText>>,
    /// A JSON body; `["{task_ids}"]` is replaced by the array of all IDs.
    pub body: Spanned<TemplateBody>,
}

impl From<&RawBatch> for RawRequest {
    fn from(batch: &RawBatch) -> Self {
        let RawBatch { method, path, query, body } = batch.clone();
        Self { method, path, query, body, batch: Spanned::default() }
    }
}

/// A request in which only the task is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: http::Method,
    target: Template,
    body: Option<Template>,
}

impl Request {
    /// Compiles a request, and checks it.
    ///
    /// # Errors
    /// Every error in it, not just the first.
    pub fn compile(raw: &RawRequest) -> Result<Self, Vec<BlockError>> {
        let mut errors = Vec::new();
        let method = match raw.method.get().map(String::as_str) {
            None | Some("GET") => http::Method::GET,
            Some("POST") => http::Method::POST,
            Some(_) => {
                errors.push(BlockError::new(&["method"], "a method is GET or POST"));
                http::Method::GET
            }
        };
        if method == http::Method::GET && raw.body.get().is_some() {
            errors.push(
                BlockError::new(&["body"], "a GET request has no body")
                    .hint("write `method: POST`"),
            );
        }
        let target = target(raw, &mut errors);
        let body = raw.body.get().map(|TemplateBody(value)| {
            let mut template = Template::default();
            template.push_json(value, &mut vec!["body".to_owned()], &mut errors);
            template
        });
        let request = Self { method, target, body };
        let mut placeholders = request.placeholders();
        let names_task = placeholders.any(|(placeholder, _)| {
            matches!(placeholder, Placeholder::TaskId | Placeholder::TaskIds)
        });
        drop(placeholders);
        if errors.is_empty() && !names_task {
            errors.push(
                BlockError::new(&["path"], "the request does not say which task it asks for")
                    .hint("write `{task_id}` into the path, the query or the body"),
            );
        }
        if errors.is_empty() { Ok(request) } else { Err(errors) }
    }

    /// The placeholders that a task's `params` must fill; a name may come more than once.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.placeholders().filter_map(|(placeholder, _)| match placeholder {
            Placeholder::Param(name) => Some(&**name),
            Placeholder::TaskId | Placeholder::TaskIds => None,
        })
    }

    /// Checks whether the path can carry a task's ID, which is one.
    ///
    /// # Errors
    /// The end of a sentence that names it: a rule that it breaks.
    pub fn check_id(&self, id: &str) -> Result<(), &'static str> {
        self.check(
            |placeholder| matches!(placeholder, Placeholder::TaskId | Placeholder::TaskIds),
            id,
        )
    }

    /// Checks whether the path can carry `value` as the param `name`.
    ///
    /// # Errors
    /// The end of a sentence that names it: a rule that it breaks.
    pub fn check_param(&self, name: &str, value: &str) -> Result<(), &'static str> {
        self.check(
            |placeholder| matches!(placeholder, Placeholder::Param(param) if **param == *name),
            value,
        )
    }

    fn check(
        &self,
        is_its: impl Fn(&Placeholder) -> bool,
        value: &str,
    ) -> Result<(), &'static str> {
        let is_kept = |(placeholder, slashes): (&Placeholder, Slashes)| {
            slashes == Slashes::Kept && is_its(placeholder)
        };
        if self.placeholders().any(is_kept) { check_segments(value) } else { Ok(()) }
    }

    /// Path and query for `tasks`, to be put behind the base URL.
    pub fn target(&self, tasks: &TaskGroup) -> String {
        let encode = |value: &str, slashes: Slashes, out: &mut String| {
            let set = match slashes {
                Slashes::Encoded => RESERVED,
                Slashes::Kept => KEPT_SLASHES,
            };
            out.extend(utf8_percent_encode(value, set));
        };
        self.target.fill(tasks, ",", encode)
    }

    /// The JSON body for `tasks`, where the request has one.
    pub fn body(&self, tasks: &TaskGroup) -> Option<String> {
        let encode = |value: &str, _, out: &mut String| out.push_str(&json_inner(value));
        Some(self.body.as_ref()?.fill(tasks, "\",\"", encode))
    }

    fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, Slashes)> {
        let pieces = self.target.0.iter().chain(self.body.iter().flat_map(|body| &body.0));
        pieces.filter_map(|piece| match piece {
            Segment::Text(_) => None,
            Segment::Value(placeholder, slashes) => Some((placeholder, *slashes)),
        })
    }
}

/// Text with gaps.
#[derive(Clone, Default, PartialEq)]
struct Template(Vec<Segment>);

impl fmt::Debug for Template {
    /// Shows the gaps only: the text between them may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placeholders = self.0.iter().filter(|piece| !matches!(piece, Segment::Text(_)));
        f.debug_list().entries(placeholders).finish()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Text(Box<str>),
    Value(Placeholder, Slashes),
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq)]
enum Placeholder {
    TaskId,
    /// Every ID that is asked for.
    TaskIds,
    Param(Box<str>),
}

/// The treatment of the slashes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slashes {
    /// As of any other sign, for `{name}`.
    Encoded,
    /// They part segments of the path, for `{+name}`.
    Kept,
}

impl Template {
    fn fill(
        &self,
        tasks: &TaskGroup,
        between: &str,
        encode: impl Fn(&str, Slashes, &mut String),
    ) -> String {
        let mut out = String::with_capacity(128);
        let first = tasks.first();
        for piece in &self.0 {
            match piece {
                Segment::Text(text) => out.push_str(text),
                Segment::Value(Placeholder::TaskId, slashes) => {
                    encode(&first.id, *slashes, &mut out);
                }
                Segment::Value(Placeholder::TaskIds, slashes) => {
                    for (index, task) in tasks.iter().enumerate() {
                        out.push_str(if index == 0 { "" } else { between });
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

    /// Takes in `text`, whose placeholders become gaps and whose rest goes through `encode`. Only
    /// `in_path` a value may keep its slashes.
    fn push(
        &mut self,
        text: &str,
        in_path: bool,
        encode: impl Fn(&str) -> String,
    ) -> Result<(), BlockError> {
        let wrong = |message| {
            BlockError::new(&[], message).hint("placeholders are `{task_id}` and names of params")
        };
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                return Err(wrong("a `{` without its `}`".to_owned()));
            };
            let (bare, slashes) = match name.strip_prefix('+') {
                Some(bare) => (bare, Slashes::Kept),
                None => (name, Slashes::Encoded),
            };
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if bare.is_empty() || !bare.chars().all(valid) {
                return Err(wrong(format!("`{{{name}}}` is not a placeholder")));
            }
            if slashes == Slashes::Kept && !in_path {
                let message = format!("only in a path `{{{name}}}` keeps the slashes of a value");
                return Err(BlockError::new(&[], message).hint(format!("write `{{{bare}}}`")));
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

    /// Takes in a JSON value as text; only its strings can have gaps.
    fn push_json(&mut self, value: &Value, at: &mut Vec<String>, errors: &mut Vec<BlockError>) {
        match value {
            // All IDs, each a string of the array that they replace.
            Value::Array(items) if *items == ["{task_ids}"] => {
                self.push_text("[\"");
                self.0.push(Segment::Value(Placeholder::TaskIds, Slashes::Encoded));
                self.push_text("\"]");
            }
            Value::String(text) => {
                self.push_text("\"");
                if let Err(error) = self.push(text, false, json_inner) {
                    errors.push(BlockError { keys: at.clone(), ..error });
                }
                self.push_text("\"");
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.push_text(if index == 0 { "[" } else { "," });
                    at.push(index.to_string());
                    self.push_json(item, at, errors);
                    at.pop();
                }
                self.push_text(if items.is_empty() { "[]" } else { "]" });
            }
            Value::Object(entries) => {
                for (index, (key, item)) in entries.iter().enumerate() {
                    self.push_text(if index == 0 { "{" } else { "," });
                    self.push_text(&format!("\"{}\":", json_inner(key)));
                    at.push(key.clone());
                    self.push_json(item, at, errors);
                    at.pop();
                }
                self.push_text(if entries.is_empty() { "{}" } else { "}" });
            }
            scalar => self.push_text(&scalar.to_string()),
        }
    }
}

/// Path and query of a definition as one template.
fn target(raw: &RawRequest, errors: &mut Vec<BlockError>) -> Template {
    let mut target = Template::default();
    let path = raw.path.get().map(String::as_str).unwrap_or_default();
    if !path.starts_with('/') {
        errors.push(BlockError::new(&["path"], "a path starts with `/`"));
    } else if path.contains(['?', '#']) {
        errors.push(
            BlockError::new(&["path"], "a path holds neither `?` nor `#`")
                .hint("write parameters under `query`"),
        );
    } else if path.contains(|c: char| c.is_control() || c == ' ') {
        errors.push(BlockError::new(&["path"], "a path holds no space and no control character"));
    } else if let Err(error) = target.push(path, true, str::to_owned) {
        errors.push(BlockError { keys: vec!["path".to_owned()], ..error });
    }
    let query = raw.query.get().into_iter().flat_map(OrderedMap::entries);
    for (index, (_, name, TemplateText(value))) in query.enumerate() {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        target.push_text(if index == 0 { "?" } else { "&" });
        target.push_text(&format!("{}=", encode(name)));
        if let Err(error) = target.push(value, false, encode) {
            errors.push(BlockError { keys: vec!["query".to_owned(), name.to_owned()], ..error });
        }
    }
    target
}

/// `text` as it stands between the quotes of a JSON string.
fn json_inner(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
