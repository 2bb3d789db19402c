//! What is written: the history of tasks, and how many have finished.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame;
use crate::store::record::{Finished, Known};
use crate::task::Task;
use crate::telemetry::finishes::FinishTotals;

/// More than the changes of a million years at a thousand a second. A larger number is no number
/// of ours: nothing could be counted behind it.
pub const MAX_SEQUENCE: u64 = 1 << 60;

/// What a frame holds. Everything in it has its place: another order or another field is another
/// version of the format.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Saved {
    /// In the snapshot every task, in a journal one that has changed.
    Changed(Changed),
    /// At the beginning of a snapshot: changes from this number on are in journals.
    Begin(u64),
    /// In a snapshot only: the finished tasks of a provider.
    Finishes(Box<ProviderFinishes>),
    /// At the end of a snapshot: the number of its beginning, and how many tasks and providers
    /// are between both.
    End(u64, u64),
    /// At the beginning of a journal: the number behind the last change that is in a file before.
    Follows(u64),
    /// In a journal only, with a number like that of a change: when this was written, all changes
    /// before the second number were on the disk for good.
    Synced(u64, u64),
    /// In a journal only: the disk has refused to have for good what was written before.
    SyncFailed,
}

/// A task, as it is now.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Counts the changes, so that what is missing, or in a snapshot already, is known.
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

/// The finished tasks of a provider.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderFinishes {
    /// The provider's name.
    pub provider: Arc<str>,
    /// All of them.
    pub known: FinishTotals,
    /// Those that were shown when the snapshot was begun.
    pub shown: FinishTotals,
}

/// The same without copies. In the order of [`Saved`].
#[derive(Serialize)]
enum Borrowed<'a> {
    Changed {
        sequence: u64,
        provider: &'a str,
        id: &'a str,
        known: &'a Known,
        finished: Option<Finished>,
    },
    Begin(u64),
    Finishes {
        provider: &'a str,
        known: &'a FinishTotals,
        shown: &'a FinishTotals,
    },
    End(u64, u64),
    Follows(u64),
    Synced(u64, u64),
    SyncFailed,
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

/// Adds the frame of a provider's finished tasks to `out`.
pub fn push_finishes(
    provider: &str,
    known: &FinishTotals,
    shown: &FinishTotals,
    out: &mut Vec<u8>,
) {
    push_frame(&Borrowed::Finishes { provider, known, shown }, out);
}

/// Adds [`Saved::Begin`] to `out`.
pub fn push_begin(first: u64, out: &mut Vec<u8>) {
    push_frame(&Borrowed::Begin(first), out);
}

/// Adds [`Saved::End`] to `out`.
pub fn push_end(first: u64, frames: u64, out: &mut Vec<u8>) {
    push_frame(&Borrowed::End(first, frames), out);
}

/// Adds [`Saved::Follows`] to `out`.
pub fn push_follows(before: u64, out: &mut Vec<u8>) {
    push_frame(&Borrowed::Follows(before), out);
}

/// Adds [`Saved::Synced`] to `out`.
pub fn push_synced(sequence: u64, before: u64, out: &mut Vec<u8>) {
    push_frame(&Borrowed::Synced(sequence, before), out);
}

/// Adds [`Saved::SyncFailed`] to `out`.
pub fn push_sync_failed(out: &mut Vec<u8>) {
    push_frame(&Borrowed::SyncFailed, out);
}

fn push_frame(saved: &Borrowed<'_>, out: &mut Vec<u8>) {
    // Writing into memory has no errors.
    if let Ok(payload) = postcard::to_allocvec(saved) {
        frame::push(&payload, out);
    }
}

/// Reads a payload. `None` where it is none of ours, whatever its checksum says: what no
/// exporter has written must not be shown.
pub fn read(payload: &[u8]) -> Option<Saved> {
    let (saved, rest) = postcard::take_from_bytes(payload).ok()?;
    is_plausible(&saved).then_some(saved).filter(|_| rest.is_empty())
}

fn is_plausible(saved: &Saved) -> bool {
    match saved {
        Saved::Changed(Changed { sequence, known, finished, .. }) => {
            let may_have_finished = finished.is_none() || known.is_final();
            *sequence <= MAX_SEQUENCE && known.is_plausible() && may_have_finished
        }
        Saved::Finishes(finishes) => {
            let ProviderFinishes { known, shown, .. } = &**finishes;
            known.is_plausible() && shown.is_plausible() && known.continues(shown)
        }
        Saved::Begin(number) | Saved::Follows(number) | Saved::End(number, _) => {
            *number <= MAX_SEQUENCE
        }
        Saved::Synced(sequence, before) => before <= sequence && *sequence <= MAX_SEQUENCE,
        Saved::SyncFailed => true,
    }
}
