//! The commands and their exit codes: 0 success, 1 failure, 2 wrong usage or configuration.

mod discover;
mod list;
mod poll;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::app::{self, AppError, LoadedFiles};
use crate::cli::{Cli, CliCommand, ExporterFlags};
use crate::config::discovery::{SourceConfig, SourceKind};
use crate::config::{self, Loaded};
use crate::logging;
use crate::reload::ConfigSource;
use crate::tls;

const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Runs the command.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        None if let Err(wrong) = cli.exporter.check() => fail(WRONG, &wrong),
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
            poll::poll(&flags)
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
            let file = flags.config_file.display();
            let (providers, sources) = (config.providers.len(), config.discovery.len());
            let tasks = tasks.len();
            let mut text = format!(
                "{file} is valid: providers {providers}, tasks {tasks}, sources {sources}\n"
            );
            if !config.notes.shown().is_empty() {
                text += &format!("{}\n", config.notes);
            }
            let unmatched = config.discovery.iter().flat_map(|source| unmatched_globs(source));
            unmatched.for_each(|note| text += &format!("{file}: {note}\n"));
            if tasks == 0 && sources == 0 && !flags.enable_task_receiver {
                text += &format!("{file}: note: there is no task and no source of tasks\n");
            }
            print(&text)
        }
        Err(diagnostics) => fail(WRONG, &diagnostics),
    }
}

/// Returns a note on each glob of a source that matches no file. The files of a source are searched
/// only here: a start must not wait for them.
fn unmatched_globs(source: &SourceConfig) -> impl Iterator<Item = String> {
    let globs = match &source.kind {
        SourceKind::File(files) => &*files.globs,
        SourceKind::Http(_) | SourceKind::Sql(_) | SourceKind::List(_) => &[],
    };
    // What cannot be searched is an error of the source, not a glob without files.
    let unmatched =
        globs.iter().filter(|glob| glob.find().is_ok_and(|matches| matches.files.is_empty()));
    unmatched.map(|glob| {
        format!("note: no file matches {:?} of the source {:?}", glob.text(), source.name)
    })
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

/// Writes errors to stderr, and returns the exit code.
fn fail(code: u8, error: &dyn Display) -> ExitCode {
    print_error(error);
    ExitCode::from(code)
}

/// Writes errors to stderr.
fn print_error(error: &dyn Display) {
    // If stderr is closed, the error cannot be reported.
    let _ = writeln!(io::stderr(), "{error}");
}
