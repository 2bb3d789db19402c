//! The fuzz targets. `tests/it/hostile.rs` runs them with the kept corpus and mutations of it.

pub mod harness;
#[path = "targets/all.rs"]
pub mod targets;
