//! The middleware of the endpoints: authentication and the headers of every response, and the limits
//! on the requests that are answered at once.

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
use crate::telemetry::web::Rejected;

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
pub struct Authentication {
    /// The web configuration, if there is one.
    pub settings: Option<Arc<ReloadableWebConfig>>,
    /// Paths that need no password.
    pub open: &'static [&'static str],
    /// Counters of refusals.
    pub telemetry: Arc<Telemetry>,
}

/// Lets clients in that may come in, and adds the headers to every answer.
pub async fn authenticate_and_set_headers(
    State(guard): State<Authentication>,
    request: Request,
    next: Next,
) -> Response {
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
        guard.telemetry.web.rejected(Rejected::Unauthorized);
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

impl Authentication {
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
            || match BasicCredentials::of(headers) {
                Some(credentials) => {
                    settings.passwords.verify(&config.users, credentials, address).await
                }
                None => false,
            }
    }
}

/// Pages for people, lists of tasks and `/config`: several people look at once, and each answer under
/// way may hold a thread and some megabytes.
const PAGES: usize = 16;
/// A Prometheus that scrapes `/probe` for a list of IDs has many under way, which wait for their turn
/// at the provider. Each holds an answer of the provider for as long as it is sent.
const PROBES: usize = 64;

/// The limit of one kind of requests.
#[derive(Clone, Debug)]
pub struct RequestLimit {
    reason: Rejected,
    /// The answer to one too many.
    message: Arc<str>,
    permits: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl RequestLimit {
    /// At most `most` scrapes; 0 is no limit.
    pub fn scrapes(most: usize, telemetry: &Arc<Telemetry>) -> Self {
        let message = format!(
            "{most} scrapes are being answered, which is the limit of --web.max-requests; try again\n"
        );
        let most = if most == 0 { Semaphore::MAX_PERMITS } else { most };
        Self::new(most, Rejected::Scrapes, message, telemetry)
    }

    /// The limit of pages, lists of tasks and the configuration.
    pub fn pages(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(PAGES, "pages and lists are being answered", Rejected::Pages, telemetry)
    }

    /// The limit of probes.
    pub fn probes(telemetry: &Arc<Telemetry>) -> Self {
        Self::constant(PROBES, "probes are under way", Rejected::Probes, telemetry)
    }

    fn constant(most: usize, what: &str, reason: Rejected, telemetry: &Arc<Telemetry>) -> Self {
        Self::new(most, reason, format!("{most} {what}, which is the most; try again\n"), telemetry)
    }

    fn new(most: usize, reason: Rejected, message: String, telemetry: &Arc<Telemetry>) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { reason, message: message.into(), permits, telemetry: Arc::clone(telemetry) }
    }
}

/// A request's share of its limit. It is held by the answer until that has been sent, and by what is
/// done for it on other threads: a reader that goes away ends neither.
#[derive(Clone, Debug)]
pub struct RequestPermit {
    _held: Arc<OwnedSemaphorePermit>,
}

impl RequestPermit {
    /// Takes one, if there is one left.
    pub fn take(permits: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(permits).try_acquire_owned().ok()?;
        Some(Self { _held: Arc::new(permit) })
    }
}

/// Answers 503 where one request too many is under way.
pub async fn limit_requests(
    State(limit): State<RequestLimit>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(permit) = RequestPermit::take(&limit.permits) else {
        limit.telemetry.web.rejected(limit.reason);
        return (StatusCode::SERVICE_UNAVAILABLE, limit.message.to_string()).into_response();
    };
    request.extensions_mut().insert(permit.clone());
    next.run(request).await.map(|body| Body::new(GuardedBody::new(body, permit)))
}

/// A body, and what is dropped once its last byte has been written to the connection. The body
/// itself ends earlier, when the last byte is queued: so each piece of it holds the guard as well.
pub struct GuardedBody<G> {
    body: Body,
    guard: Arc<G>,
}

impl<G> GuardedBody<G> {
    /// Keeps `guard` until `body` has been sent.
    pub fn new(body: Body, guard: G) -> Self {
        Self { body, guard: Arc::new(guard) }
    }
}

/// A piece of a body.
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
    use http_body::Body as _;

    use super::*;

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
