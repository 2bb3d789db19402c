//! The guard of every endpoint: who is let in, and which headers every answer carries.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{ClientAddress, Credentials};
use super::config::WebConfig;
use super::settings::ReloadableWebConfig;
use crate::telemetry::Telemetry;
use crate::telemetry::web::RejectReason;

/// The policy of the pages: they show their own style and send their own form. The text on them comes
/// from outside in good part, and is not to run even where the escaping has a hole.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// Headers of every answer, unless the web configuration says otherwise: most answers hold text from
/// outside, which a browser is not to take for something else, to show within another page or to name
/// to another host.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// State of the guard.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The web configuration, if there is one.
    pub settings: Option<Arc<ReloadableWebConfig>>,
    /// Paths that need no password.
    pub open: &'static [&'static str],
    /// Counters of refusals.
    pub telemetry: Arc<Telemetry>,
}

/// Lets clients in that may come in, and adds the headers to every answer.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let configured = match &guard.settings {
        Some(settings) => Some((settings, settings.current().await)),
        None => None,
    };
    let admitted = match &configured {
        Some((settings, config)) => {
            let address = request.extensions().get();
            let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |ClientAddress(ip)| *ip);
            let (path, headers) = (request.uri().path(), request.headers());
            guard.admits(path, headers, address, settings, config).await
        }
        None => true,
    };
    let mut response = if admitted {
        next.run(request).await
    } else {
        guard.telemetry.web.rejected(RejectReason::Unauthorized);
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))];
        (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
    };
    add(response.headers_mut(), HEADERS.iter().map(|(name, value)| (name, value)));
    if let Some((_, config)) = &configured {
        add(response.headers_mut(), &config.headers);
    }
    response
}

fn add<'h>(
    headers: &mut HeaderMap,
    more: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
) {
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
}

impl Guard {
    /// Reports whether no password is needed, or the request has a right one.
    async fn admits(
        &self,
        path: &str,
        headers: &HeaderMap,
        address: IpAddr,
        settings: &ReloadableWebConfig,
        config: &Arc<WebConfig>,
    ) -> bool {
        config.users.is_empty()
            || self.open.contains(&path)
            || match Credentials::of(headers) {
                Some(credentials) => {
                    settings.passwords.admit(&config.users, credentials, address).await
                }
                None => false,
            }
    }
}
