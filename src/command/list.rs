//! The command `poll --list`: asks for the list of a provider now, and prints the tasks in it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use super::poll::warn_of_errors;
use super::{FAILED, WRONG, fail, print, runtime};
use crate::app::LoadedFiles;
use crate::config::discovery::{SourceConfig, SourceKind};
use crate::config::provider_list::ListSourceConfig;
use crate::config::{Config, Loaded, Provider, preset, task_rules};
use crate::discovery::http::paging::{PageSummary, Pages};
use crate::discovery::list::{MAX_ELEMENTS, MAX_LIST_BYTES};
use crate::mapping::task_list::{MappedTasks, ObservedElement};
use crate::poll::ProviderClient;
use crate::poll::list::{ListBudget, ListResult, poll_list as request_list};
use crate::poll::list_report::{ElementUse, ReportedElement, ReportedRequest, report};
use crate::reload::{Built, ConfigSource};

/// Asks for the list of a provider, whether or not the configuration follows it, and prints a report of
/// each request.
pub fn poll_list(config_file: &Path, provider: &str) -> ExitCode {
    let source = ConfigSource::File(config_file.to_owned());
    let found = match LoadedFiles::read(&source, None) {
        Ok(files) => find_list(&files.built, provider),
        Err(diagnostics) => {
            let valid = LoadedFiles::read_valid_providers(&source).ok();
            match valid.and_then(|built| find_list(&built, provider).ok()) {
                Some(found) => {
                    warn_of_errors(&diagnostics);
                    Ok(found)
                }
                None => return fail(WRONG, &diagnostics),
            }
        }
    };
    let asked = match found {
        Ok(asked) => asked,
        Err(message) => return fail(WRONG, &message),
    };
    match runtime() {
        Ok(runtime) if runtime.block_on(asked.print_all()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => fail(FAILED, &error),
    }
}

/// A list that a person asks for.
struct AskedList {
    client: Arc<ProviderClient>,
    list: Arc<ListSourceConfig>,
    /// Time for all requests.
    timeout: Duration,
}

/// Finds the list of the provider called `name`.
fn find_list((Loaded { config, .. }, clients): &Built, name: &str) -> Result<AskedList, String> {
    let provider = config.find_provider(name)?;
    let list = provider.list.as_ref().ok_or_else(|| {
        let presets = preset::WITH_LIST.join(", ");
        format!(
            "the mapping of the provider {name:?} has no request.list; the presets with one are \
             {presets}"
        )
    })?;
    let client = clients.iter().find(|client| client.provider.name == provider.name);
    let client = client.ok_or_else(|| format!("the provider {name:?} has no client"))?;
    let timeout = timeout(config, provider);
    Ok(AskedList { client: Arc::clone(client), list: Arc::clone(list), timeout })
}

/// Returns the time for all requests of a provider's list: that of its source, if it is one.
fn timeout(config: &Config, provider: &Provider) -> Duration {
    let is_its = |source: &&Arc<SourceConfig>| {
        matches!(source.kind, SourceKind::List(_)) && source.name == provider.name
    };
    let source = config.discovery.iter().find(is_its);
    source.map_or(SourceConfig::DEFAULT_TIMEOUT, |source| source.timeout)
}

impl AskedList {
    /// Requests the whole list, and prints a report of each request. Reports whether all went well.
    async fn print_all(&self) -> bool {
        let deadline = Instant::now() + self.timeout;
        let mut budget = ListBudget { deadline, bytes: MAX_LIST_BYTES, elements: MAX_ELEMENTS };
        for query in 0..self.list.queries.len() {
            if let Err(code) = self.print_query(query, &mut budget).await {
                return code == ExitCode::SUCCESS;
            }
        }
        true
    }

    /// Requests all pages of one query.
    ///
    /// # Errors
    /// The exit code of what went wrong.
    async fn print_query(&self, query: usize, budget: &mut ListBudget) -> Result<(), ExitCode> {
        let Some(asked) = self.list.queries.get(query) else { return Ok(()) };
        let base = self.client.fetcher.list_url(asked);
        let base = base.map_err(|failure| fail(FAILED, &failure))?;
        let mut pages = self.list.paging.as_ref().map(|paging| Pages::new(&base, paging));
        let mut next = Some(pages.as_mut().map_or_else(|| base.clone(), Pages::first));
        while let Some(url) = next {
            let result = request_list(&self.client, &self.list, asked, url.clone(), *budget).await;
            let printed = self.print(query, (&base, &url), &result);
            let (Ok(MappedTasks { page, .. }), ExitCode::SUCCESS) = (&result.mapped.tasks, printed)
            else {
                return Err(ExitCode::from(FAILED));
            };
            let body = result.body();
            budget.spend(page, &body);
            next = match &mut pages {
                Some(pages) => pages
                    .next(&PageSummary::of(page, &body))
                    .map_err(|error| fail(FAILED, &error))?,
                None => None,
            };
        }
        Ok(())
    }

    fn print(&self, query: usize, (base, url): (&Url, &Url), result: &ListResult) -> ExitCode {
        let elements = result.mapped.tasks.as_ref().map(|tasks| &*tasks.elements);
        let elements = elements.unwrap_or_default().iter();
        let tasks: Vec<_> = elements
            .map(|element| ReportedElement { element, usage: self.use_of(element) })
            .collect();
        let (client, list) = (&*self.client, &*self.list);
        print(&report(ReportedRequest { client, list, query, base, url }, result, &tasks))
    }

    fn use_of(&self, element: &ObservedElement) -> ElementUse {
        let checked = match (&*element.id, &element.outcome) {
            (_, Err(failure)) => Err(failure.detail.to_string()),
            (id, Ok(_)) => task_rules::check_value(id)
                .map_err(|violation| violation.message)
                .and_then(|()| self.client.provider.check_id(id).map_err(str::to_owned))
                .map_err(|wrong| format!("a task ID {wrong}")),
        };
        match (checked, &element.outcome) {
            (Err(wrong), _) => ElementUse::Rejected(wrong),
            (Ok(()), Ok(observation)) if observation.state.is_final() => ElementUse::Final,
            (Ok(()), _) => ElementUse::Followed,
        }
    }
}
