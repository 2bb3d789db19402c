//! From what was found of one task to what it means.

use std::sync::Arc;

use super::extract::{End, Extract, Tasks};
use super::row::FieldName;
use super::time::TimeFormat;
use super::{Body, Mapping, Source, View, same_word, too_large};
use crate::clock::Timestamp;
use crate::label::bounded;
use crate::observation::{Failure, Observation, OddField, Oddity, Reason, State};

/// As much of an odd value as shows what it is.
const MAX_ODD_CHARS: usize = 64;

impl Mapping {
    /// The task `id` of an answer that speaks of success.
    pub(super) fn task(
        &self,
        id: &str,
        found: Option<&Extract<'_>>,
        view: View<'_>,
    ) -> Result<Observation, Failure> {
        let Some(extract) = found else { return self.observation(view) };
        let at = if self.task_pointer.is_empty() { "the body" } else { &*self.task_pointer };
        let fail = |reason, detail| Err(Failure::new(reason, detail));
        // What is not in the part that was read may be in the rest.
        let unread = |end: &[End]| match view.answer.body {
            Body::Cut { limit, .. } if end.contains(&extract.end) => Some(too_large(limit)),
            _ => None,
        };
        match &extract.tasks {
            Tasks::One(row) => {
                let view = view.of_task(row);
                let named = match self.text(FieldName::Id, view) {
                    Ok(named) => named,
                    Err(kind) => {
                        return fail(Reason::Mapping, format!("the task's ID is {kind}"));
                    }
                };
                if named.is_some_and(|named| !named.trim().is_empty() && *named != *id) {
                    return fail(Reason::Mapping, format!("{at} is of another task"));
                }
                match unread(&[End::InTasks]) {
                    Some(failure) if !self.has_status(view) => Err(failure),
                    _ => self.observation(view),
                }
            }
            Tasks::Many { wanted, unnamed } => {
                let is_asked = |row: &&_| self.paths.id(row) == Some(id);
                match (wanted.iter().find(is_asked), unread(&[End::InTasks])) {
                    (Some(row), _) => self.observation(view.of_task(row)),
                    (None, Some(failure)) => Err(failure),
                    // Not that the tasks are missing: the mapping does not know them.
                    (None, None) if *unnamed => {
                        fail(Reason::Mapping, format!("no element of {at} has an ID"))
                    }
                    (None, None) => fail(Reason::NotFound, format!("{at} does not hold the task")),
                }
            }
            Tasks::Null => fail(Reason::NotFound, format!("{at} is null")),
            Tasks::Missing => match unread(&[End::InTasks, End::Outside]) {
                Some(failure) => Err(failure),
                None => fail(Reason::Mapping, format!("{at} is missing")),
            },
            Tasks::Other(kind) => fail(Reason::Mapping, format!("{at} is {kind}")),
        }
    }

    /// Returns the meaning of one task's fields. Only its status can cost it.
    fn observation(&self, view: View<'_>) -> Result<Observation, Failure> {
        let place = || self.source(FieldName::Status).map_or("status", Source::describe);
        let fail = |what: &str| Failure::new(Reason::Mapping, format!("{} is {what}", place()));
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
            // Some APIs fill the field in whatever happens: SUCCESS, 0, a link to the result.
            failure_code: match state {
                State::Failed => optional(FieldName::FailureCode),
                _ => None,
            },
            odd,
        })
    }

    /// A task that the envelope's code alone has ended.
    pub(super) fn ended(&self, state: State, view: View<'_>) -> Observation {
        let code = self.text(FieldName::Code, view).ok().flatten().unwrap_or_default();
        let code: Arc<str> = bounded(&code).into();
        let failure_code = (state == State::Failed).then(|| Arc::clone(&code));
        Observation { failure_code, ..Observation::new(state, code) }
    }

    /// A moment that the answer names, and that can be believed.
    fn time(
        &self,
        field: OddField,
        format: TimeFormat,
        view: View<'_>,
    ) -> Result<Option<Timestamp>, Oddity> {
        let name = match field {
            OddField::EnqueueTime => FieldName::EnqueueTime,
            OddField::FinishTime => FieldName::FinishTime,
        };
        match self.text(name, view) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => format.parse(&text, view.answer.sent).map_err(|what| {
                let value = text.trim().chars().take(MAX_ODD_CHARS).collect();
                Oddity { field, value, what }
            }),
            Err(what) => Err(Oddity { field, value: String::new(), what }),
        }
    }

    /// Reports whether the part of a body that was read says something of the tasks.
    pub(super) fn has_task(&self, read: &Extract<'_>, view: View<'_>) -> bool {
        let is_whole = read.end != End::InTasks;
        match &read.tasks {
            Tasks::One(row) => is_whole || self.has_status(view.of_task(row)),
            Tasks::Many { wanted, .. } => is_whole || !wanted.is_empty(),
            Tasks::Null | Tasks::Other(_) => true,
            Tasks::Missing => false,
        }
    }

    fn has_status(&self, view: View<'_>) -> bool {
        let status = self.text(FieldName::Status, view);
        matches!(status, Ok(Some(status)) if !status.trim().is_empty())
    }

    /// Reports whether a task has a status that the mapping lists.
    pub(super) fn has_known_status(&self, view: View<'_>) -> bool {
        let status = self.text(FieldName::Status, view);
        matches!(status, Ok(Some(status)) if self.state(&status).1 != State::Unknown)
    }

    /// The provider's word as it came, and our word for it.
    fn state(&self, status: &str) -> (Arc<str>, State) {
        match self.states.iter().find(|(word, _)| same_word(word, status)) {
            Some((word, state)) if **word == *status => (Arc::clone(word), *state),
            Some((_, state)) => (bounded(status).into(), *state),
            None => (bounded(status).into(), State::Unknown),
        }
    }
}
