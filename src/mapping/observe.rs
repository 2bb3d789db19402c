//! The meaning of a response: first of the response as a whole, then of each task in it.

use std::sync::Arc;

use http::HeaderName;
use http::header::CONTENT_TYPE;

use super::extract::{Extract, ExtractedTasks, ReadEnd};
use super::fields::{FieldName, FieldValue};
use super::time::TimeFormat;
use super::{
    CodeMeaning, FieldSource, MappedResponse, Mapping, ProviderResponse, ReceivedBody,
    ResponseView, same_word,
};
use crate::clock::Timestamp;
use crate::label::bounded;
use crate::observation::{Failure, Observation, OddField, Oddity, PollOutcome, Reason, State};

/// Code of a response with blank text in place of its code.
const BLANK: &str = "blank";
/// Maximum number of characters of an odd value that are shown.
const MAX_ODD_CHARS: usize = 64;
/// Header with which Cloudflare marks requests that it has challenged or blocked.
const CF_MITIGATED: HeaderName = HeaderName::from_static("cf-mitigated");
/// First bytes of an HTML page, for responses without a content type.
const HTML_STARTS: [&[u8]; 2] = [b"<!doctype html", b"<html"];

impl Mapping {
    /// Interprets the fields of a response to a request for the tasks with these IDs, which used the
    /// batch query if it `is_batch`.
    pub(super) fn observe(
        &self,
        response: &ProviderResponse,
        extract: Option<&Result<Extract<'_>, String>>,
        ids: &[&str],
        is_batch: bool,
    ) -> MappedResponse {
        let found = extract.and_then(|extract| extract.as_ref().ok());
        let view =
            ResponseView { response, envelope: found.map(|found| &found.envelope), task: None };
        let code = self.code(view);
        let message = self.text(FieldName::Message, view).ok().flatten().map(Into::into);
        // A code that belongs to a task says nothing about the whole response.
        let code_of_whole = code.as_ref().filter(|_| !self.is_code_of_task(found, view));
        let class = self.classify(view, code_of_whole, extract);
        let class = match class {
            Ok(state) if is_batch => classify_batch(state, found, code.as_ref()),
            class => class,
        };
        let has_failed_whole =
            class.is_err() || found.is_some_and(|found| found.is_indivisible(is_batch));
        let retry_after = class
            .as_ref()
            .err()
            .and_then(|_| self.delay_format.parse(&self.text(FieldName::RetryAfter, view).ok()??));
        let outcomes = match class {
            Err(failure) => vec![Err(failure); ids.len()],
            Ok(ended) => {
                // Failures carry the envelope's code, success or not, since it is what the API said,
                // unless the rest of the response is unread.
                let with_code = |failure: Failure| match failure.reason {
                    Reason::TooLarge => failure,
                    _ => Failure { code: code.clone().unwrap_or_default(), ..failure },
                };
                let outcomes = ids.iter().map(|id| match ended {
                    Some(state) => self.observe_by_code(id, state, found, view),
                    None => self.observe_task(id, found, view),
                });
                outcomes.map(|outcome| outcome.map_err(with_code)).collect()
            }
        };
        MappedResponse { code, message, retry_after, outcomes, has_failed_whole }
    }

    /// Classifies the response as a whole: a failure of the poll, the final state of the task, or
    /// `None` if the tasks in it are to be read. Reasons are tried in the order of [`Reason::ALL`].
    pub(super) fn classify(
        &self,
        view: ResponseView<'_>,
        code: Option<&Arc<str>>,
        extract: Option<&Result<Extract<'_>, String>>,
    ) -> Result<Option<State>, Failure> {
        let fail = |reason, detail: String| {
            Err(Failure { reason, code: code.cloned().unwrap_or_default(), detail: detail.into() })
        };
        let ResponseView { response, .. } = view;
        let status = response.status;
        let page = find_page(response, extract.is_some_and(Result::is_ok));
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
        // The first in the order of the reasons: an empty account with status 429 is `auth`.
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
        if !self.accepts(status) {
            return fail(Reason::Http, format!("HTTP status {status}"));
        }
        match (&response.body, extract) {
            (ReceivedBody::Truncated { limit, .. }, Some(read))
                if !read.as_ref().is_ok_and(|read| self.has_task(read, view)) =>
            {
                return Err(too_large(*limit));
            }
            (ReceivedBody::Unreadable(why), _) => return fail(Reason::Decode, why.clone()),
            (ReceivedBody::Whole(body), _) if body.iter().all(u8::is_ascii_whitespace) => {
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

    /// Reports whether the response's code is the failure code of the only task in it, and the task
    /// has a status that the mapping lists.
    fn is_code_of_task(&self, found: Option<&Extract<'_>>, view: ResponseView<'_>) -> bool {
        let Some(Extract { envelope, tasks: ExtractedTasks::One(task), .. }) = found else {
            return false;
        };
        let is_shared = self.task_code_rank == Some(envelope.rank(FieldName::Code))
            && envelope.get(FieldName::Code).is_present();
        is_shared
            && self.accepts(view.response.status)
            && self.has_known_status(view.with_task(task))
    }

    fn accepts(&self, status: u16) -> bool {
        self.accept.iter().any(|pattern| pattern.matches(status))
    }

    fn meaning(&self, code: &str) -> Option<CodeMeaning> {
        self.codes.iter().find(|(word, _)| same_word(word, code)).map(|(_, meaning)| *meaning)
    }

    /// Returns the envelope's code as it was sent, truncated, or a word for a value that is no text:
    /// such a value is never one of the mapping's success codes.
    pub(super) fn code(&self, view: ResponseView<'_>) -> Option<Arc<str>> {
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

    /// Interprets the task `id` in a response that reports success.
    fn observe_task(
        &self,
        id: &str,
        found: Option<&Extract<'_>>,
        view: ResponseView<'_>,
    ) -> PollOutcome {
        let Some(extract) = found else { return self.observation(view) };
        let at = self.task_path();
        let fail = |reason, detail| Err(Failure::new(reason, detail));
        // A value that is missing in the part that was read may be in the rest.
        let unread = |end: &[ReadEnd]| match view.response.body {
            ReceivedBody::Truncated { limit, .. } if end.contains(&extract.end) => {
                Some(too_large(limit))
            }
            _ => None,
        };
        match &extract.tasks {
            ExtractedTasks::One(task) => {
                let view = view.with_task(task);
                self.check_id(id, view)?;
                match unread(&[ReadEnd::InTasks]) {
                    Some(failure) if !self.has_status(view) => Err(failure),
                    _ => self.observation(view),
                }
            }
            ExtractedTasks::Many { wanted, unnamed, .. } => {
                let is_it = |task: &&_| self.paths.id(task) == Some(id);
                match (wanted.iter().find(is_it), unread(&[ReadEnd::InTasks])) {
                    (Some(task), _) => self.observation(view.with_task(task)),
                    (None, Some(failure)) => Err(failure),
                    // The mapping may not know where the IDs are, so the tasks may well be there.
                    (None, None) if *unnamed => {
                        fail(Reason::Mapping, format!("no element of {at} has an ID"))
                    }
                    (None, None) => {
                        fail(Reason::NotFound, format!("{at} does not contain the task"))
                    }
                }
            }
            ExtractedTasks::Null => fail(Reason::NotFound, format!("{at} is null")),
            ExtractedTasks::Missing => match unread(&[ReadEnd::InTasks, ReadEnd::Outside]) {
                Some(failure) => Err(failure),
                None => fail(Reason::Mapping, format!("{at} is missing")),
            },
            ExtractedTasks::Other(kind) => fail(Reason::Mapping, format!("{at} is {kind}")),
        }
    }

    /// Returns the observation of one task. Fails only if the status is missing, of the wrong type,
    /// or means that the task is unknown.
    pub(super) fn observation(&self, view: ResponseView<'_>) -> PollOutcome {
        let path = || self.source(FieldName::Status).map_or("status", FieldSource::describe);
        let fail = |what: &str| Failure::new(Reason::Mapping, format!("{} is {what}", path()));
        let status = self.text(FieldName::Status, view).map_err(fail)?;
        let status = status.ok_or_else(|| fail("missing or null"))?;
        let (word, mut state) = self.state(&status);
        for refinement in &self.refine {
            let holds = |(field, expected): &(FieldName, Box<str>)| matches!(self.text(*field, view), Ok(Some(found)) if same_word(&found, expected));
            if refinement.when.iter().all(holds) {
                state = refinement.state;
            }
        }
        if state == State::NotFound {
            return Err(Failure::new(Reason::NotFound, format!("the status is {word}")));
        }
        let optional = |field| {
            let text = self.text(field, view).ok().flatten()?;
            (!text.is_empty()).then(|| Arc::from(bounded(&text)))
        };
        let mut odd = Vec::new();
        let mut time = |field, format| {
            self.time(field, format, view).unwrap_or_else(|oddity| {
                odd.push(oddity);
                None
            })
        };
        let enqueue_time = time(OddField::EnqueueTime, self.enqueue_format);
        let finish_time = match state.is_final() {
            true => time(OddField::FinishTime, self.finish_format),
            false => None,
        };
        let progress = self.text(FieldName::Progress, view).ok().flatten();
        Ok(Observation {
            state,
            status: word,
            job_type: optional(FieldName::JobType),
            enqueue_time,
            finish_time,
            progress: progress.and_then(|text| self.progress_format.parse(&text)),
            // Some APIs always fill in this field: with SUCCESS, 0, or a link to the result.
            failure_code: match state {
                State::Failed => optional(FieldName::FailureCode),
                _ => None,
            },
            odd,
        })
    }

    /// Checks that a task object does not have another ID than `id`.
    fn check_id(&self, id: &str, view: ResponseView<'_>) -> Result<(), Failure> {
        let fail = |detail| Err(Failure::new(Reason::Mapping, detail));
        match self.text(FieldName::Id, view) {
            Err(kind) => fail(format!("the task's ID is {kind}")),
            Ok(Some(named)) if !named.trim().is_empty() && *named != *id => {
                fail(format!("{} is about another task", self.task_path()))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Returns the path of the task, for a sentence.
    pub(super) fn task_path(&self) -> &str {
        if self.task_pointer.is_empty() { "the body" } else { &self.task_pointer }
    }

    /// Interprets the task `id`, which has ended by the envelope's code alone. Fails if the response
    /// names other tasks only.
    fn observe_by_code(
        &self,
        id: &str,
        state: State,
        found: Option<&Extract<'_>>,
        view: ResponseView<'_>,
    ) -> PollOutcome {
        match found.map(|found| &found.tasks) {
            Some(ExtractedTasks::One(task)) => self.check_id(id, view.with_task(task))?,
            Some(ExtractedTasks::Many { wanted, has_others: true, .. }) if wanted.is_empty() => {
                let detail = format!("{} holds other tasks only", self.task_path());
                return Err(Failure::new(Reason::Mapping, detail));
            }
            _ => {}
        }
        let code = self.text(FieldName::Code, view).ok().flatten().unwrap_or_default();
        let code: Arc<str> = bounded(&code).into();
        let failure_code = (state == State::Failed).then(|| Arc::clone(&code));
        Ok(Observation { failure_code, ..Observation::new(state, code) })
    }

    /// Returns a time in the response, if there is one.
    ///
    /// # Errors
    /// Fails when the value cannot be read, or is not plausible.
    fn time(
        &self,
        field: OddField,
        format: TimeFormat,
        view: ResponseView<'_>,
    ) -> Result<Option<Timestamp>, Oddity> {
        let name = match field {
            OddField::EnqueueTime => FieldName::EnqueueTime,
            OddField::FinishTime => FieldName::FinishTime,
        };
        match self.text(name, view) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => format.parse(&text, view.response.sent).map_err(|what| {
                let value = text.trim().chars().take(MAX_ODD_CHARS).collect();
                Oddity { field, value, what }
            }),
            Err(what) => Err(Oddity { field, value: String::new(), what }),
        }
    }

    /// Reports whether the part of a body that was read says something about the tasks.
    fn has_task(&self, extract: &Extract<'_>, view: ResponseView<'_>) -> bool {
        let is_whole = extract.end != ReadEnd::InTasks;
        match &extract.tasks {
            ExtractedTasks::One(task) => is_whole || self.has_status(view.with_task(task)),
            ExtractedTasks::Many { wanted, .. } => is_whole || !wanted.is_empty(),
            ExtractedTasks::Null | ExtractedTasks::Other(_) => true,
            ExtractedTasks::Missing => false,
        }
    }

    fn has_status(&self, view: ResponseView<'_>) -> bool {
        let status = self.text(FieldName::Status, view);
        matches!(status, Ok(Some(status)) if !status.trim().is_empty())
    }

    /// Reports whether a task has a status that the mapping lists.
    fn has_known_status(&self, view: ResponseView<'_>) -> bool {
        let status = self.text(FieldName::Status, view);
        matches!(status, Ok(Some(status)) if self.state(&status).1 != State::Unknown)
    }

    /// Returns the provider's word as it was sent, and the state that it means.
    fn state(&self, status: &str) -> (Arc<str>, State) {
        match self.states.iter().find(|(word, _)| same_word(word, status)) {
            Some((word, state)) if **word == *status => (Arc::clone(word), *state),
            Some((_, state)) => (bounded(status).into(), *state),
            None => (bounded(status).into(), State::Unknown),
        }
    }
}

impl Extract<'_> {
    /// Reports whether a response cannot be divided among the tasks of its request, of which a batch
    /// query can have several. A list without the tasks, or null in place of the list, can: it says
    /// that they do not exist.
    fn is_indivisible(&self, is_batch: bool) -> bool {
        match &self.tasks {
            ExtractedTasks::Missing | ExtractedTasks::Other(_) => true,
            ExtractedTasks::One(_) => is_batch,
            ExtractedTasks::Many { wanted, unnamed, .. } => *unnamed && wanted.is_empty(),
            ExtractedTasks::Null => false,
        }
    }
}

/// Refuses to apply to each task of a batch what can only be true of one: a code that ends a task,
/// or a task without an ID.
fn classify_batch(
    state: Option<State>,
    found: Option<&Extract<'_>>,
    code: Option<&Arc<str>>,
) -> Result<Option<State>, Failure> {
    let code = code.cloned().unwrap_or_default();
    let (reason, detail) = match found.map(|found| &found.tasks) {
        _ if state.is_some() => (Reason::Api, format!("code {code}, which ends a single task")),
        None => (Reason::Mapping, "nothing distinguishes the tasks".to_owned()),
        Some(ExtractedTasks::One(task))
            if !matches!(task.get(FieldName::Id), FieldValue::Text(_)) =>
        {
            (Reason::Mapping, "a single task without an ID".to_owned())
        }
        Some(_) => return Ok(None),
    };
    let detail = format!("{detail}, in the answer to a batch").into();
    Err(Failure { reason, code, detail })
}

/// Returns the failure of a body whose beginning says nothing about the task.
fn too_large(limit: usize) -> Failure {
    let detail = format!("the body is larger than {limit} bytes: raise body_size_limit");
    Failure::new(Reason::TooLarge, detail)
}

/// Returns a description of the HTML page that a rejection comes with, if it comes with one: a 401 or
/// 403 with a page comes from something in front of the API and says nothing about the credentials. A
/// body that `is_json` is no page, whatever its content type: some APIs never set one.
fn find_page(response: &ProviderResponse, is_json: bool) -> Option<&'static str> {
    if !matches!(response.status, 401 | 403) {
        return None;
    }
    if response.headers.contains_key(CF_MITIGATED) {
        return Some("cf-mitigated: a Cloudflare challenge, not the API");
    }
    (!is_json && is_page(response)).then_some("an HTML page: a challenge or a proxy, not the API")
}

fn is_page(response: &ProviderResponse) -> bool {
    if let Some(value) = response.headers.get(CONTENT_TYPE) {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii();
        return [&b"text/html"[..], b"application/xhtml+xml"]
            .iter()
            .any(|page| kind.eq_ignore_ascii_case(page));
    }
    let ReceivedBody::Whole(body) = &response.body else { return false };
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
    HTML_STARTS.iter().any(|beginning| {
        body.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    })
}

#[cfg(test)]
mod tests;
