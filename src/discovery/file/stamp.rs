//! The metadata of a file by which a change is noticed without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time within which two changes of a file may leave the same metadata: file systems count time in
/// steps of up to two seconds.
const STEP: Duration = Duration::from_secs(2);
/// Time by which the clock of a file server may be ahead.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// The state of a file, by its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// True if the file has changed so recently that a further change may leave the same metadata.
    pub is_recent: bool,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Returns the state of the file at `path`, at the time `now`; `None` if there is none. Blocks on
    /// the file system.
    pub fn of(path: &Path, now: SystemTime) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        // Whatever changes a file sets this time, and no program can set it to another.
        let changed = u64::try_from(metadata.ctime()).unwrap_or_default();
        let changed = UNIX_EPOCH + Duration::from_secs(changed);
        Some(Self {
            is_recent: changed + STEP > now && changed < now + MAX_AHEAD,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Reports whether the metadata are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { is_recent: other.is_recent, ..*self } == *other
    }
}
