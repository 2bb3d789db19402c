//! One module a target: `run` takes any bytes and panics where something is not as it must be.

pub mod configuration;
pub mod durations;
pub mod exposition;
pub mod heads;
pub mod mapping;
pub mod names;
pub mod probe;
pub mod redaction;
pub mod requests;
pub mod storage;
pub mod times;
