//! What the exporter serves, and within which limits.

pub mod api;
pub mod auth;
pub mod config;
pub mod connections;
pub mod listen;
pub mod metrics;
pub mod middleware;
mod negotiation;
mod origin;
mod pages;
pub mod probe;
pub mod query;
pub mod connection_stage;
pub mod stream;
pub mod timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};

use crate::config::Config;
use crate::history::History;
use crate::reload::{ConfigManager, Reloads};
use crate::telemetry::Telemetry;
use middleware::{Authentication, RequestLimit, RequestPermit};
use stream::ComputePermits;

/// Answers while the process lives.
pub const HEALTHY: &str = "/-/healthy";
/// Answers 200 once there is something to scrape.
pub const READY: &str = "/-/ready";

/// What the handlers need.
#[derive(Debug)]
pub struct WebState {
    /// The configuration in force and its tasks.
    pub live: Arc<ConfigManager>,
    /// Reloads of it.
    pub reloads: Arc<Reloads>,
    /// The collector's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// Failed polls of late.
    pub history: Arc<History>,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// ComputePermits at making answers.
    pub turns: ComputePermits,
    /// Whether the process is ending.
    pub stopping: AtomicBool,
}

/// Every endpoint. At most `max_scrapes` are answered at once (0: no limit); other kinds of requests
/// have limits of their own, and those that tell whether the process lives have none. `guard`
/// decides who is let in.
pub fn router(web: Arc<WebState>, max_scrapes: usize, guard: Authentication) -> Router {
    let limited = |routes: Router<Arc<WebState>>, limit| {
        routes.layer(from_fn_with_state(limit, middleware::limit_requests))
    };
    let scrapes = Router::new().route(&web.telemetry_path, get(metrics_of));
    let pages = Router::new()
        .route("/", get(pages::landing))
        .route("/tasks", get(pages::tasks::page))
        // An ID may hold `/`, which some proxies decode on the way.
        .route("/tasks/{provider}/{*id}", get(pages::task))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/config", get(config));
    let probes = Router::new().route("/probe", get(probe::probe));
    // One reload runs and one waits: more clients join it, and cost no more than their connections.
    let reloads = Router::new().route("/-/reload", any(reload));
    let telemetry = &web.telemetry;
    let refuse_foreign = from_fn_with_state(Arc::clone(telemetry), origin::refuse_foreign);
    let require_host = from_fn_with_state(Arc::clone(telemetry), origin::require_host);
    Router::new()
        .merge(limited(scrapes, RequestLimit::scrapes(max_scrapes, telemetry)))
        .merge(limited(pages, RequestLimit::pages(telemetry)))
        .merge(limited(probes, RequestLimit::probes(telemetry)).layer(refuse_foreign.clone()))
        .merge(reloads.layer(refuse_foreign))
        .route(HEALTHY, get(healthy))
        .route(READY, get(ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing is here; / has the links\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "this path takes another method\n")
        })
        .with_state(web)
        .layer(require_host)
        .layer(from_fn_with_state(guard, middleware::authenticate_and_set_headers))
}

async fn metrics_of(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
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
async fn config(State(web): State<Arc<WebState>>) -> Response {
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

/// 200 while the process lives.
pub async fn healthy() -> &'static str {
    "aitask_exporter is healthy.\n"
}

/// 200 once the first configuration is live and each provider has been tried or has time.
pub async fn ready(State(web): State<Arc<WebState>>) -> Response {
    if web.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "aitask_exporter is stopping.\n").into_response();
    }
    if web.live.is_ready() {
        return "aitask_exporter is ready.\n".into_response();
    }
    let waits = "aitask_exporter waits for the first answer of a provider.\n";
    (StatusCode::SERVICE_UNAVAILABLE, waits).into_response()
}

/// Reads the configuration again, and answers once it is in force or was refused.
pub async fn reload(State(web): State<Arc<WebState>>, method: Method) -> Response {
    if method != Method::POST && method != Method::PUT {
        let hint = "reload with POST or PUT\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST, PUT")], hint)
            .into_response();
    }
    match web.reloads.run().await {
        Ok(Ok(())) => "configuration reloaded\n".into_response(),
        Ok(Err(error)) => {
            let text = format!("configuration not reloaded, the old one stays in force\n{error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

impl WebState {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
