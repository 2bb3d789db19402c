//! The HTTP endpoints and their limits.

mod api;
pub mod auth;
pub(crate) mod config;
pub mod connection_stage;
pub(crate) mod connections;
mod list_page;
pub mod listen;
mod metrics;
pub mod middleware;
mod negotiation;
mod origin;
mod pages;
pub mod probe;
pub mod query;
pub mod stream;
mod timeouts;

use std::net::SocketAddr;
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
use crate::history::FailureHistory;
use crate::reload::{ConfigManager, Reloads};
use crate::telemetry::Telemetry;
use config::reloadable::ReloadableWebConfig;
use middleware::{Authentication, RequestLimit, RequestPermit};
use stream::ComputePermits;

/// Path of the endpoint that returns 200 while the process is alive.
pub const HEALTHY: &str = "/-/healthy";
/// Path of the endpoint that returns 200 once there is something to scrape.
pub const READY: &str = "/-/ready";

/// State shared by the handlers.
#[derive(Debug)]
pub struct WebState {
    /// The configuration in force and its tasks.
    pub manager: Arc<ConfigManager>,
    /// Reloads of the configuration.
    pub reloads: Arc<Reloads>,
    /// Metrics about the exporter itself.
    pub telemetry: Arc<Telemetry>,
    /// Recently failed polls.
    pub history: Arc<FailureHistory>,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Permits to compute responses.
    pub compute_permits: ComputePermits,
    /// The web configuration, if there is one.
    pub web_config: Option<Arc<ReloadableWebConfig>>,
    /// True once the process is stopping.
    pub stopping: AtomicBool,
}

/// Builds the router of all endpoints.
///
/// At most `max_scrapes` scrapes run at once (0: no limit). Other kinds of requests have
/// limits of their own; the health endpoints have none. `guard` authenticates clients.
pub fn router(web: Arc<WebState>, max_scrapes: usize, guard: Authentication) -> Router {
    let limited = |routes: Router<Arc<WebState>>, limit| {
        routes.layer(from_fn_with_state(limit, middleware::limit_requests))
    };
    let scrapes = Router::new().route(&web.telemetry_path, get(scrape));
    let pages = Router::new()
        .route("/", get(pages::landing))
        .route("/tasks", get(pages::tasks::page))
        // An ID may contain `/`, which some proxies decode on the way.
        .route("/tasks/{provider}/{*id}", get(pages::task))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/api/v1/openapi.json", get(api::openapi))
        .route("/service-discovery", get(pages::discovery::page))
        .route("/config", get(effective_config));
    let probes = Router::new().route("/probe", get(probe::probe));
    // One reload runs and one waits. Further clients join the waiting one, so that each costs no
    // more than its connection.
    let reloads = Router::new().route("/-/reload", any(reload));
    let telemetry = &web.telemetry;
    let refuse_foreign = from_fn_with_state(Arc::clone(telemetry), origin::refuse_foreign);
    let registrations = match web.manager.has_task_receiver() {
        true => limited(api::registrations::routes(), RequestLimit::registrations(telemetry))
            .merge(limited(
                api::registrations::list_routes(),
                RequestLimit::registration_lists(telemetry),
            )),
        false => Router::new(),
    };
    let require_host = from_fn_with_state(Arc::clone(telemetry), origin::require_host);
    Router::new()
        .merge(limited(scrapes, RequestLimit::scrapes(max_scrapes, telemetry)))
        .merge(limited(pages, RequestLimit::pages(telemetry)))
        .merge(limited(probes, RequestLimit::probes(telemetry)).layer(refuse_foreign.clone()))
        .merge(registrations.layer(refuse_foreign.clone()))
        .merge(reloads.layer(refuse_foreign))
        .route(HEALTHY, get(healthy))
        .route(READY, get(ready))
        .fallback(|| async { (StatusCode::NOT_FOUND, "Not found. See / for the links.\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "this path does not support the method\n")
        })
        .with_state(web)
        .layer(require_host)
        .layer(from_fn_with_state(guard, middleware::authenticate_and_set_headers))
}

async fn scrape(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    headers: HeaderMap,
) -> Response {
    let snapshot = {
        let web = Arc::clone(&web);
        tokio::task::spawn_blocking(move || {
            let read = (web.manager.store.snapshot(), web.telemetry.gather());
            (read, permit)
        })
    };
    match snapshot.await {
        Ok(((snapshot, registry), permit)) => {
            let compute_permits = web.compute_permits.clone();
            metrics::respond(&headers, snapshot, registry, compute_permits, move |took| {
                web.telemetry.scrape_finished(took);
                drop(permit);
            })
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Returns the configuration in force with secrets masked. All responses share its text.
async fn effective_config(State(web): State<Arc<WebState>>) -> Response {
    let shown = Bytes::from_owner(ConfigText(web.manager.config()));
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], Body::from(shown)).into_response()
}

/// The text of a configuration.
struct ConfigText(Arc<Config>);

impl AsRef<[u8]> for ConfigText {
    fn as_ref(&self) -> &[u8] {
        self.0.shown.as_bytes()
    }
}

/// Returns 200 while the process is alive.
pub async fn healthy() -> &'static str {
    "aitask_exporter is healthy.\n"
}

/// Returns 200 once the first configuration is in force and each provider has been polled or has
/// had enough time.
pub async fn ready(State(web): State<Arc<WebState>>) -> Response {
    if web.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "aitask_exporter is stopping.\n").into_response();
    }
    if web.manager.is_ready() {
        return "aitask_exporter is ready.\n".into_response();
    }
    let waits = "aitask_exporter is waiting for the first answer of a provider.\n";
    (StatusCode::SERVICE_UNAVAILABLE, waits).into_response()
}

/// Reloads the configuration, and responds once it is in force or was rejected.
pub async fn reload(State(web): State<Arc<WebState>>, method: Method) -> Response {
    if method != Method::POST && method != Method::PUT {
        let hint = "reload with POST or PUT\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST, PUT")], hint)
            .into_response();
    }
    match web.reloads.run().await {
        Ok(Ok(())) => "configuration reloaded\n".into_response(),
        Ok(Err(error)) => {
            let text = format!("configuration not reloaded; the old one stays in force\n{error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

impl WebState {
    /// Reports whether other machines can send requests to one of these addresses without a password or
    /// a verified certificate.
    pub fn is_open_to(&self, addresses: &[SocketAddr]) -> bool {
        let authenticates =
            self.web_config.as_ref().is_some_and(|web_config| web_config.authenticates());
        !authenticates && addresses.iter().any(|address| !address.ip().to_canonical().is_loopback())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
