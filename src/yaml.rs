//! YAML files with the location of every value: a tree, its decoding into structs, and diagnostics
//! that hold no secret.

pub mod decode;
pub mod diagnostic;
pub mod events;
pub mod hidden;
pub mod scalar;
pub mod span;
pub mod tree;
