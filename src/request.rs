//! Task to request: which URL and body ask for a task. Pure.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::mapping::schema::find_placeholder;
use crate::task::{TaskGroup, check_segments};
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::{TemplateBody, TemplateText};
use crate::yaml::span::{OrderedMap, Spanned};

/// All that RFC 3986 does not call unreserved: what a value holds can never become structure.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same without what parts the segments of a path, and what names such as `a:b` have. RFC 6570
/// leaves more to `{+name}`, which servers take for structure: `;` for one.
const KEPT_SLASHES: &AsciiSet = &RESERVED.remove(b'/').remove(b':');

/// The default of `method`.
const DEFAULT_METHOD: &str = "GET";

/// The request for one task, as the configuration writes it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRequest {
    /// `GET` or `POST`.
    #[schemars(extend("default" = DEFAULT_METHOD))]
    pub method: Spanned<String>,
    /// The path below `base_url`. `{task_id}` is replaced by the ID, other placeholders by the
    /// task's `params`. Values are percent-encoded; `{+kind}` keeps the `/` and `:` of a value.
    pub path: Spanned<String>,
    /// Parameters by name; values can hold placeholders. The text beside placeholders is not shown.
    pub query: Spanned<OrderedMap<TemplateText>>,
    /// A JSON body, written in YAML; for `POST`. Its texts can hold placeholders. The text beside
    /// placeholders is not shown.
    pub body: Spanned<TemplateBody>,
    /// The request for several tasks at once, if the API has [batches](configuration.md#batches).
    pub batch: Spanned<RawBatch>,
}

/// The request for several tasks at once. `response.task` points to an array in the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBatch {
    /// `GET` or `POST`.
    #[schemars(extend("default" = DEFAULT_METHOD))]
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
    /// Compiles a request for one task, and checks it.
    ///
    /// # Errors
    /// Every error in it, not just the first.
    pub fn compile(raw: &RawRequest) -> Result<Self, Vec<BlockError>> {
        Self::compile_as(raw, false)
    }

    /// Compiles a request for several tasks, and checks it.
    ///
    /// # Errors
    /// Every error in it, not just the first.
    pub fn compile_batch(raw: &RawBatch) -> Result<Self, Vec<BlockError>> {
        Self::compile_as(&raw.into(), true)
    }

    fn compile_as(raw: &RawRequest, is_batch: bool) -> Result<Self, Vec<BlockError>> {
        let mut errors = Vec::new();
        let method = match raw.method.get().map_or(DEFAULT_METHOD, String::as_str) {
            "GET" => http::Method::GET,
            "POST" => http::Method::POST,
            _ => {
                errors.push(BlockError::new(&["method"], "a method must be GET or POST"));
                http::Method::GET
            }
        };
        if method == http::Method::GET && raw.body.get().is_some() {
            errors.push(
                BlockError::new(&["body"], "a GET request cannot have a body")
                    .hint("write `method: POST`"),
            );
        }
        let target = target(raw, is_batch, &mut errors);
        let body = raw.body.get().map(|TemplateBody(value)| {
            let mut template = Template::default();
            let scope = Scope { is_path: false, is_batch };
            template.push_json(value, scope, &mut vec!["body".to_owned()], &mut errors);
            template
        });
        let request = Self { method, target, body };
        let mut placeholders = request.placeholders();
        let names_task = placeholders.any(|(placeholder, _)| placeholder.is_of_id());
        drop(placeholders);
        if errors.is_empty() && !names_task {
            let message = match is_batch {
                false => "the request does not contain the task ID",
                true => "the batch does not say which tasks it asks for",
            };
            let ids = Scope { is_path: true, is_batch }.ids();
            let hint = format!("write `{ids}` into the path, the query or the body");
            errors.push(BlockError::new(&["path"], message).hint(hint));
        }
        if errors.is_empty() { Ok(request) } else { Err(errors) }
    }

    /// Iterates over the names of the params that a task must have; a name may come more than once.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.placeholders().filter_map(|(placeholder, _)| match placeholder {
            Placeholder::Param(name) => Some(&**name),
            Placeholder::TaskId | Placeholder::TaskIds | Placeholder::TaskIdStrings => None,
        })
    }

    /// Checks whether the request can carry a task's ID, which is one.
    ///
    /// # Errors
    /// The end of a sentence that names it: a rule that it breaks.
    pub fn check_id(&self, id: &str) -> Result<(), &'static str> {
        let mut placeholders = self.placeholders();
        let joins_ids = placeholders.any(|(placeholder, _)| *placeholder == Placeholder::TaskIds);
        // However the comma is encoded, a server that splits the list makes two IDs of it.
        if joins_ids && id.contains(',') {
            return Err("has no `,`, since commas separate the IDs of a batch");
        }
        self.check(Placeholder::is_of_id, id)
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

    /// Returns the path and query for `tasks`, to be appended to the base URL.
    pub fn target(&self, tasks: &TaskGroup) -> String {
        let encode = |value: &str, slashes: Slashes, out: &mut String| {
            let set = match slashes {
                Slashes::Encoded => RESERVED,
                Slashes::Kept => KEPT_SLASHES,
            };
            out.extend(utf8_percent_encode(value, set));
        };
        self.target.fill(tasks, encode)
    }

    /// Returns the JSON body for `tasks`, if the request has one.
    pub fn body(&self, tasks: &TaskGroup) -> Option<String> {
        let encode = |value: &str, _, out: &mut String| out.push_str(&json_inner(value));
        Some(self.body.as_ref()?.fill(tasks, encode))
    }

    fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, Slashes)> {
        let pieces = self.target.0.iter().chain(self.body.iter().flat_map(|body| &body.0));
        pieces.filter_map(|piece| match piece {
            Segment::Text(_) => None,
            Segment::Value(placeholder, slashes) => Some((placeholder, *slashes)),
        })
    }
}

/// Text with placeholders.
#[derive(Clone, Default, PartialEq)]
struct Template(Vec<Segment>);

impl fmt::Debug for Template {
    /// Shows the placeholders only: the text between them may be a token.
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
    /// The IDs of all tasks of the request, separated by commas.
    TaskIds,
    /// The same as strings of a JSON array.
    TaskIdStrings,
    Param(Box<str>),
}

impl Placeholder {
    const fn is_of_id(&self) -> bool {
        matches!(self, Self::TaskId | Self::TaskIds | Self::TaskIdStrings)
    }
}

/// The treatment of the slashes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slashes {
    /// As of any other sign, for `{name}`.
    Encoded,
    /// Slashes separate segments of the path, for `{+name}`.
    Kept,
}

/// Part of a request that a text belongs to.
#[derive(Clone, Copy, Debug)]
struct Scope {
    /// True in the path, the only part in which a value can keep its slashes.
    is_path: bool,
    /// True in a request for several tasks.
    is_batch: bool,
}

impl Scope {
    /// Returns the placeholder for the ID, or the IDs, of the request.
    const fn ids(self) -> &'static str {
        if self.is_batch { "{task_ids}" } else { "{task_id}" }
    }
}

impl Template {
    fn fill(&self, tasks: &TaskGroup, encode: impl Fn(&str, Slashes, &mut String)) -> String {
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
            let hint = format!("placeholders are `{}` and names of params", scope.ids());
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
            if bare == "task_id" && scope.is_batch {
                let message = format!("in a batch `{{{name}}}` would be the first task alone");
                return Err(BlockError::new(&[], message).hint("write `{task_ids}`"));
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
    fn push_json(
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

/// Path and query of a definition as one template.
fn target(raw: &RawRequest, is_batch: bool, errors: &mut Vec<BlockError>) -> Template {
    let mut target = Template::default();
    let scope = |is_path| Scope { is_path, is_batch };
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
fn json_inner(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
