//! Mapping of a response that lists all tasks of a provider to an observation of each. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::compile::Compiler;
use super::extract::{Extract, ExtractedTasks};
use super::fields::{A_BOOLEAN, FieldName, FieldValue, Fields, TWO_STATUSES};
use super::list::page::{Paging, RawPage};
use super::list::{ListMapping, ListPage};
use super::schema::RawResponse;
use super::{
    FieldSource, Mapping, Origin, ProviderResponse, ReceivedBody, ResponseView, repair, same_word,
};
use crate::observation::{Failure, Observation, PollOutcome, Reason};
use crate::yaml::diagnostic::BlockError;

/// Mapping of a response, or of one page of it, that lists tasks: each element is mapped as the
/// response to a poll is.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskListMapping {
    /// The mapping of a poll, with the place of the list as that of the tasks.
    mapping: Mapping,
    /// The fields of a page beside its tasks, where the next page depends on them.
    document: Option<ListMapping>,
}

/// Result of mapping a response that lists tasks.
#[derive(Debug)]
pub struct MappedList {
    /// The envelope's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The envelope's message, for people.
    pub message: Option<String>,
    /// Pause that the body of an error response asks for.
    pub retry_after: Option<Duration>,
    /// The tasks of the list, or the reason why it is none.
    pub tasks: Result<MappedTasks, Failure>,
}

/// The tasks of one response, or of one page of a list.
#[derive(Debug)]
pub struct MappedTasks {
    /// The elements in their order, without those that repeat the ID of another.
    pub elements: Vec<ObservedElement>,
    /// Number of elements, those that repeat an ID included, and the fields beside them.
    pub page: ListPage,
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedElement {
    /// Position in the response, from 1.
    pub number: usize,
    /// The task's ID; empty if the element has none.
    pub id: Box<str>,
    /// The observation of the task, or the reason why the element is none.
    pub outcome: PollOutcome,
}

impl TaskListMapping {
    /// Compiles the mapping of a list: that of `response`, with the tasks at `task`, or else where
    /// `response` has them. `page` is the block of that name; of a list that `is_window`, the last pages
    /// may be left out.
    ///
    /// # Errors
    /// All errors: those of the response with their keys below `response`, and those of `task` and
    /// `page` with their keys below the list.
    pub fn compile(
        response: &RawResponse,
        task: Option<&str>,
        page: Option<&RawPage>,
        is_window: bool,
    ) -> Result<(Self, Option<Paging>), TaskListErrors> {
        let mut compiler = Compiler::default();
        if let Some(task) = task {
            compiler.pointer(task, &["task"]);
        }
        let mut list = std::mem::take(&mut compiler.errors);
        let task = task.filter(|_| list.is_empty());
        let pointer = task.or(response.task.get().map(String::as_str)).unwrap_or_default();
        let mapping = compiler.mapping(response, pointer);
        let paged = page.map(|page| ListMapping::compile_page(pointer, page)).transpose();
        let (document, paging) = match paged {
            Ok(paged) => paged.unzip(),
            Err(errors) => {
                list.extend(errors);
                (None, None)
            }
        };
        let mut errors = compiler.errors;
        check_elements(&mapping, &mut errors);
        if !list.is_empty() || !errors.is_empty() {
            return Err(TaskListErrors { list, response: errors });
        }
        let document = document.filter(|_| paging.as_ref().is_some_and(Paging::needs_document));
        let paging = paging.map(|paging| Paging { is_window, ..paging });
        Ok((Self { mapping, document }, paging))
    }

    /// Maps a response with at most `max_elements` elements.
    pub fn map_list(&self, response: &ProviderResponse, max_elements: usize) -> MappedList {
        let mapping = &self.mapping;
        let (received, is_truncated): (&[u8], bool) = match &response.body {
            ReceivedBody::Ignored | ReceivedBody::Unreadable(_) => (&[], false),
            ReceivedBody::Truncated { start, .. } => (start, true),
            ReceivedBody::Whole(body) => (body, false),
        };
        let is_read =
            matches!(response.body, ReceivedBody::Truncated { .. } | ReceivedBody::Whole(_));
        // The elements are read once the envelope, which may end behind them, is known.
        let nothing = |_: &str| false;
        let strict = mapping.paths.extract(received, is_truncated, &nothing);
        let is_faulty = strict.as_ref().map_or(true, |extract| extract.has_rounded);
        let repaired = if is_faulty { repair::repair(received) } else { None };
        let (body, extract) = match &repaired {
            Some(repaired) => {
                (&**repaired, mapping.paths.extract(repaired, is_truncated, &nothing))
            }
            None => (received, strict),
        };
        let extract = is_read.then_some(extract);
        let found = extract.as_ref().and_then(|extract| extract.as_ref().ok());
        let view =
            ResponseView { response, envelope: found.map(|found| &found.envelope), task: None };
        let code = mapping.code(view);
        let with_code = |failure: Failure| match failure.reason {
            Reason::TooLarge => failure,
            _ => Failure { code: code.clone().unwrap_or_default(), ..failure },
        };
        let tasks = self
            .classify(view, code.as_ref(), extract.as_ref())
            .and_then(|()| self.tasks(view, body, found, max_elements))
            .map_err(with_code);
        let message = mapping.text(FieldName::Message, view).ok().flatten().map(Into::into);
        let retry_after = tasks.as_ref().err().and_then(|_| {
            let delay = mapping.text(FieldName::RetryAfter, view).ok()??;
            mapping.delay_format.parse(&delay)
        });
        MappedList { code, message, retry_after, tasks }
    }

    /// Classifies the response as a whole, as that of a poll.
    fn classify(
        &self,
        view: ResponseView<'_>,
        code: Option<&Arc<str>>,
        extract: Option<&Result<Extract<'_>, String>>,
    ) -> Result<(), Failure> {
        let ended = match self.mapping.classify(view, code, extract) {
            Err(failure) if failure.reason != Reason::TooLarge => return Err(failure),
            class => class.ok().flatten(),
        };
        if let ReceivedBody::Truncated { limit, .. } = view.response.body {
            let detail = format!("the list is larger than {limit} bytes");
            return Err(Failure::new(Reason::TooLarge, detail));
        }
        if ended.is_some() {
            let code = code.cloned().unwrap_or_default();
            let detail = format!("code {code}, which ends a single task, in the answer to a list");
            return Err(Failure::new(Reason::Api, detail));
        }
        Ok(())
    }

    /// Reads the tasks of a response that reports success.
    fn tasks(
        &self,
        view: ResponseView<'_>,
        body: &[u8],
        found: Option<&Extract<'_>>,
        max_elements: usize,
    ) -> Result<MappedTasks, Failure> {
        let at = self.mapping.task_path();
        let fail = |what: &str| Err(Failure::new(Reason::Mapping, format!("{at} is {what}")));
        match found.map(|found| &found.tasks) {
            // Null is how some languages write an empty list.
            Some(ExtractedTasks::Many { .. } | ExtractedTasks::Null) => {}
            None | Some(ExtractedTasks::Missing) => return fail("missing"),
            Some(ExtractedTasks::One(_)) => return fail("an object, not an array of tasks"),
            Some(ExtractedTasks::Other(kind)) => {
                return fail(&format!("{kind}, not an array of tasks"));
            }
        }
        let mut tasks = ElementCollector {
            mapping: &self.mapping,
            elements: Vec::new(),
            positions: HashMap::new(),
            count: 0,
        };
        let read = self.mapping.paths.for_each_task(body, &mut |task| {
            if tasks.count < max_elements {
                tasks.add(view.with_task(task), task);
            }
            tasks.count += 1;
        });
        read.map_err(|error| Failure::new(Reason::Decode, format!("not JSON: {error}")))?;
        let ElementCollector { elements, count, .. } = tasks;
        if count > max_elements {
            let detail = format!("{count} elements are more than {max_elements}");
            return Err(Failure::new(Reason::TooLarge, detail));
        }
        let page = match &self.document {
            None => ListPage::of_elements(count),
            Some(document) => document
                .read(body, &mut |_| {})
                .map_err(|error| Failure::new(Reason::Mapping, error.to_string()))?,
        };
        Ok(MappedTasks { elements, page })
    }
}

/// Errors of the mapping of a list, by the block in which they are.
#[derive(Debug)]
pub struct TaskListErrors {
    /// Errors of `request.list`.
    pub list: Vec<BlockError>,
    /// Errors of `response`.
    pub response: Vec<BlockError>,
}

/// Checks that each element of a list has an ID and a status of its own.
fn check_elements(mapping: &Mapping, errors: &mut Vec<BlockError>) {
    if mapping.ignores_body {
        let message = "the body is ignored, so it cannot list tasks";
        errors.push(BlockError::new(&["body"], message));
        return;
    }
    for name in [FieldName::Id, FieldName::Status] {
        let key = name.as_str();
        match mapping.source(name) {
            Some(FieldSource { origin: Origin::Body(_), .. }) => {}
            Some(_) => {
                let message = format!("the `{key}` of a task in a list must be in its element");
                errors.push(BlockError::new(&[key], message).hint("write a path into the body"));
            }
            // A response without a status is an error of its own.
            None if name == FieldName::Status => {}
            None => {
                let message = "the response has no `id`, without which a list names no tasks";
                let hint = "write the path to the ID in the task, such as `id: /task_id`";
                errors.push(BlockError::new(&[], message).hint(hint));
            }
        }
    }
}

/// Collector of the elements of a list.
struct ElementCollector<'m> {
    mapping: &'m Mapping,
    elements: Vec<ObservedElement>,
    /// Positions in `elements` by ID.
    positions: HashMap<Box<str>, usize>,
    /// Number of elements so far.
    count: usize,
}

impl ElementCollector<'_> {
    fn add(&mut self, view: ResponseView<'_>, task: &Fields<'_>) {
        let number = self.count + 1;
        let Some(id) = self.mapping.paths.id(task) else {
            let what = match task.get(FieldName::Id) {
                FieldValue::Other(kind) => format!("its ID is {kind}"),
                FieldValue::Boolean(_) => format!("its ID is {A_BOOLEAN}"),
                FieldValue::Missing | FieldValue::Null | FieldValue::Text(_) => {
                    "it has no ID".to_owned()
                }
            };
            let outcome = Err(Failure::new(Reason::Mapping, what));
            self.elements.push(ObservedElement { number, id: "".into(), outcome });
            return;
        };
        let outcome = self.mapping.observation(view);
        let known = self.positions.get(id).and_then(|known| self.elements.get_mut(*known));
        if let Some(known) = known {
            if let (Ok(first), Ok(second)) = (&known.outcome, &outcome)
                && !has_same_status(first, second)
            {
                // One of them may end the task, and nothing shows which is right.
                let at =
                    self.mapping.source(FieldName::Status).map_or("status", FieldSource::describe);
                known.outcome =
                    Err(Failure::new(Reason::Mapping, format!("{at} is {TWO_STATUSES}")));
            }
            return;
        }
        self.positions.insert(id.into(), self.elements.len());
        self.elements.push(ObservedElement { number, id: id.into(), outcome });
    }
}

fn has_same_status(first: &Observation, second: &Observation) -> bool {
    first.state == second.state && same_word(&first.status, &second.status)
}

#[cfg(test)]
mod tests;
