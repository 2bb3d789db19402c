//! Requests to a provider: limited in time and size, with a reason for every failure.

pub(crate) mod client;
mod connections;
mod content;
pub mod credentials;
pub mod redact;
pub mod resolver;
mod retry_after;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::{RequestBuilder, Url};
use tokio::time::Instant;

use crate::config::Provider;
use crate::mapping::{ProviderResponse, ReceivedBody};
use crate::observation::{Failure, Reason};
use crate::task::TaskGroup;
use client::{BuildError, ClientFingerprint, ClientSettings};
use connections::ProviderConnections;
use content::ReadError;
use credentials::ProviderCredentials;
use redact::Redactor;
use resolver::Resolver;

/// Sender of requests to one provider.
#[derive(Debug)]
pub struct Fetcher {
    connections: Arc<ProviderConnections>,
    /// Fingerprint of the settings of `connections`.
    fingerprint: ClientFingerprint,
    /// Base URL without a slash at its end.
    base_url: String,
    timeout: Duration,
    /// Limit of a body, in bytes.
    body_size_limit: usize,
    reads_body: bool,
    /// Prefix of failures that names the proxy; empty without one.
    proxy_prefix: &'static str,
    resolver: Resolver,
    /// Host whose name is resolved: the proxy, or the provider itself.
    host: Box<str>,
    /// Headers of every request.
    pub credentials: Arc<ProviderCredentials>,
}

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub struct ProviderRequest {
    /// HTTP method.
    pub method: Method,
    /// Complete URL.
    pub url: Url,
    /// JSON body.
    pub body: Option<Bytes>,
}

/// A response that was received as far as the mapping needs it and the limit allows, with secrets
/// masked.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The response.
    pub response: ProviderResponse,
    /// Pause that the headers ask for. It counts only if the poll has failed.
    pub retry_after: Option<Duration>,
    /// Masks the secrets of the request.
    pub redactor: Arc<Redactor>,
}

impl Fetcher {
    /// Returns a fetcher for `provider` with connections of its own. It takes over those of `before`,
    /// the provider's fetcher until now, if nothing has changed that they depend on. Host names are
    /// resolved by `resolver`.
    ///
    /// # Errors
    /// Fails when a certificate or a secret cannot be used.
    pub fn new(
        provider: &Provider,
        before: Option<&Self>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let proxy_prefix = match &provider.client.proxy {
            Some(proxy) if proxy.is_from_environment => "through the proxy from the environment: ",
            Some(_) => "through proxy_url: ",
            None => "",
        };
        let fingerprint = ClientFingerprint::of(provider)?;
        let connections = match before.filter(|before| before.fingerprint == fingerprint) {
            Some(before) => Arc::clone(&before.connections),
            None => {
                let settings = ClientSettings::read(provider, resolver.clone())?;
                Arc::new(ProviderConnections::new(settings)?)
            }
        };
        let proxy = provider.client.proxy.as_ref().map(client::proxy_url).transpose()?;
        let host = proxy.as_ref().unwrap_or(&provider.base_url).host_str().unwrap_or_default();
        Ok(Self {
            connections,
            fingerprint,
            base_url: provider.base_url.as_str().trim_end_matches('/').to_owned(),
            timeout: provider.limits.poll_timeout,
            body_size_limit: provider.limits.body_size_limit,
            reads_body: !provider.mapping.ignores_body,
            proxy_prefix,
            resolver: resolver.clone(),
            host: host.into(),
            credentials: Arc::new(ProviderCredentials::read(&provider.client)?),
        })
    }

    /// Reports whether `other` uses the same server and the same account, so that credentials that are
    /// rejected for one are rejected for the other.
    pub fn is_same_account(&self, other: &Self) -> bool {
        self.base_url == other.base_url
            && self.fingerprint.transport == other.fingerprint.transport
            && self.credentials.fingerprint() == other.credentials.fingerprint()
    }

    /// Builds the request for `tasks`: the provider's batch query if it `is_batch` and there is one.
    ///
    /// # Errors
    /// Fails when the result is no URL.
    pub fn build_request(
        &self,
        provider: &Provider,
        tasks: &TaskGroup,
        is_batch: bool,
    ) -> Result<ProviderRequest, Failure> {
        let batch = provider.batch.as_ref().filter(|_| is_batch);
        let template = batch.unwrap_or(&provider.request);
        let url = format!("{}{}", self.base_url, template.target(tasks));
        let url = Url::parse(&url).map_err(|error| {
            Failure::new(Reason::Connect, format!("cannot build the URL: {error}"))
        })?;
        let body = template.body(tasks).map(Bytes::from);
        Ok(ProviderRequest { method: template.method.clone(), url, body })
    }

    /// Sends a request and receives the response, within the provider's `poll_timeout`.
    ///
    /// # Errors
    /// `timeout`, `tls`, `connect`, or `decode` for anything that is not HTTP. The meaning of a
    /// complete response is left to the mapping.
    pub async fn fetch(&self, request: &ProviderRequest) -> Result<Fetched, Failure> {
        let timed_out = || {
            let detail = format!("no complete answer within {:?}", self.timeout);
            (Reason::Timeout, self.describe_timeout(detail))
        };
        let exchanged = tokio::time::timeout(self.timeout, self.exchange(request)).await;
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
        // The error may come from the proxy or from the provider.
        Err(Failure::new(reason, format!("{}{detail}", self.proxy_prefix)))
    }

    /// Adds the cause to the description of a timeout, if it is the name server.
    pub fn describe_timeout(&self, detail: String) -> String {
        match self.resolver.is_looking_up(&self.host) {
            true => format!("{detail}: the name server does not answer for {}", self.host),
            false => detail,
        }
    }

    async fn exchange(&self, request: &ProviderRequest) -> Result<Fetched, ReadError> {
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
        let body = match self.reads_body {
            true => mask_body(content::read(&mut response, self.body_size_limit).await?, &redactor),
            false => ReceivedBody::Ignored,
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

/// Returns the request as the HTTP client takes it.
fn prepare(
    client: &reqwest::Client,
    request: &ProviderRequest,
    mut headers: HeaderMap,
) -> RequestBuilder {
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
