//! The executable of the exporter; everything else is in the library.

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

/// Disables huge pages for the allocator, which would otherwise request pages of two megabytes.
/// Each thread that has ever written a response would keep several.
#[cfg(target_os = "linux")]
fn refuse_huge_pages() {
    // A system without huge pages reports an error.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
