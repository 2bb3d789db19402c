//! A Prometheus exporter for asynchronous AI-generation tasks.
//!
//! ```text
//!  config ──▶ schedule ──▶ fetch ──▶ mapping ──▶ store ──▶ exposition ──▶ web
//!  task IDs   what is      bytes     JSON to     what is   text and       /metrics
//!  in YAML    due          bounded   observation known     OpenMetrics
//!             └────────── poll: the way of one observation ──────────┘
//! ```
//!
//! Imports point from the end of this list to its beginning; a test holds the order.

#![cfg_attr(test, allow(clippy::float_cmp, reason = "what is compared was written exactly"))]
#![cfg_attr(test, allow(clippy::string_slice, reason = "a test that panics has failed"))]

pub mod clock;
pub mod duration;
pub mod supervisor;
pub mod coalesce;
pub mod single_flight;
pub mod task;
pub mod bounded_file;
pub mod observation;
pub mod label;
pub mod printable;
pub mod record;
pub mod family;
pub mod cli;
pub mod logging;
pub mod tls;
pub mod yaml;
pub mod mapping;
pub mod request;
pub mod config;
pub mod store;
pub mod history;
pub mod telemetry;
pub mod storage;
pub mod schedule;
pub mod fetch;
pub mod poll;
pub mod exposition;
pub mod reload;
pub mod web;
mod signals;
pub mod app;
pub mod command;
