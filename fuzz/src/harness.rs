//! The parts of the tests' harness that the targets use.

#[path = "../../tests/it/harness/samples.rs"]
pub mod samples;

use std::path::{Path, PathBuf};

/// A path from the root of the project.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
