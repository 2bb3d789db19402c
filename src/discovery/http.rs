//! Sources that are HTTP endpoints: one request for a list, or one for each of its pages.

mod mapping;
pub mod paging;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::Url;
use tokio::time::Instant;

use super::blocking;
use super::list::{MAX_ELEMENTS, MAX_LIST_BYTES, Refresh, RefreshError, RefreshReason, SourceList};
use super::list_builder::ListBuilder;
use super::list_parser::parse_json;
use crate::clock::Timestamp;
use crate::config::discovery::SourceConfig;
use crate::config::http_discovery::HttpSourceConfig;
use crate::config::{LabelLimits, Provider};
use crate::fetch::client::{BuildError, ClientSpec};
use crate::fetch::http_client::{Fetched, HttpClient, HttpRequest};
use crate::fetch::resolver::Resolver;
use crate::mapping::ReceivedBody;
use crate::observation::{Failure, Reason};
use crate::printable::excerpt;
use paging::{PageSummary, Pages};

/// Header with which Prometheus tells a server how often it asks.
const REFRESH_INTERVAL: HeaderName =
    HeaderName::from_static("x-prometheus-refresh-interval-seconds");
/// The only content type of a list.
const JSON: &str = "application/json";
/// Maximum number of characters of a content type that are shown.
const MAX_TYPE_CHARS: usize = 60;

/// A source that is an HTTP endpoint.
#[derive(Debug)]
pub struct HttpSource {
    source: Arc<SourceConfig>,
    http: Arc<HttpSourceConfig>,
    client: HttpClient,
    /// Validator of the last good list.
    etag: Option<HeaderValue>,
}

/// A response with a page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The body, decompressed.
    pub body: Bytes,
    /// Time of the response by the server's clock.
    pub sent: Timestamp,
}

/// A response to a request for a page.
enum PageResponse {
    /// The list is the one that the validator belongs to.
    Unchanged,
    /// A page, and the validator of the list if it has no other pages.
    Page(Page, Option<HeaderValue>),
}

impl HttpSource {
    /// Returns a source with connections of its own. Host names are resolved by `resolver`.
    ///
    /// # Errors
    /// A certificate or a secret cannot be used.
    pub fn new(
        source: &Arc<SourceConfig>,
        http: &Arc<HttpSourceConfig>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let spec = ClientSpec {
            name: &source.name,
            url: http.url.expose(),
            url_key: "url",
            config: &http.client,
            timeout: source.timeout,
            max_in_flight: 1,
        };
        let client = HttpClient::new(&spec, None, resolver)?;
        Ok(Self { source: Arc::clone(source), http: Arc::clone(http), client, etag: None })
    }

    /// Makes the next refresh return a list even if it has not changed.
    pub fn forget_validators(&mut self) {
        self.etag = None;
    }

    /// Requests the list. All pages count, or none.
    ///
    /// # Errors
    /// The list was not received completely, or is none.
    pub async fn refresh(
        &mut self,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
    ) -> Result<Refresh, RefreshError> {
        if self.client.credentials.can_change() {
            let read = self.client.credentials.refresh().await;
            read.map_err(|error| RefreshError::new(RefreshReason::Read, error.to_string()))?;
        }
        let deadline = Instant::now() + self.source.timeout;
        let Some((pages, etag)) = self.pages(deadline).await? else {
            return Ok(Refresh::Unchanged);
        };
        let (source, http) = (Arc::clone(&self.source), Arc::clone(&self.http));
        let providers = providers.to_vec();
        let list =
            blocking::run(move || read_pages(&source, &http, &providers, limits, &pages)).await?;
        self.etag = etag;
        Ok(Refresh::List(list))
    }

    /// Requests all pages; returns them with the validator of the list, or `None` if it is unchanged.
    async fn pages(
        &self,
        deadline: Instant,
    ) -> Result<Option<(Vec<Page>, Option<HeaderValue>)>, RefreshError> {
        let mut left = MAX_LIST_BYTES;
        let first = self.http.url.expose();
        let Some(paging) = &self.http.page else {
            return Ok(match self.page(first.clone(), left, deadline).await? {
                PageResponse::Unchanged => None,
                PageResponse::Page(page, etag) => Some((vec![page], etag)),
            });
        };
        let (mut received, mut pages) = (Vec::new(), Pages::new(first, paging));
        let mut url = Some(pages.first());
        while let Some(next) = url {
            let number = received.len() + 1;
            let in_page = |error| in_page(number, error);
            let response = self.page(next, left, deadline).await.map_err(in_page)?;
            let PageResponse::Page(page, _) = response else { return Ok(None) };
            left = left.saturating_sub(page.body.len());
            let (http, body) = (Arc::clone(&self.http), page.body.clone());
            let summary = blocking::run(move || PageSummary::read(&http, &body)).await;
            url = summary.and_then(|summary| pages.next(&summary)).map_err(in_page)?;
            received.push(page);
        }
        Ok(Some((received, None)))
    }

    /// Requests a page of at most `limit` bytes.
    async fn page(
        &self,
        url: Url,
        limit: usize,
        deadline: Instant,
    ) -> Result<PageResponse, RefreshError> {
        // A list in pages has no validator as a whole.
        let etag = self.etag.as_ref().filter(|_| self.http.page.is_none());
        let headers = self.headers(etag);
        let request = HttpRequest { method: Method::GET, url, headers, body: None };
        let timeout = deadline.saturating_duration_since(Instant::now());
        let body_limit = |status, headers: &HeaderMap| {
            (status == 200 && check_type(headers).is_ok()).then_some(limit)
        };
        let fetched = self.client.fetch(&request, timeout, &body_limit).await;
        let fetched = fetched.map_err(|failure| self.transport_error(&failure))?;
        let status = fetched.response.status;
        if status == 304 && etag.is_some() {
            return Ok(PageResponse::Unchanged);
        }
        if status != 200 {
            return Err(RefreshError { retry_after: fetched.retry_after, ..status_error(status) });
        }
        let etag = fetched.response.headers.get(ETAG).cloned();
        Ok(PageResponse::Page(page_of(fetched)?, etag))
    }

    fn headers(&self, etag: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        let seconds = seconds(self.source.refresh_interval);
        if let Ok(seconds) = HeaderValue::try_from(seconds) {
            headers.insert(REFRESH_INTERVAL, seconds);
        }
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        headers
    }

    fn transport_error(&self, failure: &Failure) -> RefreshError {
        // The time that was left for this page says nothing to a reader.
        let message = match failure.reason {
            Reason::Timeout => self
                .client
                .describe_timeout(format!("no complete list within {:?}", self.source.timeout)),
            _ => failure.detail.to_string(),
        };
        RefreshError::new(failure.reason, message)
    }
}

/// Returns the page in a response with the status 200.
fn page_of(fetched: Fetched) -> Result<Page, RefreshError> {
    let response = fetched.response;
    check_type(&response.headers)?;
    match response.body {
        ReceivedBody::Whole(body) if body.iter().all(u8::is_ascii_whitespace) => {
            Err(RefreshError::new(Reason::Empty, "HTTP status 200 without a body"))
        }
        ReceivedBody::Whole(body) => Ok(Page { body, sent: response.sent }),
        ReceivedBody::Truncated { .. } => {
            let message = format!("more than {} MiB", MAX_LIST_BYTES >> 20);
            Err(RefreshError::new(Reason::TooLarge, message))
        }
        ReceivedBody::Unreadable(why) => Err(RefreshError::new(Reason::Decode, why)),
        ReceivedBody::Ignored => Err(RefreshError::new(Reason::Empty, "no body was read")),
    }
}

/// Checks that a response says that it is JSON: what a login page answers with the status 200 is no
/// empty list.
fn check_type(headers: &HeaderMap) -> Result<(), RefreshError> {
    let value = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = value.as_ref().and_then(|value| value.split(';').next());
    let message = match essence.map(str::trim) {
        Some(essence) if essence.eq_ignore_ascii_case(JSON) => return Ok(()),
        Some(essence) => {
            format!("the content type is {}, not {JSON}", excerpt(essence, MAX_TYPE_CHARS))
        }
        None => format!("the response has no content type: it must be {JSON}"),
    };
    Err(RefreshError::new(Reason::Decode, message))
}

/// Returns the error for a status other than 200.
fn status_error(status: u16) -> RefreshError {
    let reason = match status {
        401 | 403 => Reason::Auth,
        404 => Reason::NotFound,
        429 => Reason::RateLimited,
        _ => Reason::Http,
    };
    let message = match status {
        301..=303 | 307 | 308 => format!("HTTP status {status}: redirects are not followed"),
        _ => format!("HTTP status {status}"),
    };
    RefreshError::new(reason, message)
}

/// Reads the elements of all pages of a list.
///
/// # Errors
/// A page is no list, or there are too many elements.
pub fn read_pages(
    source: &SourceConfig,
    http: &HttpSourceConfig,
    providers: &[Arc<Provider>],
    limits: LabelLimits,
    pages: &[Page],
) -> Result<SourceList, RefreshError> {
    let names: Vec<String> = (1..=pages.len()).map(|number| format!("page {number}")).collect();
    let now = pages.first().map_or(Timestamp::from_micros(0), |page| page.sent);
    let mut list = ListBuilder::new(source, providers, limits, now, MAX_ELEMENTS);
    for ((number, page), name) in (1..).zip(pages).zip(&names) {
        if pages.len() > 1 {
            list.set_name(name);
        }
        let read = match &http.response {
            None => parse_json(&page.body, &mut list),
            Some(mapping) => mapping::add_page(mapping, page, &mut list),
        };
        read.map_err(|error| in_page(number, error))?;
    }
    Ok(list.finish())
}

/// Names the page in an error about it, unless it is the first.
fn in_page(number: usize, error: RefreshError) -> RefreshError {
    match number {
        1 => error,
        _ => RefreshError { message: format!("page {number}: {}", error.message), ..error },
    }
}

/// Formats a duration as Prometheus does in its header: seconds, with a fraction if there is one.
fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}
