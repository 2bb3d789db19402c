//! What the targets need of the tests' harness.

#[path = "../../tests/it/harness/samples.rs"]
pub mod samples;

use std::path::{Path, PathBuf};

/// A path from the root of the project.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
