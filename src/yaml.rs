//! YAML files with the location of every value: a tree, its decoding into structs, and diagnostics
//! that hold no secret.

pub(crate) mod decode;
pub mod diagnostic;
pub(crate) mod events;
pub(crate) mod hidden;
pub(crate) mod scalar;
pub(crate) mod source;
pub(crate) mod span;
pub(crate) mod tree;
