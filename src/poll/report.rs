//! Report of a poll for a person: the request, the response, and its mapping.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;
use percent_encoding::percent_decode_str;

use super::{PollResult, ProviderClient};
use crate::config::Provider;
use crate::fetch::redact::Redactor;
use crate::mapping::{ProviderResponse, ReceivedBody};
use crate::observation::{Observation, Oddity, State};
use crate::task::{Task, TaskGroup};
use crate::yaml::scalar::SECRET;

/// [`SECRET`] as it stands in a target.
const ENCODED_SECRET: &str = "%3Csecret%3E";
/// Maximum number of bytes of a body that are shown.
const MAX_BODY: usize = 4096;

/// Returns a report in plain text, with secrets masked. Texts of the response are escaped, so that they
/// cannot add lines.
pub fn report(client: &ProviderClient, task: &Task, result: &PollResult) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut out, client, task, result);
    if let Some(fetched) = &result.fetched {
        let has_failed = result.outcomes.iter().all(Result::is_err);
        let retry_after = fetched.retry_after.filter(|_| has_failed);
        let response = with_masked_headers(&client.provider, &fetched.response);
        let _ = write_response(&mut out, &response, retry_after);
        let _ = write_mapping(&mut out, client, task, &response);
    }
    let _ = write_outcome(&mut out, result);
    // The mapping has decoded texts of the response once more since they were masked.
    let (_, redactor) = client.fetcher.credentials().current();
    let out = redactor.mask_text(&out).unwrap_or(out);
    Redactor::new(template_secrets(&client.provider, task)).mask_text(&out).unwrap_or(out)
}

/// Returns the texts that the configuration writes into query and body beside placeholders. A provider may
/// send them back. They are masked only for people: a mapping must not lose a word that happens to be
/// in the request as well.
fn template_secrets(provider: &Provider, task: &Task) -> Vec<String> {
    let task = TaskGroup::one(task.clone());
    let Some(shown) = &provider.redacted_request else { return Vec::new() };
    let mut secrets = secrets_of_target(&provider.request.target(&task), &shown.target(&task));
    if let (Some(body), Some(shown)) = (provider.request.body(&task), shown.body(&task)) {
        secrets.extend(secrets_of_body(&body, &shown));
    }
    secrets
}

/// Returns the texts of a target that are `<secret>` in `shown`.
pub(super) fn secrets_of_target(target: &str, shown: &str) -> Vec<String> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    hidden(target, shown, ENCODED_SECRET).into_iter().map(decode).collect()
}

/// Returns the texts of a JSON body that are `<secret>` in `shown`.
pub(super) fn secrets_of_body(body: &str, shown: &str) -> Vec<String> {
    let unescape = |text: &str| serde_json::from_str(&format!("\"{text}\"")).ok();
    let texts = hidden(body, shown, SECRET).into_iter();
    texts.map(|text| unescape(text).unwrap_or_else(|| text.to_owned())).collect()
}

/// Returns the target of a redacted request as people may see it.
pub(super) fn shown_target(redacted: &str) -> String {
    redacted.replace(ENCODED_SECRET, SECRET)
}

/// Returns the parts of `text` that `shown` replaces by `mask`.
fn hidden<'t>(text: &'t str, shown: &str, mask: &str) -> Vec<&'t str> {
    let mut kept = shown.split(mask);
    let Some(mut rest) = text.strip_prefix(kept.next().unwrap_or_default()) else {
        return Vec::new();
    };
    let mut hidden = Vec::new();
    for kept in kept {
        let found = if kept.is_empty() { Some((rest, "")) } else { rest.split_once(kept) };
        let Some((part, after)) = found else { break };
        hidden.push(part);
        rest = after;
    }
    hidden
}

fn write_request(
    out: &mut String,
    client: &ProviderClient,
    task: &Task,
    result: &PollResult,
) -> std::fmt::Result {
    writeln!(out, "request")?;
    let Some(request) = &result.request else { return writeln!(out, "  none was sent") };
    let (url, body) = redacted(&client.provider, task);
    writeln!(out, "  {} {url}", request.method)?;
    for name in client.fetcher.credentials().current().0.keys() {
        writeln!(out, "  {name}: {SECRET}")?;
    }
    match body {
        Some(body) => writeln!(out, "  {body}"),
        None => Ok(()),
    }
}

/// Returns URL and body of the request for a task, without the texts that the configuration writes into
/// query and body beside placeholders: some APIs take a token there.
fn redacted(provider: &Provider, task: &Task) -> (String, Option<String>) {
    let task = TaskGroup::one(task.clone());
    let base_url = provider.base_url.as_str().trim_end_matches('/');
    match &provider.redacted_request {
        Some(request) => {
            let target = shown_target(&request.target(&task));
            (format!("{base_url}{target}"), request.body(&task))
        }
        None => (format!("{base_url}/{SECRET}"), None),
    }
}

/// Returns a response with `<secret>` as the value of headers that may contain credentials.
pub(super) fn with_masked_headers(
    provider: &Provider,
    response: &ProviderResponse,
) -> ProviderResponse {
    let mut response = response.clone();
    for (name, value) in &mut response.headers {
        if provider.masked_headers.contains(name) {
            *value = HeaderValue::from_static(SECRET);
        }
    }
    response
}

pub(super) fn write_response(
    out: &mut String,
    response: &ProviderResponse,
    retry_after: Option<Duration>,
) -> std::fmt::Result {
    writeln!(out, "answer\n  HTTP status {}", response.status)?;
    for (name, value) in &response.headers {
        writeln!(out, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug())?;
    }
    if let Some(wait) = retry_after {
        writeln!(out, "  asks for a pause of {wait:?}")?;
    }
    match &response.body {
        ReceivedBody::Ignored => {
            writeln!(out, "  the body was not read: the HTTP status is the state")
        }
        ReceivedBody::Truncated { start, limit } => {
            writeln!(out, "  body, larger than {limit} bytes (body_size_limit); its beginning")?;
            write_body(out, start, true)
        }
        ReceivedBody::Unreadable(why) => writeln!(out, "  {why}"),
        ReceivedBody::Whole(body) => {
            writeln!(out, "  body, {} bytes", body.len())?;
            write_body(out, body, false)
        }
    }
}

fn write_body(out: &mut String, body: &[u8], is_truncated: bool) -> std::fmt::Result {
    let shown = body.get(..MAX_BODY).unwrap_or(body);
    let text = escaped(&String::from_utf8_lossy(shown));
    let more = if is_truncated || shown.len() < body.len() { "…" } else { "" };
    writeln!(out, "  {text}{more}")
}

/// Escapes a text to one line, except for quotes.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn write_mapping(
    out: &mut String,
    client: &ProviderClient,
    task: &Task,
    response: &ProviderResponse,
) -> std::fmt::Result {
    writeln!(out, "mapping")?;
    let lines = client.provider.mapping.explain(response, &task.id);
    let width = |column: fn(&[String; 3]) -> &String| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0)
    };
    let (names, places) = (width(|[name, _, _]| name), width(|[_, place, _]| place));
    for [name, place, found] in &lines {
        writeln!(out, "  {name:names$}  {place:places$}  {found}")?;
    }
    Ok(())
}

fn write_outcome(out: &mut String, result: &PollResult) -> std::fmt::Result {
    writeln!(out, "result, after {:.3} s", result.took.as_secs_f64())?;
    if let Some(message) = &result.message {
        writeln!(out, "  message: {message:?}")?;
    }
    if let Some(delay) = result.retry_after {
        writeln!(out, "  retry_after: {delay:?}")?;
    }
    for outcome in &result.outcomes {
        match outcome {
            Ok(observation) => write_observation(out, observation)?,
            Err(failure) => {
                let detail = escaped(&failure.detail);
                writeln!(out, "  failed, reason {}: {detail}", failure.reason)?;
            }
        }
    }
    Ok(())
}

fn write_observation(out: &mut String, observation: &Observation) -> std::fmt::Result {
    writeln!(out, "  state: {}", observation.state)?;
    writeln!(out, "  status: {:?}", observation.status)?;
    let texts = [("job_type", &observation.job_type), ("failure_code", &observation.failure_code)];
    for (name, text) in texts {
        if let Some(text) = text {
            writeln!(out, "  {name}: {text:?}")?;
        }
    }
    let times =
        [("enqueue_time", observation.enqueue_time), ("finish_time", observation.finish_time)];
    for (name, time) in times {
        if let Some(time) = time {
            writeln!(out, "  {name}: {time}")?;
        }
    }
    if let Some(progress) = observation.progress {
        writeln!(out, "  progress: {progress}")?;
    }
    for Oddity { field, value, what } in &observation.odd {
        match &**value {
            "" => writeln!(out, "  odd: {field} is {what}")?,
            value => writeln!(out, "  odd: {field} {value:?}: {what}")?,
        }
    }
    if observation.state == State::Unknown {
        writeln!(out, "  odd: the mapping does not list this status, so the state is unknown")?;
    }
    if observation.enqueue_time.is_none() {
        writeln!(
            out,
            "  odd: no enqueue_time, so the queue age counts from the exporter's first sight of \
             the task"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hidden;

    #[test]
    fn the_masked_parts_of_a_text_are_found() {
        assert_eq!(hidden("/t?key=abc&id=7&x=y", "/t?key=S&id=7&x=S", "S"), ["abc", "y"]);
        assert_eq!(hidden("a", "a", "S"), [""; 0]);
        assert_eq!(hidden("b", "aS", "S"), [""; 0]);
        assert_eq!(hidden("abc", "S", "S"), ["abc"]);
    }
}
