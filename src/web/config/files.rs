//! The files that were read, and whether they have changed since.

use std::io;
use std::path::{Path, PathBuf};

use crate::bounded_file;
use crate::task::stable_hash;

/// The largest file that is read, in bytes: several times the bundle of all public authorities.
const MAX_BYTES: usize = 4 << 20;

/// Files, and a hash of what was in each; `None` where it could not be read.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, Option<u64>)>);

impl Files {
    /// Reads a file and remembers it.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular one, or is larger than 4 MiB.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = bounded_file::read(path, MAX_BYTES);
        let hash = content.as_deref().ok().map(|content| stable_hash([content]));
        self.0.push((path.to_owned(), hash));
        content
    }

    /// Whether one of them is not what it was. Blocks on the file system.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, hash)| bounded_file::hash(path, MAX_BYTES).ok() != *hash)
    }
}
