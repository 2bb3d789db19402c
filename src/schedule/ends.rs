//! The end of a request: what it says of the provider, and when its tasks are due again. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::admission::Requester;
use super::outcome::PollOutcome;
use super::{Phase, Schedule};
use crate::store::Slot;

impl Schedule {
    /// A request for tasks has ended, with a verdict for each whose poll has ended with it.
    /// `retry_after` is what the provider asked for.
    pub fn finish(
        &mut self,
        verdicts: &[(Slot, PollOutcome)],
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let (hash, verdict) = match verdicts.first() {
            Some((first, verdict)) => (self.entry(*first).map_or(0, |entry| entry.hash), *verdict),
            // An answer came, though not one that could be read.
            None => (self.hash, PollOutcome::Failed),
        };
        self.heed(verdict, Requester::Poll, hash, retry_after, now);
        self.settle(verdicts, now);
    }

    /// A probe has ended after `took`, with this verdict. What the provider asked for and refused
    /// counts as after a poll.
    pub fn probe_ended(
        &mut self,
        verdict: PollOutcome,
        retry_after: Option<Duration>,
        took: Duration,
        now: Instant,
    ) {
        let has_held_polls = self.admission.is_full() && self.ready_count > 0;
        self.probe_share.probe_ended(took, has_held_polls, now);
        self.heed(verdict, Requester::Probe, self.hash, retry_after, now);
    }

    /// Takes in what the end of a request says of the provider.
    fn heed(
        &mut self,
        verdict: PollOutcome,
        requester: Requester,
        hash: u64,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.admission.complete();
        if let Some(delay) = retry_after {
            self.admission.retry_after(delay, now);
        }
        self.admission.observe_auth(verdict, requester, &self.cadence, hash, now);
    }

    pub(super) fn settle(&mut self, verdicts: &[(Slot, PollOutcome)], now: Instant) {
        let cadence = self.cadence;
        let failed = |(_, verdict): &(Slot, PollOutcome)| verdict.is_failure();
        if verdicts.len() > 1 && verdicts.iter().all(failed) {
            return self.back_off_as_one(verdicts, now);
        }
        for (slot, verdict) in verdicts {
            let Some(entry) = self.entry(*slot) else { continue };
            if *verdict == PollOutcome::Final {
                entry.phase = Phase::Done;
                self.open -= 1;
                self.batches.forget_task(*slot);
                continue;
            }
            let due = if verdict.is_failure() {
                entry.failures = entry.failures.saturating_add(1);
                verdict.retry(&cadence, entry.hash, entry.failures, now)
            } else {
                entry.failures = 0;
                // Its own place may be a moment away, where nothing new can be learned.
                let pause = if entry.is_late { cadence.interval() / 2 } else { Duration::ZERO };
                cadence.next(entry.hash, now + pause)
            };
            self.wait(*slot, due);
        }
    }

    /// The tasks of a failed batch come back together, so that they can be a batch again.
    fn back_off_as_one(&mut self, verdicts: &[(Slot, PollOutcome)], now: Instant) {
        let entries = verdicts.iter().filter_map(|(slot, _)| self.entry(*slot).copied());
        let (hash, failures) = entries
            .map(|entry| (entry.hash, entry.failures.saturating_add(1)))
            .reduce(|(hash, most), (_, failures)| (hash, most.max(failures)))
            .unwrap_or((0, 1));
        let retry =
            |(_, verdict): &(Slot, PollOutcome)| verdict.retry(&self.cadence, hash, failures, now);
        let due = verdicts.iter().map(retry).min().unwrap_or(now);
        for (slot, _) in verdicts {
            if let Some(entry) = self.entry(*slot) {
                entry.failures = failures;
                self.wait(*slot, due);
            }
        }
    }
}
