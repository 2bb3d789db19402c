//! The files of a storage path: a snapshot of all tasks, and journals of what has happened since.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::frame;
use super::log_record::{self, MAX_SEQUENCE};

/// A reason for which a storage path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// An error of the system.
    #[error("--storage.path: cannot use {0:?}: {1}; it must be a writable directory")]
    Io(PathBuf, io::Error),
    /// Another exporter uses the directory.
    #[error("--storage.path: another process uses {0:?}; every exporter needs its own")]
    InUse(PathBuf),
    /// A directory, a pipe or a device in place of a file.
    #[error(
        "--storage.path: {0:?} is not a regular file and was left unchanged: move it away, or use \
         another directory"
    )]
    NotAFile(PathBuf),
    /// The file was written by another version.
    #[error(
        "--storage.path: {path:?} has the format {format}, which is {} than this exporter; it was \
         left unchanged: use the {} exporter, or another directory",
        age(*.format),
        age(*.format)
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Version in its header.
        format: u32,
    },
}

fn age(format: u32) -> &'static str {
    if format > frame::VERSION { "newer" } else { "older" }
}

/// Content of the files.
#[derive(Debug)]
pub struct Contents {
    /// The snapshot, if there is one.
    pub snapshot: Option<Vec<u8>>,
    /// The journals with their numbers, the lowest first.
    pub journals: Vec<(u64, Vec<u8>)>,
}

/// A journal that is open for writing.
#[derive(Debug)]
pub struct OpenJournal {
    /// The file, open to append.
    pub file: File,
    /// Sequence number of its first change, which is in its name.
    pub number: u64,
    /// Size in bytes.
    pub size: u64,
}

/// A directory that this process has locked.
#[derive(Debug)]
pub struct StorageFiles {
    dir: PathBuf,
    /// The lock file, locked as long as the directory is in use.
    lock: File,
    /// Device number of the directory's file system at the start.
    device: u64,
    /// True if the directory was on another file system since.
    is_elsewhere: bool,
}

/// Name of the snapshot.
const SNAPSHOT: &str = "snapshot";
/// Name of a snapshot that is being written.
const UNFINISHED: &str = "snapshot.new";
/// Prefix of a journal's name, before the sequence number of its first change.
const JOURNAL: &str = "journal.";
/// Name of the lock file.
const LOCK: &str = "lock";

impl StorageFiles {
    /// Locks a directory, which is created if it is not there.
    ///
    /// # Errors
    /// Fails when it cannot be written, or another process has it.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let lock = lock_directory(dir)?;
        let device = lock.metadata().map_err(|error| StorageError::Io(dir.to_owned(), error))?;
        Ok(Self { dir: dir.to_owned(), lock, device: device.dev(), is_elsewhere: false })
    }

    /// Checks that the directory is still at its path.
    ///
    /// # Errors
    /// Fails when it is not.
    pub fn check_in_place(&self) -> io::Result<()> {
        if self.is_elsewhere {
            return Err(elsewhere());
        }
        let id = |file: fs::Metadata| (file.dev(), file.ino());
        let held = self.lock.metadata().map(id);
        let there = fs::metadata(self.dir.join(LOCK)).map(id);
        match (held, there) {
            (Ok(held), Ok(there)) if held == there => Ok(()),
            _ => Err(disturbed("removed or moved the directory")),
        }
    }

    /// Locks the directory again if it was removed or moved. One that is on another file system now
    /// is never used again: its volume is gone, and what is written in its place would be hidden once
    /// the volume is back.
    ///
    /// # Errors
    /// As [`StorageFiles::open`], and when it is on another file system.
    pub fn relock(&mut self) -> io::Result<()> {
        if self.check_in_place().is_ok() {
            return Ok(());
        }
        if !self.is_elsewhere && device(&self.dir)? != self.device {
            self.is_elsewhere = true;
            // That it cannot be written has been said, and is not all.
            tracing::error!("the storage path is refused until a restart: {}", elsewhere());
        }
        if self.is_elsewhere {
            return Err(elsewhere());
        }
        self.lock = lock_directory(&self.dir).map_err(io::Error::other)?;
        Ok(())
    }

    /// Reads the snapshot and every journal.
    ///
    /// # Errors
    /// Fails when one cannot be read, or was written by another version.
    pub fn read(&self) -> Result<Contents, StorageError> {
        let snapshot = read(&self.dir.join(SNAPSHOT))?;
        let fail = |error| StorageError::Io(self.dir.clone(), error);
        let mut journals = Vec::new();
        for (number, path) in self.journals().map_err(fail)? {
            journals.extend(read(&path)?.map(|content| (number, content)));
        }
        Ok(Contents { snapshot, journals })
    }

    /// Opens the journals and the directory, to sync them.
    ///
    /// # Errors
    /// Fails when the disk fails.
    pub fn handles(&self) -> io::Result<Vec<File>> {
        let paths = self.journals()?.into_iter().map(|(_, path)| path);
        paths.chain([self.dir.clone()]).map(File::open).collect()
    }

    /// Opens the directory, to sync the names in it.
    ///
    /// # Errors
    /// Fails when the disk fails.
    pub fn directory(&self) -> io::Result<File> {
        File::open(&self.dir)
    }

    /// Creates a journal for the changes from sequence number `next` on, or from a later one if the
    /// name is taken. `follows` is the sequence number after the last change that is in a file.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn begin_journal(&self, next: u64, follows: u64) -> io::Result<OpenJournal> {
        let mut number = next;
        let mut options = OpenOptions::new();
        let mut file = loop {
            match options.create_new(true).append(true).open(self.journal(number)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                opened => break opened?,
            }
        };
        let mut content = frame::header();
        log_record::encode_follows(follows, &mut content);
        file.write_all(&content).inspect_err(|_| {
            // Where it cannot be removed, the next journal takes another name.
            let _ = fs::remove_file(self.journal(number));
        })?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Ok(OpenJournal { file, number, size })
    }

    /// Opens a journal of an earlier run to continue it after its intact part, of `size` bytes.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn reopen_journal(&self, number: u64, size: u64) -> io::Result<OpenJournal> {
        let file = OpenOptions::new().append(true).open(self.journal(number))?;
        if file.metadata()?.len() != size {
            file.set_len(size)?;
        }
        Ok(OpenJournal { file, number, size })
    }

    /// Creates a snapshot under a temporary name.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn begin_snapshot(&self) -> io::Result<File> {
        let mut snapshot = File::create(self.dir.join(UNFINISHED))?;
        snapshot.write_all(&frame::header())?;
        Ok(snapshot)
    }

    /// Syncs a snapshot, and then replaces the one before it.
    ///
    /// # Errors
    /// Fails when the disk fails; the previous snapshot is then still there.
    pub fn publish_snapshot(&self, snapshot: File) -> io::Result<()> {
        snapshot.sync_all()?;
        drop(snapshot);
        fs::rename(self.dir.join(UNFINISHED), self.dir.join(SNAPSHOT))
    }

    /// Syncs the names of the files.
    ///
    /// # Errors
    /// Fails when the disk fails.
    pub fn sync_names(&self) -> io::Result<()> {
        self.directory()?.sync_all()
    }

    /// Removes the journals that begin before `first`.
    ///
    /// # Errors
    /// Fails when one cannot be removed.
    pub fn remove_journals(&self, first: u64) -> io::Result<()> {
        for (_, journal) in self.journals()?.into_iter().filter(|(number, _)| *number < first) {
            fs::remove_file(journal)?;
        }
        Ok(())
    }

    /// Removes an unfinished snapshot, since its space may be what is lacking, and the journal with
    /// this number.
    pub fn discard_snapshot(&self, journal: Option<u64>) {
        // Where they cannot be removed the next ones take their place.
        let _ = fs::remove_file(self.dir.join(UNFINISHED));
        if let Some(number) = journal {
            let _ = fs::remove_file(self.journal(number));
        }
    }

    fn journal(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{JOURNAL}{number}"))
    }

    fn journals(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(number);
            // Anything else with such a name belongs to others.
            if let Some(number) = number.filter(|_| entry.file_type().is_ok_and(|t| t.is_file())) {
                journals.push((number, entry.path()));
            }
        }
        journals.sort();
        Ok(journals)
    }
}

/// Returns the sequence number in the name of a journal, unless we would write it otherwise.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(JOURNAL)?;
    let number: u64 = digits.parse().ok()?;
    (number <= MAX_SEQUENCE && number.to_string() == digits).then_some(number)
}

/// Checks that an open file still has a name and at least `size` bytes. `what` names it in the error.
///
/// # Errors
/// Fails when it was removed or truncated, or the disk fails.
pub fn check_intact(file: &File, size: u64, what: &str) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.nlink() == 0 {
        return Err(disturbed(&format!("removed {what}")));
    }
    if metadata.len() < size {
        return Err(disturbed(&format!("truncated {what}")));
    }
    Ok(())
}

/// Returns an error about something that another process has done.
fn disturbed(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("another process has {how}"))
}

fn elsewhere() -> io::Error {
    let what = "the directory is on another file system than at startup";
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// Returns the device number of a path's file system, or of the directory in which it would be
/// created.
fn device(path: &Path) -> io::Result<u64> {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match fs::metadata(ancestor) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => return Ok(metadata?.dev()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Creates and locks a directory.
fn lock_directory(dir: &Path) -> Result<File, StorageError> {
    let fail = |error| StorageError::Io(dir.to_owned(), error);
    fs::create_dir_all(dir).map_err(fail)?;
    let path = dir.join(LOCK);
    // Opening a pipe would wait for ever.
    check_regular(&path)?;
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).open(path).map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// Reports whether a regular file is there.
fn check_regular(path: &Path) -> Result<bool, StorageError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(StorageError::NotAFile(path.to_owned())),
        // A link that leads nowhere may lead to the file once its volume is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.is_symlink() {
            true => Err(StorageError::NotAFile(path.to_owned())),
            false => Ok(false),
        },
        Err(error) => Err(StorageError::Io(path.to_owned(), error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    if !check_regular(path)? {
        return Ok(None);
    }
    let content = fs::read(path).map_err(|error| StorageError::Io(path.to_owned(), error))?;
    match frame::version(&content) {
        Some(format) if format != frame::VERSION => {
            Err(StorageError::OtherFormat { path: path.to_owned(), format })
        }
        _ => Ok(Some(content)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_truncated_is_noticed() {
        let path = std::env::temp_dir().join(format!("kept-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"some").unwrap();
        assert!(check_intact(&file, 4, "it").is_ok());
        let said = |size| check_intact(&file, size, "it").unwrap_err().to_string();
        assert_eq!(said(5), "another process has truncated it");
        fs::remove_file(path).unwrap();
        assert_eq!(said(4), "another process has removed it");
    }

    #[test]
    fn only_names_that_we_give_are_journals() {
        assert_eq!(number("journal.0"), Some(0));
        assert_eq!(number("journal.1000"), Some(1_000));
        for name in [
            "journal.18446744073709551615",
            "journal.18446744073709551616",
            "journal.007",
            "journal.+7",
            "journal.",
            "journal.7.bak",
            "journal.-7",
            "journal.new",
            "journal",
            "snapshot",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
