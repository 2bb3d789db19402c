//! The way of one observation: a task is asked for, its answer is fetched, mapped and kept.

pub mod batch;
mod finish;
pub mod journal;
pub mod polling;
pub mod probes;
mod redact;
pub mod report;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Provider;
use crate::fetch::client::BuildError;
use crate::fetch::resolver::Resolver;
use crate::fetch::{Call, Fetcher, Response};
use crate::observation::{Failure, Observation, Reason};
use crate::task::TaskGroup;
use crate::task::{Task, TaskCommon, check_id};

/// A provider and the means to ask it.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub provider: Arc<Provider>,
    /// Its connections and credentials.
    pub fetcher: Fetcher,
}

/// What one request brought.
#[derive(Debug)]
pub struct Polled {
    /// What was learned of each task that was asked for, or why nothing was; in their order.
    pub outcomes: Vec<Result<Observation, Failure>>,
    /// True where a failure is of the answer as a whole, which says nothing of any single task.
    pub has_failed_whole: bool,
    /// The envelope's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The envelope's message, for people.
    pub message: Option<String>,
    /// For how long the body of a refusal asks to leave the provider alone.
    pub retry_after: Option<Duration>,
    /// The request that was sent.
    pub call: Option<Call>,
    /// The response as it came, where one came whole.
    pub response: Option<Response>,
    /// How long it took.
    pub took: Duration,
}

impl Polled {
    /// Returns the time for which the provider asks to be left alone. An answer that is usable may
    /// say when there will be more to learn, but the schedule knows when to ask. Of two wishes the
    /// longer one counts.
    pub fn pause(&self) -> Option<Duration> {
        let has_failed = self.outcomes.iter().all(Result::is_err);
        let header = self.response.as_ref().and_then(|response| response.retry_after);
        header.max(self.retry_after).filter(|_| has_failed)
    }
}

impl Upstream {
    /// The means to ask `provider`. They keep the connections of `before`, the means until now,
    /// where nothing has changed that those depend on. Names are looked up by `resolver`.
    ///
    /// # Errors
    /// When a certificate or a secret cannot be used.
    pub fn new(
        provider: Arc<Provider>,
        before: Option<&Self>,
        resolver: &Resolver,
    ) -> Result<Self, BuildError> {
        let fetcher = Fetcher::new(&provider, before.map(|before| &before.fetcher), resolver)?;
        Ok(Self { provider, fetcher })
    }

    /// Reports whether `other` is asked for batches in the same way and reads them in the same way,
    /// so that what was learned of the batches of one holds for the other.
    pub fn has_same_batches(&self, other: &Self) -> bool {
        let (ours, others) = (&*self.provider, &*other.provider);
        ours.base_url == others.base_url
            && (&ours.request, &ours.batch) == (&others.request, &others.batch)
            && ours.mapping == others.mapping
            && ours.limits.batch_size == others.limits.batch_size
            && ours.limits.body_size_limit == others.limits.body_size_limit
    }

    /// A task that the configuration does not list.
    ///
    /// # Errors
    /// When no request can be made of it: what to give instead.
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

/// Polls `tasks` with one request: one task, or as a batch several.
pub async fn once(upstream: &Upstream, tasks: &TaskGroup, batched: bool) -> Polled {
    once_until(upstream, tasks, batched, None).await
}

/// As [`once`], and with a failure of the reason `timeout` at `deadline`, if the provider's own
/// `poll_timeout` does not end before.
pub async fn once_until(
    upstream: &Upstream,
    tasks: &TaskGroup,
    batched: bool,
    deadline: Option<Instant>,
) -> Polled {
    let start = Instant::now();
    let mut polled = match upstream.fetcher.call(&upstream.provider, tasks, batched) {
        Ok(call) => {
            let fetch = upstream.fetcher.fetch(&call);
            let fetched = match deadline {
                None => fetch.await,
                Some(deadline) => timeout_at(deadline, fetch).await.unwrap_or_else(|_| {
                    let within = deadline.saturating_duration_since(start);
                    let detail = format!("no whole answer within the {within:.1?} that were left");
                    Err(Failure::new(Reason::Timeout, upstream.fetcher.timed_out(detail)))
                }),
            };
            interpret(upstream, tasks, call, fetched)
        }
        Err(failure) => Polled::failed(tasks.count(), failure),
    };
    polled.redact(&upstream.fetcher);
    polled.took = start.elapsed();
    polled
}

/// Reads what an answer says of `tasks`.
fn interpret(
    upstream: &Upstream,
    tasks: &TaskGroup,
    call: Call,
    fetched: Result<Response, Failure>,
) -> Polled {
    let response = match fetched {
        Ok(response) => response,
        Err(failure) => {
            return Polled { call: Some(call), ..Polled::failed(tasks.count(), failure) };
        }
    };
    let asked: Vec<&str> = tasks.iter().map(|task| &*task.id).collect();
    let reading = upstream.provider.mapping.read(&response.answer(), &asked);
    Polled {
        outcomes: reading.tasks,
        has_failed_whole: reading.has_failed_whole,
        code: reading.code,
        message: reading.message,
        retry_after: reading.retry_after,
        call: Some(call),
        response: Some(response),
        took: Duration::ZERO,
    }
}

impl Polled {
    /// A request that brought nothing but `failure` for each of so many tasks.
    pub fn failed(tasks: usize, failure: Failure) -> Self {
        Self {
            outcomes: vec![Err(failure); tasks],
            has_failed_whole: true,
            code: None,
            message: None,
            retry_after: None,
            call: None,
            response: None,
            took: Duration::ZERO,
        }
    }
}
