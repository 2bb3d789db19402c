//! Files from outside: regular ones only, opened without waiting, and no more of each than a limit.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::task::{StableHasher, stable_hash};

/// The number of bytes that are in memory at once where only a hash is wanted.
const PIECE_BYTES: usize = 64 << 10;

/// Returns the content of the regular file at `path`. Blocks on the file system.
///
/// # Errors
/// The file cannot be read, is not a regular one, or holds more than `limit` bytes.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (file, length) = open(path, limit)?;
    let mut content = Vec::new();
    // Of a file that grows meanwhile one byte more than the limit shows that it is too large.
    content.try_reserve_exact(length.saturating_add(1))?;
    file.take(size(limit).saturating_add(1)).read_to_end(&mut content)?;
    if content.len() > limit { Err(too_large(limit)) } else { Ok(content) }
}

/// Returns a hash of the content of the regular file at `path`, which is that of
/// [`stable_hash`](crate::task::stable_hash) over the content as one part. Holds 64 KiB of it in
/// memory at once. Blocks on the file system.
///
/// # Errors
/// As [`read`].
pub fn hash(path: &Path, limit: usize) -> io::Result<u64> {
    let (mut file, _) = open(path, limit)?;
    let (mut hasher, mut total) = (StableHasher::default(), 0_usize);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total = total.saturating_add(length);
        if total > limit {
            return Err(too_large(limit));
        }
        hasher.write(piece.get(..length).unwrap_or_default());
    }
    hasher.end_part();
    Ok(hasher.finish())
}

/// Returns the fingerprint of a file, from its hash, by which a change is noticed: `None` where there is
/// no file. The reason for which a file cannot be read counts like a content.
pub fn fingerprint(hash: Result<u64, &io::Error>) -> Option<u64> {
    match hash {
        Ok(hash) => Some(hash),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            Some(stable_hash([b"cannot be read".as_slice(), error.to_string().as_bytes()]))
        }
    }
}

/// Opens a regular file of at most `limit` bytes, and returns its length.
fn open(path: &Path, limit: usize) -> io::Result<(File, usize)> {
    // A device may begin to work when it is opened, so nothing is opened before it is known for a
    // file. It may be replaced meanwhile: then opening it does not wait for the other end of a pipe,
    // and what was opened is looked at again.
    regular(fs::metadata(path)?.file_type())?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    // The standard library adds O_CLOEXEC.
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    match usize::try_from(metadata.len()) {
        Ok(length) if length <= limit => Ok((file, length)),
        _ => Err(too_large(limit)),
    }
}

fn regular(kind: FileType) -> io::Result<()> {
    match kind {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(io::Error::new(ErrorKind::IsADirectory, "is a directory")),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn too_large(limit: usize) -> io::Error {
    let text = match limit {
        limit if limit >= 1 << 20 => format!("larger than {} MiB", limit >> 20),
        limit => format!("larger than {} KiB", limit >> 10),
    };
    io::Error::new(ErrorKind::FileTooLarge, text)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    const LIMIT: usize = 256 << 10;

    /// A path that nothing else uses.
    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bounded-file-{}-{name}", std::process::id()))
    }

    #[test]
    fn files_up_to_the_limit_are_read_and_hashed() {
        let path = place("sizes");
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, LIMIT - 1, LIMIT] {
            let content: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            fs::write(&path, &content).unwrap();
            assert_eq!(read(&path, LIMIT).unwrap(), content);
            assert_eq!(hash(&path, LIMIT).unwrap(), stable_hash([content.as_slice()]));
        }
        fs::write(&path, vec![0; LIMIT + 1]).unwrap();
        let errors = [read(&path, LIMIT).unwrap_err(), hash(&path, LIMIT).unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            assert_eq!(error.to_string(), "larger than 256 KiB");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, LIMIT).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let pipe = place("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = place("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket, Path::new("/dev/zero"), Path::new("/dev/tty")] {
            for error in [read(path, LIMIT).unwrap_err(), hash(path, LIMIT).unwrap_err()] {
                assert_eq!(error.to_string(), "not a regular file", "{}", path.display());
            }
        }
        let error = read(&std::env::temp_dir(), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "is a directory");
        fs::remove_file(&pipe).unwrap();
        fs::remove_file(&socket).unwrap();
    }

    /// The size of such a file is zero.
    #[test]
    fn a_file_that_the_kernel_makes_up_is_bounded_too() {
        let error = read(Path::new("/proc/self/maps"), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(hash(Path::new("/proc/self/maps"), 10).is_err());
        assert!(!read(Path::new("/proc/self/status"), LIMIT).unwrap().is_empty());
    }
}
