//! The exporter's executable: everything is in the library.

use std::process::ExitCode;

use aitask_exporter::{cli::Cli, command};
use clap::Parser;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::run(Cli::parse())
}
