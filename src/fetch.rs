//! Asking a provider: bounded in time and size, and every failure under one reason.

pub mod client;
mod connections;
mod content;
pub mod credentials;
mod failure;
pub mod fingerprint;
pub mod redact;
pub mod resolver;
pub mod retry_after;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::{RequestBuilder, Url};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::config::Provider;
use crate::mapping;
use crate::observation::{Failure, Reason};
use crate::task::TaskGroup;
use client::{BuildError, ClientSettings};
use connections::Connections;
use content::{Content, ReadError};
use credentials::Credentials;
use fingerprint::ClientFingerprint;
use redact::Redactor;
use resolver::Resolver;

/// Speaks to one provider.
#[derive(Debug)]
pub struct Fetcher {
    connections: Arc<Connections>,
    /// Fingerprint of the settings of `connections`.
    fingerprint: ClientFingerprint,
    base_url: String,
    timeout: Duration,
    body_size_limit: usize,
    reads_body: bool,
    /// The proxy on the way, as failures name it; empty where there is none.
    through: &'static str,
    resolver: Resolver,
    /// The host whose name is looked up: the proxy's, or the provider's own.
    host: Box<str>,
    /// The headers of every request.
    pub credentials: Arc<Credentials>,
}

/// A request that is ready to go.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// A JSON body.
    pub body: Option<String>,
}

/// A response, read as far as the mapping wants it and the limit allows.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The response's headers.
    pub headers: HeaderMap,
    /// For how long the provider asks to be left alone, should the poll have failed.
    pub retry_after: Option<Duration>,
    /// Takes the secrets of the request out of what is read in the response.
    pub redactor: Arc<Redactor>,
    /// The moment of its own `Date`, else of its arrival.
    sent: Timestamp,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Unread,
    /// The beginning of one that is larger than the limit.
    Cut(Bytes, usize),
    Unreadable(String),
    Whole(Bytes),
}

impl Response {
    /// The response as the mapping takes it.
    pub fn answer(&self) -> mapping::Answer<'_> {
        let body = match &self.body {
            Body::Unread => mapping::Body::Unread,
            Body::Cut(start, limit) => mapping::Body::Cut { start, limit: *limit },
            Body::Unreadable(why) => mapping::Body::Unreadable(why),
            Body::Whole(bytes) => mapping::Body::Whole(bytes),
        };
        mapping::Answer { status: self.status, headers: &self.headers, sent: self.sent, body }
    }
}

impl Fetcher {
    /// A client for `provider`, whose connections are its own: those of `before`, the provider's
    /// fetcher until now, where nothing has changed that they depend on. Names are looked up by
    /// `resolver`.
    ///
    /// # Errors
    /// When a certificate or a secret cannot be used.
    pub fn new(
        provider: &Provider,
        before: Option<&Self>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let through = match &provider.client.proxy {
            Some(proxy) if proxy.is_from_environment => "through the environment's proxy: ",
            Some(_) => "through proxy_url: ",
            None => "",
        };
        let fingerprint = ClientFingerprint::of(provider)?;
        let connections = match before.filter(|before| before.fingerprint == fingerprint) {
            Some(before) => Arc::clone(&before.connections),
            None => {
                let settings = ClientSettings::read(provider, resolver.clone())?;
                Arc::new(Connections::new(settings)?)
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
            through,
            resolver: resolver.clone(),
            host: host.into(),
            credentials: Arc::new(Credentials::read(&provider.client)?),
        })
    }

    /// Reports whether `other` asks the same server, as the same account: what one was refused, the
    /// other would be.
    pub fn is_same_account(&self, other: &Self) -> bool {
        self.base_url == other.base_url
            && self.fingerprint.transport == other.fingerprint.transport
            && self.credentials.fingerprint() == other.credentials.fingerprint()
    }

    /// The request that asks `provider` for `tasks`: its batch where that is wanted and there is one.
    ///
    /// # Errors
    /// When no URL can be made of it.
    pub fn call(
        &self,
        provider: &Provider,
        tasks: &TaskGroup,
        batched: bool,
    ) -> Result<Call, Failure> {
        let batch = provider.batch.as_ref().filter(|_| batched);
        let request = batch.unwrap_or(&provider.request);
        let url = format!("{}{}", self.base_url, request.target(tasks));
        let url = Url::parse(&url)
            .map_err(|error| Failure::new(Reason::Connect, format!("no URL: {error}")))?;
        Ok(Call { method: request.method.clone(), url, body: request.body(tasks) })
    }

    /// Sends a request and reads the answer, all within the provider's `poll_timeout`.
    ///
    /// # Errors
    /// `timeout`, `tls`, `connect`, or `decode` for what is no HTTP; what a whole answer means is
    /// for the mapping to say.
    pub async fn fetch(&self, call: &Call) -> Result<Response, Failure> {
        let out_of_time = || {
            let detail = format!("no whole answer within {:?}", self.timeout);
            (Reason::Timeout, self.timed_out(detail))
        };
        let (reason, detail) = match tokio::time::timeout(self.timeout, self.exchange(call)).await {
            Ok(Ok(response)) => return Ok(response),
            // To connect may take as long as the whole.
            Ok(Err(ReadError::Client(error))) if error.is_timeout() && error.is_connect() => {
                out_of_time()
            }
            Ok(Err(ReadError::Client(error))) => failure::classify(&error),
            Ok(Err(ReadError::CutShort)) => {
                let detail = "the connection was closed before the end of the gzip body";
                (Reason::Connect, detail.to_owned())
            }
            Err(_) => out_of_time(),
        };
        // Whose fault it is the error does not tell.
        Err(Failure::new(reason, format!("{}{detail}", self.through)))
    }

    /// Returns what happened where a request was given up, with its cause if that is the name server.
    pub fn timed_out(&self, detail: String) -> String {
        match self.resolver.is_looking_up(&self.host) {
            true => format!("{detail}: the name server does not answer for {}", self.host),
            false => detail,
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Response, ReadError> {
        let (headers, redactor) = self.credentials.current();
        let mut headers = Some(headers);
        let request = |client: &_| {
            let headers = headers.take().unwrap_or_else(|| self.credentials.current().0);
            request(client, call, headers)
        };
        let sent = self.connections.send(Instant::now(), request).await;
        let mut response = sent.map_err(ReadError::Client)?;
        // Before anything is made of them, the name of a coding say.
        redactor.mask_headers(response.headers_mut());
        let status = response.status().as_u16();
        let body = match self.reads_body {
            true => self.body(&mut response, &redactor).await?,
            false => Body::Unread,
        };
        let headers = std::mem::take(response.headers_mut());
        let now = SystemTime::now();
        let sent = retry_after::sent(&headers, now).into();
        let retry_after = retry_after::parse(&headers, now);
        Ok(Response { status, headers, retry_after, redactor, sent, body })
    }

    /// Reads the body without secrets that come back in it.
    async fn body(
        &self,
        response: &mut reqwest::Response,
        redactor: &Redactor,
    ) -> Result<Body, ReadError> {
        let limit = self.body_size_limit;
        Ok(match content::read(response, limit).await? {
            Content::Whole(body) => Body::Whole(redactor.mask(&body).map_or(body, Bytes::from)),
            Content::TooLarge(start) => Body::Cut(redactor.mask_cut(start), limit),
            Content::Unreadable(why) => Body::Unreadable(why),
        })
    }
}

fn request(client: &reqwest::Client, call: &Call, mut headers: HeaderMap) -> RequestBuilder {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let mut request = client.request(call.method.clone(), call.url.clone());
    if let Some(body) = &call.body {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        request = request.body(body.clone());
    }
    request.headers(headers)
}
