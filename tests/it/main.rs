//! The integration tests: one binary, a module a subject. Most run the real program against the
//! simulated gateway; none needs a network beyond this machine.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]
// A test that panics has failed, which is what it is for; what is compared was written exactly.

mod alerts;
mod answers;
mod api;
mod architecture;
mod batches;
mod check;
mod commands;
mod compose;
mod config;
mod connections;
mod crowds;
mod dashboards;
mod demo;
mod discovery;
mod discovery_http;
#[cfg(feature = "sql")]
mod discovery_sql;
mod documents;
mod exposition;
mod faults;
mod gateway_lists;
mod harness;
mod histories;
mod hostile;
mod http2;
mod identity;
mod kept;
mod leaks;
mod lifecycle;
mod limits;
mod lists;
mod load;
mod logs;
mod memory;
mod names;
mod odd_files;
mod openapi;
mod origin;
mod pacing;
mod pages;
mod paths;
mod poll_lists;
mod polls;
mod presets;
mod probe;
mod prometheus;
mod proxies;
mod registration;
mod reload;
mod secrets;
mod seed;
mod siege;
mod soak;
mod steps;
mod storage;
mod systems;
mod task_lists;
mod tls;
mod waiting;
mod web;
mod web_config;
mod words;
