//! What the fuzzer runs. The tests run the same with the kept corpus and mutations of it:
//! `tests/it/hostile.rs`.

pub mod harness;
#[path = "targets/all.rs"]
pub mod targets;
