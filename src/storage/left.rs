//! What earlier lives left: a snapshot and journals, put together. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::frame::{self, Frames};
use super::saved::{self, Changed, ProviderFinishes, Saved};
use crate::observation::State;
use crate::store::Remembered;
use crate::telemetry::finishes::Finishes;

/// What is intact of the files.
#[derive(Debug, Default)]
pub struct Left {
    /// What was known of the tasks.
    pub remembered: Remembered,
    /// All finished tasks, each once; none where something is lost.
    pub known: Finishes,
    /// Those of them that the disk has for good, as the files themselves prove. No reader has seen
    /// others.
    pub shown: Finishes,
    /// Whether the disk has refused to have for good what was written.
    pub is_in_doubt: bool,
    /// The number of the next change.
    pub next: u64,
    /// Bytes that are damaged, and at least one for each thing that is missing. A torn end of a
    /// journal, as a kill leaves it, is none.
    pub lost: usize,
    /// The last journal without damage and doubt, with the length of what is whole of it.
    last_journal: Option<(u64, usize)>,
    /// What the snapshot has of finished tasks, until a journal proves that the disk has it.
    of_snapshot: Option<Finishes>,
    /// Finished tasks of the journals, by the number of the change, likewise.
    unproven: Vec<(u64, Finish)>,
}

#[derive(Debug)]
struct Finish {
    provider: Arc<str>,
    state: State,
    duration: Option<Duration>,
}

impl Left {
    /// Reads the contents of a snapshot, if there is one, and of the journals with their numbers,
    /// the lowest first.
    pub fn read(snapshot: Option<&[u8]>, journals: &[(u64, Vec<u8>)]) -> Self {
        let mut left = Self::default();
        let end = snapshot.and_then(|snapshot| left.snapshot(snapshot));
        // Of the journals before it the snapshot has everything.
        let after = |journal: &&(u64, Vec<u8>)| end.is_none_or(|end| journal.0 >= end);
        let mut is_continued = end.is_none();
        for (number, journal) in journals.iter().filter(after) {
            let begins = left.journal(*number, journal);
            is_continued |= begins && end == Some(*number);
        }
        if !is_continued {
            // The one that was begun with the snapshot.
            left.lose(1);
        }
        if left.lost > 0 {
            // What is missing may have been counted: readers see that the counters begin again.
            left.known = Finishes::default();
            left.shown = Finishes::default();
        }
        left
    }

    /// Returns the number of a journal that has no change yet and can be written on, with the length
    /// of what is whole of it, in bytes.
    pub fn unused_journal(&self) -> Option<(u64, usize)> {
        self.last_journal.filter(|(number, _)| *number == self.next)
    }

    /// Reads the snapshot. Returns the number behind it, unless nothing in it says so.
    fn snapshot(&mut self, content: &[u8]) -> Option<u64> {
        let Frames { payloads, damaged, torn } = frame::read(content);
        self.lost += damaged + torn;
        let (mut begins, mut first, mut expected, mut found) = (false, None, None, 0);
        for payload in payloads {
            match saved::read(payload) {
                Some(Saved::Begin(number)) => {
                    begins = true;
                    first = first.max(Some(number));
                }
                Some(Saved::End(number, frames)) => {
                    first = first.max(Some(number));
                    expected = Some(frames);
                }
                Some(Saved::Changed(changed)) => {
                    found += 1;
                    // The same for all, and stands in where the others are damaged.
                    first = first.max(Some(changed.sequence));
                    self.remember(changed);
                }
                Some(Saved::Finishes(finishes)) => {
                    found += 1;
                    let ProviderFinishes { provider, known, shown } = *finishes;
                    self.known.insert(Arc::clone(&provider), known);
                    self.shown.insert(provider, shown);
                }
                Some(Saved::Follows(_) | Saved::Synced(..) | Saved::SyncFailed) | None => {
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

    /// Reads a journal. Returns whether its beginning is there, whole or torn.
    fn journal(&mut self, number: u64, content: &[u8]) -> bool {
        let Frames { payloads, damaged, torn } = frame::read(content);
        self.lost += damaged;
        let is_empty = payloads.is_empty();
        let (mut begins, mut is_in_doubt) = (false, false);
        for payload in payloads {
            match saved::read(payload) {
                Some(Saved::Follows(before)) => {
                    begins = true;
                    self.reach(before);
                    self.next = self.next.max(number);
                }
                Some(Saved::Changed(changed)) => self.changed(changed),
                Some(Saved::Synced(sequence, before)) => {
                    if self.take(sequence) {
                        self.prove(before);
                    }
                }
                Some(Saved::SyncFailed) => is_in_doubt = true,
                Some(Saved::Begin(_) | Saved::End(..) | Saved::Finishes(_)) | None => {
                    self.lost += payload.len();
                }
            }
        }
        if !begins && !is_empty {
            self.lose(1);
        }
        self.is_in_doubt |= is_in_doubt;
        if begins && damaged == 0 && !is_in_doubt {
            self.last_journal = Some((number, content.len() - torn));
        }
        // Torn before its first frame ends, a journal has had no change that is known of.
        begins || (is_empty && !content.is_empty() && damaged == 0)
    }

    /// Every change before this number has been in the files.
    fn reach(&mut self, before: u64) {
        self.lose(before.saturating_sub(self.next));
        self.next = self.next.max(before);
    }

    /// Takes the number of something that is read. Returns whether it is new: what is there twice
    /// is read once.
    fn take(&mut self, sequence: u64) -> bool {
        if sequence < self.next {
            return false;
        }
        self.reach(sequence);
        self.next = sequence + 1;
        true
    }

    fn changed(&mut self, changed: Changed) {
        if !self.take(changed.sequence) {
            return;
        }
        if let Some(finished) = changed.finished {
            let (state, duration) = (changed.known.state(), finished.duration);
            self.known.add(&changed.provider, state, duration);
            let provider = Arc::clone(&changed.provider);
            self.unproven.push((changed.sequence, Finish { provider, state, duration }));
        }
        self.remember(changed);
    }

    /// The disk has the snapshot, and every change before this number, for good.
    fn prove(&mut self, before: u64) {
        if let Some(finishes) = self.of_snapshot.take() {
            self.shown = finishes;
        }
        let proven = self.unproven.iter().take_while(|(number, _)| *number < before).count();
        for (_, Finish { provider, state, duration }) in self.unproven.drain(..proven) {
            self.shown.add(&provider, state, duration);
        }
    }

    fn remember(&mut self, changed: Changed) {
        self.remembered.entry(changed.provider).or_default().insert(changed.id, changed.known);
    }

    fn lose(&mut self, changes: u64) {
        let changes = usize::try_from(changes).unwrap_or(usize::MAX);
        self.lost = self.lost.saturating_add(changes);
    }
}

#[cfg(test)]
mod tests;
