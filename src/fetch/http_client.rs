//! Requests to one server, with the connections and credentials that they share.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::{RequestBuilder, Url};
use tokio::time::Instant;

use super::client::{self, BuildError, ClientFingerprint, ClientSettings, ClientSpec};
use super::connections::Connections;
use super::content::{self, ReadError};
use super::credentials::Credentials;
use super::redact::Redactor;
use super::resolver::Resolver;
use super::retry_after;
use crate::mapping::{ProviderResponse, ReceivedBody};
use crate::observation::{Failure, Reason};

/// Sender of requests to one server.
#[derive(Debug)]
pub struct HttpClient {
    connections: Arc<Connections>,
    /// Fingerprint of the settings of `connections`.
    fingerprint: ClientFingerprint,
    /// Total time of one request.
    pub timeout: Duration,
    /// Prefix of failures that names the proxy; empty without one.
    proxy_prefix: &'static str,
    resolver: Resolver,
    /// Host whose name is resolved: the proxy, or the server itself.
    host: Box<str>,
    /// Headers of every request that carry credentials.
    pub credentials: Arc<Credentials>,
}

/// A request that is ready to be sent, but for the credentials.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// HTTP method.
    pub method: Method,
    /// Complete URL.
    pub url: Url,
    /// Further headers.
    pub headers: HeaderMap,
    /// JSON body.
    pub body: Option<Bytes>,
}

/// A response that was received as far as it is needed and the limit allows, with secrets masked.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The response.
    pub response: ProviderResponse,
    /// Pause that the headers ask for. It counts only if the request has failed.
    pub retry_after: Option<Duration>,
    /// Masks the secrets of the request.
    pub redactor: Arc<Redactor>,
}

/// Returns the maximum size of a body, in bytes, for the HTTP status and the headers of a response;
/// `None` if the body is not to be read.
pub type BodyLimit<'b> = dyn Fn(u16, &HeaderMap) -> Option<usize> + Sync + 'b;

impl HttpClient {
    /// Returns a client with connections of its own. It takes over those of `before`, the client of the
    /// same server until now, if nothing has changed that they depend on. Host names are resolved by
    /// `resolver`.
    ///
    /// # Errors
    /// Fails when a certificate or a secret cannot be used.
    pub fn new(
        spec: &ClientSpec<'_>,
        before: Option<&Self>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let proxy_prefix = match &spec.config.proxy {
            Some(proxy) if proxy.is_from_environment => "through the proxy from the environment: ",
            Some(_) => "through proxy_url: ",
            None => "",
        };
        let fingerprint = ClientFingerprint::of(spec)?;
        let connections = match before.filter(|before| before.fingerprint == fingerprint) {
            Some(before) => Arc::clone(&before.connections),
            None => {
                let settings = ClientSettings::read(spec, resolver.clone())?;
                Arc::new(Connections::new(settings)?)
            }
        };
        let proxy = spec.config.proxy.as_ref().map(client::proxy_url).transpose()?;
        let host = proxy.as_ref().unwrap_or(spec.url).host_str().unwrap_or_default();
        Ok(Self {
            connections,
            fingerprint,
            timeout: spec.timeout,
            proxy_prefix,
            resolver: resolver.clone(),
            host: host.into(),
            credentials: Arc::new(Credentials::read(spec.config)?),
        })
    }

    /// Reports whether `other` uses the same transport and the same credentials.
    pub fn is_same_account(&self, other: &Self) -> bool {
        self.fingerprint.transport == other.fingerprint.transport
            && self.credentials.fingerprint() == other.credentials.fingerprint()
    }

    /// Sends a request and receives the response within `timeout`. The body is read if `body_limit`
    /// returns its maximum size, in bytes, for the head of the response.
    ///
    /// # Errors
    /// `timeout`, `tls`, `connect`, or `decode` for anything that is not HTTP. The meaning of a
    /// complete response is left to the caller.
    pub async fn fetch(
        &self,
        request: &HttpRequest,
        timeout: Duration,
        body_limit: &BodyLimit<'_>,
    ) -> Result<Fetched, Failure> {
        let timed_out = || {
            let detail = format!("no complete answer within {timeout:?}");
            (Reason::Timeout, self.describe_timeout(detail))
        };
        let exchanged = tokio::time::timeout(timeout, self.exchange(request, body_limit)).await;
        let (reason, detail) = match exchanged {
            Ok(Ok(fetched)) => return Ok(fetched),
            // Connecting may take as long as the whole exchange.
            Ok(Err(ReadError::Client(error))) if error.is_timeout() && error.is_connect() => {
                timed_out()
            }
            Ok(Err(ReadError::Client(error))) => client::classify_error(&error),
            Ok(Err(ReadError::CutShort)) => {
                let detail = "the connection was closed before the end of the gzip body";
                (Reason::Connect, detail.to_owned())
            }
            Err(_) => timed_out(),
        };
        // The error may come from the proxy or from the server.
        Err(Failure::new(reason, format!("{}{detail}", self.proxy_prefix)))
    }

    /// Adds the cause to the description of a timeout, if it is the name server.
    pub fn describe_timeout(&self, detail: String) -> String {
        match self.resolver.is_looking_up(&self.host) {
            true => format!("{detail}: the name server does not answer for {}", self.host),
            false => detail,
        }
    }

    async fn exchange(
        &self,
        request: &HttpRequest,
        body_limit: &BodyLimit<'_>,
    ) -> Result<Fetched, ReadError> {
        let (headers, redactor) = self.credentials.current();
        let mut headers = Some(headers);
        let prepare = |client: &_| {
            let headers = headers.take().unwrap_or_else(|| self.credentials.current().0);
            prepare(client, request, headers)
        };
        let sent = self.connections.send(Instant::now(), prepare).await;
        let mut response = sent.map_err(ReadError::Client)?;
        // Before anything is read from them, such as the name of a coding.
        redactor.mask_headers(response.headers_mut());
        let status = response.status().as_u16();
        let body = match body_limit(status, response.headers()) {
            Some(limit) => mask_body(content::read(&mut response, limit).await?, &redactor),
            None => ReceivedBody::Ignored,
        };
        let headers = std::mem::take(response.headers_mut());
        let now = SystemTime::now();
        let sent = retry_after::date(&headers, now).into();
        let retry_after = retry_after::parse(&headers, now);
        Ok(Fetched {
            response: ProviderResponse { status, headers, sent, body },
            retry_after,
            redactor,
        })
    }
}

/// Returns the request as the HTTP client takes it, with the headers of the credentials.
fn prepare(
    client: &reqwest::Client,
    request: &HttpRequest,
    mut headers: HeaderMap,
) -> RequestBuilder {
    for (name, value) in &request.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let mut prepared = client.request(request.method.clone(), request.url.clone());
    if let Some(body) = &request.body {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        prepared = prepared.body(body.clone());
    }
    prepared.headers(headers)
}

/// Masks secrets that are sent back in a body.
fn mask_body(body: ReceivedBody, redactor: &Redactor) -> ReceivedBody {
    match body {
        ReceivedBody::Whole(body) => {
            ReceivedBody::Whole(redactor.mask(&body).map_or(body, Bytes::from))
        }
        ReceivedBody::Truncated { start, limit } => {
            ReceivedBody::Truncated { start: redactor.mask_truncated(start), limit }
        }
        other => other,
    }
}
