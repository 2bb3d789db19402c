//! Report of a provider's list for a person: each request, its response, and the tasks in it.

use std::fmt::{self, Write};

use reqwest::Url;

use super::ProviderClient;
use super::list::ListResult;
use super::report::{
    secrets_of_body, secrets_of_target, shown_target, with_masked_headers, write_response,
};
use crate::clock::Timestamp;
use crate::config::provider_list::ListSourceConfig;
use crate::fetch::redact::Redactor;
use crate::mapping::task_list::{MappedTasks, ObservedElement};
use crate::observation::{Observation, Oddity, State};
use crate::printable::escape;
use crate::request::list::ListQuery;
use crate::yaml::scalar::SECRET;

/// The widest column that is aligned, in characters.
const MAX_COLUMN_CHARS: usize = 64;

/// A request for a list, or for a page of it.
#[derive(Clone, Copy, Debug)]
pub struct ReportedRequest<'r> {
    /// The provider.
    pub client: &'r ProviderClient,
    /// The list.
    pub list: &'r ListSourceConfig,
    /// Position of the query in the list.
    pub query: usize,
    /// URL of the query without the parameters of its paging.
    pub base: &'r Url,
    /// URL of the page.
    pub url: &'r Url,
}

/// Returns a report of one request in plain text, with secrets masked. Texts of the response are escaped,
/// so that they cannot add lines.
pub fn report(
    request: ReportedRequest<'_>,
    result: &ListResult,
    tasks: &[ReportedElement<'_>],
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut out, request);
    let _ = write_result(&mut out, request, result, tasks);
    let (_, redactor) = request.client.fetcher.credentials().current();
    let out = redactor.mask_text(&out).unwrap_or(out);
    Redactor::new(template_secrets(request)).mask_text(&out).unwrap_or(out)
}

/// An element of a list, and what becomes of it.
#[derive(Debug)]
pub struct ReportedElement<'r> {
    /// The element.
    pub element: &'r ObservedElement,
    /// The use of the element.
    pub usage: ElementUse,
}

/// The use of an element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementUse {
    /// The task is followed.
    Followed,
    /// The task has ended: its end is observed if it was followed before.
    Final,
    /// The element is no task, for this reason.
    Rejected(String),
}

fn write_request(out: &mut String, request: ReportedRequest<'_>) -> fmt::Result {
    let ReportedRequest { client, list, query, base, url } = request;
    writeln!(out, "request")?;
    let root = client.provider.base_url.as_str().trim_end_matches('/');
    let redacted = list.redacted_queries.get(query);
    let method = list.queries.get(query).map_or("GET", |query| query.method.as_str());
    let target = redacted.map_or_else(|| format!("/{SECRET}"), |query| shown_target(&query.target));
    match url.as_str().strip_prefix(base.as_str()) {
        Some(paging) => writeln!(out, "  {method} {root}{target}{paging}")?,
        None => writeln!(out, "  {method} the URL of the next page in the answer before")?,
    }
    for name in client.fetcher.credentials().current().0.keys() {
        writeln!(out, "  {name}: {SECRET}")?;
    }
    match redacted.and_then(|query| query.body.as_ref()) {
        Some(body) => writeln!(out, "  {body}"),
        None => Ok(()),
    }
}

fn write_result(
    out: &mut String,
    ReportedRequest { client, .. }: ReportedRequest<'_>,
    result: &ListResult,
    tasks: &[ReportedElement<'_>],
) -> fmt::Result {
    match (&result.fetched, &result.mapped.tasks) {
        (Some(fetched), Err(_)) => {
            let response = with_masked_headers(&client.provider, &fetched.response);
            write_response(out, &response, result.pause())?;
        }
        (Some(fetched), Ok(MappedTasks { page, .. })) => {
            let elements = counted(page.elements, "element");
            writeln!(out, "answer\n  HTTP status {}, {elements}", fetched.response.status)?;
        }
        (None, _) => {}
    }
    writeln!(out, "result, after {:.3} s", result.took.as_secs_f64())?;
    if let Some(message) = &result.mapped.message {
        writeln!(out, "  message: {message:?}")?;
    }
    if let Err(failure) = &result.mapped.tasks {
        return writeln!(out, "  failed, reason {}: {}", failure.reason, escape(&failure.detail));
    }
    let now = result.fetched.as_ref().map(|fetched| fetched.response.sent);
    write_tasks(out, tasks, now)
}

fn write_tasks(
    out: &mut String,
    tasks: &[ReportedElement<'_>],
    now: Option<Timestamp>,
) -> fmt::Result {
    let lines: Vec<_> = tasks.iter().map(|task| columns(task, now)).collect();
    let width = |column: usize| {
        let widths = lines.iter().filter_map(|line| line.get(column));
        widths.map(|text| text.chars().count()).max().unwrap_or(0).min(MAX_COLUMN_CHARS)
    };
    let (ids, states, words) = (width(0), width(1), width(2));
    for [id, state, word, rest] in &lines {
        let line = format!("  {id:ids$}  {state:states$}  {word:words$}  {rest}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Returns ID, state and status of an element, and the rest of its line.
fn columns(task: &ReportedElement<'_>, now: Option<Timestamp>) -> [String; 4] {
    let ReportedElement { element, usage } = task;
    let id = match &*element.id {
        "" => format!("element {}", element.number),
        id => word(id),
    };
    match (&element.outcome, usage) {
        (_, ElementUse::Rejected(why)) => [id, "rejected".to_owned(), String::new(), escape(why)],
        (Ok(observation), usage) => {
            let mut rest = facts(observation, now);
            if *usage == ElementUse::Final {
                rest.push("final: only observed if it is followed already".to_owned());
            }
            [id, observation.state.to_string(), word(&observation.status), rest.join(", ")]
        }
        (Err(failure), _) => [id, "rejected".to_owned(), String::new(), escape(&failure.detail)],
    }
}

/// Returns what is known of a task beside its status.
fn facts(observation: &Observation, now: Option<Timestamp>) -> Vec<String> {
    let mut facts = Vec::new();
    match (observation.enqueue_time, now) {
        (Some(time), Some(now)) => {
            facts.push(format!("enqueued {}, {} s ago", iso(time), now.since(time).as_secs()));
        }
        (Some(time), None) => facts.push(format!("enqueued {}", iso(time))),
        (None, _) => facts.push("no enqueue_time".to_owned()),
    }
    facts.extend(observation.finish_time.map(|time| format!("finished {}", iso(time))));
    facts.extend(observation.progress.map(|progress| format!("progress {progress}")));
    let texts = [("job_type", &observation.job_type), ("failure_code", &observation.failure_code)];
    for (name, text) in texts {
        facts.extend(text.as_ref().map(|text| format!("{name} {}", word(text))));
    }
    facts.extend(observation.odd.iter().map(|Oddity { field, value, what }| match &**value {
        "" => format!("odd: {field} is {what}"),
        value => format!("odd: {field} {value:?}: {what}"),
    }));
    if observation.state == State::Unknown {
        facts.push("odd: the mapping does not list this status".to_owned());
    }
    facts
}

fn iso(time: Timestamp) -> String {
    let iso = jiff::Timestamp::from_microsecond(time.micros());
    iso.map_or_else(|_| time.to_string(), |iso| iso.to_string())
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns a text from outside as one word, in quotes if it is several or none.
fn word(text: &str) -> String {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"') {
        true => format!("{text:?}"),
        false => escape(text),
    }
}

/// Returns the texts that the configuration writes into query and body beside placeholders, which the
/// provider may send back.
fn template_secrets(ReportedRequest { list, query, .. }: ReportedRequest<'_>) -> Vec<String> {
    let (Some(sent), Some(shown)) = (list.queries.get(query), list.redacted_queries.get(query))
    else {
        return Vec::new();
    };
    let body = |query: &ListQuery| query.body.clone();
    let mut secrets = secrets_of_target(&sent.target, &shown.target);
    if let (Some(body), Some(shown)) = (body(sent), body(shown)) {
        secrets.extend(secrets_of_body(&body, &shown));
    }
    secrets
}
