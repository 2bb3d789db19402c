//! Recovery: the state that earlier runs of the exporter wrote, from a snapshot and journals. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::frame::{self, Frames};
use super::log_record::{self, LogRecord, ProviderFinishes, TaskChange, TaskRemoval};
use crate::observation::State;
use crate::store::{RecoveredTask, RecoveredTasks};
use crate::telemetry::finishes::Finishes;

/// The intact content of the files.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The tasks with their records.
    pub tasks: RecoveredTasks,
    /// Totals of all finished tasks, each counted once; empty where something is lost.
    pub known: Finishes,
    /// The part of `known` that is durable, as the files themselves prove. No reader has seen more.
    pub shown: Finishes,
    /// True if a sync has failed, so that the system may have dropped what a journal seems to hold.
    pub is_in_doubt: bool,
    /// Sequence number of the next change.
    pub next: u64,
    /// Damaged bytes, and at least one for each missing record. The torn end of a journal, as a kill
    /// leaves it, does not count.
    pub lost: usize,
    /// Number of the last journal without damage or a failed sync, and the length of its intact part
    /// in bytes.
    last_journal: Option<(u64, usize)>,
    /// Totals of the snapshot, until a journal proves that the snapshot is durable.
    of_snapshot: Option<Finishes>,
    /// Finished tasks of the journals by sequence number, until a journal proves them durable.
    unproven: Vec<(u64, Finish)>,
}

#[derive(Debug)]
struct Finish {
    provider: Arc<str>,
    state: State,
    duration: Option<Duration>,
}

impl Recovered {
    /// Reads the content of the snapshot, if there is one, and of the journals with their numbers,
    /// the lowest first.
    pub fn read(snapshot: Option<&[u8]>, journals: &[(u64, Vec<u8>)]) -> Self {
        let mut recovered = Self::default();
        let end = snapshot.and_then(|snapshot| recovered.read_snapshot(snapshot));
        // Of the journals before it the snapshot has everything.
        let after = |journal: &&(u64, Vec<u8>)| end.is_none_or(|end| journal.0 >= end);
        let mut is_continued = end.is_none();
        for (number, journal) in journals.iter().filter(after) {
            let begins = recovered.read_journal(*number, journal);
            is_continued |= begins && end == Some(*number);
        }
        if !is_continued {
            // The one that was begun with the snapshot.
            recovered.count_lost(1);
        }
        if recovered.lost > 0 {
            // What is missing may have been counted: readers see that the counters begin again.
            recovered.known = Finishes::default();
            recovered.shown = Finishes::default();
        }
        recovered
    }

    /// Returns the number of a journal that has no change yet and can be continued, and the length
    /// of its intact part in bytes.
    pub fn unused_journal(&self) -> Option<(u64, usize)> {
        self.last_journal.filter(|(number, _)| *number == self.next)
    }

    /// Reads the snapshot. Returns the sequence number at which its journals begin, unless every
    /// record with that number is damaged.
    fn read_snapshot(&mut self, content: &[u8]) -> Option<u64> {
        let Frames { payloads, damaged, torn } = frame::read(content);
        self.lost += damaged + torn;
        let (mut begins, mut first, mut expected, mut found) = (false, None, None, 0);
        for payload in payloads {
            match log_record::decode(payload) {
                Some(LogRecord::Begin(number)) => {
                    begins = true;
                    first = first.max(Some(number));
                }
                Some(LogRecord::End(number, frames)) => {
                    first = first.max(Some(number));
                    expected = Some(frames);
                }
                Some(LogRecord::TaskChange(changed)) => {
                    found += 1;
                    // The same for all, and used if the others are damaged.
                    first = first.max(Some(changed.sequence));
                    self.insert_record(changed);
                }
                Some(LogRecord::Finishes(finishes)) => {
                    found += 1;
                    let ProviderFinishes { provider, known, shown } = *finishes;
                    self.known.insert(Arc::clone(&provider), known);
                    self.shown.insert(provider, shown);
                }
                Some(
                    LogRecord::Follows(_)
                    | LogRecord::Synced(..)
                    | LogRecord::SyncFailed
                    | LogRecord::TaskRemoval(_),
                )
                | None => {
                    self.lost += payload.len();
                }
            }
        }
        if !begins || expected != Some(found) {
            let missing = expected.map_or(1, |expected: u64| expected.abs_diff(found)).max(1);
            self.lost = self.lost.max(usize::try_from(missing).unwrap_or(usize::MAX));
        }
        self.of_snapshot = Some(self.known.clone());
        self.next = first.unwrap_or_default();
        first
    }

    /// Reads a journal. Returns true if its beginning is there, whole or torn.
    fn read_journal(&mut self, number: u64, content: &[u8]) -> bool {
        let Frames { payloads, damaged, torn } = frame::read(content);
        self.lost += damaged;
        let is_empty = payloads.is_empty();
        let (mut begins, mut is_in_doubt) = (false, false);
        for payload in payloads {
            match log_record::decode(payload) {
                Some(LogRecord::Follows(before)) => {
                    begins = true;
                    self.advance_to(before);
                    self.next = self.next.max(number);
                }
                Some(LogRecord::TaskChange(changed)) => self.apply_change(changed),
                Some(LogRecord::TaskRemoval(removal)) => self.apply_removal(&removal),
                Some(LogRecord::Synced(sequence, before)) => {
                    if self.accept(sequence) {
                        self.mark_durable(before);
                    }
                }
                Some(LogRecord::SyncFailed) => is_in_doubt = true,
                Some(LogRecord::Begin(_) | LogRecord::End(..) | LogRecord::Finishes(_)) | None => {
                    self.lost += payload.len();
                }
            }
        }
        if !begins && !is_empty {
            self.count_lost(1);
        }
        self.is_in_doubt |= is_in_doubt;
        if begins && damaged == 0 && !is_in_doubt {
            self.last_journal = Some((number, content.len() - torn));
        }
        // Torn before its first frame ends, a journal has had no change that is known of.
        begins || (is_empty && !content.is_empty() && damaged == 0)
    }

    /// Counts what is missing before this sequence number as lost.
    fn advance_to(&mut self, before: u64) {
        self.count_lost(before.saturating_sub(self.next));
        self.next = self.next.max(before);
    }

    /// Advances to a record's sequence number. Returns false for a record that was read before.
    fn accept(&mut self, sequence: u64) -> bool {
        if sequence < self.next {
            return false;
        }
        self.advance_to(sequence);
        self.next = sequence + 1;
        true
    }

    fn apply_change(&mut self, changed: TaskChange) {
        if !self.accept(changed.sequence) {
            return;
        }
        if let Some(finished) = changed.finished {
            let (state, duration) = (changed.record.state(), finished.duration);
            self.known.add(&changed.provider, state, duration);
            let provider = Arc::clone(&changed.provider);
            self.unproven.push((changed.sequence, Finish { provider, state, duration }));
        }
        self.insert_record(changed);
    }

    /// Marks the snapshot, and every change before this sequence number, as durable.
    fn mark_durable(&mut self, before: u64) {
        if let Some(finishes) = self.of_snapshot.take() {
            self.shown = finishes;
        }
        let proven = self.unproven.iter().take_while(|(number, _)| *number < before).count();
        for (_, Finish { provider, state, duration }) in self.unproven.drain(..proven) {
            self.shown.add(&provider, state, duration);
        }
    }

    fn apply_removal(&mut self, removal: &TaskRemoval) {
        if self.accept(removal.sequence)
            && let Some(tasks) = self.tasks.get_mut(&removal.provider)
        {
            tasks.remove(&removal.id);
        }
    }

    fn insert_record(&mut self, changed: TaskChange) {
        let TaskChange { provider, id, record, listing, .. } = changed;
        let tasks = self.tasks.entry(provider).or_default();
        let listing = match listing {
            Some(listing) => Some(listing).filter(|listing| !listing.is_plain()),
            None => tasks.remove(&id).and_then(|before| before.listing),
        };
        tasks.insert(id, RecoveredTask { record, listing });
    }

    fn count_lost(&mut self, changes: u64) {
        let changes = usize::try_from(changes).unwrap_or(usize::MAX);
        self.lost = self.lost.saturating_add(changes);
    }
}

#[cfg(test)]
mod tests;
