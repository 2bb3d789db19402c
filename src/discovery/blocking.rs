//! Reading of lists that computes for long.

use super::list::RefreshError;
use crate::blocking;
use crate::observation::Reason;

/// Runs a part of a refresh that computes for long on a thread of its own.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RefreshError> + Send + 'static,
) -> Result<T, RefreshError> {
    let stopping = || RefreshError::new(Reason::Timeout, "the exporter is stopping");
    blocking::run(work).await.unwrap_or_else(|| Err(stopping()))
}
