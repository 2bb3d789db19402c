//! A poll told to a person: what was asked, what came back, what the mapping made of it.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue};

use percent_encoding::percent_decode_str;

use super::{Polled, Upstream};
use crate::config::Provider;
use crate::fetch::Response;
use crate::fetch::redact::Redactor;
use crate::mapping::{Answer, Body};
use crate::observation::{Observation, Oddity, State};
use crate::task::Task;
use crate::task::TaskGroup;
use crate::yaml::scalar::SECRET;

/// As much of a body as shows its shape.
const MAX_BODY: usize = 4096;

/// Plain text, secrets masked, with nothing in it that could pass for a line of our own.
pub fn report(upstream: &Upstream, task: &Task, polled: &Polled) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut out, upstream, task, polled);
    if let Some(response) = &polled.response {
        let failed = polled.outcomes.iter().all(Result::is_err);
        let headers = shown_headers(&upstream.provider, response);
        let answer = Answer { headers: &headers, ..response.answer() };
        let _ = write_response(&mut out, response, &answer, failed);
        let _ = write_mapping(&mut out, upstream, task, &answer);
    }
    let _ = write_outcome(&mut out, polled);
    // What is written here is decoded once more than what was masked before.
    let (_, redactor) = upstream.fetcher.credentials.current();
    let out = redactor.mask_text(&out).unwrap_or(out);
    Redactor::new(template_secrets(&upstream.provider, task)).mask_text(&out).unwrap_or(out)
}

/// Returns the texts that the configuration writes into query and body, and that are not shown: a
/// provider may send them back. Only a person reads them here; what a mapping reads must not lose a
/// word that happens to be in the request as well.
fn template_secrets(provider: &Provider, task: &Task) -> Vec<String> {
    let task = TaskGroup::one(task.clone());
    let Some(shown) = &provider.redacted_request else { return Vec::new() };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (target, shown_target) = (provider.request.target(&task), shown.target(&task));
    let mut secrets: Vec<_> =
        hidden(&target, &shown_target, "%3Csecret%3E").into_iter().map(decode).collect();
    if let (Some(body), Some(shown)) = (provider.request.body(&task), shown.body(&task)) {
        let texts = hidden(&body, &shown, SECRET).into_iter();
        let unescape = |text: &str| serde_json::from_str(&format!("\"{text}\"")).ok();
        secrets.extend(texts.map(|text| unescape(text).unwrap_or_else(|| text.to_owned())));
    }
    secrets
}

/// Returns the parts of `text` in whose place `shown` has `mask`.
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
    upstream: &Upstream,
    task: &Task,
    polled: &Polled,
) -> std::fmt::Result {
    writeln!(out, "request")?;
    let Some(call) = &polled.call else { return writeln!(out, "  none was sent") };
    let (url, body) = redacted(&upstream.provider, task);
    writeln!(out, "  {} {url}", call.method)?;
    for name in upstream.fetcher.credentials.current().0.keys() {
        writeln!(out, "  {name}: {SECRET}")?;
    }
    match body {
        Some(body) => writeln!(out, "  {body}"),
        None => Ok(()),
    }
}

/// The URL and the body that ask for a task, without what the configuration writes into query and
/// body beside the placeholders: some APIs take a token there.
fn redacted(provider: &Provider, task: &Task) -> (String, Option<String>) {
    let task = TaskGroup::one(task.clone());
    let base_url = provider.base_url.as_str().trim_end_matches('/');
    match &provider.redacted_request {
        Some(request) => {
            let target = request.target(&task).replace("%3Csecret%3E", SECRET);
            (format!("{base_url}{target}"), request.body(&task))
        }
        None => (format!("{base_url}/{SECRET}"), None),
    }
}

/// The headers of an answer with `<secret>` for the values of those that may carry credentials.
fn shown_headers(provider: &Provider, response: &Response) -> HeaderMap {
    let mut headers = response.headers.clone();
    for (name, value) in &mut headers {
        if provider.masked_headers.contains(name) {
            *value = HeaderValue::from_static(SECRET);
        }
    }
    headers
}

fn write_response(
    out: &mut String,
    response: &Response,
    answer: &Answer<'_>,
    failed: bool,
) -> std::fmt::Result {
    writeln!(out, "answer\n  HTTP status {}", response.status)?;
    for (name, value) in answer.headers {
        writeln!(out, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug())?;
    }
    if let Some(wait) = response.retry_after.filter(|_| failed) {
        writeln!(out, "  asks to be left alone for {wait:?}")?;
    }
    match answer.body {
        Body::Unread => writeln!(out, "  the body was not read: the HTTP status tells the state"),
        Body::Cut { start, limit } => {
            writeln!(out, "  body, larger than {limit} bytes (body_size_limit); its beginning")?;
            write_body(out, start, true)
        }
        Body::Unreadable(why) => writeln!(out, "  {why}"),
        Body::Whole(body) => {
            writeln!(out, "  body, {} bytes", body.len())?;
            write_body(out, body, false)
        }
    }
}

fn write_body(out: &mut String, body: &[u8], is_cut: bool) -> std::fmt::Result {
    let shown = body.get(..MAX_BODY).unwrap_or(body);
    let text = escaped(&String::from_utf8_lossy(shown));
    let more = if is_cut || shown.len() < body.len() { "…" } else { "" };
    writeln!(out, "  {text}{more}")
}

/// One line without the escapes of quotes, which nothing here ends.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn write_mapping(
    out: &mut String,
    upstream: &Upstream,
    task: &Task,
    answer: &Answer<'_>,
) -> std::fmt::Result {
    writeln!(out, "mapping")?;
    let lines = upstream.provider.mapping.explain(answer, &task.id);
    let width = |column: fn(&[String; 3]) -> &String| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0)
    };
    let (names, places) = (width(|[name, _, _]| name), width(|[_, place, _]| place));
    for [name, place, found] in &lines {
        writeln!(out, "  {name:names$}  {place:places$}  {found}")?;
    }
    Ok(())
}

fn write_outcome(out: &mut String, polled: &Polled) -> std::fmt::Result {
    writeln!(out, "result, after {:.3} s", polled.took.as_secs_f64())?;
    if let Some(message) = &polled.message {
        writeln!(out, "  message: {message:?}")?;
    }
    if let Some(delay) = polled.retry_after {
        writeln!(out, "  retry_after: {delay:?}")?;
    }
    for outcome in &polled.outcomes {
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
        writeln!(out, "  odd: no enqueue_time, so the queue age counts from the first sight")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hidden;

    #[test]
    fn what_is_masked_in_one_text_is_found_in_the_other() {
        assert_eq!(hidden("/t?key=abc&id=7&x=y", "/t?key=S&id=7&x=S", "S"), ["abc", "y"]);
        assert_eq!(hidden("a", "a", "S"), [""; 0]);
        assert_eq!(hidden("b", "aS", "S"), [""; 0]);
        assert_eq!(hidden("abc", "S", "S"), ["abc"]);
    }
}
