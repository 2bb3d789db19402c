use super::*;
use crate::clock::Timestamp;
use crate::observation::Observation;
use crate::record::{Finished, TaskRecord};
use crate::storage::log_record::ChangedTask;
use crate::task::{Task, TaskCommon};
use crate::telemetry::finishes::FinishTotals;

/// A file, as it is written.
#[derive(Clone)]
struct TestFile(Vec<u8>);

impl TestFile {
    fn new() -> Self {
        Self(frame::header())
    }

    fn journal(follows: u64) -> Self {
        let mut file = Self::new();
        log_record::encode_follows(follows, &mut file.0);
        file
    }

    /// A snapshot with these tasks, and so many finished ones of which so many were shown.
    fn snapshot(first: u64, tasks: &[&str], known: u64, shown: u64) -> Self {
        let mut file = Self::new();
        log_record::encode_begin(first, &mut file.0);
        let of = |count| finishes(count).get("p").cloned().unwrap_or_default();
        log_record::encode_finishes("p", &of(known), &of(shown), &mut file.0);
        for task in tasks {
            file = file.task(first, task, 1);
        }
        log_record::encode_end(first, u64::try_from(tasks.len()).unwrap() + 1, &mut file.0);
        file
    }

    /// Returns a task whose record differs from that of others.
    fn task(mut self, sequence: u64, id: &str, enqueued: i64) -> Self {
        let record = TaskRecord::new(Timestamp::from_micros(enqueued));
        log_record::encode_change(
            sequence,
            ChangedTask { task: &task(id), record: &record, listing: None },
            None,
            &mut self.0,
        );
        self
    }

    fn finished(mut self, sequence: u64, id: &str) -> Self {
        let now = Timestamp::from_micros(9);
        let mut record = TaskRecord::new(now);
        record.observe(&Observation::new(State::Failed, ""), now);
        let finished = Some(Finished { duration: None });
        log_record::encode_change(
            sequence,
            ChangedTask { task: &task(id), record: &record, listing: None },
            finished,
            &mut self.0,
        );
        self
    }

    fn synced(mut self, sequence: u64, before: u64) -> Self {
        log_record::encode_synced(sequence, before, &mut self.0);
        self
    }

    fn sync_failed(mut self) -> Self {
        log_record::encode_sync_failed(&mut self.0);
        self
    }

    /// The same without so many bytes at its end.
    fn torn(mut self, bytes: usize) -> Self {
        self.0.truncate(self.0.len() - bytes);
        self
    }

    /// The same with so many zeros at its end.
    fn zeroed(mut self, bytes: usize) -> Self {
        self.0.resize(self.0.len() + bytes, 0);
        self
    }

    /// The same without what is between the ends of two files that begin like it.
    fn without(mut self, from: &Self, to: &Self) -> Self {
        assert!(self.0.starts_with(&from.0) && self.0.starts_with(&to.0));
        self.0.drain(from.0.len()..to.0.len());
        self
    }
}

fn task(id: &str) -> Task {
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
    Task { id: id.into(), common: Arc::new(common) }
}

fn finishes(count: u64) -> Finishes {
    let mut finishes = Finishes::default();
    (0..count).for_each(|_| finishes.add(&"p".into(), State::Failed, None));
    finishes
}

fn read(snapshot: Option<&TestFile>, journals: &[(u64, TestFile)]) -> Recovered {
    let journals: Vec<_> =
        journals.iter().map(|(number, file)| (*number, file.0.clone())).collect();
    Recovered::read(snapshot.map(|file| &*file.0), &journals)
}

/// Finished tasks, known and shown.
fn counts(recovered: &Recovered) -> (Finishes, Finishes) {
    let drop_empty = |finishes: &Finishes| {
        let mut finishes = finishes.clone();
        if finishes.get("p") == Some(&FinishTotals::default()) {
            finishes.retain(|_| false);
        }
        finishes
    };
    (drop_empty(&recovered.known), drop_empty(&recovered.shown))
}

fn tasks(recovered: &Recovered) -> Vec<(String, i64)> {
    let tasks = recovered.tasks.values().flatten();
    let mut tasks: Vec<_> =
        tasks.map(|(id, record)| (id.to_string(), record.record.enqueued().micros())).collect();
    tasks.sort();
    tasks
}

#[test]
fn journals_continue_the_snapshot() {
    let snapshot = TestFile::snapshot(5, &["a", "b"], 2, 1);
    let journals = [
        (5, TestFile::journal(5).finished(5, "a").task(6, "c", 1)),
        (7, TestFile::journal(7).task(7, "c", 2)),
    ];
    let recovered = read(Some(&snapshot), &journals);
    let expected = [("a", 9), ("b", 1), ("c", 2)].map(|(id, record)| (id.to_owned(), record));
    assert_eq!((tasks(&recovered), recovered.next, recovered.lost), (expected.to_vec(), 8, 0));
    assert_eq!(counts(&recovered), (finishes(3), finishes(1)));
    let nothing = read(None, &[]);
    assert_eq!((nothing.next, nothing.lost, tasks(&nothing)), (0, 0, vec![]));
}

#[test]
fn what_the_disk_has_is_proven_by_what_was_written_behind_it() {
    let snapshot = TestFile::snapshot(5, &["a"], 2, 1);
    let shown = |journal: TestFile| counts(&read(Some(&snapshot), &[(5, journal)])).1;
    let journal = TestFile::journal(5).finished(5, "a");
    assert_eq!(shown(journal.clone()), finishes(1));
    assert_eq!(shown(journal.clone().synced(6, 5)), finishes(2), "the snapshot, and no change");
    let later = journal.finished(6, "b").synced(7, 6);
    assert_eq!(shown(later.clone()), finishes(3), "one was written while the disk worked");
    assert_eq!(shown(later.clone().finished(8, "c").synced(9, 9)), finishes(5));
    // Torn within the last word of the disk.
    assert_eq!(shown(later.clone().synced(8, 8).torn(1)), finishes(3));
    let doubtful = read(Some(&snapshot), &[(5, later.sync_failed())]);
    assert!(doubtful.is_in_doubt && doubtful.lost == 0);
    // It is not appended to, but the one after it is.
    let empty = TestFile::journal(5).sync_failed();
    let doubtful = read(Some(&snapshot), &[(5, empty.clone())]);
    assert_eq!(doubtful.unused_journal(), None);
    let begun = (6, TestFile::journal(5));
    let length = begun.1.0.len();
    let doubtful = read(Some(&snapshot), &[(5, empty), begun]);
    assert_eq!((doubtful.unused_journal(), doubtful.is_in_doubt), (Some((6, length)), true));
}

/// As a kill between the renaming of the snapshot and the removal of the journals leaves it.
#[test]
fn what_the_snapshot_has_taken_over_is_not_taken_twice() {
    let old = (2, TestFile::journal(2).task(2, "a", 1).finished(3, "b").torn(3));
    let new = (4, TestFile::journal(4).finished(4, "a"));
    let recovered = read(Some(&TestFile::snapshot(4, &["a"], 1, 0)), &[old, new]);
    assert_eq!(tasks(&recovered), [("a".to_owned(), 9)], "b has left meanwhile");
    assert_eq!((counts(&recovered), recovered.lost), ((finishes(2), finishes(0)), 0));
    // A journal that exists twice is read once.
    let journal = TestFile::journal(0).finished(0, "a").finished(1, "b");
    let recovered = read(None, &[(0, journal.clone()), (9, journal)]);
    assert_eq!((counts(&recovered).0, recovered.next, recovered.lost), (finishes(2), 9, 0));
}

/// No number is given twice.
#[test]
fn numbers_go_on_behind_all() {
    let next = |snapshot: Option<TestFile>, journals: &[(u64, TestFile)]| {
        read(snapshot.as_ref(), journals).next
    };
    assert_eq!(next(Some(TestFile::snapshot(9, &[], 0, 0)), &[]), 9);
    assert_eq!(next(None, &[(9, TestFile::journal(0).task(9, "a", 1))]), 10);
    assert_eq!(next(None, &[(9, TestFile::journal(0))]), 9);
    assert_eq!(next(None, &[(9, TestFile::new().task(log_record::MAX_SEQUENCE + 1, "a", 1))]), 0);
    // One that has nothing of ours does not count.
    assert_eq!(next(None, &[(9, TestFile(Vec::new()))]), 0);
}

#[test]
fn a_torn_end_is_no_damage() {
    let snapshot = TestFile::snapshot(3, &["a"], 2, 2);
    let journal = TestFile::journal(3).task(3, "a", 2);
    let next = journal.clone().finished(4, "b");
    for bytes in 0..next.0.len() - journal.0.len() {
        let recovered = read(Some(&snapshot), &[(3, next.clone().torn(bytes))]);
        let known = if bytes == 0 { 3 } else { 2 };
        assert_eq!((counts(&recovered).0, recovered.lost), (finishes(known), 0), "{bytes}");
        // As a power failure leaves it where the file system has kept the length of the file.
        let recovered = read(Some(&snapshot), &[(3, next.clone().torn(bytes).zeroed(4_096))]);
        assert_eq!(recovered.lost, 0, "{bytes}");
        assert!([finishes(known), finishes(3)].contains(&counts(&recovered).0), "{bytes}");
    }
    // The next run continued in a journal of its own.
    let torn = (3, next.torn(5));
    let recovered =
        read(Some(&snapshot), &[torn.clone(), (4, TestFile::journal(4).finished(4, "b"))]);
    assert_eq!((counts(&recovered).0, recovered.lost), (finishes(3), 0));
    assert_eq!(read(Some(&snapshot), &[torn]).unused_journal(), None);
    let torn = (3, TestFile::journal(3).task(3, "a", 2).torn(1));
    let unused = read(Some(&snapshot), &[torn]).unused_journal();
    assert_eq!(unused, Some((3, TestFile::journal(3).0.len())));
    // Within the beginning, where there is nothing else; it is not written on.
    let begun = TestFile::journal(3);
    for bytes in 1..begun.0.len() {
        let recovered = read(Some(&snapshot), &[(3, begun.clone().torn(bytes))]);
        assert_eq!((counts(&recovered).0, recovered.lost), (finishes(2), 0), "{bytes}");
        assert_eq!(recovered.unused_journal(), None);
        let zeroed = read(Some(&snapshot), &[(3, begun.clone().torn(bytes).zeroed(4_096))]);
        assert_eq!((counts(&zeroed).0, zeroed.lost), (finishes(2), 0), "{bytes}");
    }
    let zeroed = read(Some(&snapshot), &[(3, TestFile(vec![0; 4_096]))]);
    assert_eq!((counts(&zeroed).0, zeroed.lost), (finishes(2), 0));
    // A snapshot is never left torn, since it gets its name when it is whole.
    let recovered = read(Some(&snapshot.torn(1)), &[(3, journal)]);
    assert!(recovered.lost > 0 && recovered.known.is_empty());
}

#[test]
fn what_is_missing_is_lost_and_counters_begin_again() {
    let snapshot = || TestFile::snapshot(3, &["a", "b"], 2, 2);
    let first = || TestFile::journal(3).task(3, "a", 2).task(4, "a", 3);
    let lost = |snapshot: Option<TestFile>, journals: &[(u64, TestFile)]| {
        let recovered = read(snapshot.as_ref(), journals);
        assert!(recovered.lost == 0 || recovered.known.is_empty() && recovered.shown.is_empty());
        recovered.lost
    };
    assert_eq!(lost(Some(snapshot()), &[(3, first()), (5, TestFile::journal(5))]), 0);
    assert_eq!(lost(None, &[(0, TestFile::journal(0).task(0, "a", 1))]), 0);
    // A journal's end, a journal, the snapshot.
    assert_eq!(lost(Some(snapshot()), &[(3, first()), (7, TestFile::journal(7))]), 2);
    assert_eq!(lost(Some(snapshot()), &[]), 1);
    assert_eq!(lost(Some(snapshot()), &[(3, TestFile(Vec::new()))]), 1);
    assert_eq!(lost(None, &[(3, first())]), 3);
    // A change in the midst; two before the disk had it; one of two tasks.
    let end = TestFile::journal(3).task(3, "a", 2);
    assert_eq!(lost(Some(snapshot()), &[(3, first().task(5, "b", 1).without(&end, &first()))]), 1);
    let synced = TestFile::journal(3).synced(5, 5);
    assert_eq!(lost(Some(snapshot()), &[(3, synced)]), 2);
    // The word of the disk, and the beginning of a journal.
    let synced = first().synced(5, 5);
    let without = synced.clone().task(6, "b", 1).without(&first(), &synced);
    assert_eq!(lost(Some(snapshot()), &[(3, without)]), 1);
    let without = first().without(&TestFile::new(), &TestFile::journal(3));
    assert_eq!(lost(Some(snapshot()), &[(3, without)]), 2, "and that of the snapshot");
    let without =
        TestFile::journal(0).task(0, "a", 1).without(&TestFile::new(), &TestFile::journal(0));
    assert_eq!(lost(None, &[(0, without)]), 1);
    let mut begun = TestFile::new();
    log_record::encode_begin(3, &mut begun.0);
    let of = finishes(2);
    log_record::encode_finishes("p", of.get("p").unwrap(), of.get("p").unwrap(), &mut begun.0);
    let one = begun.clone().task(3, "a", 1);
    assert_eq!(lost(Some(snapshot().without(&begun, &one)), &[(3, first())]), 1);
    // The totals of a provider.
    let mut bare = TestFile::new();
    log_record::encode_begin(3, &mut bare.0);
    assert_eq!(lost(Some(snapshot().without(&bare, &begun)), &[(3, first())]), 1);
    // The beginning of a snapshot.
    let file = snapshot().without(&TestFile::new(), &bare);
    assert_eq!(lost(Some(file), &[(3, first())]), 1);
    // What is where it cannot be.
    assert!(lost(Some(snapshot().synced(3, 3)), &[(3, first())]) > 0);
    assert!(lost(None, &[(0, snapshot())]) > 0);
}

#[test]
fn a_name_that_was_taken_is_passed_over_and_nothing_is_missing() {
    let journals =
        [(1, TestFile::journal(0).finished(1, "a")), (4, TestFile::journal(2).task(4, "b", 1))];
    let recovered = read(None, &journals);
    assert_eq!((counts(&recovered).0, recovered.next, recovered.lost), (finishes(1), 5, 0));
}

#[test]
fn what_no_exporter_can_have_written_is_damage() {
    let mut file = TestFile::journal(0);
    let record = TaskRecord::new(Timestamp::from_micros(-5));
    log_record::encode_change(
        0,
        ChangedTask { task: &task("a"), record: &record, listing: None },
        None,
        &mut file.0,
    );
    let recovered = read(None, &[(0, file)]);
    assert!(recovered.lost > 0 && recovered.tasks.is_empty());
}
