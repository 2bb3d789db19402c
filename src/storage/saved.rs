//! A task's history as it is written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame;
use crate::store::record::Known;
use crate::task::Task;

/// What is written of a task. Every field has its place: another order or another field is another
/// version of the format.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Counts what was written, so that what a snapshot has already is known.
    pub sequence: u64,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The task's ID.
    pub id: Arc<str>,
    /// What is known of it.
    pub known: Known,
}

/// The same without a copy.
#[derive(Serialize)]
struct Borrowed<'a> {
    sequence: u64,
    provider: &'a str,
    id: &'a str,
    known: &'a Known,
}

/// Adds a task's frame to `out`.
pub fn push(sequence: u64, task: &Task, known: &Known, out: &mut Vec<u8>) {
    let saved = Borrowed { sequence, provider: &task.common.provider, id: &task.id, known };
    // Writing into memory has no errors.
    if let Ok(payload) = postcard::to_allocvec(&saved) {
        frame::push(&payload, out);
    }
}

/// Reads a payload. `None` where it is none of ours, whatever its checksum says.
pub fn read(payload: &[u8]) -> Option<Saved> {
    postcard::from_bytes(payload).ok()
}
