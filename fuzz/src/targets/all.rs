//! One module a target: `run` takes any bytes and panics where something is not as it must be.

pub mod configuration;
pub mod durations;
pub mod exposition;
pub mod mapping;
pub mod probe;
pub mod storage;
pub mod times;
