//! What earlier lives left: a snapshot and journals, put together. Pure.

use super::frame;
use super::saved::{self, Finish, History, Saved};
use crate::store::Remembered;

/// What is intact of the files.
#[derive(Debug, Default)]
pub struct Left {
    /// What was known of the tasks.
    pub remembered: Remembered,
    /// Finishes, counted or not.
    pub finishes: Vec<Finish>,
    /// The number of the next change.
    pub next: u64,
    /// Bytes that are damaged.
    pub lost: usize,
}

impl Left {
    /// Reads the contents of a snapshot and of the journals, the oldest first.
    pub fn read(snapshot: &[u8], journals: &[Vec<u8>]) -> Self {
        let mut left = Self::default();
        left.file(snapshot, 0);
        // A journal can begin before the snapshot that has taken over its beginning: what the
        // snapshot wrote last is what is newer than all of it.
        let taken_over = left.next.saturating_sub(1);
        for journal in journals {
            left.file(journal, taken_over);
        }
        left
    }

    /// Reads a file. Changes before number `from` are known already.
    fn file(&mut self, content: &[u8], from: u64) {
        let (payloads, damaged) = frame::read(content);
        self.lost += damaged;
        for payload in payloads {
            match saved::read(payload) {
                Some(Saved::History(history)) if history.sequence >= from => self.history(history),
                Some(Saved::History(_)) => {}
                Some(Saved::Finish(finish)) => self.finishes.push(finish),
                None => self.lost += payload.len(),
            }
        }
    }

    fn history(&mut self, history: History) {
        self.next = self.next.max(history.sequence.saturating_add(1));
        self.finishes.extend(history.finish());
        self.remembered.entry(history.provider).or_default().insert(history.id, history.known);
    }
}
