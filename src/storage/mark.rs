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
        let content = content(before);
        file.write_all_at(&content, 0)?;
        // What somebody has put behind it would be told as lost in every life.
        file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
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

/// Reads it again; `None` where it is damaged. And how many bytes are.
pub fn read(content: &[u8]) -> (Option<u64>, usize) {
    let (payloads, lost) = frame::read(content);
    let before = payloads.first().and_then(|payload| payload.first_chunk());
    (before.map(|before| u64::from_le_bytes(*before)), lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_more() {
        for before in [0, 7, u64::MAX] {
            let content = content(before);
            assert_eq!(read(&content), (Some(before), 0));
            let torn = &content[..content.len() - 1];
            assert_eq!(read(torn), (None, torn.len() - frame::HEADER));
            assert_eq!(read(&[&content, &b"more"[..]].concat()), (Some(before), 4));
            assert_eq!(read(&[b"Z", &content[1..]].concat()), (Some(before), frame::HEADER));
        }
        assert_eq!(read(b""), (None, 0));
    }

    #[test]
    fn it_is_alone_in_its_file() {
        let path = std::env::temp_dir().join(format!("mark-{}", std::process::id()));
        std::fs::write(&path, [b'x'; 99]).unwrap();
        let mut mark = Mark::begin(&path, 7).unwrap();
        assert_eq!(read(&std::fs::read(&path).unwrap()), (Some(7), 0));
        mark.advance(8).unwrap();
        assert_eq!(read(&std::fs::read(&path).unwrap()), (Some(8), 0));
        std::fs::remove_file(path).unwrap();
    }
}
