//! The files that were read, and whether they have changed since.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::task::stable_hash;

/// The largest file that is read, in bytes: several times the bundle of all public authorities.
const MAX_BYTES: u64 = 4 << 20;

/// Files, and a hash of what was in each; `None` where it could not be read.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, Option<u64>)>);

impl Files {
    /// Reads a file and remembers it.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than 4 MiB.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = read(path);
        self.0.push((path.to_owned(), content.as_deref().ok().map(hash)));
        content
    }

    /// Whether one of them is not what it was. Blocks on the file system.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, hashed)| read(path).ok().as_deref().map(hash) != *hashed)
    }
}

fn hash(content: &[u8]) -> u64 {
    stable_hash([content])
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    Ok(content)
}
