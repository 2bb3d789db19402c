//! The limits that the system puts on the process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// The number of the signal that a write beyond `RLIMIT_FSIZE` brings.
const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Raises the soft limit of open files to the hard one, as far as the system lets it. The soft
/// limit is 1,024 on most systems, for the sake of programs that use `select`, which this one does
/// not. Returns the limit that is then in force; `None` where there is none.
pub fn raise_open_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Sees to it that a write beyond `RLIMIT_FSIZE` fails with `EFBIG`, like one to a full disk,
/// instead of killing the process. Must be called on a tokio runtime.
///
/// # Errors
/// When the system refuses the handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    // The handler stays when its handle is dropped. It has nothing to do but to be in the place of
    // the default action.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}
