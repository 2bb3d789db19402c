//! Single-flight for blocking work that may hang, such as reading from a file system: limited in time,
//! and never twice at once, so that hanging threads do not accumulate.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Work of which at most one run is in flight.
#[derive(Debug)]
pub struct SingleFlight<T> {
    in_flight: Mutex<Option<JoinHandle<T>>>,
}

/// Error of a run without a result.
#[derive(Debug, thiserror::Error)]
pub enum SingleFlightError {
    /// The run takes too long.
    #[error("not read within {0:?}: the file system does not answer")]
    TimedOut(Duration),
    /// The run panicked.
    #[error("{0}")]
    Panicked(String),
}

impl<T> Default for SingleFlight<T> {
    /// Returns a single-flight without a run.
    fn default() -> Self {
        Self { in_flight: Mutex::new(None) }
    }
}

impl<T: Send + 'static> SingleFlight<T> {
    /// Runs `work` on a thread that may block. A run that has timed out before has to end first; its
    /// result is dropped, since it may be outdated.
    ///
    /// # Errors
    /// Fails when both take longer than `timeout`, or `work` panics.
    pub async fn run(
        &self,
        timeout: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, SingleFlightError> {
        let deadline = Instant::now() + timeout;
        let timed_out = |_| SingleFlightError::TimedOut(timeout);
        let mut in_flight = timeout_at(deadline, self.in_flight.lock()).await.map_err(timed_out)?;
        if let Some(before) = &mut *in_flight {
            // Its outcome no longer matters.
            let _ = timeout_at(deadline, before).await.map_err(timed_out)?;
        }
        let run = in_flight.insert(tokio::task::spawn_blocking(work));
        let ended = timeout_at(deadline, run).await.map_err(timed_out)?;
        *in_flight = None;
        ended.map_err(|error| SingleFlightError::Panicked(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn a_run_that_hangs_times_out_and_no_other_begins_before_it_ends() {
        let flight = SingleFlight::default();
        assert_eq!(flight.run(TIMEOUT, || 1).await.unwrap(), 1);
        let (go_on, wait) = mpsc::channel::<()>();
        let hanging = flight.run(Duration::ZERO, move || {
            wait.recv().unwrap();
            2
        });
        assert!(matches!(hanging.await, Err(SingleFlightError::TimedOut(_))));
        let next = flight.run(Duration::ZERO, || panic!("begun while another hangs"));
        assert!(matches!(next.await, Err(SingleFlightError::TimedOut(_))));
        go_on.send(()).unwrap();
        assert_eq!(flight.run(Duration::from_secs(600), || 4).await.unwrap(), 4);
        let failed = flight.run(TIMEOUT, || panic!("on purpose")).await;
        assert!(matches!(failed, Err(SingleFlightError::Panicked(_))));
        assert_eq!(flight.run(TIMEOUT, || 5).await.unwrap(), 5);
    }
}
