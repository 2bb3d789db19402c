//! How a system words what it is asked. Pure, and knows of no network.

pub mod question;
mod refusal;
pub mod slip;
pub mod system;
pub mod table;
mod task;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

use super::content::Content;
use super::life::{Moment, Status};
use super::text::Text;
use refusal::Refusal;
use slip::Slip;
use system::{Speech, System, Unknown};
use task::Telling;

/// Deeper than any answer, and than any parser's stack should go.
const DEPTH: usize = 10_000;

/// More bytes than a reader should take for one answer.
const HUGE_BYTES: usize = 2_000_000;

/// More bytes than all buffers between gateway and reader hold together.
const ASSET_BYTES: usize = 64 << 20;

/// A task that is asked for, and what its script has to say.
pub struct Asked<'a> {
    /// Its ID.
    pub id: Cow<'a, str>,
    /// How it stands.
    pub moment: Moment,
    /// What to answer in place of that.
    pub text: Option<&'a Text>,
    /// What the system says in place of the truth.
    pub slip: Option<&'a Slip>,
}

impl System {
    /// The answer to a question for `tasks`, `listed` in an array or a single one. A slip that is
    /// not about its task alone spoils the answer for all.
    pub fn answer(&self, tasks: &[Asked<'_>], listed: bool) -> Response<Content> {
        // Among several tasks a text is an element of the array.
        let text = match tasks {
            [task] => task.text,
            _ => None,
        };
        let truth = || self.truth(tasks, listed);
        let slips = || tasks.iter().filter_map(|task| task.slip);
        match slips().find(|slip| !slip.is_about_task()) {
            None if slips().next().is_some() => truth(),
            None => text.map_or_else(truth, |Text(body)| ok(body.clone())),
            Some(Slip::Status { status, headers, body }) => {
                let mut answer = self.refuse(*status);
                answer.headers_mut().extend(headers.clone());
                if let Some(Text(body)) = body.as_ref().or(text) {
                    *answer.body_mut() = body.clone().into();
                }
                answer
            }
            Some(Slip::Code { code, message }) => {
                let message = message.as_deref().unwrap_or("the simulated gateway says error");
                let refusal = Refusal { cause: StatusCode::OK, code: Some(code), message };
                ok((self.refusal)(&refusal).to_string())
            }
            Some(Slip::Null) => self.nothing(),
            Some(Slip::Empty) => ok(""),
            Some(Slip::Nothing) => reply(StatusCode::NO_CONTENT, ""),
            Some(Slip::Garbage) => ok("<html>Bad gateway, good mood</html>"),
            Some(Slip::Deep) => ok("[".repeat(DEPTH) + &"]".repeat(DEPTH)),
            Some(Slip::Huge | Slip::Other | Slip::Type) => {
                // In front, since a reader may take what it has read of a body that is too large.
                truth().map(|body| body.padded_before_to(HUGE_BYTES))
            }
        }
    }

    /// What the system says at the HTTP status `status`.
    pub fn refuse(&self, status: StatusCode) -> Response<Content> {
        self.refuse_as(status, status)
    }

    /// What the system says to wrong credentials.
    pub fn refuse_credentials(&self) -> Response<Content> {
        self.refuse_as(StatusCode::UNAUTHORIZED, self.unauthorized)
    }

    /// Words the `cause`, but sends another HTTP status.
    fn refuse_as(&self, cause: StatusCode, status: StatusCode) -> Response<Content> {
        let message = cause.canonical_reason().unwrap_or("refused");
        let body = (self.refusal)(&Refusal { cause, code: None, message });
        reply(status, if body.is_null() { String::new() } else { body.to_string() })
    }

    fn truth(&self, tasks: &[Asked<'_>], listed: bool) -> Response<Content> {
        match (&self.speech, tasks) {
            (Speech::Asset, [task, ..]) => self.asset(task),
            (Speech::Json { around, .. }, _) if listed => {
                let elements = tasks.iter().filter_map(|task| self.element(task)).collect();
                ok(around(&elements).to_string())
            }
            (Speech::Json { around, .. }, [task, ..]) => match self.element(task) {
                Some(element) => ok(around(&element).to_string()),
                None => self.unknown(task),
            },
            (_, []) => self.nothing(),
        }
    }

    /// A task as it stands in an array or alone, its text first; `None` where it is not known.
    fn element(&self, asked: &Asked<'_>) -> Option<Value> {
        if let Some(Text(text)) = asked.text.filter(|_| asked.slip.is_none()) {
            let other = || String::from_utf8_lossy(text).into_owned().into();
            return Some(serde_json::from_slice(text).unwrap_or_else(|_| other()));
        }
        let word = match &asked.moment.status {
            Status::Missing => return None,
            status => self.word(status),
        };
        Some(match asked.slip {
            Some(Slip::Other) => self.tell(&format!("not-{}", asked.id), word, &asked.moment),
            Some(Slip::Type) => {
                slip::with_wrong_types(self.tell(&asked.id, word, &asked.moment), &asked.id)
            }
            _ => self.tell(&asked.id, word, &asked.moment),
        })
    }

    fn tell(&self, id: &str, word: &str, moment: &Moment) -> Value {
        match self.speech {
            Speech::Json { task, .. } => task(&Telling { id, word, moment, time: self.time }),
            Speech::Asset => Value::Null,
        }
    }

    /// The answer about a task that the system does not know.
    fn unknown(&self, asked: &Asked<'_>) -> Response<Content> {
        match (&self.unknown, &self.speech) {
            (Unknown::Refused(status), _) => self.refuse_as(StatusCode::NOT_FOUND, *status),
            (Unknown::Silence, _) => ok(""),
            (Unknown::Word(word), Speech::Json { around, .. }) => {
                ok(around(&self.tell(&asked.id, word, &asked.moment)).to_string())
            }
            (Unknown::Null | Unknown::Word(_), _) => self.nothing(),
        }
    }

    fn nothing(&self) -> Response<Content> {
        match self.speech {
            Speech::Json { around, .. } => ok(around(&Value::Null).to_string()),
            Speech::Asset => ok(""),
        }
    }

    /// The HTTP status is the word; a success carries everything that was made.
    fn asset(&self, asked: &Asked<'_>) -> Response<Content> {
        if asked.moment.status == Status::Missing {
            return self.unknown(asked);
        }
        let status = self.word(&asked.moment.status).parse();
        let status = status.unwrap_or(StatusCode::NON_AUTHORITATIVE_INFORMATION);
        if status != StatusCode::OK {
            let body = serde_json::json!({ "id": *asked.id, "status": "in-progress" });
            return reply(status, body.to_string());
        }
        let reason = match asked.moment.status {
            Status::Completed => "SUCCESS",
            _ => "CONTENT_FILTERED",
        };
        let mut answer = reply(status, Content::default().padded_to(ASSET_BYTES));
        let video = HeaderValue::from_static("video/mp4");
        answer.headers_mut().insert(CONTENT_TYPE, video);
        let name = HeaderName::from_static("finish-reason");
        answer.headers_mut().insert(name, HeaderValue::from_static(reason));
        answer
    }
}

fn ok(body: impl Into<Content>) -> Response<Content> {
    reply(StatusCode::OK, body)
}

fn reply(status: StatusCode, body: impl Into<Content>) -> Response<Content> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(CONTENT_TYPE, json);
    }
    reply
}
