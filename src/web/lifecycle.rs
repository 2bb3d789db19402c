//! `/-/healthy`, `/-/ready` and `/-/reload`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;

/// 200 while the process lives.
pub async fn healthy() -> &'static str {
    "aitask_exporter is healthy.\n"
}

/// 200 once the first configuration is live and each provider has been tried or has time.
pub async fn ready(State(web): State<Arc<Web>>) -> Response {
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
pub async fn reload(State(web): State<Arc<Web>>, method: Method) -> Response {
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
