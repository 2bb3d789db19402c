//! The files that a configuration is read from, and whether they have changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::document::MAX_YAML_BYTES;
use crate::bounded_file;
use crate::task;

/// The largest list of IDs that is read, in bytes: fourteen million UUIDs.
const MAX_LIST_BYTES: usize = 512 << 20;

/// What the configuration was read from. Secret files and certificates are not among it: they
/// are read whenever they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The main file first, then the task files in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// Changes when a file's content changes and when a glob matches other files.
    pub hash: u64,
    patterns: Vec<String>,
}

/// The hash of files, each with its name.
#[derive(Default)]
pub struct Hasher(BTreeMap<PathBuf, u64>);

impl Hasher {
    /// Adds a file that was read.
    pub fn add(&mut self, path: &Path, content: &[u8]) {
        self.0.insert(path.to_owned(), task::stable_hash([content]));
    }

    /// Adds a file as it is now, without holding it in memory. One that is not there is left out;
    /// one that must not be read, because it is too large or not a regular file, is told from one
    /// that may, and costs nothing.
    fn add_current(&mut self, path: PathBuf, limit: usize) {
        // Two globs may match one file.
        if self.0.contains_key(&path) {
            return;
        }
        let hash = match bounded_file::hash(&path, limit) {
            Ok(hash) => hash,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                task::stable_hash([b"cannot be read".as_slice(), error.to_string().as_bytes()])
            }
        };
        self.0.insert(path, hash);
    }

    fn finish(&self) -> u64 {
        let content: Vec<_> =
            self.0.iter().map(|(path, hash)| (path, hash.to_le_bytes())).collect();
        let parts = content
            .iter()
            .flat_map(|(path, hash)| [path.as_os_str().as_encoded_bytes(), hash.as_slice()]);
        task::stable_hash(parts)
    }
}

impl Sources {
    /// The files that were read, their hash, and the patterns that lead to them.
    pub fn new(files: Vec<PathBuf>, hasher: &Hasher, patterns: Vec<String>) -> Self {
        Self { files, hash: hasher.finish(), patterns }
    }

    /// What [`Sources::hash`] would be if the configuration were read now. Blocks on the file
    /// system.
    pub fn current_hash(&self) -> u64 {
        let mut hasher = Hasher::default();
        if let Some(main) = self.files.first() {
            hasher.add_current(main.clone(), MAX_YAML_BYTES);
        }
        for path in self.patterns.iter().filter_map(|pattern| expand(pattern).ok()).flatten() {
            let limit = list_limit(&path);
            hasher.add_current(path, limit);
        }
        hasher.finish()
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

/// The pattern that finds what `glob` means to a file in `dir`.
pub fn pattern(dir: &Path, glob: &str) -> Option<String> {
    if Path::new(glob).is_absolute() || dir == OsStr::new("") {
        return Some(glob.to_owned());
    }
    Some(format!("{}/{glob}", Pattern::escape(dir.to_str()?)))
}

/// Whether a pattern may match any number of files, also none.
pub fn has_wildcard(glob: &str) -> bool {
    glob.contains(['*', '?', '['])
}

/// The files that a pattern matches, by name. Names that begin with a dot are not matched by
/// wildcards, so that the directories of a mounted ConfigMap count once.
///
/// # Errors
/// The pattern is not one, or a directory cannot be read.
pub fn expand(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(pattern, options)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.msg))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(io::Error::from)?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
