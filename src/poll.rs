//! One poll of a provider: a request for tasks is built, sent, and its response mapped to
//! observations.

mod assessment;
mod held_tasks;
pub(crate) mod list;
pub(crate) mod list_report;
pub mod list_turn;
mod log;
mod probes;
pub(crate) mod report;
pub mod status;
pub mod worker;
mod worker_state;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Provider;
use crate::fetch::client::BuildError;
use crate::fetch::credentials::Credentials;
use crate::fetch::redact::Redactor;
use crate::fetch::resolver::Resolver;
use crate::fetch::{Fetched, Fetcher, HttpRequest};
use crate::observation::{Failure, Observation, PollOutcome, Reason};
use crate::task::{Task, TaskCommon, TaskGroup, check_id};

pub use probes::ProbeError;

/// A provider, with the means to send requests to it.
#[derive(Debug)]
pub struct ProviderClient {
    /// The provider's configuration.
    pub provider: Arc<Provider>,
    /// Connections and credentials.
    pub fetcher: Fetcher,
}

/// Result of one request.
#[derive(Debug)]
pub struct PollResult {
    /// Observation or failure of each task, in the order of the request.
    pub outcomes: Vec<PollOutcome>,
    /// True if a failure concerns the response as a whole and says nothing about any single task.
    pub has_failed_whole: bool,
    /// The response's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The response's message, for people.
    pub message: Option<String>,
    /// Pause that the body of an error response asks for.
    pub retry_after: Option<Duration>,
    /// The request, if one could be built.
    pub request: Option<HttpRequest>,
    /// The response, if one was received completely.
    pub fetched: Option<Fetched>,
    /// Duration of the request.
    pub took: Duration,
}

impl ProviderClient {
    /// Builds the client of `provider`. It takes over the connections of `before`, the client until
    /// now, if nothing has changed that they depend on. Host names are resolved by `resolver`.
    ///
    /// # Errors
    /// Fails when a certificate or a secret cannot be used.
    pub fn new(
        provider: Arc<Provider>,
        before: Option<&Self>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let fetcher = Fetcher::new(&provider, before.map(|before| &before.fetcher), resolver)?;
        Ok(Self { provider, fetcher })
    }

    /// Reports whether `other` requests batches and maps their responses in the same way, so that
    /// what was learned about the batches of one holds for the other.
    pub fn has_same_batches(&self, other: &Self) -> bool {
        let (ours, others) = (&*self.provider, &*other.provider);
        ours.base_url == others.base_url
            && (&ours.request, &ours.batch) == (&others.request, &others.batch)
            && ours.mapping == others.mapping
            && ours.limits.batch_size == others.limits.batch_size
            && ours.limits.body_size_limit == others.limits.body_size_limit
    }

    /// Returns the task that a person requests by its ID: the `listed` one if the configuration has it,
    /// or else one with these params.
    ///
    /// # Errors
    /// Fails when the task is listed with other params, or no request can be built for it, with the reason.
    pub fn requested_task(
        &self,
        listed: Option<Task>,
        id: &str,
        params: &[(String, String)],
    ) -> Result<Task, String> {
        let Some(task) = listed else { return self.task(id, params) };
        for (name, value) in params {
            match task.common.params.iter().find(|(own, _)| **own == **name) {
                None => return Err(format!("the provider's request has no placeholder {name:?}")),
                Some((_, own)) if **own != **value => {
                    return Err(format!("the task is listed with {own:?} as its param {name:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(task)
    }

    /// Returns a task that the configuration does not list.
    ///
    /// # Errors
    /// Fails when no request can be built for it, with the reason.
    pub fn task(&self, id: &str, params: &[(String, String)]) -> Result<Task, String> {
        let provider = &self.provider;
        let checked = check_id(id).and_then(|()| provider.check_id(id));
        checked.map_err(|wrong| format!("a task ID {wrong}"))?;
        for (name, value) in params {
            let checked = check_id(value).and_then(|()| provider.check_param(name, value));
            checked.map_err(|wrong| format!("the param {name:?} {wrong}"))?;
            if !provider.param_names().any(|placeholder| placeholder == name) {
                return Err(format!("the provider's request has no placeholder {name:?}"));
            }
        }
        let missing = |name: &&str| !params.iter().any(|(given, _)| given == name);
        if let Some(name) = provider.param_names().find(missing) {
            return Err(format!("the provider's request needs the param {name:?}"));
        }
        let mut params: Vec<(Box<str>, Box<str>)> = params
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        params.sort();
        params.dedup_by(|a, b| a.0 == b.0);
        let provider = Arc::clone(&provider.name);
        let common = TaskCommon { provider, labels: [].into(), params: params.into() };
        Ok(Task { id: id.into(), common: Arc::new(common) })
    }
}

/// Polls `tasks` with one request: one task, or several with the batch query if it `is_batch`. Fails
/// with the reason `timeout` at `deadline`, unless the provider's `poll_timeout` ends before.
pub async fn poll_once(
    client: &ProviderClient,
    tasks: &TaskGroup,
    is_batch: bool,
    deadline: Option<Instant>,
) -> PollResult {
    let start = Instant::now();
    let mut result = match client.fetcher.build_request(&client.provider, tasks, is_batch) {
        Ok(request) => {
            let fetch = client.fetcher.fetch(&request);
            let fetched = match deadline {
                None => fetch.await,
                Some(deadline) => timeout_at(deadline, fetch).await.unwrap_or_else(|_| {
                    let within = deadline.saturating_duration_since(start);
                    let detail = format!("no complete answer within the remaining {within:.1?}");
                    Err(Failure::new(Reason::Timeout, client.fetcher.describe_timeout(detail)))
                }),
            };
            match fetched {
                Ok(fetched) => interpret(client, tasks, is_batch, request, fetched),
                Err(failure) => {
                    let failed = PollResult::failed(tasks.count(), failure);
                    PollResult { request: Some(request), ..failed }
                }
            }
        }
        Err(failure) => PollResult::failed(tasks.count(), failure),
    };
    result.redact(client.fetcher.credentials());
    result.took = start.elapsed();
    result
}

/// Maps a response to the outcome of each task.
fn interpret(
    client: &ProviderClient,
    tasks: &TaskGroup,
    is_batch: bool,
    request: HttpRequest,
    fetched: Fetched,
) -> PollResult {
    let ids: Vec<&str> = tasks.iter().map(|task| &*task.id).collect();
    let mapped = client.provider.mapping.map_response(&fetched.response, &ids, is_batch);
    PollResult {
        outcomes: mapped.outcomes,
        has_failed_whole: mapped.has_failed_whole,
        code: mapped.code,
        message: mapped.message,
        retry_after: mapped.retry_after,
        request: Some(request),
        fetched: Some(fetched),
        took: Duration::ZERO,
    }
}

impl PollResult {
    /// Returns the result of a request that has failed for each of `tasks` tasks.
    fn failed(tasks: usize, failure: Failure) -> Self {
        Self {
            outcomes: vec![Err(failure); tasks],
            has_failed_whole: true,
            code: None,
            message: None,
            retry_after: None,
            request: None,
            fetched: None,
            took: Duration::ZERO,
        }
    }

    /// Returns the first failure of its outcomes.
    fn failure(&self) -> Option<&Failure> {
        self.outcomes.iter().find_map(|outcome| outcome.as_ref().err())
    }

    /// Returns the pause that the provider asks for, if the request has failed for all tasks: the
    /// longer one of header and body. A usable response may say when there will be more to learn,
    /// but that is for the schedule to decide.
    fn pause(&self) -> Option<Duration> {
        let has_failed = self.outcomes.iter().all(Result::is_err);
        let header = self.fetched.as_ref().and_then(|fetched| fetched.retry_after);
        header.max(self.retry_after).filter(|_| has_failed)
    }

    /// Masks secrets in every text that comes from the response or the network: mapping may have
    /// joined what the bytes of the response did not show.
    fn redact(&mut self, credentials: &Credentials) {
        let redactor = match &self.fetched {
            Some(fetched) => Arc::clone(&fetched.redactor),
            None => credentials.current().1,
        };
        let redactor = &*redactor;
        self.code.iter_mut().for_each(|code| mask(code, redactor));
        self.message.iter_mut().for_each(|message| mask(message, redactor));
        self.outcomes.iter_mut().for_each(|outcome| mask_outcome(outcome, redactor));
    }
}

/// Masks secrets in every text of an outcome.
fn mask_outcome(outcome: &mut PollOutcome, redactor: &Redactor) {
    match outcome {
        // Every field by name, so that no new one can be forgotten.
        Ok(Observation {
            state: _,
            status,
            job_type,
            enqueue_time: _,
            finish_time: _,
            progress: _,
            failure_code,
            odd,
        }) => {
            mask(status, redactor);
            job_type.iter_mut().chain(failure_code).for_each(|text| mask(text, redactor));
            for oddity in odd {
                mask(&mut oddity.value, redactor);
            }
        }
        Err(Failure { reason: _, code, detail }) => {
            mask(code, redactor);
            mask(detail, redactor);
        }
    }
}

/// Masks secrets in a text.
fn mask<T: AsRef<str> + From<String>>(text: &mut T, redactor: &Redactor) {
    if let Some(masked) = redactor.mask_text((*text).as_ref()) {
        *text = masked.into();
    }
}
