//! The command `poll`: polls tasks now, and prints a report of each.

use std::process::ExitCode;
use std::sync::Arc;

use super::{FAILED, WRONG, fail, list, print, print_error, runtime};
use crate::app::LoadedFiles;
use crate::cli::PollFlags;
use crate::config::Loaded;
use crate::poll::report::report;
use crate::poll::{ProviderClient, poll_once};
use crate::reload::{Built, ConfigSource};
use crate::task::{Task, TaskGroup};
use crate::yaml::diagnostic::Diagnostics;

/// A task that a person names, and the client of its provider.
type RequestedTask = (Arc<ProviderClient>, Task);

/// Polls tasks, which need not be in the configuration, and prints a report of each, or asks for the list
/// of a provider.
pub fn poll(flags: &PollFlags) -> ExitCode {
    if let Some(provider) = &flags.list {
        return list::poll_list(&flags.config_file, provider);
    }
    let source = ConfigSource::File(flags.config_file.clone());
    let requested = match LoadedFiles::read(&source, None) {
        Ok(files) => match find_tasks(&files.built, flags, true) {
            Ok(requested) => requested,
            Err(message) => return fail(WRONG, &message),
        },
        Err(diagnostics) => match find_tasks_at_valid_providers(&source, flags) {
            Some(requested) => {
                warn_of_errors(&diagnostics);
                requested
            }
            None => return fail(WRONG, &diagnostics),
        },
    };
    let polls = async {
        let mut all_well = true;
        for (client, task) in requested {
            let polled = poll_once(&client, &TaskGroup::one(task.clone()), false, None).await;
            all_well &= polled.outcomes.iter().all(Result::is_ok);
            let printed = print(&report(&client, &task, &polled));
            all_well &= printed == ExitCode::SUCCESS;
        }
        all_well
    };
    match runtime() {
        Ok(runtime) if runtime.block_on(polls) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => fail(FAILED, &error),
    }
}

/// Finds the tasks in a configuration with errors, if all errors are those of other providers.
fn find_tasks_at_valid_providers(
    source: &ConfigSource,
    flags: &PollFlags,
) -> Option<Vec<RequestedTask>> {
    let built = LoadedFiles::read_valid_providers(source).ok()?;
    find_tasks(&built, flags, false).ok()
}

pub fn warn_of_errors(diagnostics: &Diagnostics) {
    print_error(&format_args!("{diagnostics}\nThe providers with errors are left out."));
}

/// Finds the tasks that the flags name, with the clients of their providers. `is_complete` is false if
/// the configuration has further providers, which could not be loaded.
fn find_tasks(
    built: &Built,
    flags: &PollFlags,
    is_complete: bool,
) -> Result<Vec<RequestedTask>, String> {
    let (Loaded { tasks, .. }, _) = built;
    let find = |id: &String| {
        let client = find_client(built, id, flags.provider.as_deref(), is_complete)?;
        let listed = tasks
            .iter()
            .find(|task| task.common.provider == client.provider.name && *task.id == **id);
        let task = client.requested_task(listed.cloned(), id, &flags.params)?;
        Ok((Arc::clone(client), task))
    };
    flags.ids.iter().map(find).collect()
}

/// Returns the client of the provider called `name`, or else of the only one, or else of the only one at
/// which the ID is listed.
fn find_client<'b>(
    (Loaded { config, tasks }, clients): &'b Built,
    id: &str,
    name: Option<&str>,
    is_complete: bool,
) -> Result<&'b Arc<ProviderClient>, String> {
    let client = |name: &str| {
        let client = clients.iter().find(|client| *client.provider.name == *name);
        client.ok_or_else(|| format!("the provider {name:?} has no client"))
    };
    if let Some(name) = name {
        return client(&config.find_provider(name)?.name);
    }
    if let ([only], true) = (&**clients, is_complete) {
        return Ok(only);
    }
    let listed = tasks.iter().filter(|task| *task.id == *id);
    let listed: Vec<_> = listed.map(|task| &*task.common.provider).collect();
    match &*listed {
        [only] => client(only),
        [] => Err(format!(
            "the configuration does not list the task {id:?}: choose its provider with --provider; {}",
            config.describe_providers()
        )),
        several => Err(format!(
            "the configuration lists the task {id:?} at several providers: choose one with \
             --provider; they are {}",
            several.join(", ")
        )),
    }
}
