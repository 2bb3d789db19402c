//! The exporter's executable: everything is in the library.

use std::process::ExitCode;

use aitask_exporter::{cli::Cli, command};
use clap::Parser;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    refuse_huge_pages();
    command::run(Cli::parse())
}

/// The allocator asks for pages of two megabytes, of which each thread that once wrote an answer
/// would keep several.
#[cfg(target_os = "linux")]
fn refuse_huge_pages() {
    // A system that knows no such thing has none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
