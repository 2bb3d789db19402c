//! The files that a configuration is read from, and whether they have changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::task;

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
    /// Adds a file.
    pub fn add(&mut self, path: &Path, content: &[u8]) {
        self.0.insert(path.to_owned(), task::stable_hash([content]));
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

    /// What [`Sources::hash`] would be if the configuration were read now. A file that cannot be
    /// read counts as missing. Blocks on the file system.
    pub fn current_hash(&self) -> u64 {
        let mut hasher = Hasher::default();
        let globbed = self.patterns.iter().filter_map(|pattern| expand(pattern).ok()).flatten();
        for path in self.files.first().cloned().into_iter().chain(globbed) {
            if let Ok(content) = fs::read(&path) {
                hasher.add(&path, &content);
            }
        }
        hasher.finish()
    }
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
