//! What the exporter serves, and within which limits.

pub mod api;
pub mod auth;
pub mod config;
pub mod connections;
pub mod guard;
pub mod guarded;
pub mod lifecycle;
pub mod limit;
pub mod listen;
pub mod metrics;
mod negotiation;
mod origin;
mod pages;
pub mod probe;
mod query;
pub mod task_filter;
pub mod fd_reserve;
pub mod settings;
pub mod connection_stage;
mod stream;
pub mod compute_turns;
pub mod timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};

use crate::config::Config;
use crate::history::FailureHistory;
use crate::reload::{ConfigManager, Reloads};
use crate::telemetry::Telemetry;
use compute_turns::Turns;
use guard::Guard;
use limit::{Limit, Permit};

/// Answers while the process lives.
pub const HEALTHY: &str = "/-/healthy";
/// Answers 200 once there is something to scrape.
pub const READY: &str = "/-/ready";

/// What the handlers need.
#[derive(Debug)]
pub struct Web {
    /// The configuration in force and its tasks.
    pub live: Arc<ConfigManager>,
    /// Reloads of it.
    pub reloads: Arc<Reloads>,
    /// The collector's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// Failed polls of late.
    pub history: Arc<FailureHistory>,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// Turns at making answers.
    pub turns: Turns,
    /// Whether the process is ending.
    pub stopping: AtomicBool,
}

/// Every endpoint. At most `max_scrapes` are answered at once (0: no limit); other kinds of requests
/// have limits of their own, and those that tell whether the process lives have none. `guard`
/// decides who is let in.
pub fn router(web: Arc<Web>, max_scrapes: usize, guard: Guard) -> Router {
    let limited = |routes: Router<Arc<Web>>, limit| {
        routes.layer(middleware::from_fn_with_state(limit, limit::limit))
    };
    let scrapes = Router::new().route(&web.telemetry_path, get(metrics_of));
    let pages = Router::new()
        .route("/", get(pages::landing::page))
        .route("/tasks", get(pages::tasks::page))
        // An ID may hold `/`, which some proxies decode on the way.
        .route("/tasks/{provider}/{*id}", get(pages::task::page))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/config", get(config));
    let probes = Router::new().route("/probe", get(probe::probe));
    // One reload runs and one waits: more clients join it, and cost no more than their connections.
    let reloads = Router::new().route("/-/reload", any(lifecycle::reload));
    let telemetry = &web.telemetry;
    let refuse_foreign =
        middleware::from_fn_with_state(Arc::clone(telemetry), origin::refuse_foreign);
    let require_host = middleware::from_fn_with_state(Arc::clone(telemetry), origin::require_host);
    Router::new()
        .merge(limited(scrapes, Limit::scrapes(max_scrapes, telemetry)))
        .merge(limited(pages, Limit::pages(telemetry)))
        .merge(limited(probes, Limit::probes(telemetry)).layer(refuse_foreign.clone()))
        .merge(reloads.layer(refuse_foreign))
        .route(HEALTHY, get(lifecycle::healthy))
        .route(READY, get(lifecycle::ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing is here; / has the links\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "this path takes another method\n")
        })
        .with_state(web)
        .layer(require_host)
        .layer(middleware::from_fn_with_state(guard, guard::guard))
}

async fn metrics_of(
    State(web): State<Arc<Web>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
) -> Response {
    let snapshot = {
        let web = Arc::clone(&web);
        tokio::task::spawn_blocking(move || {
            let read = (web.live.store.snapshot(), web.telemetry.gather());
            (read, permit)
        })
    };
    match snapshot.await {
        Ok(((snapshot, registry), permit)) => {
            let turns = web.turns.clone();
            metrics::respond(&headers, snapshot, registry, turns, move |took| {
                web.telemetry.scrape_finished(took);
                drop(permit);
            })
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The configuration in force, secrets masked. All answers share its text.
async fn config(State(web): State<Arc<Web>>) -> Response {
    let shown = Bytes::from_owner(Shown(web.live.config()));
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], Body::from(shown)).into_response()
}

/// The text of a configuration.
struct Shown(Arc<Config>);

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        self.0.shown.as_bytes()
    }
}

impl Web {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
