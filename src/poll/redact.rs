//! What was read in an answer, without the secrets of the request.

use std::sync::Arc;

use super::Polled;
use crate::fetch::Fetcher;
use crate::observation::{Failure, Observation};

impl Polled {
    /// Takes secrets out of every text that comes from the answer, or from what the network says:
    /// reading may have put together what the bytes of the answer did not show.
    pub(super) fn redact(&mut self, fetcher: &Fetcher) {
        let redactor = match &self.response {
            Some(response) => Arc::clone(&response.redactor),
            None => fetcher.credentials.current().1,
        };
        let mask = |text: &mut Arc<str>| {
            if let Some(masked) = redactor.mask_text(text) {
                *text = masked.into();
            }
        };
        let mask_string = |text: &mut String| {
            if let Some(masked) = redactor.mask_text(text) {
                *text = masked;
            }
        };
        self.code.iter_mut().for_each(mask);
        self.message.iter_mut().for_each(mask_string);
        for outcome in &mut self.outcomes {
            match outcome {
                // Every field by name: none that is added can be forgotten.
                Ok(Observation {
                    state: _,
                    status,
                    job_type,
                    enqueue_time: _,
                    finish_time: _,
                    progress: _,
                    failure_code,
                    odd,
                }) => {
                    mask(status);
                    job_type.iter_mut().chain(failure_code).for_each(mask);
                    for oddity in odd {
                        mask_string(&mut oddity.value);
                    }
                }
                Err(Failure { reason: _, code, detail }) => {
                    mask(code);
                    mask_string(detail);
                }
            }
        }
    }
}
