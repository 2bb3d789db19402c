//! What has happened since the snapshot, written as it happens. Nothing here waits until the disk
//! has it: that is the [`keeper`](super::keeper)'s, and a kill of the process alone does not need it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::files::{self, Files};
use super::queue::Queue;
use super::saved;
use super::uncounted::Uncounted;
use crate::lock::lock;
use crate::telemetry::Telemetry;

/// Changes that are written at once.
const MAX_BATCH: usize = 1_000;
/// At this size, in bytes, or at twice the snapshot's, all is written anew. A journal of twice this
/// size waits for that no longer.
const LIMIT: u64 = 16 << 20;

/// The journal, and what waits to be written into it.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    uncounted: Arc<Uncounted>,
    telemetry: Arc<Telemetry>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` while the disk fails.
    file: Option<Arc<File>>,
    /// The number of the next change.
    next: u64,
    /// In bytes.
    size: u64,
    limit: u64,
    unsynced: bool,
}

/// Closes the queue also when the thread panics, so that nothing waits for it any more.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Journal {
    /// A journal whose next change has number `next`; without a file where the disk is full.
    pub fn new(
        file: Option<File>,
        next: u64,
        queue: Arc<Queue>,
        uncounted: Arc<Uncounted>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let file = file.map(Arc::new);
        let inner = Inner { file, next, size: 0, limit: LIMIT, unsynced: false };
        Self { queue, uncounted, telemetry, inner: Mutex::new(inner) }
    }

    /// Writes what comes until the queue is closed.
    pub fn run(&self) {
        let closing = Closing(&self.queue);
        while closing.0.wait() {
            self.write_waiting();
        }
    }

    /// Writes what waits. What it lets count is counted when a reader comes.
    pub fn write_waiting(&self) {
        self.write(&mut lock(&self.inner));
    }

    /// Taken from the queue while nobody else can write, so that all stands in its order.
    fn write(&self, inner: &mut Inner) {
        for entries in self.queue.take().chunks(MAX_BATCH) {
            let (mut frames, mut finishes) = (Vec::new(), Vec::new());
            for entry in entries {
                saved::push(inner.next, &entry.task, &entry.known, entry.finished, &mut frames);
                finishes.extend(entry.finish(inner.next));
                inner.next = inner.next.saturating_add(1);
            }
            match inner.file.as_deref().map(|mut file| file.write_all(&frames)) {
                Some(Ok(())) => {
                    inner.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
                    inner.unsynced = true;
                    self.uncounted.push(finishes);
                    self.look_at_size(inner);
                    continue;
                }
                Some(Err(error)) => self.give_up(inner, &error),
                None => {}
            }
            self.uncounted.count_now(&finishes);
        }
    }

    fn look_at_size(&self, inner: &mut Inner) {
        if inner.size > inner.limit {
            self.queue.renew();
        }
        if inner.size > 2 * inner.limit {
            self.give_up(inner, &io::Error::other("the disk does not keep up"));
        }
    }

    /// Goes on in a file of its own; returns the number of the first change in it.
    ///
    /// # Errors
    /// Those of the disk; then it stays with the file that it has.
    pub fn begin(&self, files: &Files) -> io::Result<u64> {
        let mut inner = lock(&self.inner);
        // For a later change of the same task there may have been no room: it is in the snapshot,
        // over which nothing older may be read.
        self.write(&mut inner);
        inner.file = Some(Arc::new(files.begin_journal(inner.next)?));
        inner.size = 0;
        Ok(inner.next)
    }

    /// How long it may grow beside a snapshot of `size` bytes.
    pub fn allow(&self, size: u64) {
        lock(&self.inner).limit = LIMIT.max(2 * size);
    }

    /// Whether nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether there is one, which is told.
    pub fn works(&self) -> bool {
        let inner = lock(&self.inner);
        if inner.file.is_some() && !self.telemetry.storage_works(true) {
            tracing::info!("the storage path can be written again");
        }
        inner.file.is_some()
    }

    /// Forces it onto the disk.
    ///
    /// # Errors
    /// Those of the disk, and when somebody has removed it.
    pub fn sync(&self) -> io::Result<()> {
        let (file, is_due) = {
            let mut inner = lock(&self.inner);
            let is_due = std::mem::take(&mut inner.unsynced);
            let Some(file) = &inner.file else { return Ok(()) };
            (Arc::clone(file), is_due)
        };
        files::check_kept(&file, "the journal")?;
        if is_due { file.sync_data() } else { Ok(()) }
    }

    /// The disk does not take what is written.
    pub fn fail(&self, error: &io::Error) {
        self.give_up(&mut lock(&self.inner), error);
    }

    fn give_up(&self, inner: &mut Inner, error: &io::Error) {
        if self.telemetry.storage_works(false) {
            tracing::error!(%error, "cannot write to the storage path: running on from memory");
        }
        inner.file = None;
        inner.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::entry::Entry;
    use super::super::mark::Mark;
    use super::super::queue::Errand;
    use super::*;

    #[test]
    fn what_has_become_long_is_to_be_renewed_and_given_up_if_nobody_does() {
        const ID: usize = 4_096;
        let (sender, errands) = mpsc::sync_channel(1);
        let queue = Arc::new(Queue::new(sender));
        let telemetry = Arc::new(Telemetry::new());
        telemetry.storage_opened(0);
        let mark = Mark::nowhere(0);
        let uncounted = Uncounted::new(Arc::clone(&telemetry), mark, Vec::new(), true);
        let file = File::options().append(true).open("/dev/null").unwrap();
        let (waiting, told) = (Arc::clone(&queue), Arc::clone(&telemetry));
        let journal = Journal::new(Some(file), 0, waiting, Arc::new(uncounted), told);
        let id = "t".repeat(ID);
        let write = |bytes: u64| {
            for _ in 0..usize::try_from(bytes).unwrap() / ID {
                assert!(queue.push(Entry::example(&id, false)).is_none());
            }
            journal.write_waiting();
            (matches!(errands.try_recv(), Ok(Errand::Renew)), journal.works())
        };
        assert_eq!(write(LIMIT / 2), (false, true));
        assert_eq!(write(LIMIT), (true, true));
        assert_eq!(write(LIMIT), (true, false));
        assert_eq!(write(LIMIT), (false, false), "nothing is written");
    }
}
