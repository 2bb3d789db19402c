//! Requests over HTTP: limited in time and size, with a reason for every failure.

pub(crate) mod client;
mod connections;
mod content;
pub mod credentials;
pub(crate) mod http_client;
pub mod redact;
pub mod resolver;
mod retry_after;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use reqwest::Url;

use crate::config::Provider;
use crate::observation::{Failure, Reason};
use crate::request::list::ListQuery;
use crate::task::TaskGroup;
use client::{BuildError, ClientSpec};
use credentials::Credentials;
use http_client::HttpClient;
pub use http_client::{Fetched, HttpRequest};
use resolver::Resolver;

/// Sender of requests to one provider.
#[derive(Debug)]
pub struct Fetcher {
    client: HttpClient,
    /// Base URL without a slash at its end.
    base_url: String,
    /// Limit of a body, in bytes; `None` if bodies are not read.
    body_limit: Option<usize>,
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
        let before = before.map(|before| &before.client);
        let reads_body = !provider.mapping.ignores_body;
        Ok(Self {
            client: HttpClient::new(&ClientSpec::from(provider), before, resolver)?,
            base_url: provider.base_url.as_str().trim_end_matches('/').to_owned(),
            body_limit: reads_body.then_some(provider.limits.body_size_limit),
        })
    }

    /// Returns the headers of every request, which carry the credentials.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.client.credentials
    }

    /// Reports whether `other` uses the same server and the same account, so that credentials that are
    /// rejected for one are rejected for the other.
    pub fn is_same_account(&self, other: &Self) -> bool {
        self.base_url == other.base_url && self.client.is_same_account(&other.client)
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
    ) -> Result<HttpRequest, Failure> {
        let batch = provider.batch.as_ref().filter(|_| is_batch);
        let template = batch.unwrap_or(&provider.request);
        let url = self.parse_url(&template.target(tasks))?;
        let body = template.body(tasks).map(Bytes::from);
        let method = template.method.clone();
        Ok(HttpRequest { method, url, headers: HeaderMap::new(), body })
    }

    /// Returns the URL of a list, or of its first page without the parameters of its paging.
    ///
    /// # Errors
    /// Fails when the result is no URL.
    pub fn list_url(&self, query: &ListQuery) -> Result<Url, Failure> {
        self.parse_url(&query.target)
    }

    /// Builds the request for a list, or for one of its pages, at `url`.
    pub fn list_request(query: &ListQuery, url: Url) -> HttpRequest {
        let body = query.body.as_ref().map(|body| Bytes::from(body.to_string()));
        HttpRequest { method: query.method.clone(), url, headers: HeaderMap::new(), body }
    }

    fn parse_url(&self, target: &str) -> Result<Url, Failure> {
        Url::parse(&format!("{}{target}", self.base_url)).map_err(|error| {
            Failure::new(Reason::Connect, format!("cannot build the URL: {error}"))
        })
    }

    /// Sends the request for a list, and receives the response within `timeout`. Of the body at most
    /// `max_bytes` are read.
    ///
    /// # Errors
    /// Fails as [`Self::fetch`].
    pub async fn fetch_list(
        &self,
        request: &HttpRequest,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Fetched, Failure> {
        self.client.fetch(request, timeout, &|_, _| Some(max_bytes)).await
    }

    /// Sends a request and receives the response, within the provider's `poll_timeout`.
    ///
    /// # Errors
    /// `timeout`, `tls`, `connect`, or `decode` for anything that is not HTTP. The meaning of a
    /// complete response is left to the mapping.
    pub async fn fetch(&self, request: &HttpRequest) -> Result<Fetched, Failure> {
        self.client.fetch(request, self.client.timeout, &|_, _| self.body_limit).await
    }

    /// Adds the cause to the description of a timeout, if it is the name server.
    pub fn describe_timeout(&self, detail: String) -> String {
        self.client.describe_timeout(detail)
    }
}
