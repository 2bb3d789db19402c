//! What the fuzzer runs. The tests run the same with the kept corpus and mutations of it:
//! `tests/it/hostile.rs`.

#[path = "targets/all.rs"]
pub mod targets;

/// What the targets need of the tests' harness.
pub mod harness {
    use std::path::{Path, PathBuf};

    #[path = "../../../tests/it/harness/samples.rs"]
    pub mod samples;

    /// A path from the root of the project.
    pub fn root(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
    }
}
