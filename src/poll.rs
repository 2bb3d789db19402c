//! The way of one observation: a task is asked for, its answer is fetched, mapped and kept.

pub mod journal;
pub mod report;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Provider;
use crate::fetch::client::BuildError;
use crate::fetch::{Call, Fetcher, Response};
use crate::observation::{Failure, Observation};
use crate::task::{Common, Task, check_id};

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
    /// The envelope's own code, success or not.
    pub code: Option<Arc<str>>,
    /// The envelope's message, for people.
    pub message: Option<String>,
    /// The request that was sent.
    pub call: Option<Call>,
    /// The response as it came, where one came whole.
    pub response: Option<Response>,
    /// How long it took.
    pub took: Duration,
}

impl Upstream {
    /// The means to ask `provider`.
    ///
    /// # Errors
    /// When a certificate or a secret cannot be used.
    pub fn new(provider: Arc<Provider>) -> Result<Self, BuildError> {
        let fetcher = Fetcher::new(&provider)?;
        Ok(Self { provider, fetcher })
    }

    /// A task that the configuration does not list.
    ///
    /// # Errors
    /// When no request can be made of it: what to give instead.
    pub fn task(&self, id: &str, params: &[(String, String)]) -> Result<Task, String> {
        check_id(id).map_err(|wrong| format!("a task ID {wrong}"))?;
        let request = &self.provider.request;
        for (name, value) in params {
            check_id(value).map_err(|wrong| format!("the param {name:?} {wrong}"))?;
            if !request.placeholders().any(|placeholder| placeholder == name) {
                return Err(format!("the provider's request has no placeholder {name:?}"));
            }
        }
        let missing = |name: &&str| !params.iter().any(|(given, _)| given == name);
        if let Some(name) = request.placeholders().find(missing) {
            return Err(format!("the provider's request needs the param {name:?}"));
        }
        let mut params: Vec<(Box<str>, Box<str>)> = params
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        params.sort();
        params.dedup_by(|a, b| a.0 == b.0);
        let provider = Arc::clone(&self.provider.name);
        let common = Common { provider, labels: [].into(), params: params.into() };
        Ok(Task { id: id.into(), common: Arc::new(common) })
    }
}

/// Polls `tasks` with one request: one task, or as a batch several.
pub async fn once(upstream: &Upstream, tasks: &[Task], batched: bool) -> Polled {
    let start = Instant::now();
    let mut polled = match upstream.fetcher.call(&upstream.provider, tasks, batched) {
        Ok(call) => {
            let fetched = upstream.fetcher.fetch(&call).await;
            understand(upstream, tasks, call, fetched)
        }
        Err(failure) => Polled::failed(tasks.len(), failure),
    };
    polled.took = start.elapsed();
    polled
}

/// What an answer says of `tasks`.
fn understand(
    upstream: &Upstream,
    tasks: &[Task],
    call: Call,
    fetched: Result<Response, Failure>,
) -> Polled {
    let response = match fetched {
        Ok(response) => response,
        Err(failure) => {
            return Polled { call: Some(call), ..Polled::failed(tasks.len(), failure) };
        }
    };
    let asked: Vec<&str> = tasks.iter().map(|task| &*task.id).collect();
    let reading = upstream.provider.mapping.read(&response.answer(), &asked);
    Polled {
        outcomes: reading.tasks,
        code: reading.code,
        message: reading.message,
        call: Some(call),
        response: Some(response),
        took: Duration::ZERO,
    }
}

impl Polled {
    fn failed(tasks: usize, failure: Failure) -> Self {
        Self {
            outcomes: vec![Err(failure); tasks],
            code: None,
            message: None,
            call: None,
            response: None,
            took: Duration::ZERO,
        }
    }
}
