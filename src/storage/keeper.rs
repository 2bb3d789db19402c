//! The thread that waits for the disk: it forces what is written onto it, and writes all tasks anew
//! when the journal has become long. While it waits the journal is written on.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::Files;
use super::journal::Journal;
use super::pulse::Pulse;
use super::queue::Errand;
use super::saved;
use super::uncounted::Uncounted;
use crate::store::Store;

/// How much may be lost to a power cut; the end of the process alone loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a failure to write.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// So much of a snapshot, in bytes, is forced onto the disk at once, so that it does not fill the
/// memory of the system first.
const PIECE: usize = 4 << 20;

/// The state of the thread.
pub struct Keeper {
    pub files: Files,
    pub store: Arc<Store>,
    pub journal: Arc<Journal>,
    pub uncounted: Arc<Uncounted>,
    pub pulse: Arc<Pulse>,
    pub errands: Receiver<Errand>,
}

impl Keeper {
    /// Keeps until it is told to end.
    pub fn run(mut self) {
        // Until the first errand the store is empty, and would leave nothing of what there was.
        let mut may_retry = false;
        let mut tried = Instant::now();
        loop {
            match self.errands.recv_timeout(SYNC_EVERY) {
                Ok(Errand::Renew) => {
                    may_retry = true;
                    self.renew();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Errand::End) | Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            self.sync();
            self.pulse.beat();
            if self.journal.works() {
                tried = Instant::now();
            } else if may_retry && tried.elapsed() >= RETRY_EVERY {
                tried = Instant::now();
                self.renew();
            }
        }
    }

    fn sync(&self) {
        let ours = self.files.check_ours();
        let synced = ours.and_then(|()| self.uncounted.sync()).and_then(|()| self.journal.sync());
        if let Err(error) = synced {
            self.journal.fail(&error);
        }
    }

    /// Begins a new journal and writes all tasks anew, which makes the old journals needless.
    fn renew(&mut self) {
        self.sync();
        let works = self.journal.works();
        // Another exporter's files are left alone.
        if let Err(error) = self.files.keep() {
            return self.journal.fail(&io::Error::other(error));
        }
        match self.journal.begin(&self.files) {
            Ok(first) => self.replace(first, works),
            Err(error) => {
                self.journal.fail(&error);
                self.files.give_up(None);
            }
        }
    }

    /// Where it `works` so far, what a failure has begun is kept; what retries begin would pile up.
    fn replace(&mut self, first: u64, works: bool) {
        match self.write(first) {
            Ok(size) => self.journal.allow(size),
            // All is in the journals, and the time is better used to force them onto the disk.
            Err(_) if self.journal.is_closed() => self.files.give_up(None),
            Err(error) => {
                self.journal.fail(&error);
                self.files.give_up((!works).then_some(first));
            }
        }
    }

    /// Returns the size of the new snapshot, in bytes.
    fn write(&mut self, first: u64) -> io::Result<u64> {
        self.uncounted.renew(|before| self.files.begin_mark(before))?;
        let mut frames = Vec::new();
        saved::push_end(first, &mut frames);
        for finish in self.uncounted.waiting() {
            saved::push_finish(&finish, &mut frames);
        }
        let (_, tasks) = self.store.tasks(None);
        let mut snapshot = self.files.begin_snapshot()?;
        let (mut size, mut unsynced) = (0, 0);
        for block in tasks.iter().flat_map(|view| &view.blocks) {
            for record in block.records() {
                saved::push(first, &record.task, &record.known, None, &mut frames);
            }
            snapshot.write_all(&frames)?;
            (size, unsynced) = (size + frames.len(), unsynced + frames.len());
            frames.clear();
            if unsynced >= PIECE {
                unsynced = 0;
                snapshot.sync_data()?;
                self.journal.sync()?;
            }
            self.pulse.beat();
            if self.journal.is_closed() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        saved::push_end(first, &mut frames);
        snapshot.write_all(&frames)?;
        // What the snapshot has and was still waiting: on the disk before the snapshot is, so that it
        // is counted, and once.
        self.journal.write_waiting();
        self.uncounted.sync()?;
        self.journal.sync()?;
        if self.journal.is_closed() {
            // What came since was not taken any more.
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.files.replace(snapshot, first)?;
        Ok(u64::try_from(size + frames.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc;

    use super::super::entry::Entry;
    use super::super::left::Left;
    use super::super::mark::Mark;
    use super::super::queue::Queue;
    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::Telemetry;

    /// A directory of its own, empty.
    fn dir(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("keeper-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn keeper(dir: &Path) -> (Keeper, Arc<Queue>) {
        let (sender, errands) = mpsc::sync_channel(1);
        let queue = Arc::new(Queue::new(sender));
        let telemetry = Arc::new(Telemetry::new());
        let files = Files::open(dir).unwrap();
        let mark = Mark::nowhere(0);
        let uncounted = Arc::new(Uncounted::new(Arc::clone(&telemetry), mark, Vec::new(), true));
        let file = files.begin_journal(0).unwrap();
        let (waiting, counted) = (Arc::clone(&queue), Arc::clone(&uncounted));
        let journal = Arc::new(Journal::new(Some(file), 0, waiting, counted, telemetry));
        let (store, pulse) = (Arc::new(Store::new(Clock::system())), Arc::new(Pulse::new()));
        (Keeper { files, store, journal, uncounted, pulse, errands }, queue)
    }

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_another_has_taken_is_left_alone() {
        let dir = dir("taken");
        let (mut first, _queue) = keeper(&dir);
        fs::remove_dir_all(&dir).unwrap();
        let (mut second, _queue) = keeper(&dir);
        first.renew();
        assert!(!first.journal.works());
        assert_eq!(names(&dir), ["journal.0", "lock"]);
        second.renew();
        assert!(second.journal.works());
        assert_eq!(names(&dir), ["counted", "journal.0", "lock", "snapshot"]);

        // One that was moved is not where it has to be.
        let moved = dir.with_extension("moved");
        let _ = fs::remove_dir_all(&moved);
        fs::rename(&dir, &moved).unwrap();
        second.sync();
        assert!(!second.journal.works());
        first.renew();
        assert!(first.journal.works());
        second.renew();
        assert!(!second.journal.works(), "it has come too late");
        fs::remove_dir_all(&dir).unwrap();
        fs::remove_dir_all(&moved).unwrap();
    }

    #[test]
    fn failures_leave_nothing_that_grows() {
        let dir = dir("fails");
        let (mut keeper, queue) = keeper(&dir);
        // It stands in the way of every snapshot.
        let obstacle = dir.join("snapshot.new");
        fs::create_dir(&obstacle).unwrap();
        let mut fail = || {
            queue.push(Entry::example("t", false));
            keeper.renew();
            assert!(!keeper.journal.works());
            queue.push(Entry::example("t", false));
            keeper.journal.write_waiting();
        };
        fail();
        let left = names(&dir);
        assert_eq!(left, ["counted", "journal.0", "journal.1", "lock", "snapshot.new"]);
        (0..3).for_each(|_| fail());
        assert_eq!(names(&dir), left);
        fs::remove_dir(obstacle).unwrap();
        keeper.renew();
        assert!(keeper.journal.works());
        assert_eq!(names(&dir), ["counted", "journal.8", "lock", "snapshot"]);

        // At the end nothing is written anew: what came too late would not be counted.
        queue.push(Entry::example("t", false));
        queue.close();
        keeper.renew();
        assert_eq!(names(&dir), ["counted", "journal.8", "journal.9", "lock", "snapshot"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_waits_stands_before_what_a_new_snapshot_has() {
        let dir = dir("order");
        let (mut keeper, queue) = keeper(&dir);
        queue.push(Entry::example("t", false));
        keeper.renew();
        let (snapshot, journals) = keeper.files.read().unwrap();
        let left = Left::read(&snapshot, &journals);
        // The store, of which the snapshot is, has no such task.
        assert!(left.remembered.is_empty(), "{left:?}");
        assert_eq!(left.next, 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
