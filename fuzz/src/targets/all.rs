//! The targets, one module each: `run` takes any bytes and panics if a property does not hold.

pub mod configuration;
pub mod data_sources;
pub mod durations;
pub mod elements;
pub mod exposition;
pub mod heads;
pub mod list_response;
pub mod mapping;
pub mod names;
pub mod probe;
pub mod redaction;
pub mod registrations;
pub mod requests;
pub mod storage;
pub mod times;
