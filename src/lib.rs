//! A Prometheus exporter for asynchronous AI-generation tasks.
//!
//! ```text
//!  config ──▶ schedule ──▶ fetch ──▶ mapping ──▶ store ──▶ exposition ──▶ web
//!  task IDs   what is      bytes     JSON to     what is   text and       /metrics
//!  in YAML    due          bounded   observation known     OpenMetrics
//!             └──── poll: one observation, from request to record ───┘
//! ```
//!
//! Imports point from the end of this list to its beginning; a test checks the order.

#![cfg_attr(test, allow(clippy::float_cmp, reason = "what is compared was written exactly"))]
#![cfg_attr(test, allow(clippy::string_slice, reason = "a test that panics has failed"))]

pub mod clock;
pub mod duration;
pub(crate) mod supervisor;
pub(crate) mod coalesce;
pub(crate) mod single_flight;
pub(crate) mod blocking;
pub mod task;
pub(crate) mod bounded_file;
pub mod observation;
pub mod label;
pub mod printable;
pub mod listing;
pub mod record;
pub mod family;
pub mod cli;
pub(crate) mod logging;
pub mod tls;
pub mod yaml;
pub mod mapping;
pub mod request;
pub mod config;
pub mod history;
pub mod store;
pub mod telemetry;
pub mod storage;
pub(crate) mod schedule;
pub mod fetch;
pub mod poll;
pub mod discovery;
pub mod exposition;
pub mod reload;
pub mod web;
pub(crate) mod signals;
pub(crate) mod app;
pub mod command;
