//! JSON to observations: what a provider's answer means. Pure: bytes in, words out.

pub mod challenge;
pub mod compile;
pub mod convert;
pub mod definition;
pub mod explain;
pub mod path;
pub mod row;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::label::bounded;
use crate::observation::{Failure, Observation, Reason, State};
use convert::{ProgressFormat, TimeFormat};
use path::{Extract, Paths, Tasks};
use row::{FieldName, Found, Row};

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
    /// The pointer as written.
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
    /// The response's body.
    pub body: Body<'a>,
}

/// A response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Not read, because the mapping needs none.
    Unread,
    /// Larger than the limit, which is given in bytes.
    TooLarge(usize),
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
    /// One a task, in the order in which they were asked for.
    pub tasks: Vec<Result<Observation, Failure>>,
}

impl Mapping {
    /// Reads an answer to a question for the tasks `asked`.
    pub fn read(&self, answer: &Answer<'_>, asked: &[&str]) -> Reading {
        let wanted = |id: &str| asked.contains(&id);
        let extract = match answer.body {
            Body::Whole(body) => Some(self.paths.extract(body, &wanted)),
            Body::Unread | Body::TooLarge(_) | Body::Unreadable(_) => None,
        };
        let found = extract.as_ref().and_then(|extract| extract.as_ref().ok());
        let envelope = found.map(Extract::envelope);
        let code = match self.text(FieldName::Code, envelope, answer) {
            Ok(code) => code.filter(|code| !code.is_empty()).map(|code| Arc::from(bounded(&code))),
            Err(_) => None,
        };
        let message = self.text(FieldName::Message, envelope, answer).ok().flatten();
        let message = message.map(Cow::into_owned);
        let verdict = self.verdict(answer, code.as_ref(), extract.as_ref());
        let tasks = match (verdict, found) {
            (Err(failure), _) => vec![Err(failure); asked.len()],
            (Ok(Some(state)), _) => vec![Ok(self.ended(state, envelope, answer)); asked.len()],
            (Ok(None), found) => {
                // The envelope's code stands by its failures, success or not: it is the API's word.
                let coded = |failure| Failure { code: code.clone().unwrap_or_default(), ..failure };
                asked.iter().map(|id| self.task(id, found, answer).map_err(coded)).collect()
            }
        };
        Reading { code, message, tasks }
    }

    /// What the answer as a whole says: a failure of the poll, the end of the task, or that the
    /// tasks in it are to be read. The order is that of [`Reason::ALL`].
    fn verdict(
        &self,
        answer: &Answer<'_>,
        code: Option<&Arc<str>>,
        extract: Option<&Result<Extract<'_>, String>>,
    ) -> Result<Option<State>, Failure> {
        let fail = |reason, detail: String| {
            Err(Failure { reason, code: code.cloned().unwrap_or_default(), detail })
        };
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
        let accepted = self.accept.iter().any(|pattern| pattern.matches(status));
        if !accepted && status != 204 {
            return fail(Reason::Http, format!("HTTP status {status}"));
        }
        match (answer.body, extract) {
            (Body::TooLarge(limit), _) => {
                return fail(Reason::TooLarge, format!("the body is larger than {limit} bytes"));
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

    /// The task `id` of an answer that speaks of success.
    fn task(
        &self,
        id: &str,
        found: Option<&Extract<'_>>,
        answer: &Answer<'_>,
    ) -> Result<Observation, Failure> {
        let Some(extract) = found else { return self.observation(None, answer) };
        let at = if self.task_pointer.is_empty() { "the body" } else { &*self.task_pointer };
        let fail = |reason, detail| Err(Failure::new(reason, detail));
        match &extract.tasks {
            Tasks::One(row) => match row.get(FieldName::Id) {
                Found::Text(named) if *named != id => {
                    fail(Reason::Mapping, format!("{at} is of another task"))
                }
                Found::Other(kind) => fail(Reason::Mapping, format!("the task's ID is {kind}")),
                _ => self.observation(Some(row), answer),
            },
            Tasks::Many { wanted, unnamed } => {
                let is_asked = |row: &&Row<'_>| matches!(row.get(FieldName::Id), Found::Text(named) if *named == id);
                match wanted.iter().find(is_asked) {
                    Some(row) => self.observation(Some(row), answer),
                    // Not that the tasks are missing: the mapping does not know them.
                    None if *unnamed => {
                        fail(Reason::Mapping, format!("no element of {at} has an ID"))
                    }
                    None => fail(Reason::NotFound, format!("{at} does not hold the task")),
                }
            }
            Tasks::Null => fail(Reason::NotFound, format!("{at} is null")),
            Tasks::Missing => fail(Reason::Mapping, format!("{at} is missing")),
            Tasks::Other(kind) => fail(Reason::Mapping, format!("{at} is {kind}")),
        }
    }

    /// What one task's fields say.
    fn observation(
        &self,
        row: Option<&Row<'_>>,
        answer: &Answer<'_>,
    ) -> Result<Observation, Failure> {
        let text = |field| self.text(field, row, answer);
        let status = text(FieldName::Status)?.ok_or_else(|| {
            let place = self.source(FieldName::Status).map_or("status", Source::describe);
            Failure::new(Reason::Mapping, format!("{place} is missing or null"))
        })?;
        let (word, mut state) = self.state(&status);
        for refinement in &self.refine {
            let holds = |(field, expected): &(FieldName, Box<str>)| matches!(text(*field), Ok(Some(found)) if same_word(&found, expected));
            if refinement.when.iter().all(holds) {
                state = refinement.state;
            }
        }
        if state == State::NotFound {
            return Err(Failure::new(Reason::NotFound, format!("the status is {word}")));
        }
        let time = |field, format: TimeFormat| {
            let Some(text) = text(field)? else { return Ok(None) };
            format.parse(&text).map_err(|error| {
                let place = self.source(field).map_or(field.as_str(), Source::describe);
                Failure::new(Reason::Mapping, format!("{place} ({}): {error}", field.as_str()))
            })
        };
        let optional = |field| {
            let text = text(field).ok().flatten()?;
            (!text.is_empty()).then(|| Arc::from(bounded(&text)))
        };
        Ok(Observation {
            state,
            status: word,
            job_type: optional(FieldName::JobType),
            enqueue_time: time(FieldName::EnqueueTime, self.enqueue_format)?,
            finish_time: match state.is_final() {
                true => time(FieldName::FinishTime, self.finish_format)?,
                false => None,
            },
            progress: text(FieldName::Progress)
                .ok()
                .flatten()
                .and_then(|text| self.progress_format.parse(&text)),
            // Some APIs fill the field in whatever happens: SUCCESS, 0, a link to the result.
            failure_code: match state {
                State::Failed => optional(FieldName::FailureCode),
                _ => None,
            },
        })
    }

    /// A task that the envelope's code alone has ended.
    fn ended(&self, state: State, row: Option<&Row<'_>>, answer: &Answer<'_>) -> Observation {
        let text = |field| self.text(field, row, answer).ok().flatten().unwrap_or_default();
        let code: Arc<str> = bounded(&text(FieldName::Code)).into();
        let failure_code = (state == State::Failed).then(|| Arc::clone(&code));
        Observation { failure_code, ..Observation::new(state, code) }
    }

    /// The provider's word as it came, and our word for it.
    fn state(&self, status: &str) -> (Arc<str>, State) {
        match self.states.iter().find(|(word, _)| same_word(word, status)) {
            Some((word, state)) if **word == *status => (Arc::clone(word), *state),
            Some((_, state)) => (bounded(status).into(), *state),
            None => (bounded(status).into(), State::Unknown),
        }
    }

    fn meaning(&self, code: &str) -> Option<CodeMeaning> {
        self.codes.iter().find(|(word, _)| same_word(word, code)).map(|(_, meaning)| *meaning)
    }

    fn is_success(&self, code: &str) -> bool {
        self.success.is_empty() || self.success.iter().any(|word| same_word(word, code))
    }

    fn source(&self, field: FieldName) -> Option<&Source> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, source)| source)
    }

    /// The text of a field; `None` where the mapping has no such field, or the answer has nothing
    /// or null there.
    fn text<'a>(
        &self,
        field: FieldName,
        row: Option<&'a Row<'_>>,
        answer: &Answer<'a>,
    ) -> Result<Option<Cow<'a, str>>, Failure> {
        let Some(source) = self.source(field) else { return Ok(None) };
        let text = match &source.place {
            Place::HttpStatus => Some(answer.status.to_string().into()),
            Place::Header(name) => {
                answer.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
            }
            Place::Json(pointer) => match row.map(|row| row.get(field)) {
                Some(Found::Text(text)) => Some(Cow::Borrowed(&**text)),
                None | Some(Found::Missing | Found::Null) => None,
                Some(Found::Other(kind)) => {
                    return Err(Failure::new(Reason::Mapping, format!("{pointer} is {kind}")));
                }
            },
        };
        Ok(text.map(|text| match &source.until {
            Some(until) => text.split(&**until).next().unwrap_or_default().to_owned().into(),
            None => text,
        }))
    }
}

impl<'de> Extract<'de> {
    /// The row that holds code and message.
    fn envelope(&self) -> &Row<'de> {
        match &self.tasks {
            Tasks::One(row) if matches!(row.get(FieldName::Code), Found::Text(_)) => row,
            _ => &self.envelope,
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

/// Words of an API are compared trimmed and without case.
fn same_word(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}
