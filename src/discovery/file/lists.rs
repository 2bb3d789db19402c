//! The files of a source as they were read, each with its last good list.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::stamp::FileStamp;
use crate::bounded_file;
use crate::config::discovery::FileSourceConfig;
use crate::config::task_glob::MAX_FILES;
use crate::discovery::list::{MAX_LIST_BYTES, RefreshError, RefreshReason, SourceList};
use crate::observation::Reason;
use crate::task::TaskIndex;

/// Maximum size of all files of a source, in bytes.
const MAX_TOTAL_BYTES: u64 = 512 << 20;

/// The files of a source, as they were read.
#[derive(Debug, Default)]
pub struct FileLists {
    /// The files in the order of the globs, then of their names.
    pub files: Vec<KnownFile>,
    /// The number of changes of the list of all files.
    pub version: u64,
    /// The last error of finding the files.
    pub search_error: Option<RefreshError>,
    /// The globs that matched no file, which have been logged.
    pub unmatched: HashSet<String>,
}

/// A file that a glob matched.
#[derive(Debug, Default)]
pub struct KnownFile {
    pub path: PathBuf,
    /// The state of the file before it was read, or `None` if there was no file.
    pub stamp: Option<FileStamp>,
    /// The hash of the content that was parsed last, even if that was no list.
    pub hash: Option<u64>,
    /// The last good list, and the number of its elements.
    pub list: Option<(SourceList, usize)>,
    /// The error of the last read.
    pub error: Option<RefreshError>,
}

impl KnownFile {
    /// Returns the number of elements of the last good list.
    pub fn elements(&self) -> usize {
        self.list.as_ref().map_or(0, |(_, elements)| *elements)
    }
}

impl FileLists {
    /// Reports whether the files are others than those that were read, or seem to be.
    pub fn has_changed(&mut self, config: &FileSourceConfig, now: SystemTime) -> bool {
        // The size of all files is looked at only where that is what was wrong.
        let total = |paths: &[PathBuf]| self.search_error.as_ref().map(|_| check_total(paths));
        let found = find_files(config).and_then(|(paths, _)| {
            total(&paths).transpose()?;
            Ok(paths)
        });
        let paths = match found {
            Ok(paths) => paths,
            Err(error) => return self.search_error.as_ref() != Some(&error),
        };
        self.search_error.is_some()
            || paths.len() != self.files.len()
            || paths
                .iter()
                .zip(&mut self.files)
                .any(|(path, file)| *path != file.path || file.has_changed(now))
    }
}

impl KnownFile {
    /// Reports whether the file is another one than was read, or seems to be.
    pub fn has_changed(&mut self, now: SystemTime) -> bool {
        let current = FileStamp::of(&self.path, now);
        let (Some(stamp), Some(current)) = (&mut self.stamp, &current) else {
            return self.stamp.is_some() != current.is_some();
        };
        if !stamp.is_same(current) {
            return true;
        }
        // Two changes at nearly the same time may leave the same metadata.
        if stamp.is_recent && !current.is_recent {
            let hash = bounded_file::hash(&self.path, MAX_LIST_BYTES).ok();
            stamp.is_recent = hash != self.hash;
            return stamp.is_recent;
        }
        false
    }
}

/// Finds the files of a source: the paths in the order of the globs, each once, and the globs that
/// match no file.
pub fn find_files(config: &FileSourceConfig) -> Result<(Vec<PathBuf>, Vec<&str>), RefreshError> {
    let (mut paths, mut unmatched, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for glob in &config.globs {
        let found = glob.find().map_err(|error| {
            RefreshError::new(RefreshReason::Read, format!("cannot find files: {error}"))
        })?;
        if found.files.is_empty() {
            unmatched.push(glob.text());
        }
        for path in found.files {
            if known.insert(path.clone()) {
                paths.push(path);
            }
        }
    }
    if paths.len() > MAX_FILES {
        let message = format!("more than {MAX_FILES} files");
        return Err(RefreshError::new(Reason::TooLarge, message));
    }
    Ok((paths, unmatched))
}

/// Checks the size of all files together.
pub fn check_total(paths: &[PathBuf]) -> Result<(), RefreshError> {
    let sizes = paths.iter().filter_map(|path| fs::metadata(path).ok());
    let total = sizes.fold(0_u64, |total, metadata| total.saturating_add(metadata.len()));
    match total > MAX_TOTAL_BYTES {
        true => {
            let message = "the files together are larger than 512 MiB";
            Err(RefreshError::new(Reason::TooLarge, message))
        }
        false => Ok(()),
    }
}

/// Returns the list of all files. Of equal tasks the first counts.
pub fn merge(files: &[KnownFile]) -> SourceList {
    let lists: Vec<_> = files.iter().filter_map(|file| Some(&file.list.as_ref()?.0)).collect();
    if let [list] = lists[..] {
        return list.clone();
    }
    let (mut merged, mut index) = (SourceList::default(), TaskIndex::default());
    let count = lists.iter().map(|list| list.tasks.len()).sum();
    merged.tasks.reserve(count);
    index.reserve(count, &merged.tasks);
    for list in lists {
        merged.rejected.append(&list.rejected);
        for listed in &list.tasks {
            if index.find(&listed.task, &merged.tasks).is_none() {
                index.insert(merged.tasks.len(), &listed.task, &merged.tasks);
                merged.tasks.push(listed.clone());
            }
        }
    }
    merged
}
