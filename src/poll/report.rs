//! A poll told to a person: what was asked, what came back, what the mapping made of it.

use std::fmt::Write;

use reqwest::Url;

use super::{Polled, Upstream};
use crate::config::privacy::sensitive;
use crate::fetch::Response;
use crate::mapping::Body;
use crate::observation::{Observation, State};
use crate::task::Task;

/// As much of a body as shows its shape.
const MAX_BODY: usize = 4096;

/// Plain text, secrets masked, with nothing in it that could pass for a line of our own.
pub fn report(upstream: &Upstream, task: &Task, polled: &Polled) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut out, upstream, polled);
    if let Some(response) = &polled.response {
        let failed = polled.outcomes.iter().all(Result::is_err);
        let _ = write_response(&mut out, response, failed);
        let _ = write_mapping(&mut out, upstream, task, response);
    }
    let _ = write_outcome(&mut out, polled);
    out
}

fn write_request(out: &mut String, upstream: &Upstream, polled: &Polled) -> std::fmt::Result {
    writeln!(out, "request")?;
    let Some(call) = &polled.call else { return writeln!(out, "  none was sent") };
    writeln!(out, "  {} {}", call.method, without_secrets(&call.url))?;
    for name in upstream.fetcher.credentials.current().0.keys() {
        writeln!(out, "  {name}: <secret>")?;
    }
    match &call.body {
        Some(body) => writeln!(out, "  {body}"),
        None => Ok(()),
    }
}

/// A URL in which parameters that sound like secrets have no value.
fn without_secrets(url: &Url) -> String {
    let Some(query) = url.query() else { return url.to_string() };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if sensitive(name) => format!("{name}=<secret>"),
        _ => pair.to_owned(),
    });
    let query = masked.collect::<Vec<_>>().join("&");
    let mut bare = url.clone();
    bare.set_query(None);
    format!("{bare}?{query}")
}

fn write_response(out: &mut String, response: &Response, failed: bool) -> std::fmt::Result {
    writeln!(out, "answer\n  HTTP status {}", response.status)?;
    for (name, value) in &response.headers {
        writeln!(out, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug())?;
    }
    if let Some(wait) = response.retry_after.filter(|_| failed) {
        writeln!(out, "  asks to be left alone for {wait:?}")?;
    }
    match response.answer().body {
        Body::Unread => writeln!(out, "  the body was not read: the HTTP status tells the state"),
        Body::TooLarge(limit) => writeln!(out, "  the body is larger than {limit} bytes"),
        Body::Unreadable(why) => writeln!(out, "  {why}"),
        Body::Whole(body) => {
            let shown = body.get(..MAX_BODY).unwrap_or(body);
            writeln!(out, "  body, {} bytes", body.len())?;
            let text = escaped(&String::from_utf8_lossy(shown));
            let more = if shown.len() < body.len() { "…" } else { "" };
            writeln!(out, "  {text}{more}")
        }
    }
}

/// One line without the escapes of quotes, which nothing here ends.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn write_mapping(
    out: &mut String,
    upstream: &Upstream,
    task: &Task,
    response: &Response,
) -> std::fmt::Result {
    writeln!(out, "mapping")?;
    let lines = upstream.provider.mapping.explain(&response.answer(), &task.id);
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
    if observation.state == State::Unknown {
        writeln!(out, "  odd: the mapping does not list this status, so the state is unknown")?;
    }
    if observation.enqueue_time.is_none() {
        writeln!(out, "  odd: no enqueue_time, so the queue age counts from the first sight")?;
    }
    Ok(())
}
