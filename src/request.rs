//! Task to request: which URL and body ask for a task, or for the list of all tasks. Pure.

pub mod list;
mod template;

use percent_encoding::utf8_percent_encode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::task::{TaskGroup, check_segments};
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::{TemplateBody, TemplateText};
use crate::yaml::span::{OrderedMap, Spanned};
use list::RawListRequest;
use template::{
    KEPT_SLASHES, Placeholder, RESERVED, RequestKind, Scope, Segment, Slashes, Template,
    compile_target, json_inner,
};

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
    /// The request for [all tasks](configuration.md#lists-of-a-provider) that the API holds, if it
    /// lists them.
    pub list: Spanned<RawListRequest>,
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
        Self { method, path, query, body, ..Self::default() }
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
        Self::compile_as(raw, RequestKind::Task)
    }

    /// Compiles a request for several tasks, and checks it.
    ///
    /// # Errors
    /// Every error in it, not just the first.
    pub fn compile_batch(raw: &RawBatch) -> Result<Self, Vec<BlockError>> {
        Self::compile_as(&raw.into(), RequestKind::Batch)
    }

    /// Compiles the request for a list, whose placeholders are names of params.
    ///
    /// # Errors
    /// Every error in it, not just the first.
    pub fn compile_list(raw: &RawListRequest) -> Result<Self, Vec<BlockError>> {
        Self::compile_as(&raw.into(), RequestKind::List)
    }

    fn compile_as(raw: &RawRequest, kind: RequestKind) -> Result<Self, Vec<BlockError>> {
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
        let target = compile_target(raw, kind, &mut errors);
        let body = raw.body.get().map(|TemplateBody(value)| {
            let mut template = Template::default();
            let scope = Scope { is_path: false, kind };
            template.push_json(value, scope, &mut vec!["body".to_owned()], &mut errors);
            template
        });
        let request = Self { method, target, body };
        let mut placeholders = request.placeholders();
        let names_task = placeholders.any(|(placeholder, _)| placeholder.is_of_id());
        drop(placeholders);
        let missing = match kind {
            RequestKind::Task => Some(("the request does not contain the task ID", "{task_id}")),
            RequestKind::Batch => {
                Some(("the batch does not say which tasks it asks for", "{task_ids}"))
            }
            RequestKind::List => None,
        };
        if let Some((message, ids)) = missing.filter(|_| errors.is_empty() && !names_task) {
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

#[cfg(test)]
mod tests;
