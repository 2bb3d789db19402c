//! The tests that see the program from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::format_collect,
    clippy::missing_panics_doc,
    reason = "a test that panics has failed, which is what it is for"
)]

mod config;
mod presets;
