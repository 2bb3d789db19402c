//! `/`: where to look, for a person.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Web;
use crate::clock::Timestamp;
use crate::duration;
use crate::history::Entry;
use crate::observation;
use crate::store::ProviderView;

/// An ID of 4 kB is no reading matter; the link behind it holds all of it.
const MAX_ID_CHARS: usize = 100;

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    version: &'static str,
    telemetry_path: &'a str,
    states: Vec<&'static str>,
    providers: Vec<Provider>,
    failures: Vec<Failed>,
}

struct Provider {
    name: Arc<str>,
    counts: [u64; observation::State::ALL.len()],
    stuck: u64,
    oldest: String,
}

struct Failed {
    at: String,
    provider: String,
    task_id: String,
    query: String,
    reason: &'static str,
    code: Arc<str>,
    detail: String,
}

/// The landing page.
pub async fn page(State(web): State<Arc<Web>>) -> Response {
    let store = Arc::clone(&web);
    let snapshot = tokio::task::spawn_blocking(move || store.live.store.snapshot()).await;
    let providers = snapshot.map(|snapshot| snapshot.providers).unwrap_or_default();
    let landing = Landing {
        version: env!("CARGO_PKG_VERSION"),
        telemetry_path: &web.telemetry_path,
        states: observation::State::ALL.map(observation::State::as_str).to_vec(),
        providers: providers.into_iter().map(provider).collect(),
        failures: web.history.newest().into_iter().map(failed).collect(),
    };
    match landing.render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn provider(view: ProviderView) -> Provider {
    let oldest = view.oldest.iter().max().copied().unwrap_or_default();
    Provider {
        name: view.name,
        counts: view.tasks,
        stuck: view.stuck,
        oldest: duration::format(std::time::Duration::from_secs(oldest.as_secs())),
    }
}

fn failed(entry: Entry) -> Failed {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query = format!(
        "provider={}&task_id={}&debug=true",
        encode(&entry.provider),
        encode(&entry.task_id)
    );
    let mut task_id = entry.task_id;
    if let Some((end, _)) = task_id.char_indices().nth(MAX_ID_CHARS) {
        task_id.truncate(end);
        task_id.push('…');
    }
    Failed {
        at: time(entry.at),
        provider: entry.provider,
        task_id,
        query,
        reason: entry.failure.reason.as_str(),
        code: entry.failure.code,
        detail: entry.failure.detail,
    }
}

fn time(moment: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(moment.micros()) {
        Ok(moment) => moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => moment.to_string(),
    }
}
