//! What is written: a task's history, and finishes that no counter has.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame;
use crate::observation::State;
use crate::store::record::{Finished, Known};
use crate::task::Task;

/// What a frame holds. Everything in it has its place: another order or another field is another
/// version of the format.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Saved {
    /// In the snapshot every task, in a journal one that has changed.
    Changed(Changed),
    /// In the snapshot only; in a journal its task tells.
    Finish(Finish),
    /// In the snapshot only: changes from this number on are in journals.
    End(u64),
}

/// A task, as it is now.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Counts the changes, so that what a snapshot has already is known.
    pub sequence: u64,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The task's ID.
    pub id: Arc<str>,
    /// What is known of it.
    pub known: Known,
    /// That it has just come to its end.
    pub finished: Option<Finished>,
}

/// A finish that is to be counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// That of the change which it was.
    pub sequence: u64,
    /// The provider's name.
    pub provider: Arc<str>,
    /// How it ended.
    pub state: State,
    /// How long the task took, where that is known.
    pub duration: Option<Duration>,
}

/// The same without copies.
#[derive(Serialize)]
enum Borrowed<'a> {
    Changed {
        sequence: u64,
        provider: &'a str,
        id: &'a str,
        known: &'a Known,
        finished: Option<Finished>,
    },
    Finish(&'a Finish),
    End(u64),
}

impl Changed {
    /// What it lets count.
    pub fn finish(&self) -> Option<Finish> {
        Finish::of(self.sequence, &self.provider, &self.known, self.finished)
    }
}

impl Finish {
    /// What change number `sequence` lets count.
    pub fn of(
        sequence: u64,
        provider: &Arc<str>,
        known: &Known,
        finished: Option<Finished>,
    ) -> Option<Self> {
        let (provider, duration) = (Arc::clone(provider), finished?.duration);
        Some(Self { sequence, provider, state: known.state(), duration })
    }
}

/// Adds a task's frame to `out`.
pub fn push(
    sequence: u64,
    task: &Task,
    known: &Known,
    finished: Option<Finished>,
    out: &mut Vec<u8>,
) {
    let (provider, id) = (&*task.common.provider, &*task.id);
    push_frame(&Borrowed::Changed { sequence, provider, id, known, finished }, out);
}

/// Adds a finish's frame to `out`.
pub fn push_finish(finish: &Finish, out: &mut Vec<u8>) {
    push_frame(&Borrowed::Finish(finish), out);
}

/// Adds the frame that tells where a snapshot ends to `out`.
pub fn push_end(end: u64, out: &mut Vec<u8>) {
    push_frame(&Borrowed::End(end), out);
}

fn push_frame(saved: &Borrowed<'_>, out: &mut Vec<u8>) {
    // Writing into memory has no errors.
    if let Ok(payload) = postcard::to_allocvec(saved) {
        frame::push(&payload, out);
    }
}

/// Reads a payload. `None` where it is none of ours, whatever its checksum says.
pub fn read(payload: &[u8]) -> Option<Saved> {
    postcard::from_bytes(payload).ok()
}
