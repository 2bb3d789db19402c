//! Reading files whose file system may hang: for so long, and never twice at once, so that no
//! threads pile up.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Something that is read again and again.
#[derive(Debug)]
pub struct Reading<T> {
    under_way: Mutex<Option<JoinHandle<T>>>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// It takes too long.
    #[error("not read within {0:?}: a file system that does not answer")]
    Hangs(Duration),
    /// It panicked.
    #[error("{0}")]
    Panicked(String),
}

impl<T> Default for Reading<T> {
    /// Nothing is read yet.
    fn default() -> Self {
        Self { under_way: Mutex::new(None) }
    }
}

impl<T: Send + 'static> Reading<T> {
    /// Reads on a thread that may wait. What was begun before and given up has to end first; it may
    /// have read what is no longer there.
    ///
    /// # Errors
    /// When it takes longer than `patience`.
    pub async fn read(
        &self,
        patience: Duration,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReadingError> {
        let deadline = Instant::now() + patience;
        let hangs = |_| ReadingError::Hangs(patience);
        let mut under_way = timeout_at(deadline, self.under_way.lock()).await.map_err(hangs)?;
        if let Some(before) = &mut *under_way {
            // How it ended is of no interest any more.
            let _ = timeout_at(deadline, before).await.map_err(hangs)?;
        }
        let reading = under_way.insert(tokio::task::spawn_blocking(read));
        let ended = timeout_at(deadline, reading).await.map_err(hangs)?;
        *under_way = None;
        ended.map_err(|error| ReadingError::Panicked(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_and_not_begun_again_before_it_ends() {
        let reading = Reading::default();
        assert_eq!(reading.read(PATIENCE, || 1).await.unwrap(), 1);
        let (go_on, wait) = mpsc::channel::<()>();
        let hanging = reading.read(Duration::ZERO, move || {
            wait.recv().unwrap();
            2
        });
        assert!(matches!(hanging.await, Err(ReadingError::Hangs(_))));
        let next = reading.read(Duration::ZERO, || panic!("begun while another hangs"));
        assert!(matches!(next.await, Err(ReadingError::Hangs(_))));
        go_on.send(()).unwrap();
        assert_eq!(reading.read(Duration::from_secs(600), || 4).await.unwrap(), 4);
        let failed = reading.read(PATIENCE, || panic!("on purpose")).await;
        assert!(matches!(failed, Err(ReadingError::Panicked(_))));
        assert_eq!(reading.read(PATIENCE, || 5).await.unwrap(), 5);
    }
}
