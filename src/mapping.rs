//! JSON to observations: what a provider's answer means. Pure: bytes in, words out.

pub mod challenge;
pub mod compile;
pub mod convert;
pub mod definition;
pub mod explain;
pub mod extract;
mod observe;
pub mod path;
mod repair;
pub mod row;
pub mod time;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::clock::Timestamp;
use crate::label::bounded;
use crate::observation::{Failure, Observation, Reason, State};
use convert::{DelayFormat, ProgressFormat};
use extract::{Extract, Tasks};
use path::Paths;
use row::{A_BOOLEAN, FieldName, Found, Row};
use time::TimeFormat;

/// The code of an answer that has blank text in the place of its code.
const BLANK: &str = "blank";

/// A mapping in which every path, word and format is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    accept: Vec<StatusPattern>,
    /// Whether the HTTP status alone tells the state, so that no body is read.
    pub ignores_body: bool,
    paths: Paths,
    task_pointer: String,
    fields: Vec<(FieldName, Source)>,
    success: Vec<Box<str>>,
    codes: Vec<(Box<str>, CodeMeaning)>,
    states: Vec<(Arc<str>, State)>,
    refine: Vec<Refinement>,
    enqueue_format: TimeFormat,
    finish_format: TimeFormat,
    progress_format: ProgressFormat,
    delay_format: DelayFormat,
    /// The rank of that place of the code at which `failure_code` stands too.
    task_code_rank: Option<u8>,
}

/// `200`, or `2xx` as 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusPattern {
    Exactly(u16),
    Hundred(u16),
}

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    place: Place,
    until: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// The pointers as written, with commas between them.
    Json(String),
    Header(HeaderName),
    HttpStatus,
}

/// What a code of the envelope means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeMeaning {
    Fails(Reason),
    Ends(State),
}

#[derive(Clone, Debug, PartialEq)]
struct Refinement {
    when: Vec<(FieldName, Box<str>)>,
    state: State,
}

/// What came back from a provider.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The response's headers.
    pub headers: &'a HeaderMap,
    /// The moment at which the answer was sent: no task of it can be much younger.
    pub sent: Timestamp,
    /// The response's body.
    pub body: Body<'a>,
}

/// A response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Not read, because the mapping needs none.
    Unread,
    /// Larger than the limit.
    Cut {
        /// The part that was read.
        start: &'a [u8],
        /// The limit in bytes.
        limit: usize,
    },
    /// Whole, and in a form that cannot be read: why.
    Unreadable(&'a str),
    /// All of it.
    Whole(&'a [u8]),
}

/// What an answer said.
#[derive(Debug)]
pub struct Reading {
    /// The envelope's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The envelope's message, for people.
    pub message: Option<String>,
    /// For how long the body of a refusal asks to leave the provider alone.
    pub retry_after: Option<Duration>,
    /// One a task, in the order in which they were asked for.
    pub tasks: Vec<Result<Observation, Failure>>,
    /// True where a failure among them is of the answer as a whole, which says nothing of any single
    /// task.
    pub has_failed_whole: bool,
}

/// An answer and the rows that were found in its body, for one task. Without rows there are headers
/// and the HTTP status.
#[derive(Clone, Copy)]
struct View<'a> {
    answer: &'a Answer<'a>,
    envelope: Option<&'a Row<'a>>,
    task: Option<&'a Row<'a>>,
}

impl<'a> View<'a> {
    fn get(&self, field: FieldName) -> Option<&'a Found<'a>> {
        let row = if field.is_envelope() { self.envelope } else { self.task };
        row.map(|row| row.get(field))
    }

    fn of_task(self, row: &'a Row<'a>) -> Self {
        Self { task: Some(row), ..self }
    }
}

impl Mapping {
    /// Reads an answer to a question for the tasks `asked`.
    pub fn read(&self, answer: &Answer<'_>, asked: &[&str]) -> Reading {
        let mut repaired = Vec::new();
        let extract = self.extract(answer.body, &mut repaired, &|id| asked.contains(&id));
        let found = extract.as_ref().and_then(|extract| extract.as_ref().ok());
        let view = View { answer, envelope: found.map(|found| &found.envelope), task: None };
        let code = self.code(view);
        let message = self.text(FieldName::Message, view).ok().flatten().map(Cow::into_owned);
        // The code that belongs to a task is no word on the answer.
        let judged = code.as_ref().filter(|_| !self.is_code_of_task(found, view));
        let verdict = self.verdict(view, judged, extract.as_ref());
        let verdict = match verdict {
            Ok(state) if asked.len() > 1 => of_many(state, found, code.as_ref()),
            verdict => verdict,
        };
        let has_failed_whole =
            verdict.is_err() || found.is_some_and(|found| found.is_undivided(asked.len()));
        let retry_after = verdict.as_ref().err().and_then(|_| self.retry_after(view));
        let tasks = match verdict {
            Err(failure) => vec![Err(failure); asked.len()],
            Ok(Some(state)) => vec![Ok(self.ended(state, view)); asked.len()],
            Ok(None) => {
                // The envelope's code stands by its failures, success or not: it is the API's word,
                // unless the rest of that is unread.
                let coded = |failure: Failure| match failure.reason {
                    Reason::TooLarge => failure,
                    _ => Failure { code: code.clone().unwrap_or_default(), ..failure },
                };
                asked.iter().map(|id| self.task(id, found, view).map_err(coded)).collect()
            }
        };
        Reading { code, message, retry_after, tasks, has_failed_whole }
    }

    /// All that is looked for in a body, unless it is not read. What is wrong with its texts alone
    /// is repaired in `buffer`.
    fn extract<'b>(
        &self,
        body: Body<'b>,
        buffer: &'b mut Vec<u8>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Option<Result<Extract<'b>, String>> {
        let (body, is_cut) = match body {
            Body::Unread | Body::Unreadable(_) => return None,
            Body::Cut { start, .. } => (start, true),
            Body::Whole(body) => (body, false),
        };
        let strict = self.paths.extract(body, is_cut, wanted);
        if strict.is_err()
            && let Some(repaired) = repair::repair(body)
        {
            *buffer = repaired;
            return Some(self.paths.extract(buffer, is_cut, wanted));
        }
        Some(strict)
    }

    /// The codes that the mapping names, each of which an answer may have.
    pub fn named_codes(&self) -> impl Iterator<Item = &str> {
        let codes = self.codes.iter().map(|(code, _)| &**code);
        self.success.iter().map(|code| &**code).chain(codes)
    }

    /// Iterates over the words that the mapping names and that a task can have for its status: those
    /// of the states, and codes that end a task.
    pub fn named_words(&self) -> impl Iterator<Item = Arc<str>> {
        let ends = self.codes.iter().filter(|(_, meaning)| matches!(meaning, CodeMeaning::Ends(_)));
        let codes = ends.map(|(code, _)| Arc::from(&**code));
        self.states.iter().map(|(word, _)| Arc::clone(word)).chain(codes)
    }

    /// The HTTP statuses that the mapping accepts exactly, patterns such as `2xx` left out.
    pub fn named_statuses(&self) -> impl Iterator<Item = u16> {
        self.accept.iter().filter_map(|pattern| match pattern {
            StatusPattern::Exactly(status) => Some(*status),
            StatusPattern::Hundred(_) => None,
        })
    }

    /// What the answer as a whole says: a failure of the poll, the end of the task, or that the
    /// tasks in it are to be read. The order is that of [`Reason::ALL`].
    fn verdict(
        &self,
        view: View<'_>,
        code: Option<&Arc<str>>,
        extract: Option<&Result<Extract<'_>, String>>,
    ) -> Result<Option<State>, Failure> {
        let fail = |reason, detail: String| {
            Err(Failure { reason, code: code.cloned().unwrap_or_default(), detail })
        };
        let View { answer, .. } = view;
        let status = answer.status;
        let page = challenge::find(answer, extract.is_some_and(Result::is_ok));
        let by_status = match status {
            401 | 403 if page.is_none() => Some(Reason::Auth),
            429 => Some(Reason::RateLimited),
            404 => Some(Reason::NotFound),
            _ => None,
        };
        let meaning = code.and_then(|code| self.meaning(code));
        let by_code = match meaning {
            Some(CodeMeaning::Fails(reason)) => Some(reason),
            Some(CodeMeaning::Ends(_)) | None => None,
        };
        // The first in the order of the reasons: an empty account that says 429 is `auth`.
        let first = Reason::ALL.into_iter().find(|r| [by_status, by_code].contains(&Some(*r)));
        if let Some(reason) = first {
            let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
            return fail(reason, format!("HTTP status {status}{code}"));
        }
        if let Some(page) = page {
            return fail(Reason::Http, format!("HTTP status {status} with {page}"));
        }
        if let Some(CodeMeaning::Ends(state)) = meaning {
            return Ok(Some(state));
        }
        if !self.accepts(status) && status != 204 {
            return fail(Reason::Http, format!("HTTP status {status}"));
        }
        match (answer.body, extract) {
            (Body::Cut { limit, .. }, Some(read))
                if !read.as_ref().is_ok_and(|read| self.has_task(read, view)) =>
            {
                return Err(too_large(limit));
            }
            (Body::Unreadable(why), _) => return fail(Reason::Decode, why.to_owned()),
            (Body::Whole(body), _) if body.iter().all(u8::is_ascii_whitespace) => {
                return fail(Reason::Empty, format!("HTTP status {status} without a body"));
            }
            (_, Some(Err(error))) => return fail(Reason::Decode, format!("not JSON: {error}")),
            _ => {}
        }
        match code {
            Some(code) if !self.is_success(code) => fail(Reason::Api, format!("code {code}")),
            _ => Ok(None),
        }
    }

    /// Reports whether the answer's code is the failure code of the one task in it, which has a
    /// status that the mapping knows.
    fn is_code_of_task(&self, found: Option<&Extract<'_>>, view: View<'_>) -> bool {
        let Some(Extract { envelope, tasks: Tasks::One(row), .. }) = found else { return false };
        let is_shared = self.task_code_rank == Some(envelope.rank(FieldName::Code))
            && envelope.get(FieldName::Code).is_something();
        is_shared && self.accepts(view.answer.status) && self.has_known_status(view.of_task(row))
    }

    fn accepts(&self, status: u16) -> bool {
        self.accept.iter().any(|pattern| pattern.matches(status))
    }

    fn meaning(&self, code: &str) -> Option<CodeMeaning> {
        self.codes.iter().find(|(word, _)| same_word(word, code)).map(|(_, meaning)| *meaning)
    }

    /// Returns the envelope's code as it came, cut, or a word for what stands in its place and is no
    /// text: whatever it is, it is not the success that a mapping lists.
    fn code(&self, view: View<'_>) -> Option<Arc<str>> {
        match self.text(FieldName::Code, view) {
            Ok(Some(text)) if text.trim().is_empty() => {
                (!self.is_success(&text)).then(|| BLANK.into())
            }
            Ok(text) => text.map(|text| bounded(&text).into()),
            Err(kind) => Some(kind.into()),
        }
    }

    fn is_success(&self, code: &str) -> bool {
        self.success.is_empty() || self.success.iter().any(|word| same_word(word, code))
    }

    fn retry_after(&self, view: View<'_>) -> Option<Duration> {
        self.delay_format.parse(&self.text(FieldName::RetryAfter, view).ok()??)
    }

    fn source(&self, field: FieldName) -> Option<&Source> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, source)| source)
    }

    /// The text of a field; `None` where the mapping has no such field, or the answer has nothing
    /// or null there.
    ///
    /// # Errors
    /// The kind of a value that no field can have, where one stands there.
    fn text<'a>(
        &self,
        field: FieldName,
        view: View<'a>,
    ) -> Result<Option<Cow<'a, str>>, &'static str> {
        let Some(source) = self.source(field) else { return Ok(None) };
        let text = match &source.place {
            Place::HttpStatus => Some(view.answer.status.to_string().into()),
            Place::Header(name) => {
                let value = view.answer.headers.get(name);
                value.map(|value| String::from_utf8_lossy(value.as_bytes()))
            }
            Place::Json(_) => match view.get(field) {
                Some(Found::Text(text)) => Some(Cow::Borrowed(&**text)),
                None | Some(Found::Missing | Found::Null) => None,
                // An API may say `"success": true` instead of a code.
                Some(Found::Boolean(value)) if field == FieldName::Code => {
                    Some(if *value { "true" } else { "false" }.into())
                }
                Some(Found::Boolean(_)) => return Err(A_BOOLEAN),
                Some(Found::Other(kind)) => return Err(kind),
            },
        };
        Ok(text.map(|text| match &source.until {
            Some(until) => text.split(&**until).next().unwrap_or_default().to_owned().into(),
            None => text,
        }))
    }
}

/// A body in whose beginning no status stands.
fn too_large(limit: usize) -> Failure {
    let detail = format!("the body is larger than {limit} bytes: raise body_size_limit");
    Failure::new(Reason::TooLarge, detail)
}

/// Refuses to believe of each task of a batch what an answer can only say of one: a code that ends
/// a task, or a task without an ID.
fn of_many(
    state: Option<State>,
    found: Option<&Extract<'_>>,
    code: Option<&Arc<str>>,
) -> Result<Option<State>, Failure> {
    let code = code.cloned().unwrap_or_default();
    let (reason, detail) = match found.map(|found| &found.tasks) {
        _ if state.is_some() => (Reason::Api, format!("code {code}, which ends one task")),
        None => (Reason::Mapping, "nothing distinguishes the tasks".to_owned()),
        Some(Tasks::One(row)) if !matches!(row.get(FieldName::Id), Found::Text(_)) => {
            (Reason::Mapping, "one task without an ID".to_owned())
        }
        Some(_) => return Ok(None),
    };
    Err(Failure { reason, code, detail: format!("{detail}, in the answer to a batch") })
}

impl Extract<'_> {
    /// Reports whether the answer to a question for so many tasks cannot be divided into answers for
    /// each. A list without the tasks, or null in its place, can: it says that they are not there.
    fn is_undivided(&self, asked: usize) -> bool {
        match &self.tasks {
            Tasks::Missing | Tasks::Other(_) => true,
            Tasks::One(_) => asked > 1,
            Tasks::Many { wanted, unnamed } => *unnamed && wanted.is_empty(),
            Tasks::Null => false,
        }
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

impl Source {
    fn describe(&self) -> &str {
        match &self.place {
            Place::Json(pointer) => pointer,
            Place::Header(name) => name.as_str(),
            Place::HttpStatus => "http_status",
        }
    }
}

/// Reports whether two words of an API are the same, trimmed and without case.
pub fn same_word(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}
