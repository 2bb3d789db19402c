//! Mapping of a provider's response to observations. Pure.

mod compile;
pub(crate) mod schema;
mod extract;
pub mod fields;
pub mod list;
mod observe;
mod paths;
mod repair;
pub mod task_list;
pub mod time;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use crate::clock::Timestamp;
use crate::observation::{PollOutcome, Reason, State};
pub use extract::too_deep;
use extract::{Extract, ExtractedTasks};
use fields::{A_BOOLEAN, DelayFormat, FieldName, FieldValue, Fields, ProgressFormat};
pub use paths::MAX_DEPTH;
use paths::Paths;
use time::TimeFormat;

/// Maximum number of characters of a value that an explanation shows.
const MAX_EXPLAINED_CHARS: usize = 120;

/// A mapping with all paths, words and formats resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    accept: Vec<StatusPattern>,
    /// True if the HTTP status alone determines the state, so that no body is read.
    pub ignores_body: bool,
    paths: Paths,
    task_pointer: String,
    fields: Vec<(FieldName, FieldSource)>,
    success: Vec<Box<str>>,
    codes: Vec<(Box<str>, CodeMeaning)>,
    states: Vec<(Arc<str>, State)>,
    refine: Vec<Refinement>,
    enqueue_format: TimeFormat,
    finish_format: TimeFormat,
    progress_format: ProgressFormat,
    delay_format: DelayFormat,
    /// Rank of the path of `code` that is also a path of `failure_code`.
    task_code_rank: Option<u8>,
}

/// A pattern for HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusPattern {
    /// `200`.
    Exactly(u16),
    /// `2xx`, as 2.
    Hundred(u16),
}

/// Source of a field's value.
#[derive(Clone, Debug, PartialEq)]
struct FieldSource {
    origin: Origin,
    /// Text that ends the value.
    until: Option<Box<str>>,
}

/// Part of a response that a field comes from.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// The body, at these JSON Pointers as written, separated by commas.
    Body(String),
    Header(HeaderName),
    HttpStatus,
}

/// Meaning of a code of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeMeaning {
    Fails(Reason),
    Ends(State),
}

/// A state for tasks in which all of these fields have these values.
#[derive(Clone, Debug, PartialEq)]
struct Refinement {
    when: Vec<(FieldName, Box<str>)>,
    state: State,
}

/// A provider's response to one request.
#[derive(Clone, Debug)]
pub struct ProviderResponse {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// Time of the response by the provider's clock, or else of its arrival: no task in it can be
    /// much younger.
    pub sent: Timestamp,
    /// Response body.
    pub body: ReceivedBody,
}

/// Body of a response, decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedBody {
    /// Not read, since the mapping ignores it.
    Ignored,
    /// Larger than the limit.
    Truncated {
        /// The part that was read.
        start: Bytes,
        /// Limit in bytes.
        limit: usize,
    },
    /// In a form that cannot be read, for this reason.
    Unreadable(String),
    /// The whole body.
    Whole(Bytes),
}

/// Result of mapping a response.
#[derive(Debug)]
pub struct MappedResponse {
    /// The envelope's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The envelope's message, for people.
    pub message: Option<String>,
    /// Pause that the body of an error response asks for.
    pub retry_after: Option<Duration>,
    /// Observation or failure of each task, in the order of the request.
    pub outcomes: Vec<PollOutcome>,
    /// True if a failure concerns the response as a whole and says nothing about any single task.
    pub has_failed_whole: bool,
}

/// A response with the fields found for one task. Without fields of the body there are headers and
/// the HTTP status.
#[derive(Clone, Copy)]
struct ResponseView<'a> {
    response: &'a ProviderResponse,
    envelope: Option<&'a Fields<'a>>,
    task: Option<&'a Fields<'a>>,
}

impl<'a> ResponseView<'a> {
    fn get(&self, name: FieldName) -> Option<&'a FieldValue<'a>> {
        let fields = if name.is_envelope() { self.envelope } else { self.task };
        fields.map(|fields| fields.get(name))
    }

    fn with_task(self, task: &'a Fields<'a>) -> Self {
        Self { task: Some(task), ..self }
    }
}

impl Mapping {
    /// Maps the response to a request for the tasks with these IDs: to the batch query if it
    /// `is_batch`, even for one task.
    pub fn map_response(
        &self,
        response: &ProviderResponse,
        ids: &[&str],
        is_batch: bool,
    ) -> MappedResponse {
        let mut repaired = Vec::new();
        let extract = self.extract(&response.body, &mut repaired, &|id| ids.contains(&id));
        self.observe(response, extract.as_ref(), ids, is_batch)
    }

    /// Extracts all fields from a body, unless it is ignored. A body with faulty strings or numbers,
    /// or with words that are numbers of many digits, is repaired in `buffer`.
    fn extract<'b>(
        &self,
        body: &'b ReceivedBody,
        buffer: &'b mut Vec<u8>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Option<Result<Extract<'b>, String>> {
        let (body, is_truncated) = match body {
            ReceivedBody::Ignored | ReceivedBody::Unreadable(_) => return None,
            ReceivedBody::Truncated { start, .. } => (start, true),
            ReceivedBody::Whole(body) => (body, false),
        };
        let strict = self.paths.extract(body, is_truncated, is_wanted);
        if strict.as_ref().map_or(true, |extract| extract.has_rounded)
            && let Some(repaired) = repair::repair(body)
        {
            *buffer = repaired;
            return Some(self.paths.extract(buffer, is_truncated, is_wanted));
        }
        Some(strict)
    }

    /// Iterates over the codes in the mapping.
    pub fn named_codes(&self) -> impl Iterator<Item = &str> {
        let codes = self.codes.iter().map(|(code, _)| &**code);
        self.success.iter().map(|code| &**code).chain(codes)
    }

    /// Iterates over the words in the mapping that a task can have as its status: those of the
    /// states, and codes that end a task.
    pub fn named_words(&self) -> impl Iterator<Item = Arc<str>> {
        let ends = self.codes.iter().filter(|(_, meaning)| matches!(meaning, CodeMeaning::Ends(_)));
        let codes = ends.map(|(code, _)| Arc::from(&**code));
        self.states.iter().map(|(word, _)| Arc::clone(word)).chain(codes)
    }

    /// Iterates over the HTTP statuses that the mapping accepts by number, without patterns such as
    /// `2xx`.
    pub fn named_statuses(&self) -> impl Iterator<Item = u16> {
        self.accept.iter().filter_map(|pattern| match pattern {
            StatusPattern::Exactly(status) => Some(*status),
            StatusPattern::Hundred(_) => None,
        })
    }

    fn source(&self, name: FieldName) -> Option<&FieldSource> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, source)| source)
    }

    /// Returns the text of a field; `None` if the mapping has no such field, or the response has
    /// nothing or null there.
    ///
    /// # Errors
    /// Fails when the field has a value that is no text, with the kind of the value.
    fn text<'a>(
        &self,
        name: FieldName,
        view: ResponseView<'a>,
    ) -> Result<Option<Cow<'a, str>>, &'static str> {
        let Some(source) = self.source(name) else { return Ok(None) };
        let text = match &source.origin {
            Origin::HttpStatus => Some(view.response.status.to_string().into()),
            Origin::Header(header) => {
                let value = view.response.headers.get(header);
                value.map(|value| String::from_utf8_lossy(value.as_bytes()))
            }
            Origin::Body(_) => match view.get(name) {
                Some(FieldValue::Text(text)) => Some(Cow::Borrowed(&**text)),
                None | Some(FieldValue::Missing | FieldValue::Null) => None,
                // An API may send `"success": true` instead of a code.
                Some(FieldValue::Boolean(value)) if name == FieldName::Code => {
                    Some(if *value { "true" } else { "false" }.into())
                }
                Some(FieldValue::Boolean(_)) => return Err(A_BOOLEAN),
                Some(FieldValue::Other(kind)) => return Err(kind),
            },
        };
        Ok(text.map(|text| match &source.until {
            Some(until) => text.split(&**until).next().unwrap_or_default().to_owned().into(),
            None => text,
        }))
    }

    /// Explains the mapping of a response for the task `id`, for a person: one line for each field
    /// with its name, its path and its value.
    pub fn explain(&self, response: &ProviderResponse, id: &str) -> Vec<[String; 3]> {
        let mut repaired = Vec::new();
        let extract = self.extract(&response.body, &mut repaired, &|named| named == id);
        let extract = extract.and_then(Result::ok);
        let nothing = || "nothing".to_owned();
        let mut lines = Vec::new();
        if !self.ignores_body {
            let found = extract.as_ref().map_or_else(nothing, Extract::describe_tasks);
            lines.push(["task".to_owned(), format!("{:?}", self.task_pointer), found]);
        }
        for (name, source) in &self.fields {
            let (path, found) = match &source.origin {
                Origin::Body(pointers) => {
                    let found =
                        extract.as_ref().map_or_else(nothing, |found| found.describe(*name));
                    (pointers.clone(), found)
                }
                Origin::HttpStatus => (source.describe().to_owned(), response.status.to_string()),
                Origin::Header(header) => {
                    let value = response.headers.get(header);
                    let quoted = value.map(|text| quote(&String::from_utf8_lossy(text.as_bytes())));
                    (format!("header {header}"), quoted.unwrap_or_else(nothing))
                }
            };
            lines.push([name.as_str().to_owned(), path, found]);
        }
        lines
    }
}

impl Extract<'_> {
    fn describe(&self, name: FieldName) -> String {
        let fields = match &self.tasks {
            _ if name.is_envelope() => Some(&self.envelope),
            ExtractedTasks::One(task) => Some(task),
            ExtractedTasks::Many { wanted, .. } => wanted.first(),
            ExtractedTasks::Missing | ExtractedTasks::Null | ExtractedTasks::Other(_) => None,
        };
        match fields.map(|fields| fields.get(name)) {
            None | Some(FieldValue::Missing) => "nothing".to_owned(),
            Some(FieldValue::Null) => "null".to_owned(),
            Some(FieldValue::Boolean(value)) => value.to_string(),
            Some(FieldValue::Other(kind)) => (*kind).to_owned(),
            Some(FieldValue::Text(text)) => quote(text),
        }
    }

    fn describe_tasks(&self) -> String {
        match &self.tasks {
            ExtractedTasks::Missing => "nothing".to_owned(),
            ExtractedTasks::Null => "null".to_owned(),
            ExtractedTasks::Other(kind) => (*kind).to_owned(),
            ExtractedTasks::One(_) => "an object".to_owned(),
            ExtractedTasks::Many { unnamed: true, .. } => {
                "an array whose elements have no ID".to_owned()
            }
            ExtractedTasks::Many { wanted, .. } => {
                format!("an array: {} of the task", wanted.len())
            }
        }
    }
}

/// Quotes and escapes a text, so that a response cannot add lines to an explanation.
fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_EXPLAINED_CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl StatusPattern {
    fn matches(self, status: u16) -> bool {
        match self {
            Self::Exactly(code) => code == status,
            Self::Hundred(hundred) => hundred == status / 100,
        }
    }
}

impl FieldSource {
    fn describe(&self) -> &str {
        match &self.origin {
            Origin::Body(pointers) => pointers,
            Origin::Header(name) => name.as_str(),
            Origin::HttpStatus => "http_status",
        }
    }
}

/// Reports whether two words of an API are the same, trimmed and without case.
pub fn same_word(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}
