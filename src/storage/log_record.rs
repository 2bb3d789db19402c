//! Log records: the records of tasks and the totals of finished ones, as snapshot and journals hold
//! them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame;
use crate::record::{Finished, TaskRecord};
use crate::store::StoredListing;
use crate::task::Task;
use crate::telemetry::finishes::FinishTotals;

/// Maximum sequence number: more than the changes of a million years at a thousand a second. A
/// larger one was not written by an exporter.
pub const MAX_SEQUENCE: u64 = 1 << 60;

/// A record, one a frame. The order of variants and fields is the format: another one needs another
/// version.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum LogRecord {
    /// A task: in the snapshot each of them, in a journal one that has changed.
    TaskChange(TaskChange),
    /// Start of a snapshot: changes from this sequence number on are in journals.
    Begin(u64),
    /// Totals of a provider's finished tasks. Only in a snapshot.
    Finishes(Box<ProviderFinishes>),
    /// End of a snapshot: the sequence number of its start, and the number of records between.
    End(u64, u64),
    /// Start of a journal: the sequence number after the last change that is in a file before.
    Follows(u64),
    /// Own sequence number, and one before which all changes were durable when this was written.
    /// Only in a journal.
    Synced(u64, u64),
    /// A sync of what was written before has failed. Only in a journal.
    SyncFailed,
    /// A task that has gone, with its record. Only in a journal.
    TaskRemoval(TaskRemoval),
}

/// The end of a task's record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRemoval {
    /// Number of the change.
    pub sequence: u64,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The task's ID.
    pub id: Arc<str>,
}

/// The state of a task after a change.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskChange {
    /// Number of the change, so that a missing one, or one that a snapshot has, is noticed.
    pub sequence: u64,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The task's ID.
    pub id: Arc<str>,
    /// Its record.
    pub record: TaskRecord,
    /// Present if the task has just finished.
    pub finished: Option<Finished>,
    /// Its listing. Absent in a snapshot if only the configuration names the task, in a journal if it
    /// is as before.
    pub listing: Option<StoredListing>,
}

/// Totals of a provider's finished tasks.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderFinishes {
    /// The provider's name.
    pub provider: Arc<str>,
    /// Totals of all finished tasks.
    pub known: FinishTotals,
    /// Totals that were shown when the snapshot was begun.
    pub shown: FinishTotals,
}

/// [`LogRecord`] without copies, with its variants in the same order.
#[derive(Serialize)]
enum LogRecordRef<'a> {
    TaskChange {
        sequence: u64,
        provider: &'a str,
        id: &'a str,
        record: &'a TaskRecord,
        finished: Option<Finished>,
        listing: Option<&'a StoredListing>,
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
    TaskRemoval {
        sequence: u64,
        provider: &'a str,
        id: &'a str,
    },
}

/// A task as it is after a change.
#[derive(Clone, Copy, Debug)]
pub struct ChangedTask<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its record.
    pub record: &'a TaskRecord,
    /// Its listing, as [`TaskChange`] has it.
    pub listing: Option<&'a StoredListing>,
}

/// Appends a frame with [`LogRecord::TaskChange`] to `out`. A listing that does not fit into a frame,
/// because of very long labels, is left out: its sources will give it again.
pub fn encode_change(
    sequence: u64,
    changed: ChangedTask<'_>,
    finished: Option<Finished>,
    out: &mut Vec<u8>,
) {
    let ChangedTask { task, record, listing } = changed;
    let (provider, id) = (&*task.common.provider, &*task.id);
    let encoded = |listing| {
        let record = LogRecordRef::TaskChange { sequence, provider, id, record, finished, listing };
        postcard::to_allocvec(&record).unwrap_or_default()
    };
    let whole = encoded(listing);
    match whole.len() > frame::MAX_PAYLOAD {
        true => frame::push(&encoded(None), out),
        false => frame::push(&whole, out),
    }
}

/// Appends a frame with [`LogRecord::TaskRemoval`] to `out`.
pub fn encode_removal(sequence: u64, task: &Task, out: &mut Vec<u8>) {
    let (provider, id) = (&*task.common.provider, &*task.id);
    encode(&LogRecordRef::TaskRemoval { sequence, provider, id }, out);
}

/// Appends a frame with [`LogRecord::Finishes`] to `out`.
pub fn encode_finishes(
    provider: &str,
    known: &FinishTotals,
    shown: &FinishTotals,
    out: &mut Vec<u8>,
) {
    encode(&LogRecordRef::Finishes { provider, known, shown }, out);
}

/// Appends a frame with [`LogRecord::Begin`] to `out`.
pub fn encode_begin(first: u64, out: &mut Vec<u8>) {
    encode(&LogRecordRef::Begin(first), out);
}

/// Appends a frame with [`LogRecord::End`] to `out`.
pub fn encode_end(first: u64, frames: u64, out: &mut Vec<u8>) {
    encode(&LogRecordRef::End(first, frames), out);
}

/// Appends a frame with [`LogRecord::Follows`] to `out`.
pub fn encode_follows(before: u64, out: &mut Vec<u8>) {
    encode(&LogRecordRef::Follows(before), out);
}

/// Appends a frame with [`LogRecord::Synced`] to `out`.
pub fn encode_synced(sequence: u64, before: u64, out: &mut Vec<u8>) {
    encode(&LogRecordRef::Synced(sequence, before), out);
}

/// Appends a frame with [`LogRecord::SyncFailed`] to `out`.
pub fn encode_sync_failed(out: &mut Vec<u8>) {
    encode(&LogRecordRef::SyncFailed, out);
}

fn encode(log_record: &LogRecordRef<'_>, out: &mut Vec<u8>) {
    // Writing into memory has no errors.
    if let Ok(payload) = postcard::to_allocvec(log_record) {
        frame::push(&payload, out);
    }
}

/// Decodes a payload. Returns `None` for one that no exporter can have written, whatever its checksum
/// says: it must not be shown.
pub fn decode(payload: &[u8]) -> Option<LogRecord> {
    let (log_record, rest) = postcard::take_from_bytes(payload).ok()?;
    is_plausible(&log_record).then_some(log_record).filter(|_| rest.is_empty())
}

fn is_plausible(log_record: &LogRecord) -> bool {
    match log_record {
        LogRecord::TaskChange(TaskChange { sequence, record, finished, .. }) => {
            let may_have_finished = finished.is_none() || record.is_final();
            *sequence <= MAX_SEQUENCE && record.is_plausible() && may_have_finished
        }
        LogRecord::TaskRemoval(TaskRemoval { sequence, .. }) => *sequence <= MAX_SEQUENCE,
        LogRecord::Finishes(finishes) => {
            let ProviderFinishes { known, shown, .. } = &**finishes;
            known.is_plausible() && shown.is_plausible() && known.continues(shown)
        }
        LogRecord::Begin(number) | LogRecord::Follows(number) | LogRecord::End(number, _) => {
            *number <= MAX_SEQUENCE
        }
        LogRecord::Synced(sequence, before) => before <= sequence && *sequence <= MAX_SEQUENCE,
        LogRecord::SyncFailed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::task::TaskCommon;

    /// The bytes of a record. Where they change, so must [`frame::VERSION`].
    #[test]
    fn the_format_is_that_of_its_version() {
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
        let task = Task { id: "t".into(), common: Arc::new(common) };
        let time = Timestamp::from_micros;
        let record = TaskRecord::new(time(1));
        let listing = StoredListing {
            sources: vec![("registration".into(), true)],
            unlisted_since: Some(time(2)),
            registered_until: Some(time(3)),
            labels: [("a".into(), "b".into())].into(),
            params: [("c".into(), "d".into())].into(),
        };
        let (mut frames, listing) = (Vec::new(), Some(&listing));
        encode_change(7, ChangedTask { task: &task, record: &record, listing }, None, &mut frames);
        let hex: Vec<_> = frames.iter().map(|byte| format!("{byte:02x}")).collect();
        let hex = hex.concat();
        let expected = "f7a1fe9d3200cdff8f70d589000701700174020202000000000008020000000001010c72656769\
                        7374726174696f6e010104010601016101620101630164";
        assert_eq!((frame::VERSION, &*hex), (3, expected));
    }
}
