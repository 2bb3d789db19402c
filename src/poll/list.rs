//! One request for the list of all tasks of a provider, or for a page of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::{ProviderClient, mask, mask_outcome};
use crate::config::provider_list::ListSourceConfig;
use crate::fetch::{Fetched, Fetcher};
use crate::mapping::ProviderResponse;
use crate::mapping::task_list::{MappedList, MappedTasks};
use crate::observation::{Failure, Reason};
use crate::request::list::ListQuery;

/// The size of a list in bytes, and its number of elements, that are left for further pages, and the time
/// for the next one.
#[derive(Clone, Copy, Debug)]
pub struct ListLimits {
    /// Total time of the request.
    pub timeout: Duration,
    /// Maximum size of the body, in bytes.
    pub bytes: usize,
    /// Maximum number of elements.
    pub elements: usize,
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
    limits: ListLimits,
) -> ListResult {
    let start = Instant::now();
    let request = Fetcher::list_request(query, url);
    let fetched = client.fetcher.fetch_list(&request, limits.timeout, limits.bytes).await;
    let (mut mapped, fetched) = match fetched {
        Ok(fetched) => {
            (map_response(list, fetched.response.clone(), limits.elements).await, Some(fetched))
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

/// Maps a response on a thread of its own, since a large one takes long. A panic there is the caller's.
async fn map_response(
    list: &Arc<ListSourceConfig>,
    response: ProviderResponse,
    max_elements: usize,
) -> MappedList {
    let list = Arc::clone(list);
    let mapped = spawn_blocking(move || list.mapping.map_list(&response, max_elements)).await;
    match mapped.map_err(JoinError::try_into_panic) {
        Ok(mapped) => mapped,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => failed(Failure::new(Reason::Timeout, "the exporter is stopping")),
    }
}

/// Returns the result of a request without a complete response.
fn failed(failure: Failure) -> MappedList {
    MappedList { code: None, message: None, retry_after: None, tasks: Err(failure) }
}
