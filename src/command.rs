//! The commands and their exit codes: 0 success, 1 failure, 2 wrong usage or configuration.

mod discover;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;

use crate::app::{self, AppError, LoadedFiles};
use crate::cli::{Cli, CliCommand, ExporterFlags, PollFlags};
use crate::config::{self, Loaded, Provider};
use crate::logging;
use crate::poll::report::report;
use crate::poll::{ProviderClient, poll_once};
use crate::reload::ConfigSource;
use crate::task::{Task, TaskGroup};
use crate::tls;

const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Runs the command.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        None if cli.exporter.config_check => check(&cli.exporter),
        None => {
            logging::init(cli.exporter.log);
            block_on(app::run(cli.exporter))
        }
        Some(CliCommand::Demo(flags)) => {
            logging::init(flags.log);
            block_on(app::demo(flags))
        }
        Some(CliCommand::Simulate(flags)) => {
            logging::init(flags.log);
            block_on(app::simulate(flags))
        }
        Some(CliCommand::Poll(flags)) => {
            logging::init(flags.log);
            poll(&flags)
        }
        Some(CliCommand::Discover(flags)) => {
            logging::init(flags.log);
            discover::discover(&flags)
        }
        Some(CliCommand::Schema) => print(&config::schema()),
        Some(CliCommand::Completions { shell }) => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "aitask_exporter", &mut out);
            print(&String::from_utf8_lossy(&out))
        }
        Some(CliCommand::Man) => {
            let mut out = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut out) {
                Ok(()) => print(&String::from_utf8_lossy(&out)),
                Err(error) => fail(FAILED, &error),
            }
        }
    }
}

fn check(flags: &ExporterFlags) -> ExitCode {
    let source = ConfigSource::File(flags.config_file.clone());
    match LoadedFiles::read(&source, flags.web.config_file()) {
        Ok(LoadedFiles { built: (Loaded { config, tasks }, _), .. }) => {
            let (providers, tasks) = (config.providers.len(), tasks.len());
            let file = flags.config_file.display();
            print(&format!("{file} is valid: providers {providers}, tasks {tasks}\n"))
        }
        Err(diagnostics) => fail(WRONG, &diagnostics),
    }
}

/// Polls tasks, which need not be in the configuration, and prints a report of each.
fn poll(flags: &PollFlags) -> ExitCode {
    let files = LoadedFiles::read(&ConfigSource::File(flags.config_file.clone()), None);
    let (Loaded { config, tasks }, clients) = match files {
        Ok(files) => files.built,
        Err(diagnostics) => return fail(WRONG, &diagnostics),
    };
    let provider = match provider(&config.providers, flags.provider.as_deref()) {
        Ok(provider) => provider,
        Err(message) => return fail(WRONG, &message),
    };
    let is_its = |client: &&Arc<ProviderClient>| Arc::ptr_eq(&client.provider, provider);
    let Some(client) = clients.iter().find(is_its) else {
        return fail(FAILED, &"the provider has no client");
    };
    let listed = |id: &str| {
        let is_it = |task: &&Task| task.common.provider == provider.name && *task.id == *id;
        client.requested_task(tasks.iter().find(is_it).cloned(), id, &flags.params)
    };
    let tasks: Result<Vec<_>, _> = flags.ids.iter().map(|id| listed(id)).collect();
    let tasks = match tasks {
        Ok(tasks) => tasks,
        Err(message) => return fail(WRONG, &message),
    };
    let polls = async {
        let mut all_well = true;
        for task in tasks {
            let polled = poll_once(client, &TaskGroup::one(task.clone()), false, None).await;
            all_well &= polled.outcomes.iter().all(Result::is_ok);
            let printed = print(&report(client, &task, &polled));
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

fn provider<'a>(
    providers: &'a [Arc<Provider>],
    name: Option<&str>,
) -> Result<&'a Arc<Provider>, String> {
    match (name, providers) {
        (Some(name), _) => providers
            .iter()
            .find(|provider| *provider.name == *name)
            .ok_or_else(|| format!("no provider {name:?} is configured")),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(format!("{} providers are configured: choose one with --provider", providers.len()))
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn block_on(work: impl Future<Output = Result<(), AppError>>) -> ExitCode {
    tls::install();
    let ended = match runtime() {
        Ok(runtime) => {
            let ended = runtime.block_on(work);
            // A thread that is blocked in a write to a client must not delay the exit.
            runtime.shutdown_background();
            ended
        }
        Err(error) => return fail(FAILED, &error),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ AppError::Files(_)) => fail(WRONG, &error),
        Err(error) => fail(FAILED, &error),
    }
}

/// Writes results to stdout. A reader that has seen enough, such as `head`, is not a failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error),
    }
}

/// Writes errors to stderr.
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // If stderr is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(code)
}
