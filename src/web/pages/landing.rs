//! `/`: where to look, for a person.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::failures::FailedPoll;
use super::format;
use super::link;
use super::{Head, answer, ok};
use crate::observation;
use crate::store::ProviderSummary;
use crate::web::Web;
use crate::web::limit::Permit;

/// How much of a refusal to reload is shown: some five mistakes, and the providers below it.
const REFUSAL_LINES: usize = 20;

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    head: Head<'a>,
    refusal: Option<String>,
    states: [observation::State; observation::State::ALL.len()],
    providers: Vec<Provider>,
    failures: Vec<FailedPoll>,
}

struct Provider {
    name: String,
    link: String,
    counts: Vec<Count>,
    stuck: Count,
    oldest: String,
}

/// How many tasks, and where they are shown if there are any.
struct Count {
    text: String,
    link: Option<String>,
}

/// The landing page.
pub async fn page(State(web): State<Arc<Web>>, Extension(permit): Extension<Permit>) -> Response {
    answer(web.turns.clone(), permit, move || {
        let snapshot = web.live.store.snapshot();
        let failures = web.history.newest().into_iter();
        ok(&Landing {
            head: Head::new(&web),
            refusal: web.live.refusal().map(|refusal| excerpt(&refusal)),
            states: observation::State::ALL,
            providers: snapshot.providers.iter().map(provider).collect(),
            failures: failures.map(|entry| FailedPoll::new(&entry, snapshot.now)).collect(),
        })
    })
    .await
}

/// The first mistakes; the log has the others.
fn excerpt(refusal: &str) -> String {
    let mut lines: Vec<_> = refusal.lines().take(REFUSAL_LINES + 1).collect();
    if lines.len() > REFUSAL_LINES {
        lines.pop();
        lines.push("…");
    }
    lines.join("\n")
}

fn provider(view: &ProviderSummary) -> Provider {
    let of_provider = ("provider", &*view.name);
    let count = |count: u64, narrowed: (&str, &str)| Count {
        text: format::count(count),
        link: (count > 0).then(|| link::tasks(&[of_provider, narrowed])),
    };
    let states = observation::State::ALL.into_iter().zip(view.tasks);
    let oldest = view.oldest.iter().max().copied().unwrap_or_default();
    Provider {
        name: format::short(&view.name),
        link: link::tasks(&[of_provider]),
        counts: states.map(|(state, tasks)| count(tasks, ("state", state.as_str()))).collect(),
        stuck: count(view.stuck, ("stuck", "true")),
        oldest: format::rough(oldest),
    }
}
