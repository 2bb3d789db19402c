//! The files of a storage path: a snapshot of all tasks, and journals of what has happened since.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::frame;
use super::mark::{self, Mark};

/// Why a storage path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refuses.
    #[error("--storage.path: cannot use {0:?}: {1}; it has to be a directory that can be written")]
    Io(PathBuf, io::Error),
    /// Another exporter.
    #[error("--storage.path: another process uses {0:?}; every exporter needs its own")]
    InUse(PathBuf),
    /// A newer exporter.
    #[error(
        "--storage.path: {0:?} has the format {1}, which is newer than this exporter; it was left \
         as it is: use the newer exporter, or another directory"
    )]
    Newer(PathBuf, u32),
}

/// The contents of journals, each with the number of its first change.
pub type Journals = Vec<(u64, Vec<u8>)>;

/// A directory that is ours alone.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    /// Held as long as the directory is in use.
    lock: File,
}

/// The snapshot.
const SNAPSHOT: &str = "snapshot";
/// The snapshot while it is written.
const UNFINISHED: &str = "snapshot.new";
/// How the names of journals begin; the number of what comes first in one follows.
const JOURNAL: &str = "journal.";
/// Up to where finishes have been counted.
const COUNTED: &str = "counted";
/// Who holds its lock has the directory.
const LOCK: &str = "lock";

impl Files {
    /// Takes a directory into use, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written, or another process has it.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Ok(Self { dir: dir.to_owned(), lock: take(dir)? })
    }

    /// Makes sure that the directory is still where it was.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_ours(&self) -> io::Result<()> {
        let id = |file: fs::Metadata| (file.dev(), file.ino());
        let held = self.lock.metadata().map(id);
        let there = fs::metadata(self.dir.join(LOCK)).map(id);
        match (held, there) {
            (Ok(held), Ok(there)) if held == there => Ok(()),
            _ => Err(removed("removed or moved the directory")),
        }
    }

    /// Takes it into use again where somebody has removed or moved it.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn keep(&mut self) -> Result<(), StorageError> {
        if self.check_ours().is_err() {
            self.lock = take(&self.dir)?;
        }
        Ok(())
    }

    /// The contents of the snapshot, empty where there is none, and of every journal with the number
    /// of its first change, the oldest first.
    ///
    /// # Errors
    /// When one cannot be read, or was written by a newer version.
    pub fn read(&self) -> Result<(Vec<u8>, Journals), StorageError> {
        let snapshot = read(&self.dir.join(SNAPSHOT))?;
        let journals =
            self.journals().map_err(|error| StorageError::Io(self.dir.clone(), error))?;
        let read_one = |(first, path): &(u64, PathBuf)| Ok((*first, read(path)?));
        let journals = journals.iter().map(read_one).collect::<Result<_, _>>()?;
        Ok((snapshot, journals))
    }

    /// Before which change all finishes have been counted; `None` where nothing tells. And how many
    /// bytes of it are damaged.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a newer version.
    pub fn counted(&self) -> Result<(Option<u64>, usize), StorageError> {
        Ok(mark::read(&read(&self.dir.join(COUNTED))?))
    }

    /// Begins to keep it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_mark(&self, before: u64) -> io::Result<Mark> {
        Mark::begin(&self.dir.join(COUNTED), before)
    }

    /// Begins a journal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_journal(&self, first: u64) -> io::Result<File> {
        let path = self.journal(first);
        let mut journal = OpenOptions::new().create(true).append(true).open(&path)?;
        if journal.metadata()?.len() == 0 {
            journal.write_all(&frame::header()).inspect_err(|_| {
                // An empty one is in nobody's way, where it cannot be removed.
                let _ = fs::remove_file(&path);
            })?;
        }
        Ok(journal)
    }

    /// Begins a snapshot, which does not count yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_snapshot(&self) -> io::Result<File> {
        let mut snapshot = File::create(self.dir.join(UNFINISHED))?;
        snapshot.write_all(&frame::header())?;
        Ok(snapshot)
    }

    /// Puts a snapshot into the place of the one before and of the journals that begin before
    /// `first`. Until it is whole on the disk nothing is removed.
    ///
    /// # Errors
    /// When it cannot be written, or what it makes needless cannot be removed.
    pub fn replace(&self, snapshot: File, first: u64) -> io::Result<()> {
        snapshot.sync_all()?;
        drop(snapshot);
        fs::rename(self.dir.join(UNFINISHED), self.dir.join(SNAPSHOT))?;
        File::open(&self.dir)?.sync_all()?;
        for (_, journal) in self.journals()?.into_iter().filter(|(number, _)| *number < first) {
            fs::remove_file(journal)?;
        }
        Ok(())
    }

    /// Removes a snapshot that could not be finished, since its space may be what is lacking, and the
    /// journal with that first change.
    pub fn give_up(&self, journal: Option<u64>) {
        // Where they cannot be removed the next ones take their place.
        let _ = fs::remove_file(self.dir.join(UNFINISHED));
        if let Some(first) = journal {
            let _ = fs::remove_file(self.journal(first));
        }
    }

    fn journal(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{JOURNAL}{first}"))
    }

    fn journals(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(JOURNAL)?.parse().ok());
            journals.extend(number.map(|number: u64| (number, entry.path())));
        }
        journals.sort();
        Ok(journals)
    }
}

/// Makes sure that a file that is open still has its name; `what` it is.
///
/// # Errors
/// When somebody has removed it, and those of the disk.
pub fn check_kept(file: &File, what: &str) -> io::Result<()> {
    match file.metadata()?.nlink() {
        0 => Err(removed(&format!("removed {what}"))),
        _ => Ok(()),
    }
}

/// What `how` tells that somebody has done.
fn removed(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("somebody has {how}"))
}

/// Makes a directory ours.
fn take(dir: &Path) -> Result<File, StorageError> {
    let fail = |error| StorageError::Io(dir.to_owned(), error);
    fs::create_dir_all(dir).map_err(fail)?;
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).open(path).map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StorageError> {
    let content = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        content => content.map_err(|error| StorageError::Io(path.to_owned(), error))?,
    };
    match frame::version(&content) {
        Some(version) if version > frame::VERSION => {
            Err(StorageError::Newer(path.to_owned(), version))
        }
        _ => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_noticed() {
        let path = std::env::temp_dir().join(format!("kept-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        assert!(check_kept(&file, "it").is_ok());
        fs::remove_file(path).unwrap();
        assert_eq!(check_kept(&file, "it").unwrap_err().to_string(), "somebody has removed it");
    }
}
