//! File descriptors that are kept for clients, so that polls cannot use up all.

use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The size of the reserve, for all listen addresses together: enough for some scrapes and health
/// checks at once. Where descriptors are few, an eighth of them.
const SIZE: u64 = 32;
const PART: u64 = 8;
/// A limit above this one, which no number of polls comes near, needs no reserve; and the system's
/// table of files would have to be as long as the limit.
const MAX_LIMIT: u64 = 1 << 16;

/// The descriptors with the highest numbers that the limit of open files allows. The system has no
/// limit for a part of a process. So the reserve is occupied until descriptors run out; then the
/// limit is lowered to exclude it, and raised for each connection that is accepted.
#[derive(Debug)]
pub struct FdReserve {
    /// The limit that includes the reserve, and the one that excludes it.
    limits: Option<(u64, u64)>,
    /// Files that occupy the reserve.
    kept: Mutex<Vec<OwnedFd>>,
}

impl FdReserve {
    /// Occupies the reserve where `limit` is the limit of open files; `None` is none. `file` is any
    /// open file.
    pub fn new(limit: Option<u64>, file: impl AsFd) -> Self {
        let limits = limit
            .filter(|limit| *limit <= MAX_LIMIT)
            .map(|limit| (limit, limit - SIZE.min(limit / PART)));
        let numbers = limits.map_or(0..0, |(including, excluding)| excluding..including);
        let duplicate = |number| fcntl_dupfd_cloexec(&file, i32::try_from(number).ok()?).ok();
        let kept = numbers.filter_map(duplicate).collect();
        Self { limits, kept: Mutex::new(kept) }
    }

    /// Calls `open`, which may open a file of the reserve. From the first call on nothing else can.
    pub fn open<T>(&self, open: impl FnOnce() -> T) -> T {
        let Some((including, excluding)) = self.limits else { return open() };
        let mut kept = self.kept.lock();
        if !kept.is_empty() {
            set_limit(excluding);
            kept.clear();
        }
        set_limit(including);
        let opened = open();
        set_limit(excluding);
        opened
    }
}

/// Sets the soft limit of open files.
fn set_limit(files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Within the hard limit this cannot fail; and if it did, it would leave the limit as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum });
}
