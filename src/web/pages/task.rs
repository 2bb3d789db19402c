//! `/tasks/{provider}/{id}`: all that is known of one task, for a person.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::details::{Fact, facts, troubles};
use super::failures::FailedPoll;
use super::format;
use super::link;
use super::{Head, answer};
use crate::web::limit::Permit;
use crate::web::{Web, query};

#[derive(Template)]
#[template(path = "task.html")]
struct Page<'a> {
    head: Head<'a>,
    id: String,
    short: String,
    /// Why nothing is known.
    problem: Option<String>,
    /// Why the task needs a person.
    troubles: Vec<String>,
    links: Vec<(&'static str, String)>,
    facts: Vec<Fact>,
    failures: Vec<FailedPoll>,
}

/// The page of the task that the path names.
pub async fn page(
    State(web): State<Arc<Web>>,
    Extension(permit): Extension<Permit>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let refused = |message: &str| (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response();
    let Ok(Path((provider, id))) = path else {
        return refused("the path is not UTF-8 text");
    };
    match query::pairs(&query.unwrap_or_default()) {
        Ok(pairs) if pairs.is_empty() => {
            answer(web.turns.clone(), permit, move || make(&web, &provider, &id)).await
        }
        Ok(_) => refused("this page takes no parameters; a ? in an ID is written %3F"),
        Err(message) => refused(&message),
    }
}

fn make(web: &Web, provider: &str, id: &str) -> super::Page {
    let (now, tasks) = web.live.store.tasks(Some(provider));
    let found = tasks.iter().find_map(|view| Some((view.find(id)?, view)));
    let history = web.history.of(provider, id);
    let is_configured = web.live.config().providers.iter().any(|known| *known.name == *provider);
    let (of_provider, of_task) = (("provider", provider), ("task_id", id));
    let poll = ("Poll it now, and show request, answer and mapping", link::probe(provider, id));
    let json = ("As JSON", link::json(&[of_provider, of_task]));
    let beside = ("All tasks of the provider", link::tasks(&[of_provider]));
    let (problem, links) = match found {
        Some(_) => (None, vec![poll, json, beside]),
        None if is_configured => {
            let name = format::whole(provider);
            let problem = format!("The configuration lists no such task of the provider “{name}”.");
            (Some(problem), vec![poll, beside])
        }
        None => {
            let problem = format!("No provider “{}” is configured.", format::whole(provider));
            (Some(problem), vec![("All tasks", link::tasks(&[]))])
        }
    };
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let page = Page {
        head: Head::new(web),
        id: format::whole(id),
        short: format::short(id),
        problem,
        troubles: found.map_or_else(Vec::new, |(record, view)| {
            troubles(record, view.stuck_after, history.first(), now)
        }),
        links,
        facts: found.map_or_else(Vec::new, |(record, view)| {
            facts(record, view.stuck_after, history.first(), now)
        }),
        failures: history.iter().map(|entry| FailedPoll::new(entry, now)).collect(),
    };
    (status, page.render())
}
