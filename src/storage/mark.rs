//! Up to where finishes are counted: the file `counted`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::frame;

/// The file, and what it says.
#[derive(Debug)]
pub struct Mark {
    /// `None` where the disk was full from the start.
    file: Option<Arc<File>>,
    before: u64,
}

impl Mark {
    /// Writes that all finishes before change number `before` are counted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(path: &Path, before: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.write_all_at(&content(before), 0)?;
        Ok(Self { file: Some(Arc::new(file)), before })
    }

    /// One that is not on the disk.
    pub fn nowhere(before: u64) -> Self {
        Self { file: None, before }
    }

    /// What it says.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// Moves it on. It stands in its place by one write, which a kill does not halve.
    ///
    /// # Errors
    /// Those of the disk; it has moved all the same.
    pub fn advance(&mut self, before: u64) -> io::Result<()> {
        self.before = self.before.max(before);
        match &self.file {
            Some(file) => file.write_all_at(&content(self.before), 0),
            None => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// A handle to force it onto the disk with.
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}

/// What the file has.
fn content(before: u64) -> Vec<u8> {
    let mut content = frame::header();
    frame::push(&before.to_le_bytes(), &mut content);
    content
}

/// Reads it again; `None` where it is damaged.
pub fn read(content: &[u8]) -> Option<u64> {
    let (payloads, _) = frame::read(content);
    let before = payloads.first()?.first_chunk()?;
    Some(u64::from_le_bytes(*before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_more() {
        for before in [0, 7, u64::MAX] {
            let content = content(before);
            assert_eq!(read(&content), Some(before));
            assert_eq!(read(&content[..content.len() - 1]), None);
        }
        assert_eq!(read(b""), None);
    }
}
