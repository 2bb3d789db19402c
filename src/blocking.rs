//! Work that computes for long, on a thread of its own.

use tokio::task::{JoinError, spawn_blocking};

/// Runs a function that computes for long on a thread of its own. Its panic is the caller's. Returns
/// `None` if the process is ending.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(result) => Some(result),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
