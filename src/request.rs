//! Task to request: which URL and body ask for a task. Pure.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::mapping::definition::DefinitionError;
use crate::task::TaskGroup;
use crate::task::check_segments;

/// All that RFC 3986 does not call unreserved: what a value holds can never become structure.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same without what parts the segments of a path, and what names such as `a:b` have. RFC 6570
/// leaves more to `{+name}`, which servers take for structure: `;` for one.
const KEPT_SLASHES: &AsciiSet = &RESERVED.remove(b'/').remove(b':');

/// A request as written. The configuration fills it from YAML; [`Request::compile`] checks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestDefinition {
    /// `GET` (the default) or `POST`.
    pub method: Option<String>,
    /// The path below `base_url`, with `{task_id}` and further placeholders, which the task's
    /// `params` fill. Every value is percent-encoded, that of `{+name}` but for `/` and `:`.
    pub path: Option<String>,
    /// Query parameters; values may hold placeholders.
    pub query: Vec<(String, String)>,
    /// A JSON body; its strings may hold placeholders, and `["{task_ids}"]` is the array of all.
    pub body: Option<Value>,
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
    /// Checks a definition.
    ///
    /// # Errors
    /// Every mistake in it, not just the first.
    pub fn compile(definition: RequestDefinition) -> Result<Self, Vec<DefinitionError>> {
        let mut mistakes = Vec::new();
        let method = match definition.method.as_deref() {
            None | Some("GET") => http::Method::GET,
            Some("POST") => http::Method::POST,
            Some(_) => {
                mistakes.push(DefinitionError::new(&["method"], "a method is GET or POST"));
                http::Method::GET
            }
        };
        if method == http::Method::GET && definition.body.is_some() {
            mistakes.push(
                DefinitionError::new(&["body"], "a GET request has no body")
                    .hint("write `method: POST`"),
            );
        }
        let target = target(&definition, &mut mistakes);
        let body = definition.body.map(|value| {
            let mut template = Template::default();
            template.push_json(&value, &mut vec!["body".to_owned()], &mut mistakes);
            template
        });
        let request = Self { method, target, body };
        let mut placeholders = request.placeholders();
        let names_task = placeholders.any(|(placeholder, _)| {
            matches!(placeholder, Placeholder::TaskId | Placeholder::TaskIds)
        });
        drop(placeholders);
        if mistakes.is_empty() && !names_task {
            mistakes.push(
                DefinitionError::new(&["path"], "the request does not say which task it asks for")
                    .hint("write `{task_id}` into the path, the query or the body"),
            );
        }
        if mistakes.is_empty() { Ok(request) } else { Err(mistakes) }
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
                    encode(&first.id, *slashes, &mut out)
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
    ) -> Result<(), DefinitionError> {
        let wrong = |message| {
            DefinitionError::new(&[], message)
                .hint("placeholders are `{task_id}` and names of params")
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
                return Err(DefinitionError::new(&[], message).hint(format!("write `{{{bare}}}`")));
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
    fn push_json(
        &mut self,
        value: &Value,
        at: &mut Vec<String>,
        mistakes: &mut Vec<DefinitionError>,
    ) {
        match value {
            // All IDs, each a string of the array that they replace.
            Value::Array(items) if *items == ["{task_ids}"] => {
                self.push_text("[\"");
                self.0.push(Segment::Value(Placeholder::TaskIds, Slashes::Encoded));
                self.push_text("\"]");
            }
            Value::String(text) => {
                self.push_text("\"");
                if let Err(mistake) = self.push(text, false, json_inner) {
                    mistakes.push(DefinitionError { at: at.clone(), ..mistake });
                }
                self.push_text("\"");
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.push_text(if index == 0 { "[" } else { "," });
                    at.push(index.to_string());
                    self.push_json(item, at, mistakes);
                    at.pop();
                }
                self.push_text(if items.is_empty() { "[]" } else { "]" });
            }
            Value::Object(entries) => {
                for (index, (key, item)) in entries.iter().enumerate() {
                    self.push_text(if index == 0 { "{" } else { "," });
                    self.push_text(&format!("\"{}\":", json_inner(key)));
                    at.push(key.clone());
                    self.push_json(item, at, mistakes);
                    at.pop();
                }
                self.push_text(if entries.is_empty() { "{}" } else { "}" });
            }
            scalar => self.push_text(&scalar.to_string()),
        }
    }
}

/// Path and query of a definition as one template.
fn target(definition: &RequestDefinition, mistakes: &mut Vec<DefinitionError>) -> Template {
    let mut target = Template::default();
    let path = definition.path.as_deref().unwrap_or_default();
    if !path.starts_with('/') {
        mistakes.push(DefinitionError::new(&["path"], "a path starts with `/`"));
    } else if path.contains(['?', '#']) {
        mistakes.push(
            DefinitionError::new(&["path"], "a path holds neither `?` nor `#`")
                .hint("write parameters under `query`"),
        );
    } else if path.contains(|c: char| c.is_control() || c == ' ') {
        mistakes.push(DefinitionError::new(
            &["path"],
            "a path holds no space and no control character",
        ));
    } else if let Err(mistake) = target.push(path, true, str::to_owned) {
        mistakes.push(DefinitionError { at: vec!["path".to_owned()], ..mistake });
    }
    for (index, (name, value)) in definition.query.iter().enumerate() {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        target.push_text(if index == 0 { "?" } else { "&" });
        target.push_text(&format!("{}=", encode(name)));
        if let Err(mistake) = target.push(value, false, encode) {
            mistakes
                .push(DefinitionError { at: vec!["query".to_owned(), name.clone()], ..mistake });
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
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::task::{Task, TaskCommon};

    fn task(id: &str, params: &[(&str, &str)]) -> Task {
        let params = params.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params };
        Task { id: id.into(), common: Arc::new(common) }
    }

    fn one(id: &str, params: &[(&str, &str)]) -> TaskGroup {
        TaskGroup::one(task(id, params))
    }

    fn path(path: &str) -> RequestDefinition {
        RequestDefinition { path: Some(path.to_owned()), ..RequestDefinition::default() }
    }

    #[test]
    fn an_id_never_becomes_structure() {
        let request = Request::compile(path("/task/{task_id}/fetch")).unwrap();
        assert_eq!(
            request.target(&one("../../admin?x=1#y", &[])),
            "/task/..%2F..%2Fadmin%3Fx%3D1%23y/fetch"
        );
        assert_eq!(request.target(&one("a%2Fb\n\"é", &[])), "/task/a%252Fb%0A%22%C3%A9/fetch");
    }

    #[test]
    fn a_plus_keeps_slashes_and_colons() {
        let request = Request::compile(path("/v1/{+kind}/{kind}/{+task_id}")).unwrap();
        let filled = |kind, id| request.target(&TaskGroup::one(task(id, &[("kind", kind)])));
        assert_eq!(filled("avatar/a:b", "m/1"), "/v1/avatar/a:b/avatar%2Fa%3Ab/m/1");
        assert_eq!(filled("a%2F;b", "é @"), "/v1/a%252F%3Bb/a%252F%3Bb/%C3%A9%20%40");
        assert_eq!(request.param_names().collect::<Vec<_>>(), ["kind", "kind"]);
        assert!(request.check_id("a/b").is_ok() && request.check_id("a//b").is_err());
        assert!(request.check_param("kind", "a/b").is_ok());
        assert!(request.check_param("kind", "a/../b").is_err());
        assert!(request.check_param("other", "a/../b").is_ok());
        // Where slashes are encoded, they part nothing.
        let plain = Request::compile(path("/{kind}/{task_id}")).unwrap();
        assert!(plain.check_id("a/../b").is_ok() && plain.check_param("kind", "/?#").is_ok());
    }

    #[test]
    fn params_query_and_body_are_filled() {
        let request = Request::compile(RequestDefinition {
            method: Some("POST".into()),
            query: vec![("i d".into(), "x {task_id}&".into())],
            body: Some(json!({"ids": ["{task_id}"], "n": 1, "empty": {}, "none": []})),
            ..path("/{kind}/fetch")
        })
        .unwrap();
        let task = one("a\"b\\", &[("kind", "text/video")]);
        assert_eq!(request.param_names().collect::<Vec<_>>(), ["kind"]);
        assert_eq!(request.target(&task), "/text%2Fvideo/fetch?i%20d=x%20a%22b%5C%26");
        let body: Value = serde_json::from_str(&request.body(&task).unwrap()).unwrap();
        assert_eq!(body, json!({"ids": ["a\"b\\"], "n": 1, "empty": {}, "none": []}));
    }

    #[test]
    fn a_batch_names_every_task() {
        let tasks = TaskGroup::collect([task("a,b", &[]), task("c\"d", &[])]).unwrap();
        let list = Request::compile(RequestDefinition {
            query: vec![("task_ids".into(), "{task_ids}".into())],
            ..path("/tasks")
        })
        .unwrap();
        assert_eq!(list.target(&tasks), "/tasks?task_ids=a%2Cb,c%22d");
        let array = Request::compile(RequestDefinition {
            method: Some("POST".into()),
            body: Some(json!({"ids": ["{task_ids}"]})),
            ..path("/fetch")
        })
        .unwrap();
        let body: Value = serde_json::from_str(&array.body(&tasks).unwrap()).unwrap();
        assert_eq!(body, json!({"ids": ["a,b", "c\"d"]}));
    }

    #[test]
    fn every_mistake_is_found() {
        let messages = |definition| {
            let mistakes = Request::compile(definition).unwrap_err();
            mistakes.into_iter().map(|m| (m.at.join("."), m.message)).collect::<Vec<_>>()
        };
        let at = |at: &str, message: &str| (at.to_owned(), message.to_owned());
        assert_eq!(
            messages(RequestDefinition {
                method: Some("PUT".into()),
                query: vec![("q".into(), "{oops".into()), ("r".into(), "{+r}".into())],
                body: Some(json!({"ids": ["{a b}", "{+task_ids}"]})),
                ..path("task")
            }),
            [
                at("method", "a method is GET or POST"),
                at("body", "a GET request has no body"),
                at("path", "a path starts with `/`"),
                at("query.q", "a `{` without its `}`"),
                at("query.r", "only in a path `{+r}` keeps the slashes of a value"),
                at("body.ids.0", "`{a b}` is not a placeholder"),
                at("body.ids.1", "only in a path `{+task_ids}` keeps the slashes of a value"),
            ]
        );
        assert_eq!(
            messages(path("/tasks")),
            [at("path", "the request does not say which task it asks for")]
        );
    }
}
