//! One request for the list of all tasks of a provider, or for a page of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use tokio::time::Instant;

use super::{ProviderClient, mask, mask_outcome};
use crate::blocking;
use crate::config::provider_list::ListSourceConfig;
use crate::fetch::{Fetched, Fetcher};
use crate::mapping::list::ListPage;
use crate::mapping::task_list::{MappedList, MappedTasks};
use crate::mapping::{ProviderResponse, ReceivedBody};
use crate::observation::{Failure, Reason};
use crate::request::list::ListQuery;

/// The part of a list that may still be received, and the time by which it must be.
#[derive(Clone, Copy, Debug)]
pub struct ListBudget {
    /// Time by which all pages have to be there.
    pub deadline: Instant,
    /// Maximum size of the further pages, in bytes.
    pub bytes: usize,
    /// Maximum number of their elements.
    pub elements: usize,
}

impl ListBudget {
    /// Takes a page off.
    pub fn spend(&mut self, page: &ListPage, body: &[u8]) {
        self.bytes = self.bytes.saturating_sub(body.len());
        self.elements = self.elements.saturating_sub(page.elements);
    }
}

/// Result of one request for a list, or for a page of it. Its texts hold no secrets.
#[derive(Debug)]
pub struct ListResult {
    /// The response's own code, message and pause, and its tasks.
    pub mapped: MappedList,
    /// The response, if one was received completely.
    pub fetched: Option<Fetched>,
    /// Duration of the request.
    pub took: Duration,
}

impl ListResult {
    /// Returns the body of the response; an empty one if it was not received as a whole.
    pub fn body(&self) -> Bytes {
        match self.fetched.as_ref().map(|fetched| &fetched.response.body) {
            Some(ReceivedBody::Whole(body)) => body.clone(),
            _ => Bytes::new(),
        }
    }

    /// Returns the pause that the provider asks for, if the request has failed: the longer one of header
    /// and body.
    pub fn pause(&self) -> Option<Duration> {
        let header = self.fetched.as_ref().and_then(|fetched| fetched.retry_after);
        header.max(self.mapped.retry_after).filter(|_| self.mapped.tasks.is_err())
    }
}

/// Requests a list, or the page of it at `url`, and maps the response.
pub async fn poll_list(
    client: &ProviderClient,
    list: &Arc<ListSourceConfig>,
    query: &ListQuery,
    url: Url,
    budget: ListBudget,
) -> ListResult {
    let start = Instant::now();
    let request = Fetcher::list_request(query, url);
    let timeout = budget.deadline.saturating_duration_since(start);
    let fetched = client.fetcher.fetch_list(&request, timeout, budget.bytes).await;
    let (mut mapped, fetched) = match fetched {
        Ok(fetched) => {
            (map_response(list, fetched.response.clone(), budget.elements).await, Some(fetched))
        }
        Err(failure) => (failed(failure), None),
    };
    let redactor = match &fetched {
        Some(fetched) => Arc::clone(&fetched.redactor),
        None => client.fetcher.credentials().current().1,
    };
    mapped.code.iter_mut().for_each(|code| mask(code, &redactor));
    mapped.message.iter_mut().for_each(|message| mask(message, &redactor));
    match &mut mapped.tasks {
        Ok(MappedTasks { elements, page: _ }) => {
            for element in elements {
                mask(&mut element.id, &redactor);
                mask_outcome(&mut element.outcome, &redactor);
            }
        }
        Err(Failure { reason: _, code, detail }) => {
            mask(code, &redactor);
            mask(detail, &redactor);
        }
    }
    ListResult { mapped, fetched, took: start.elapsed() }
}

/// Maps a response, of which a large one takes long.
async fn map_response(
    list: &Arc<ListSourceConfig>,
    response: ProviderResponse,
    max_elements: usize,
) -> MappedList {
    let list = Arc::clone(list);
    let mapped = blocking::run(move || list.mapping.map_list(&response, max_elements)).await;
    mapped.unwrap_or_else(|| failed(Failure::new(Reason::Timeout, "the exporter is stopping")))
}

/// Returns the result of a request without a complete response.
fn failed(failure: Failure) -> MappedList {
    MappedList { code: None, message: None, retry_after: None, tasks: Err(failure) }
}
