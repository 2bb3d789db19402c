use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::queue::CompactorCommand;
use super::*;

/// A journal in a file, with the queue before it and the commands to the compactor.
struct Stage {
    queue: Arc<ChangeQueue>,
    commands: mpsc::Receiver<CompactorCommand>,
    status: Arc<StorageStatus>,
    journal: Journal,
}

impl Stage {
    fn new(path: &str) -> Self {
        let (sender, commands) = mpsc::sync_channel(1);
        let queue = Arc::new(ChangeQueue::new(sender));
        let telemetry = Arc::new(Telemetry::new());
        telemetry.storage_opened(0);
        let file = File::options().append(true).open(path).unwrap();
        let ledger = Ledger::new(Finishes::default(), Finishes::default(), true);
        let journal = Some(OpenJournal { file, number: 0, size: 0 });
        let start = JournalStart { journal, next: 0, former: Vec::new(), ledger };
        let status = Arc::new(StorageStatus::new(Arc::clone(&telemetry)));
        let journal = Journal::new(start, Arc::clone(&queue), telemetry, Arc::clone(&status));
        Self { queue, commands, status, journal }
    }
}

fn push_barrier(queue: &ChangeQueue, failure_count: u64) -> oneshot::Receiver<bool> {
    let (reply, receiver) = oneshot::channel();
    queue.push(QueuedChange::Barrier(WriteBarrier { failure_count, reply }));
    receiver
}

#[test]
fn a_barrier_is_answered_once_what_is_before_it_is_written() {
    let Stage { queue, status, journal, .. } = Stage::new("/dev/null");
    for _ in 0..2 * MAX_BATCH {
        queue.push(QueuedChange::example("t", false));
    }
    let mut written = push_barrier(&queue, 0);
    assert_eq!(written.try_recv(), Err(TryRecvError::Empty));
    journal.write_waiting();
    assert_eq!(written.try_recv(), Ok(true));
    // The disk has failed since, and the next journal may be removed again.
    status.fail(&"No space left on device");
    let mut written = push_barrier(&queue, 0);
    let mut later = push_barrier(&queue, 1);
    journal.write_waiting();
    assert_eq!((written.try_recv(), later.try_recv()), (Ok(false), Ok(true)));
    queue.close();
    assert_eq!(push_barrier(&queue, 1).try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn a_barrier_behind_a_refused_change_fails() {
    let Stage { queue, status, journal, .. } = Stage::new("/dev/full");
    queue.push(QueuedChange::example("t", false));
    let mut written = push_barrier(&queue, 0);
    journal.write_waiting();
    assert_eq!(written.try_recv(), Ok(false));
    assert_eq!(status.failure_count(), 1);
    // There is no file until the next snapshot.
    let mut later = push_barrier(&queue, 1);
    journal.write_waiting();
    assert_eq!(later.try_recv(), Ok(false));
}

#[test]
fn what_has_become_long_is_to_be_renewed_and_given_up_if_nobody_does() {
    const ID: usize = 4_096;
    let Stage { queue, commands, status, journal } = Stage::new("/dev/null");
    let id = "t".repeat(ID);
    let write = |bytes: u64| {
        for _ in 0..usize::try_from(bytes).unwrap() / ID {
            queue.push(QueuedChange::example(&id, false));
        }
        journal.write_waiting();
        (matches!(commands.try_recv(), Ok(CompactorCommand::Compact)), journal.is_working())
    };
    assert_eq!(write(COMPACTION_THRESHOLD / 2), (false, true));
    assert_eq!(write(COMPACTION_THRESHOLD), (true, true));
    assert_eq!(write(COMPACTION_THRESHOLD), (true, false));
    assert_eq!(status.failure().unwrap().reason, "the disk cannot keep up");
    assert_eq!(write(COMPACTION_THRESHOLD), (false, false), "nothing is written");
}
