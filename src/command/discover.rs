//! The command `discover`: asks the sources of tasks now, and prints what they list.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{FAILED, WRONG, fail, print, runtime};
use crate::app::LoadedFiles;
use crate::cli::DiscoverFlags;
use crate::config::discovery::SourceConfig;
use crate::config::{Config, Loaded};
use crate::discovery::list::{Refresh, RefreshError, SourceList};
use crate::discovery::provider_list::ProviderAccess;
use crate::discovery::report::{report, title};
use crate::discovery::source::Source;
use crate::fetch::resolver::Resolver;
use crate::poll::ProviderClient;
use crate::reload::ConfigSource;

/// Asks all sources, or the one that the flags name, at once, and prints the tasks of each.
pub fn discover(flags: &DiscoverFlags) -> ExitCode {
    let files = LoadedFiles::read(&ConfigSource::File(flags.config_file.clone()), None);
    let (config, clients, resolver) = match files {
        Ok(LoadedFiles { built: (Loaded { config, .. }, clients), resolver, .. }) => {
            (config, clients, resolver)
        }
        Err(diagnostics) => return fail(WRONG, &diagnostics),
    };
    let sources = match select(&config.discovery, flags.name.as_deref()) {
        Ok(sources) => sources,
        Err(message) => return fail(WRONG, &message),
    };
    if sources.is_empty() {
        return print("the configuration has no sources of tasks\n");
    }
    let refreshes = async {
        join_all(sources.iter().map(|source| refresh(source, &config, &clients, &resolver))).await
    };
    let outcomes = match runtime() {
        Ok(runtime) => runtime.block_on(refreshes),
        Err(error) => return fail(FAILED, &error),
    };
    print_outcomes(&sources, &outcomes)
}

/// Returns the sources that are called `name`, of any mechanism; all sources if it is absent.
fn select(
    sources: &[Arc<SourceConfig>],
    name: Option<&str>,
) -> Result<Vec<Arc<SourceConfig>>, String> {
    let is_wanted = |source: &&Arc<SourceConfig>| name.is_none_or(|name| *source.name == *name);
    let selected: Vec<_> = sources.iter().filter(is_wanted).cloned().collect();
    match name {
        Some(name) if selected.is_empty() => Err(format!("no source {name:?} is configured")),
        _ => Ok(selected),
    }
}

/// Reads the list of a source once, up to its limit.
async fn refresh(
    source: &Arc<SourceConfig>,
    config: &Config,
    clients: &[Arc<ProviderClient>],
    resolver: &Resolver,
) -> Result<Refresh, RefreshError> {
    let mut asked = Source::new(source, None, resolver)?;
    // The client of the provider, if the source is its list.
    let client = clients.iter().find(|client| client.provider.name == source.name);
    let access = client.map(|client| ProviderAccess { client: Arc::clone(client), worker: None });
    let mut refresh =
        asked.refresh(&config.providers, config.label_limits, access.as_ref()).await?;
    if let Refresh::List(list) | Refresh::Partial(list, _) = &mut refresh {
        list.limit(source.limit, |_| false);
    }
    Ok(refresh)
}

/// Prints the lists to stdout and the errors to stderr.
fn print_outcomes(
    sources: &[Arc<SourceConfig>],
    outcomes: &[Result<Refresh, RefreshError>],
) -> ExitCode {
    let (mut failed, mut distinct) = (None, HashSet::new());
    for (source, outcome) in sources.iter().zip(outcomes) {
        let (list, error) = match outcome {
            Ok(Refresh::List(list)) => (Some(list), None),
            Ok(Refresh::Partial(list, error)) => (Some(list), Some(error)),
            // A source that is asked for the first time has nothing to compare with.
            Ok(Refresh::Unchanged) => (None, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(list) = list {
            distinct.extend(identities(list));
            let printed = print(&report(source, list));
            failed = failed.or((printed != ExitCode::SUCCESS).then_some(printed));
        }
        if let Some(error) = error {
            failed = Some(fail(FAILED, &format!("{}: {error}", title(source))));
        }
    }
    let printed = match sources {
        [_] => ExitCode::SUCCESS,
        _ => print(&format!("{} distinct tasks\n", distinct.len())),
    };
    failed.unwrap_or(printed)
}

/// Returns provider and ID of each task.
fn identities(list: &SourceList) -> impl Iterator<Item = (&str, &str)> {
    list.tasks.iter().map(|listed| (&*listed.task.common.provider, &*listed.task.id))
}
