//! The wire formats: builds the response of each system from the states of the tasks. Pure.

mod error_json;
pub(crate) mod route;
pub(crate) mod system;
pub(crate) mod system_table;
mod task_json;
pub(crate) mod task_list;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::lifecycle::{Status, TaskState};
use super::padded_body::PaddedBody;
use super::script::{ResponseFault, ScriptedBody};
use error_json::ErrorView;
use system::{BodyFormat, System, UnknownTask};
use task_json::TaskView;

/// Nesting of [`ResponseFault::DeepNesting`], deeper than any real response and deeper than a parser
/// should recurse.
const NESTING_DEPTH: usize = 10_000;

/// Size of [`ResponseFault::HugeBody`], more than a client should read of one response.
const HUGE_BODY_BYTES: usize = 2_000_000;

/// Size of an asset, more than all buffers between gateway and client can hold.
const ASSET_BYTES: usize = 64 << 20;

/// The content of a response about one task.
pub(crate) struct TaskResponse<'a> {
    /// ID of the task.
    pub(crate) id: Cow<'a, str>,
    /// State of the task at the time of the response.
    pub(crate) state: TaskState,
    /// Body that replaces the one that reports the state.
    pub(crate) body: Option<&'a ScriptedBody>,
    /// Fault in the response.
    pub(crate) fault: Option<&'a ResponseFault>,
}

impl System {
    /// Builds the response to a request for `tasks`: a list if `is_list`, else a single task.
    ///
    /// The first fault that is not confined to its task determines the response about all tasks.
    pub(crate) fn respond(
        &self,
        tasks: &[TaskResponse<'_>],
        is_list: bool,
    ) -> Response<PaddedBody> {
        // In a response about several tasks `format_element` inserts their bodies.
        let body = match tasks {
            [task] => task.body,
            _ => None,
        };
        let respond_with_tasks = || self.respond_with_tasks(tasks, is_list);
        let faults = || tasks.iter().filter_map(|task| task.fault);
        match faults().find(|fault| !fault.is_confined_to_task()) {
            None if faults().next().is_some() => respond_with_tasks(),
            None => {
                body.map_or_else(respond_with_tasks, |ScriptedBody(body)| build_ok(body.clone()))
            }
            Some(ResponseFault::Status { status, headers, body: fault_body }) => {
                let mut response = self.respond_with_error(*status);
                response.headers_mut().extend(headers.clone());
                if let Some(ScriptedBody(body)) = fault_body.as_ref().or(body) {
                    *response.body_mut() = body.clone().into();
                }
                response
            }
            Some(ResponseFault::Code { code, message }) => {
                let message = message.as_deref().unwrap_or("the simulated gateway says error");
                let error = ErrorView { cause: StatusCode::OK, code: Some(code), message };
                build_ok((self.format_error)(&error).to_string())
            }
            Some(ResponseFault::NullTask) => self.respond_with_null(),
            Some(ResponseFault::EmptyBody) => build_ok(""),
            Some(ResponseFault::NoContent) => build_response(StatusCode::NO_CONTENT, ""),
            Some(ResponseFault::InvalidJson) => build_ok("<html>Bad gateway, good mood</html>"),
            Some(ResponseFault::DeepNesting) => {
                build_ok("[".repeat(NESTING_DEPTH) + &"]".repeat(NESTING_DEPTH))
            }
            Some(ResponseFault::OtherTask | ResponseFault::WrongTypes) => respond_with_tasks(),
            Some(ResponseFault::HugeBody) => {
                // The padding comes first, since a client may use the part that it has read of a
                // body that is too large.
                respond_with_tasks().map(|body| body.pad_before_to(HUGE_BODY_BYTES))
            }
        }
    }

    /// Builds an error response with the HTTP `status`.
    pub(crate) fn respond_with_error(&self, status: StatusCode) -> Response<PaddedBody> {
        self.respond_with_error_as(status, status)
    }

    /// Builds the response to a request with wrong credentials.
    pub(crate) fn respond_unauthorized(&self) -> Response<PaddedBody> {
        self.respond_with_error_as(StatusCode::UNAUTHORIZED, self.unauthorized_status)
    }

    /// Builds an error response whose body reports `cause` and whose HTTP status is `status`.
    fn respond_with_error_as(&self, cause: StatusCode, status: StatusCode) -> Response<PaddedBody> {
        let message = cause.canonical_reason().unwrap_or("refused");
        let body = (self.format_error)(&ErrorView { cause, code: None, message });
        build_response(status, if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Builds a response that reports the state of each task, with the faults that are confined to
    /// tasks.
    fn respond_with_tasks(
        &self,
        tasks: &[TaskResponse<'_>],
        is_list: bool,
    ) -> Response<PaddedBody> {
        match (&self.body_format, tasks) {
            (BodyFormat::Asset, [task, ..]) => self.respond_with_asset(task),
            (BodyFormat::Json { wrap, .. }, _) if is_list => {
                let elements = tasks.iter().filter_map(|task| self.format_element(task)).collect();
                build_ok(wrap(&elements).to_string())
            }
            (BodyFormat::Json { wrap, .. }, [task, ..]) => match self.format_element(task) {
                Some(element) => build_ok(wrap(&element).to_string()),
                None => self.respond_with_unknown_task(task),
            },
            (_, []) => self.respond_with_null(),
        }
    }

    /// Formats a task as an element of a list or on its own; `None` if the gateway does not know
    /// the task.
    ///
    /// A body from the script replaces the state if the task has no fault.
    fn format_element(&self, task: &TaskResponse<'_>) -> Option<Value> {
        if let Some(ScriptedBody(body)) = task.body.filter(|_| task.fault.is_none()) {
            let to_string = || String::from_utf8_lossy(body).into_owned().into();
            return Some(serde_json::from_slice(body).unwrap_or_else(|_| to_string()));
        }
        let status_word = match &task.state.status {
            Status::Missing => return None,
            status => self.status_word(status),
        };
        Some(match task.fault {
            Some(ResponseFault::OtherTask) => {
                self.format_task(&format!("not-{}", task.id), status_word, &task.state)
            }
            Some(ResponseFault::WrongTypes) => {
                replace_types(self.format_task(&task.id, status_word, &task.state), &task.id)
            }
            _ => self.format_task(&task.id, status_word, &task.state),
        })
    }

    fn format_task(&self, id: &str, status_word: &str, state: &TaskState) -> Value {
        match self.body_format {
            BodyFormat::Json { format_task, .. } => {
                format_task(&TaskView { id, status_word, state, format_time: self.format_time })
            }
            BodyFormat::Asset => Value::Null,
        }
    }

    /// Builds the response about a task that the system does not know.
    fn respond_with_unknown_task(&self, task: &TaskResponse<'_>) -> Response<PaddedBody> {
        match (&self.unknown_task, &self.body_format) {
            (UnknownTask::Error(status), _) => {
                self.respond_with_error_as(StatusCode::NOT_FOUND, *status)
            }
            (UnknownTask::EmptyBody, _) => build_ok(""),
            (UnknownTask::Status(status_word), BodyFormat::Json { wrap, .. }) => {
                build_ok(wrap(&self.format_task(&task.id, status_word, &task.state)).to_string())
            }
            (UnknownTask::Null | UnknownTask::Status(_), _) => self.respond_with_null(),
        }
    }

    /// Builds a successful response with null in place of the tasks, or with an empty body in place
    /// of an asset.
    fn respond_with_null(&self) -> Response<PaddedBody> {
        match self.body_format {
            BodyFormat::Json { wrap, .. } => build_ok(wrap(&Value::Null).to_string()),
            BodyFormat::Asset => build_ok(""),
        }
    }

    /// Builds the response of a system that sends assets: the HTTP status is the status of the
    /// task, and the body of a 200 is the asset.
    fn respond_with_asset(&self, task: &TaskResponse<'_>) -> Response<PaddedBody> {
        if task.state.status == Status::Missing {
            return self.respond_with_unknown_task(task);
        }
        let status = self.status_word(&task.state.status).parse();
        let status = status.unwrap_or(StatusCode::NON_AUTHORITATIVE_INFORMATION);
        if status != StatusCode::OK {
            let body = json!({ "id": *task.id, "status": "in-progress" });
            return build_response(status, body.to_string());
        }
        let reason = match task.state.status {
            Status::Completed => "SUCCESS",
            _ => "CONTENT_FILTERED",
        };
        let mut response = build_response(status, PaddedBody::default().pad_after_to(ASSET_BYTES));
        let video = HeaderValue::from_static("video/mp4");
        response.headers_mut().insert(CONTENT_TYPE, video);
        let name = HeaderName::from_static("finish-reason");
        response.headers_mut().insert(name, HeaderValue::from_static(reason));
        response
    }
}

fn build_ok(body: impl Into<PaddedBody>) -> Response<PaddedBody> {
    build_response(StatusCode::OK, body)
}

fn build_response(status: StatusCode, body: impl Into<PaddedBody>) -> Response<PaddedBody> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    response
}

/// Wraps every field of a task but its ID in an object, so that the field has a wrong type.
fn replace_types(mut task: Value, id: &str) -> Value {
    for (_, field) in task.as_object_mut().into_iter().flatten() {
        if *field != id {
            *field = json!({ "is": field.take() });
        }
    }
    task
}
