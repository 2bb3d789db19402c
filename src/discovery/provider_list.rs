//! Sources that are the lists of providers: each element is a task, and an observation of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use super::blocking;
use super::element::{ElementError, ElementValue, RawProperties};
use super::http::paging::{PageSummary, Pages};
use super::list::{
    MAX_ELEMENTS, MAX_LIST_BYTES, Refresh, RefreshError, RefreshReason, RejectReason, SourceList,
};
use super::list_builder::{ElementPosition, ElementProperties, ListBuilder};
use crate::clock::Timestamp;
use crate::config::discovery::SourceConfig;
use crate::config::provider_list::ListSourceConfig;
use crate::config::{LabelLimits, Provider};
use crate::mapping::task_list::{MappedTasks, ObservedElement};
use crate::observation::{Failure, Reason};
use crate::poll::ProviderClient;
use crate::poll::list::{ListBudget, ListResult, poll_list};
use crate::poll::list_turn::{ListObservation, ListRequest, ListRequestError};
use crate::poll::worker::Worker;
use crate::schedule::admission::PauseReason;
use crate::task::Labels;

/// The way to the provider of a list.
#[derive(Clone, Debug)]
pub struct ProviderAccess {
    /// The client of the provider.
    pub client: Arc<ProviderClient>,
    /// The worker that sends the requests in their turn; `None` to send them at once.
    pub worker: Option<Arc<Worker>>,
}

/// A source that is the list of a provider.
#[derive(Debug)]
pub struct ListSource {
    source: Arc<SourceConfig>,
    list: Arc<ListSourceConfig>,
}

/// A page of a list, and the params of its tasks.
struct ReceivedPage {
    params: Labels,
    tasks: MappedTasks,
    sent: Timestamp,
    took: Duration,
    /// The name of the page in messages; empty if it is the only one.
    name: String,
}

impl ListSource {
    /// Returns a source.
    pub fn new(source: Arc<SourceConfig>, list: Arc<ListSourceConfig>) -> Self {
        Self { source, list }
    }

    /// Requests the list. All requests count, or none.
    ///
    /// # Errors
    /// Fails when the list is not received completely, or is none.
    pub async fn refresh(
        &self,
        access: &ProviderAccess,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
    ) -> Result<Refresh, RefreshError> {
        let deadline = Instant::now() + self.source.timeout;
        let mut budget = ListBudget { deadline, bytes: MAX_LIST_BYTES, elements: MAX_ELEMENTS };
        let mut pages = Vec::new();
        for query in 0..self.list.queries.len() {
            self.pages(query, access, &mut budget, &mut pages).await?;
        }
        let (source, providers) = (Arc::clone(&self.source), providers.to_vec());
        let read = move || read_pages(&source, &providers, limits, &pages);
        Ok(Refresh::List(blocking::run(read).await?))
    }

    /// Requests all pages of a query, and adds them to `pages`.
    async fn pages(
        &self,
        query: usize,
        access: &ProviderAccess,
        budget: &mut ListBudget,
        pages: &mut Vec<ReceivedPage>,
    ) -> Result<(), RefreshError> {
        let Some(known) = self.list.queries.get(query) else { return Ok(()) };
        let base = access.client.fetcher.list_url(known).map_err(|failure| error_of(&failure))?;
        let mut paging = self.list.paging.as_ref().map(|paging| Pages::new(&base, paging));
        let mut next = Some(paging.as_mut().map_or_else(|| base.clone(), Pages::first));
        let mut number = 0_usize;
        while let Some(url) = next {
            number += 1;
            let name = self.page_name(&known.params, number);
            let at = |error| named(&name, error);
            let is_first = pages.is_empty();
            let result = self.request(query, access, url, *budget, is_first).await.map_err(at)?;
            let (retry_after, body) = (result.pause(), result.body());
            let tasks = result
                .mapped
                .tasks
                .map_err(|failure| at(RefreshError { retry_after, ..self.failure(&failure) }))?;
            budget.spend(&tasks.page, &body);
            next = match &mut paging {
                None => None,
                Some(paging) => paging.next(&PageSummary::of(&tasks.page, &body)).map_err(at)?,
            };
            let sent = result.fetched.map(|fetched| fetched.response.sent);
            let (sent, took) = (sent.unwrap_or(Timestamp::from_micros(0)), result.took);
            pages.push(ReceivedPage { params: Arc::clone(&known.params), tasks, sent, took, name });
        }
        Ok(())
    }

    async fn request(
        &self,
        query: usize,
        access: &ProviderAccess,
        url: Url,
        budget: ListBudget,
        is_first: bool,
    ) -> Result<ListResult, RefreshError> {
        let (client, list) = (Arc::clone(&access.client), Arc::clone(&self.list));
        if let Some(worker) = &access.worker {
            let request = ListRequest { client, list, query, url, budget, is_first };
            return worker.list(request).await.map_err(|error| not_sent(&error));
        }
        match list.queries.get(query) {
            Some(query) => Ok(poll_list(&client, &list, query, url, budget).await),
            None => Err(not_sent(&ListRequestError::Stopped)),
        }
    }

    fn failure(&self, failure: &Failure) -> RefreshError {
        match failure.reason {
            // The time that was left for this page says nothing to a reader.
            Reason::Timeout => RefreshError::new(
                Reason::Timeout,
                format!("no complete list within {:?}", self.source.timeout),
            ),
            _ => error_of(failure),
        }
    }

    /// Returns the name of a page in messages.
    fn page_name(&self, params: &Labels, number: usize) -> String {
        let mut parts = Vec::new();
        if self.list.queries.len() > 1 {
            parts.extend(params.iter().map(|(name, value)| format!("{name}={value}")));
        }
        if number > 1 {
            parts.push(format!("page {number}"));
        }
        parts.join(", ")
    }
}

fn error_of(failure: &Failure) -> RefreshError {
    RefreshError::new(failure.reason, describe(failure))
}

fn describe(failure: &Failure) -> &str {
    match &*failure.detail {
        "" => failure.reason.in_words(),
        detail => detail,
    }
}

/// Returns the error of a request that was not sent.
fn not_sent(error: &ListRequestError) -> RefreshError {
    let (reason, retry_after): (RefreshReason, _) = match error {
        ListRequestError::Paused(PauseReason::RetryAfter, left, _) => {
            (Reason::RateLimited.into(), Some(*left))
        }
        ListRequestError::Paused(PauseReason::Refused, ..) => (Reason::Auth.into(), None),
        ListRequestError::Paused(PauseReason::Unreadable, ..) => (RefreshReason::Read, None),
        ListRequestError::TimedOut | ListRequestError::Restarting | ListRequestError::Stopped => {
            (Reason::Timeout.into(), None)
        }
    };
    RefreshError { retry_after, ..RefreshError::new(reason, error.to_string()) }
}

fn named(name: &str, error: RefreshError) -> RefreshError {
    match name {
        "" => error,
        name => RefreshError { message: format!("{name}: {}", error.message), ..error },
    }
}

/// Reads the elements of all pages.
fn read_pages(
    source: &SourceConfig,
    providers: &[Arc<Provider>],
    limits: LabelLimits,
    pages: &[ReceivedPage],
) -> Result<SourceList, RefreshError> {
    let now = pages.first().map_or(Timestamp::from_micros(0), |page| page.sent);
    let builder = || ListBuilder::new(source, providers, limits, now, MAX_ELEMENTS);
    let mut reader =
        PageReader { open: builder(), known: builder(), observed: ObservedTasks::default() };
    for page in pages {
        if !page.name.is_empty() {
            reader.open.set_name(&page.name);
            reader.known.set_name(&page.name);
        }
        reader.add(page)?;
    }
    let (mut list, known) = (reader.open.finish(), reader.known.finish());
    list.rejected.append(&known.rejected);
    list.known_only = known.tasks;
    list.observations = reader.observed.tasks;
    Ok(list)
}

/// The tasks of all pages, while they are read.
struct PageReader<'r> {
    /// The tasks that are open.
    open: ListBuilder<'r>,
    /// The others that the list names.
    known: ListBuilder<'r>,
    observed: ObservedTasks,
}

impl PageReader<'_> {
    fn add(&mut self, page: &ReceivedPage) -> Result<(), RefreshError> {
        let params = page.params.iter();
        let params =
            params.map(|(name, value)| ((&**name).into(), ElementValue::Text((&**value).into())));
        let raw = RawProperties { params: params.collect(), ..RawProperties::default() };
        let (open, known) = (self.open.properties(&raw), self.known.properties(&raw));
        for element in &page.tasks.elements {
            self.add_element(element, page.took, (&open, &known))?;
        }
        Ok(())
    }
}

impl<'r> PageReader<'r> {
    fn add_element(
        &mut self,
        element: &ObservedElement,
        took: Duration,
        (open, known): (&ElementProperties<'r>, &ElementProperties<'r>),
    ) -> Result<(), RefreshError> {
        let ObservedElement { number, id, outcome } = element;
        let (position, text) =
            (ElementPosition::Element(*number), ElementValue::Text((&**id).into()));
        match outcome {
            Err(failure) => {
                let reason = if id.is_empty() { RejectReason::Id } else { RejectReason::Status };
                let error = ElementError::new(reason, describe(failure).to_owned());
                self.open.reject(position, id, &error)?;
                if !id.is_empty() {
                    self.known.add(position, &text, known)?;
                }
                return Ok(());
            }
            Ok(observation) if observation.state.is_final() => {
                self.known.add(position, &text, known)?;
            }
            Ok(_) => self.open.add(position, &text, open)?,
        }
        self.observed.add(ListObservation { id: (&**id).into(), outcome: outcome.clone(), took });
        Ok(())
    }
}

/// The observations of a list; no ID twice.
#[derive(Default)]
struct ObservedTasks {
    tasks: Vec<ListObservation>,
    positions: HashMap<Box<str>, usize>,
}

impl ObservedTasks {
    /// Adds an observation. A task that moves from one page to the next while they are requested is on
    /// both: the later one counts, but what is final stays so.
    fn add(&mut self, observation: ListObservation) {
        let is_final = |observation: &ListObservation| {
            observation.outcome.as_ref().is_ok_and(|observation| observation.state.is_final())
        };
        let known = self.positions.get(&*observation.id);
        match known.and_then(|known| self.tasks.get_mut(*known)) {
            Some(known) if is_final(known) && !is_final(&observation) => {}
            Some(known) => *known = observation,
            None => {
                self.positions.insert((&*observation.id).into(), self.tasks.len());
                self.tasks.push(observation);
            }
        }
    }
}
