//! The files that a configuration is read from, and whether they have changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::document::MAX_YAML_BYTES;
use super::pem::MAX_PEM_BYTES;
use super::task_glob::{Directories, Matches, TaskGlob};
use crate::bounded_file;
use crate::task;

/// The largest list of IDs that is read, in bytes, and all task files together: fourteen million UUIDs.
/// All are in memory until the last one is read.
pub const MAX_LIST_BYTES: usize = 512 << 20;

/// The files that a configuration was read from. Secret files are not among them: they are read
/// whenever they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The main file first, then the task files in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// The certificates and keys of `tls_config`.
    pem_files: Vec<PathBuf>,
    /// Changes when a file's content changes and when a glob matches other files.
    pub hash: u64,
    globs: Vec<ExpandedGlob>,
}

/// A glob, and what it matched when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedGlob {
    glob: TaskGlob,
    missing: Option<PathBuf>,
    directories: Directories,
}

impl ExpandedGlob {
    /// Notes what a glob has just matched.
    pub fn new(glob: TaskGlob, matches: &Matches) -> Self {
        let directories = Directories::of(&matches.files);
        Self { glob, missing: matches.missing.clone(), directories }
    }
}

/// The hash of files, each with its name. Names are relative to the directory of the main file, so
/// that equal files have the same hash wherever they are.
pub struct SourceHasher {
    base: PathBuf,
    hashes: BTreeMap<PathBuf, u64>,
}

/// What the hash of a file is made of that must not be read.
const UNREAD: &[u8] = b"cannot be read";

impl SourceHasher {
    /// Returns the hasher of no files, for a main file in the directory `base`.
    pub fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), hashes: BTreeMap::new() }
    }

    /// Returns the name of a file relative to the directory of the main file, if it is below that.
    fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.base).unwrap_or(path)
    }

    fn insert(&mut self, path: &Path, hash: u64) {
        self.hashes.insert(self.relative(path).to_owned(), hash);
    }

    /// Adds a file that was read.
    pub fn add(&mut self, path: &Path, content: &[u8]) {
        self.insert(path, task::stable_hash([content]));
    }

    /// Adds a file as it is now, without holding it in memory. One that is not there is left out;
    /// one that must not be read, because it is too large or not a regular file, is told from one
    /// that may, and costs nothing.
    fn add_current(&mut self, path: &Path, limit: usize) {
        // Two globs may match one file.
        if self.hashes.contains_key(self.relative(path)) {
            return;
        }
        let hash = match bounded_file::hash(path, limit) {
            Ok(hash) => hash,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => task::stable_hash([UNREAD, error.to_string().as_bytes()]),
        };
        self.insert(path, hash);
    }

    /// Adds the files that a glob matches now. That it cannot be told is a change like any other.
    fn add_matches(&mut self, glob: &TaskGlob, left: &mut u64) {
        let files = match glob.find() {
            Ok(Matches { files, .. }) => files,
            Err(error) => {
                let hash = task::stable_hash([UNREAD, error.to_string().as_bytes()]);
                self.insert(Path::new(glob.text()), hash);
                return;
            }
        };
        for path in files {
            // Beyond what is read of all lists together only sizes count.
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match left.checked_sub(length) {
                Some(rest) => {
                    *left = rest;
                    self.add_current(&path, list_limit(&path));
                }
                None => {
                    let hash = task::stable_hash([UNREAD, length.to_le_bytes().as_slice()]);
                    self.insert(&path, hash);
                }
            }
        }
    }

    fn finish(&self) -> u64 {
        let content: Vec<_> =
            self.hashes.iter().map(|(path, hash)| (path, hash.to_le_bytes())).collect();
        let parts = content
            .iter()
            .flat_map(|(path, hash)| [path.as_os_str().as_encoded_bytes(), hash.as_slice()]);
        task::stable_hash(parts)
    }
}

impl Sources {
    /// Returns the files that were read: the main file and the task files, the globs that led to
    /// the latter, and the files of `tls_config` with a hash of what was read from each.
    pub fn new(
        files: Vec<PathBuf>,
        mut hasher: SourceHasher,
        globs: Vec<ExpandedGlob>,
        pem_files: Vec<(PathBuf, u64)>,
    ) -> Self {
        for (path, hash) in &pem_files {
            hasher.insert(path, *hash);
        }
        let pem_files = pem_files.into_iter().map(|(path, _)| path).collect();
        Self { files, pem_files, hash: hasher.finish(), globs }
    }

    /// What [`Sources::hash`] would be if the configuration were read now. Blocks on the file
    /// system.
    pub fn current_hash(&self) -> u64 {
        let main = self.files.first().map_or(Path::new(""), PathBuf::as_path);
        let mut hasher = SourceHasher::new(main.parent().unwrap_or(Path::new("")));
        let mut left = u64::try_from(MAX_LIST_BYTES).unwrap_or(u64::MAX);
        hasher.add_current(main, MAX_YAML_BYTES);
        for path in &self.pem_files {
            hasher.add_current(path, MAX_PEM_BYTES);
        }
        for expanded in &self.globs {
            hasher.add_matches(&expanded.glob, &mut left);
        }
        hasher.finish()
    }

    /// Returns a directory from which files of this glob were read and that has vanished since, and what
    /// stands there now. Blocks on the file system.
    pub fn vanished(&self, glob: &TaskGlob) -> Option<(&Path, String)> {
        let same = self.globs.iter().filter(|expanded| expanded.glob == *glob);
        same.into_iter().find_map(|expanded| expanded.directories.vanished())
    }

    /// Lists the globs that matched no file, each with the directory that was not there, if one was not.
    pub fn unmatched(&self) -> impl Iterator<Item = (&str, Option<&Path>)> {
        let unmatched = self.globs.iter().filter(|expanded| expanded.directories.is_empty());
        unmatched.map(|expanded| (expanded.glob.text(), expanded.missing.as_deref()))
    }
}

/// Reports whether a task file is a text with one ID a line, which its name says.
pub fn is_text_list(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b".txt")
}

/// Returns how many bytes a task file may have.
pub fn list_limit(path: &Path) -> usize {
    if is_text_list(path) { MAX_LIST_BYTES } else { MAX_YAML_BYTES }
}
