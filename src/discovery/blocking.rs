//! Work that computes for long, on a thread of its own.

use tokio::task::JoinError;

use super::list::RefreshError;
use crate::observation::Reason;

/// Runs a function that computes for long on a thread of its own. Its panic is the caller's.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RefreshError> + Send + 'static,
) -> Result<T, RefreshError> {
    match tokio::task::spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(outcome) => outcome,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(RefreshError::new(Reason::Timeout, "the exporter is stopping")),
    }
}
