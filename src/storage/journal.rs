//! What has happened since the snapshot, written as it happens. Who writes does not wait until the
//! disk has it: that is the [`keeper`](super::keeper)'s, and a kill of the process alone does not need it.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex};

use super::files::{self, Files, OpenJournal};
use super::ledger::{Covered, Ledger};
use super::queue::{Queue, Taken};
use super::saved;
use crate::lock::lock;
use crate::telemetry::Telemetry;
use crate::telemetry::finishes::Finishes;

/// Changes that are written at once.
const MAX_BATCH: usize = 1_000;
/// At this size, in bytes, or at twice the snapshot's, all is written anew. A journal of twice this
/// size waits for that no longer.
const LIMIT: u64 = 16 << 20;

/// The journal, and what waits to be written into it.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    telemetry: Arc<Telemetry>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` while the disk fails.
    file: Option<Arc<File>>,
    /// The number in its name.
    number: u64,
    /// The number of the next change.
    next: u64,
    /// The number behind the last change that is in a file.
    follows: u64,
    /// In bytes.
    size: u64,
    limit: u64,
    unsynced: bool,
    /// Journals before this one, and the directory, which have to be on the disk first.
    former: Vec<Arc<File>>,
    ledger: Ledger,
}

/// What a journal begins with.
#[derive(Debug)]
pub struct Start {
    /// The journal; `None` where the disk is full.
    pub journal: Option<OpenJournal>,
    /// The number of the next change.
    pub next: u64,
    /// What has to be on the disk before anything is shown.
    pub former: Vec<File>,
    /// The finished tasks.
    pub ledger: Ledger,
}

/// The beginning of a snapshot.
#[derive(Debug)]
pub struct Begun {
    /// The number of the first change that is in journals.
    pub first: u64,
    /// Whether its journal was made for it.
    pub is_new: bool,
    /// The number behind the last change that was in a file before.
    follows: u64,
    /// Finished tasks before it.
    pub covered: Covered,
    /// Those of them that are shown.
    pub shown: Finishes,
}

/// Closes the queue also when the thread panics, so that nothing waits for it any more.
struct Closing<'a>(&'a Journal);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.queue.close();
        if std::thread::panicking() {
            self.0.fail(&io::Error::other("the exporter panicked: please report"));
        }
    }
}

impl Journal {
    /// A journal to go on with.
    pub fn new(start: Start, queue: Arc<Queue>, telemetry: Arc<Telemetry>) -> Self {
        let Start { journal, next, former, ledger } = start;
        let former = former.into_iter().map(Arc::new).collect();
        let mut inner = Inner {
            file: None,
            number: next,
            next,
            follows: next,
            size: 0,
            limit: LIMIT,
            unsynced: false,
            former,
            ledger,
        };
        if let Some(journal) = journal {
            inner.go_on_in(journal);
        }
        Self { queue, telemetry, inner: Mutex::new(inner) }
    }

    /// Writes what comes until the queue is closed.
    pub fn run(&self) {
        let closing = Closing(self);
        while closing.0.queue.wait() {
            self.write_waiting();
        }
    }

    /// Writes what waits.
    pub fn write_waiting(&self) {
        self.write(&mut lock(&self.inner));
    }

    /// Taken from the queue while nobody else can write, so that all stands in its order.
    fn write(&self, inner: &mut Inner) {
        let Taken { entries, without_room } = self.queue.take();
        for entries in entries.chunks(MAX_BATCH) {
            let mut frames = Vec::new();
            for entry in entries {
                saved::push(inner.next, &entry.task, &entry.known, entry.finished, &mut frames);
                inner.next = inner.next.saturating_add(1);
                if let Some(finished) = entry.finished {
                    let provider = &entry.task.common.provider;
                    inner.ledger.add(provider, entry.known.state(), finished.duration);
                }
            }
            match inner.append(&frames) {
                Some(Ok(())) => {
                    inner.follows = inner.next;
                    inner.unsynced = true;
                    self.look_at_size(inner);
                }
                Some(Err(error)) => self.give_up(inner, &error),
                None => inner.ledger.miss(),
            }
        }
        if let Some(finishes) = without_room {
            inner.ledger.add_unwritten(&finishes);
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

    /// Goes on in a journal of its own, with which a snapshot begins. As for the providers, see
    /// [`Ledger::begin_snapshot`].
    ///
    /// # Errors
    /// Those of the disk; then it stays with the file that it has.
    pub fn begin(&self, files: &Files, is_configured: impl Fn(&str) -> bool) -> io::Result<Begun> {
        let mut inner = lock(&self.inner);
        // For a later change of the same task there may have been no room: it is in the snapshot,
        // over which nothing older may be read.
        self.write(&mut inner);
        let follows = inner.follows;
        let is_unused = inner.file.is_some() && inner.number == inner.next;
        if !is_unused {
            let directory = files.directory()?;
            let journal = files.begin_journal(inner.next, follows)?;
            inner.go_on_in(journal);
            inner.former.push(Arc::new(directory));
        }
        let covered = inner.ledger.begin_snapshot(is_configured);
        let shown = inner.ledger.shown().clone();
        Ok(Begun { first: inner.number, is_new: !is_unused, follows, covered, shown })
    }

    /// Reports whether the snapshot that was begun last can take the place of what was before it.
    pub fn may_replace(&self) -> bool {
        lock(&self.inner).ledger.may_replace()
    }

    /// The snapshot that was begun last is on the disk for good.
    ///
    /// # Errors
    /// Those of the disk, where the journal cannot say so.
    pub fn replaced(&self, begun: Begun) -> io::Result<()> {
        let is_behind = {
            let mut inner = lock(&self.inner);
            inner.ledger.replaced();
            inner.ledger.is_behind()
        };
        if is_behind { self.show(begun.covered, begun.first) } else { Ok(()) }
    }

    /// The snapshot that was begun last has failed, and its journal was removed.
    pub fn removed(&self, begun: &Begun) {
        lock(&self.inner).follows = begun.follows;
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

    /// Forces it onto the disk, and shows the finished tasks that are in it then.
    ///
    /// # Errors
    /// Those of the disk, and when the journal was removed or truncated.
    pub fn sync(&self) -> io::Result<()> {
        let (file, size, due, covered) = {
            let mut inner = lock(&self.inner);
            let Some(file) = inner.file.clone() else { return Ok(()) };
            let due = (mem::take(&mut inner.former), mem::take(&mut inner.unsynced));
            let covered = inner.ledger.covered().map(|covered| (covered, inner.next));
            (file, inner.size, due, covered)
        };
        files::check_kept(&file, size, "the journal")
            .inspect_err(|_| self.note_truncation(&file))?;
        let (former, is_due) = due;
        let former = former.iter().try_for_each(|file| file.sync_all());
        let synced = former.and_then(|()| if is_due { file.sync_data() } else { Ok(()) });
        synced.inspect_err(|_| note_failure(&file))?;
        match covered {
            Some((covered, before)) => self.show(covered, before),
            None => Ok(()),
        }
    }

    /// Shows finished tasks that the disk has for good, with all changes before number `before`.
    /// First the journal says so, and the disk has that too: the next life must not show less, even
    /// where its disk hangs at the start.
    fn show(&self, covered: Covered, before: u64) -> io::Result<()> {
        let file = {
            let mut inner = lock(&self.inner);
            let Some(file) = inner.file.clone().filter(|_| inner.ledger.may_show()) else {
                return Ok(());
            };
            let mut frame = Vec::new();
            saved::push_synced(inner.next, before, &mut frame);
            inner.next = inner.next.saturating_add(1);
            inner.append(&frame).transpose()?;
            inner.follows = inner.next;
            file
        };
        file.sync_data().inspect_err(|_| note_failure(&file))?;
        let mut inner = lock(&self.inner);
        if inner.ledger.may_show() {
            self.telemetry.show_finished(inner.ledger.show(covered).clone());
        }
        Ok(())
    }

    /// Lets the next life know that changes are missing, in case it begins before everything is
    /// written again.
    fn note_truncation(&self, mut file: &File) {
        let mut frame = Vec::new();
        saved::push_follows(lock(&self.inner).follows, &mut frame);
        // A disk that refuses this too has nothing to add.
        let _ = file.write_all(&frame);
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
        inner.former.clear();
        inner.ledger.miss();
    }
}

/// Lets the next life know that the system may have forgotten what a journal seems to have: after a
/// failure it may take for written what is not.
fn note_failure(mut file: &File) {
    let mut frame = Vec::new();
    saved::push_sync_failed(&mut frame);
    // A disk that refuses this too has nothing to add.
    let _ = file.write_all(&frame);
}

impl Inner {
    /// Writes behind what is there; `None` while the disk fails.
    fn append(&mut self, frames: &[u8]) -> Option<io::Result<()>> {
        let mut file = self.file.as_deref()?;
        self.size += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        Some(file.write_all(frames))
    }

    fn go_on_in(&mut self, journal: OpenJournal) {
        let OpenJournal { file, number, size, .. } = journal;
        let before = self.file.replace(Arc::new(file));
        self.former.extend(before.filter(|_| self.unsynced));
        (self.number, self.next, self.follows) = (number, number, number);
        (self.size, self.unsynced) = (size, true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::entry::Entry;
    use super::super::queue::Errand;
    use super::*;

    #[test]
    fn what_has_become_long_is_to_be_renewed_and_given_up_if_nobody_does() {
        const ID: usize = 4_096;
        let (sender, errands) = mpsc::sync_channel(1);
        let queue = Arc::new(Queue::new(sender));
        let telemetry = Arc::new(Telemetry::new());
        telemetry.storage_opened(0);
        let file = File::options().append(true).open("/dev/null").unwrap();
        let ledger = Ledger::new(Finishes::default(), Finishes::default(), true);
        let journal = Some(OpenJournal { file, number: 0, size: 0, is_new: true });
        let start = Start { journal, next: 0, former: Vec::new(), ledger };
        let journal = Journal::new(start, Arc::clone(&queue), telemetry);
        let id = "t".repeat(ID);
        let write = |bytes: u64| {
            for _ in 0..usize::try_from(bytes).unwrap() / ID {
                queue.push(Entry::example(&id, false));
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
