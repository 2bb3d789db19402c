//! What earlier lives left: a snapshot and journals, put together. Pure.

use super::frame;
use super::saved::{self, Changed, Finish, Saved};
use crate::store::Remembered;

/// What is intact of the files.
#[derive(Debug, Default)]
pub struct Left {
    /// What was known of the tasks.
    pub remembered: Remembered,
    /// Finishes, counted or not, each once and in their order.
    pub finishes: Vec<Finish>,
    /// The number of the next change.
    pub next: u64,
    /// Bytes that are damaged, and at least one for each thing that is missing.
    pub lost: usize,
    /// Where the snapshot ends: what comes from this number on is in the journals.
    end: u64,
    /// How often it says so: at its beginning and behind all.
    ends: usize,
}

impl Left {
    /// Reads the contents of a snapshot, empty where there is none, and of the journals with the
    /// numbers of their first changes, the oldest first.
    pub fn read(snapshot: &[u8], journals: &[(u64, Vec<u8>)]) -> Self {
        let mut left = Self::default();
        left.file(snapshot, 0);
        if !snapshot.is_empty() && left.ends < 2 {
            left.lost = left.lost.max(1);
        }
        // A journal can begin before the snapshot that has taken over its beginning.
        let end = left.end;
        for (first, journal) in journals {
            let missing = first.saturating_sub(left.next);
            left.lost = left.lost.saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
            left.next = left.next.max(*first);
            left.file(journal, end);
        }
        left.finishes.sort_by_key(|finish| finish.sequence);
        left.finishes.dedup_by_key(|finish| finish.sequence);
        left
    }

    /// Reads a file. Changes before number `from` are known already.
    fn file(&mut self, content: &[u8], from: u64) {
        let (payloads, damaged) = frame::read(content);
        self.lost += damaged;
        for payload in payloads {
            match saved::read(payload) {
                Some(Saved::End(end)) => {
                    self.ends += 1;
                    self.end(end);
                }
                Some(Saved::Changed(changed)) if changed.sequence >= from => self.changed(changed),
                Some(Saved::Changed(_)) => {}
                Some(Saved::Finish(finish)) => {
                    self.follow(finish.sequence);
                    self.finishes.push(finish);
                }
                None => self.lost += payload.len(),
            }
        }
    }

    fn changed(&mut self, changed: Changed) {
        // In a snapshot it is that of the end, and stands in where the end is damaged.
        self.end(changed.sequence);
        self.follow(changed.sequence);
        self.finishes.extend(changed.finish());
        self.remembered.entry(changed.provider).or_default().insert(changed.id, changed.known);
    }

    fn end(&mut self, end: u64) {
        self.end = self.end.max(end);
        self.next = self.next.max(end);
    }

    fn follow(&mut self, sequence: u64) {
        self.next = self.next.max(sequence.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::observation::State;
    use crate::store::record::{Finished, Known};
    use crate::task::{Common, Task};

    const FINISHED: Option<Finished> = Some(Finished { duration: None });

    /// A file, as it is written.
    struct File(Vec<u8>);

    impl File {
        fn new() -> Self {
            Self(frame::header())
        }

        /// A task, of which `known` is to be told from others.
        fn task(mut self, sequence: u64, id: &str, known: i64, finished: Option<Finished>) -> Self {
            let common = Common { provider: "p".into(), labels: [].into(), params: [].into() };
            let task = Task { id: id.into(), common: Arc::new(common) };
            let known = Known::new(Timestamp::from_micros(known));
            saved::push(sequence, &task, &known, finished, &mut self.0);
            self
        }

        fn finish(mut self, sequence: u64) -> Self {
            let (provider, state) = ("p".into(), State::Failed);
            let finish = Finish { sequence, provider, state, duration: None };
            saved::push_finish(&finish, &mut self.0);
            self
        }

        fn end(mut self, end: u64) -> Self {
            saved::push_end(end, &mut self.0);
            self
        }
    }

    /// The tasks with what is known of each, the finishes and the next number.
    fn read(snapshot: &File, journals: Vec<File>) -> (Vec<(String, i64)>, Vec<u64>, u64) {
        let journals: Vec<_> = journals.into_iter().map(|file| (0, file.0)).collect();
        let left = Left::read(&snapshot.0, &journals);
        let tasks = left.remembered.into_values().flatten();
        let mut tasks: Vec<_> =
            tasks.map(|(id, known)| (id.to_string(), known.enqueued().micros())).collect();
        tasks.sort();
        let finishes = left.finishes.iter().map(|finish| finish.sequence).collect();
        (tasks, finishes, left.next)
    }

    fn tasks(tasks: &[(&str, i64)]) -> Vec<(String, i64)> {
        tasks.iter().map(|(id, known)| ((*id).to_owned(), *known)).collect()
    }

    #[test]
    fn journals_continue_the_snapshot() {
        let snapshot = File::new().end(5).task(5, "a", 1, None).task(5, "b", 1, None).finish(3);
        let journal = File::new().task(5, "a", 2, FINISHED).task(6, "c", 1, None);
        let newer = File::new().task(7, "c", 2, FINISHED);
        assert_eq!(
            read(&snapshot, vec![journal, newer]),
            (tasks(&[("a", 2), ("b", 1), ("c", 2)]), vec![3, 5, 7], 8)
        );
        assert_eq!(read(&File::new(), Vec::new()), (Vec::new(), Vec::new(), 0));
    }

    /// As a kill between the renaming of the snapshot and the removal of the journals leaves it.
    #[test]
    fn what_the_snapshot_has_taken_over_is_not_taken_twice() {
        let old = || File::new().task(2, "a", 1, None).task(3, "a", 2, FINISHED);
        let snapshot = File::new().end(4).task(4, "a", 3, None).finish(3);
        assert_eq!(read(&snapshot, vec![old()]), (tasks(&[("a", 3)]), vec![3], 5));
        // The task has left, and its finish waits.
        let snapshot = File::new().end(4).finish(3);
        assert_eq!(read(&snapshot, vec![old()]), (Vec::new(), vec![3], 4));
        // Where the end is damaged the tasks tell it.
        let snapshot = File::new().task(4, "a", 3, None);
        assert_eq!(read(&snapshot, vec![old()]), (tasks(&[("a", 3)]), vec![], 5));
    }

    /// No number is given twice.
    #[test]
    fn numbers_go_on_behind_all() {
        assert_eq!(read(&File::new().finish(9), Vec::new()).2, 10);
        assert_eq!(read(&File::new().end(9), Vec::new()).2, 9);
        assert_eq!(read(&File::new(), vec![File::new().task(9, "a", 1, None)]).2, 10);
        assert_eq!(read(&File::new().finish(u64::MAX), Vec::new()).2, u64::MAX);
    }

    #[test]
    fn what_is_missing_is_lost_too() {
        let lost = |snapshot: File, journals: Vec<(u64, File)>| {
            let journals: Vec<_> = journals.into_iter().map(|(n, file)| (n, file.0)).collect();
            Left::read(&snapshot.0, &journals).lost
        };
        let snapshot = || File::new().end(3).task(3, "a", 1, None).end(3);
        let first = || File::new().task(3, "a", 2, None).task(4, "a", 3, None);
        assert_eq!(lost(snapshot(), vec![(3, first()), (5, File::new())]), 0);
        assert_eq!(lost(File(Vec::new()), vec![(0, File::new().task(0, "a", 1, None))]), 0);
        // The end of the snapshot, a journal's end, a journal, the snapshot.
        assert_eq!(lost(File::new().end(3).task(3, "a", 1, None), vec![(3, first())]), 1);
        assert_eq!(lost(snapshot(), vec![(3, first()), (7, File::new())]), 2);
        assert_eq!(lost(snapshot(), vec![(8, File::new())]), 4);
        assert_eq!(lost(File(Vec::new()), vec![(3, first())]), 3);
        // A journal goes on from there, and what was missing is not missing again.
        let after = lost(File(Vec::new()), vec![(7, File::new()), (7, File::new())]);
        assert_eq!(after, 7);
    }
}
