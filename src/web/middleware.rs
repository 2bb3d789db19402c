//! The middleware of the endpoints: authentication, the headers of every response, and limits on
//! concurrent requests.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::{BasicCredentials, ClientAddress};
use super::config::WebConfig;
use super::config::reloadable::ReloadableWebConfig;
use crate::telemetry::Telemetry;
use crate::telemetry::web::RequestRejection;

/// Content security policy of the pages, which have inline styles, send a form to the exporter itself,
/// and have one script, which requests the page again. Most text on them comes from outside, and must
/// not run even if the escaping has a hole: no script runs but the one with this hash.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'sha256-cNTlF8eFUio92sr7bK29Qc75hnJDKPZbnOsnc7m/EXQ='; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every response, unless the web configuration sets others. Most responses contain text
/// from outside; a browser must not interpret it as another type, embed it in another page, or send
/// its address to another host.
const DEFAULT_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// State of the authentication middleware.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// The web configuration, if there is one.
    pub web_config: Option<Arc<ReloadableWebConfig>>,
    /// Paths that require no password.
    pub unauthenticated_paths: &'static [&'static str],
    /// Metrics about the exporter itself, which count rejected requests.
    pub telemetry: Arc<Telemetry>,
}

/// The name of the user who sends a request, whose password was verified.
#[derive(Clone, Debug)]
pub struct AuthenticatedUser(pub Vec<u8>);

/// The access that a request has.
enum RequestAccess {
    /// None: the password is missing or wrong.
    Denied,
    /// That of clients without a name, which need no password.
    Anonymous,
    /// That of a user.
    User(AuthenticatedUser),
}

/// Rejects requests without a valid password, and adds the headers to every response.
pub async fn authenticate_and_set_headers(
    State(guard): State<Authentication>,
    mut request: Request,
    next: Next,
) -> Response {
    let configured = match &guard.web_config {
        Some(web_config) => Some((web_config, web_config.current().await)),
        None => None,
    };
    let access = match &configured {
        Some((web_config, config)) => {
            let address = request.extensions().get();
            let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |ClientAddress(ip)| *ip);
            let (path, headers) = (request.uri().path(), request.headers());
            guard.access(path, headers, address, web_config, config).await
        }
        None => RequestAccess::Anonymous,
    };
    let is_admitted = !matches!(access, RequestAccess::Denied);
    if let RequestAccess::User(user) = access {
        request.extensions_mut().insert(user);
    }
    let mut response = if is_admitted {
        next.run(request).await
    } else {
        guard.telemetry.web.rejected(RequestRejection::Unauthorized);
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))];
        (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
    };
    add(response.headers_mut(), DEFAULT_HEADERS.iter().map(|(name, value)| (name, value)));
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

impl Authentication {
    /// Returns the access of a request.
    async fn access(
        &self,
        path: &str,
        headers: &HeaderMap,
        address: IpAddr,
        web_config: &ReloadableWebConfig,
        config: &Arc<WebConfig>,
    ) -> RequestAccess {
        if config.users.is_empty() || self.unauthenticated_paths.contains(&path) {
            return RequestAccess::Anonymous;
        }
        let Some(credentials) = BasicCredentials::of(headers) else { return RequestAccess::Denied };
        let user = AuthenticatedUser(credentials.user.clone());
        match web_config.passwords.verify(&config.users, credentials, address).await {
            true => RequestAccess::User(user),
            false => RequestAccess::Denied,
        }
    }
}

/// Maximum number of concurrent requests for pages, lists of tasks and `/config`. Several people
/// look at them at the same time, and each response in flight may hold a thread and some megabytes.
const MAX_PAGE_REQUESTS: usize = 16;
/// Maximum number of concurrent probes. A Prometheus that scrapes `/probe` for a list of IDs has
/// many in flight, which wait for their turn at the provider. Each holds a response of the provider
/// while it is sent.
const MAX_PROBES: usize = 64;

/// Maximum number of concurrent requests that register or delete one task. Each waits for the storage,
/// which takes all that wait at once.
const MAX_REGISTRATIONS: usize = 256;
/// Maximum number of concurrent lists of registrations, each of which may take some megabytes.
const MAX_REGISTRATION_LISTS: usize = 8;

/// The limit on concurrent requests of one kind. Each kind has its own limit, so that no kind keeps
/// another out.
#[derive(Clone, Debug)]
pub struct RequestLimit {
    reason: RequestRejection,
    /// Body of the response to a request beyond the limit.
    message: Arc<str>,
    permits: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl RequestLimit {
    /// Limits scrapes to `most`; 0 means no limit.
    pub fn scrapes(most: usize, telemetry: &Arc<Telemetry>) -> Self {
        let message = format!(
            "{most} scrapes are in progress, which is the limit of --web.max-requests; try again\n"
        );
        let most = if most == 0 { Semaphore::MAX_PERMITS } else { most };
        Self::new(most, RequestRejection::Scrapes, message, telemetry)
    }

    /// Limits pages, lists of tasks and `/config`.
    pub fn pages(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(
            MAX_PAGE_REQUESTS,
            "requests for pages and lists are in progress",
            RequestRejection::Pages,
            telemetry,
        )
    }

    /// Limits probes.
    pub fn probes(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(MAX_PROBES, "probes are in progress", RequestRejection::Probes, telemetry)
    }

    /// Limits requests that register or delete one task.
    pub fn registrations(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(
            MAX_REGISTRATIONS,
            "registrations are in progress",
            RequestRejection::Registrations,
            telemetry,
        )
    }

    /// Limits lists of registrations.
    pub fn registration_lists(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(
            MAX_REGISTRATION_LISTS,
            "lists of registrations are in progress",
            RequestRejection::Registrations,
            telemetry,
        )
    }

    fn constant(
        most: usize,
        what: &str,
        reason: RequestRejection,
        telemetry: &Arc<Telemetry>,
    ) -> Self {
        Self::new(
            most,
            reason,
            format!("{most} {what}, which is the limit; try again\n"),
            telemetry,
        )
    }

    fn new(
        most: usize,
        reason: RequestRejection,
        message: String,
        telemetry: &Arc<Telemetry>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { reason, message: message.into(), permits, telemetry: Arc::clone(telemetry) }
    }
}

/// A permit for one request.
///
/// It is held by the response until it has been sent, and by the work on other threads: a client
/// that disconnects ends neither.
#[derive(Clone, Debug)]
pub struct RequestPermit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl RequestPermit {
    /// Takes a permit if one is left.
    pub fn take(permits: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        Some(Self { _held: Arc::new(permit) })
    }
}

/// Responds with 503 to a request beyond the limit.
pub async fn limit_requests(
    State(limit): State<RequestLimit>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(permit) = RequestPermit::take(&limit.permits) else {
        limit.telemetry.web.rejected(limit.reason);
        let message = limit.message.to_string();
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
        if limit.reason == RequestRejection::Registrations {
            // Their clients repeat a request as they are asked to.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        return response;
    };
    request.extensions_mut().insert(permit.clone());
    next.run(request).await.map(|body| Body::new(GuardedBody::new(body, permit)))
}

/// A body that holds `guard` until its last byte has been written to the connection.
///
/// The body itself ends earlier, when the last byte is queued. Each chunk of it therefore holds the
/// guard as well.
pub struct GuardedBody<G> {
    body: Body,
    guard: Arc<G>,
}

impl<G> GuardedBody<G> {
    /// Wraps `body` so that it holds `guard` until it has been sent.
    pub fn new(body: Body, guard: G) -> Self {
        Self { body, guard: Arc::new(guard) }
    }
}

/// A chunk of a body.
struct GuardedBytes<G> {
    bytes: Bytes,
    _guard: Arc<G>,
}

impl<G> AsRef<[u8]> for GuardedBytes<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<G: Send + Sync + 'static> http_body::Body for GuardedBody<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let guard = &self.guard;
        let hold = |bytes| Bytes::from_owner(GuardedBytes { bytes, _guard: Arc::clone(guard) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use http_body::Body as _;
    use ring::digest::{SHA256, digest};

    use super::*;
    use crate::web::pages;

    #[test]
    fn the_policy_allows_the_script_of_the_pages_and_no_other() {
        let hash = BASE64_STANDARD.encode(digest(&SHA256, pages::SCRIPT.as_bytes()));
        let allowed = format!("script-src 'sha256-{hash}';");
        assert!(CONTENT_SECURITY_POLICY.contains(&allowed), "the script has changed: {allowed}");
    }

    #[tokio::test]
    async fn a_guard_stays_until_the_last_piece_is_gone() {
        let guard = Arc::new(());
        let mut body = GuardedBody::new(Body::from("text"), Arc::clone(&guard));
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let mut piece = frame.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&piece[..], b"text");
        drop(body);
        let rest = piece.split_off(2);
        drop(piece);
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(rest);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
