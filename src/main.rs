//! The exporter's executable: everything is in the library.

use std::process::ExitCode;

use aitask_exporter::{cli::Cli, command};
use clap::Parser;

fn main() -> ExitCode {
    command::run(Cli::parse())
}
