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
mod pages;
pub mod probe;
mod query;
pub mod question;
pub mod reserve;
pub mod settings;
pub mod stage;
mod stream;
pub mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};

use crate::history::History;
use crate::reload::Live;
use crate::storage::Storage;
use crate::telemetry::Telemetry;
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
    pub live: Arc<Live>,
    /// The collector's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// What outlives the process, if anything does.
    pub storage: Option<Arc<Storage>>,
    /// Failed polls of late.
    pub history: Arc<History>,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// Whether the process is ending.
    pub stopping: AtomicBool,
}

/// Every endpoint. At most `max_requests` are answered at once (0: no limit), those that tell
/// whether the process lives not counted. `guard` decides who is let in.
pub fn router(web: Arc<Web>, max_requests: usize, guard: Option<Guard>) -> Router {
    let telemetry_path = web.telemetry_path.clone();
    let router = Router::new()
        .route("/", get(pages::landing::page))
        .route(&telemetry_path, get(metrics_of))
        .route("/tasks", get(pages::tasks::page))
        // An ID may hold `/`, which some proxies decode on the way.
        .route("/tasks/{provider}/{*id}", get(pages::task::page))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/probe", get(probe::probe))
        .route("/config", get(config))
        .route("/-/reload", any(lifecycle::reload))
        .layer(middleware::from_fn_with_state(Limit::new(max_requests), limit::limit))
        .route(HEALTHY, get(lifecycle::healthy))
        .route(READY, get(lifecycle::ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing is here; / has the links\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "this path takes another method\n")
        })
        .with_state(web);
    match guard {
        Some(guard) => router.layer(middleware::from_fn_with_state(guard, guard::guard)),
        None => router,
    }
}

async fn metrics_of(
    State(web): State<Arc<Web>>,
    Extension(permit): Extension<Permit>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let storage = web.storage.clone().filter(|_| method == Method::GET);
    if let Some(storage) = &storage {
        storage.count().await;
    }
    let snapshot = {
        let web = Arc::clone(&web);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let read = (web.live.store.snapshot(), web.telemetry.gather());
            if let Some(storage) = storage {
                storage.shown();
            }
            read
        })
    };
    match snapshot.await {
        Ok((snapshot, registry)) => metrics::respond(&headers, snapshot, registry, move |took| {
            web.telemetry.scrape_finished(took);
        }),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The configuration in force, secrets masked.
async fn config(State(web): State<Arc<Web>>) -> Response {
    let shown = web.live.config().shown.clone();
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], shown).into_response()
}

impl Web {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
