//! Who is let in, and the headers that every answer carries.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Credentials;
use super::settings::Settings;

/// What decides.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The web configuration.
    pub settings: Arc<Settings>,
    /// Paths that need no password.
    pub open: &'static [&'static str],
}

/// Lets those in who may come in, and adds the configured headers to every answer.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Guard { settings, open } = guard;
    let config = settings.current().await;
    let admitted = config.users.is_empty()
        || open.contains(&request.uri().path())
        || match Credentials::of(request.headers()) {
            Some(credentials) => settings.passwords.admit(&config.users, credentials).await,
            None => false,
        };
    let mut response = if admitted {
        next.run(request).await
    } else {
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))];
        (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
    };
    for (name, value) in &config.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
