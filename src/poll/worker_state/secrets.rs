//! The secret files of the provider, which are read again from time to time.

use std::time::Duration;

use tokio::time::Instant;

use super::{SECRETS_RETRY, WorkerState};

/// Shortest time between two reads of the secret files.
const SECRETS_EVERY: Duration = Duration::from_secs(1);

impl WorkerState<'_> {
    /// Reads the secret files again from time to time. Nothing is sent while they cannot be read: a
    /// request without credentials could only be refused. Returns false if they could not be read.
    pub(super) async fn read_secrets(&mut self) -> bool {
        let credentials = self.context.client.fetcher.credentials();
        if !credentials.can_change() || self.secrets_read.elapsed() < SECRETS_EVERY {
            return true;
        }
        let read = credentials.refresh().await;
        let now = Instant::now();
        self.secrets_read = now;
        let provider = &*self.context.client.provider.name;
        match read {
            Ok(has_changed) => {
                if has_changed {
                    tracing::info!(provider, "read new credentials");
                    self.schedule.admission.reset_auth_backoff();
                } else if self.held.count() > 0 {
                    tracing::info!(provider, "the credentials are readable again");
                }
                self.end_hold();
                true
            }
            Err(error) => {
                let error = error.to_string();
                if self.secrets_error.as_ref() != Some(&error) {
                    tracing::error!(provider, error, "paused: the credentials cannot be read");
                }
                self.secrets_error = Some(error);
                self.schedule.admission.hold_until(now + SECRETS_RETRY);
                self.held.set(self.context.tasks.open_count());
                false
            }
        }
    }

    /// Ends the pause during which there were no credentials to send.
    pub(super) fn end_hold(&mut self) {
        self.schedule.admission.end_hold();
        self.held.set(0);
        self.secrets_error = None;
    }
}
