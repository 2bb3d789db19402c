//! Discovery: lists of tasks from outside, each read by a source, element by element.

mod blocking;
pub mod element;
pub mod file;
pub mod http;
pub mod list;
pub mod list_builder;
pub mod list_parser;
pub mod provider_list;
pub mod registration;
pub mod report;
pub mod source;
#[cfg(feature = "sql")]
pub mod sql;
pub mod status;
