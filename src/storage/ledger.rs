//! Totals of finished tasks on their way from a poll to the readers of `/metrics`. Pure.
//!
//! A finished task is shown once it is durable, so that no restart can take it back: once the journal
//! that has its record was synced, or a snapshot with it has replaced the journals. A change that is
//! in no journal, because the disk has refused it say, needs the snapshot.

use std::sync::Arc;
use std::time::Duration;

use crate::observation::State;
use crate::telemetry::finishes::Finishes;

/// Providers whose totals are kept, those that have left the configuration included. A configuration
/// that renames its providers again and again must not add totals without end.
const MAX_PROVIDERS: usize = 1_000;

/// The totals of finished tasks.
#[derive(Debug)]
pub struct Ledger {
    /// Totals of all finished tasks.
    known: Finishes,
    /// Number of changes of `known`.
    version: u64,
    /// Totals that readers see.
    shown: Finishes,
    /// Version of `shown`.
    shown_version: u64,
    /// True if snapshot and journals together have every change.
    is_whole: bool,
    /// True if the journals have every change since the last snapshot was begun.
    is_whole_since_begin: bool,
}

/// Totals that may be shown once they are durable.
#[derive(Clone, Debug)]
pub struct PendingTotals {
    /// The totals.
    pub finishes: Finishes,
    version: u64,
}

impl Ledger {
    /// Creates a ledger that continues from earlier runs, of whose `known` totals `shown` are durable. If the
    /// journals are `whole`, a sync makes the rest durable too.
    pub fn new(known: Finishes, shown: Finishes, whole: bool) -> Self {
        let version = u64::from(known != shown);
        Self {
            known,
            version,
            shown,
            shown_version: 0,
            is_whole: whole,
            is_whole_since_begin: true,
        }
    }

    /// Adds a finished task.
    pub fn add(&mut self, provider: &Arc<str>, state: State, duration: Option<Duration>) {
        self.known.add(provider, state, duration);
        self.version = self.version.saturating_add(1);
    }

    /// Adds totals of tasks whose changes are in no journal.
    pub fn add_unwritten(&mut self, finishes: &Finishes) {
        self.known.merge(finishes);
        self.version = self.version.saturating_add(1);
        self.miss();
    }

    /// Notes that a change is in no journal, or that a journal may not be durable.
    pub fn miss(&mut self) {
        self.is_whole = false;
        self.is_whole_since_begin = false;
    }

    /// Reports whether readers do not see all totals yet.
    pub fn is_behind(&self) -> bool {
        self.version != self.shown_version
    }

    /// Returns the totals that may be shown once all journals, as they are now, are synced.
    pub fn covered(&self) -> Option<PendingTotals> {
        (self.is_whole && self.is_behind()).then(|| self.all())
    }

    /// Returns the totals of a snapshot that is begun now. With more than 1,000 providers, those for
    /// which `is_configured` is false are dropped.
    pub fn begin_snapshot(&mut self, is_configured: impl Fn(&str) -> bool) -> PendingTotals {
        if self.known.len() > MAX_PROVIDERS {
            self.known.retain(&is_configured);
            self.shown.retain(&is_configured);
        }
        self.is_whole_since_begin = true;
        self.all()
    }

    /// Reports whether the snapshot that was begun last may replace the journals before it: every
    /// change since is in those after it.
    pub fn may_replace(&self) -> bool {
        self.is_whole_since_begin
    }

    /// Notes that the snapshot that was begun last is durable.
    pub fn replaced(&mut self) {
        self.is_whole = self.is_whole_since_begin;
    }

    /// Reports whether totals that are durable now can be shown.
    pub fn may_show(&self) -> bool {
        self.is_whole
    }

    /// Marks totals as shown. Returns all totals that are.
    pub fn show(&mut self, covered: PendingTotals) -> &Finishes {
        if covered.version > self.shown_version {
            self.shown = covered.finishes;
            self.shown_version = covered.version;
        }
        &self.shown
    }

    /// Returns the totals that are shown.
    pub fn shown(&self) -> &Finishes {
        &self.shown
    }

    fn all(&self) -> PendingTotals {
        PendingTotals { finishes: self.known.clone(), version: self.version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Finishes::default(), Finishes::default(), true)
    }

    fn add(ledger: &mut Ledger) {
        ledger.add(&"p".into(), State::Succeeded, None);
    }

    fn finishes(count: usize) -> Finishes {
        let mut finishes = Finishes::default();
        for _ in 0..count {
            finishes.add(&"p".into(), State::Succeeded, None);
        }
        finishes
    }

    #[test]
    fn a_sync_shows_what_was_there_when_it_began() {
        let mut ledger = ledger();
        assert!(ledger.covered().is_none());
        add(&mut ledger);
        let covered = ledger.covered().unwrap();
        add(&mut ledger);
        assert_eq!(*ledger.show(covered), finishes(1));
        let covered = ledger.covered().unwrap();
        assert_eq!(*ledger.show(covered), finishes(2));
        assert!(ledger.covered().is_none() && !ledger.is_behind());
    }

    #[test]
    fn what_is_in_no_journal_waits_for_a_snapshot() {
        let mut ledger = ledger();
        add(&mut ledger);
        let covered = ledger.covered().unwrap();
        ledger.add_unwritten(&finishes(2));
        assert!(!ledger.may_show(), "a sync that began before proves nothing of it");
        assert!(ledger.covered().is_none());
        drop(covered);

        let snapshot = ledger.begin_snapshot(|_| true);
        add(&mut ledger);
        assert!(ledger.covered().is_none() && ledger.may_replace());
        ledger.replaced();
        assert!(ledger.may_show());
        assert_eq!(*ledger.show(snapshot), finishes(3));
        let covered = ledger.covered().unwrap();
        assert_eq!(*ledger.show(covered), finishes(4), "it is in the journal behind the snapshot");
    }

    #[test]
    fn a_snapshot_is_not_used_where_a_change_behind_it_is_missing() {
        let mut ledger = ledger();
        let snapshot = ledger.begin_snapshot(|_| true);
        ledger.miss();
        assert!(!ledger.may_replace());
        drop(snapshot);
        let snapshot = ledger.begin_snapshot(|_| true);
        assert!(ledger.may_replace());
        // Too late for the snapshot, which is on its way.
        ledger.add_unwritten(&finishes(1));
        ledger.replaced();
        assert!(!ledger.may_show() && ledger.covered().is_none());
        drop(snapshot);
    }

    #[test]
    fn totals_of_an_earlier_run_are_shown_once_durable() {
        let mut ledger = Ledger::new(finishes(5), finishes(3), true);
        assert_eq!(*ledger.shown(), finishes(3));
        let covered = ledger.covered().unwrap();
        assert_eq!(*ledger.show(covered), finishes(5));
        let proven = Ledger::new(finishes(5), finishes(5), true);
        assert!(proven.covered().is_none());
        let in_doubt = Ledger::new(finishes(5), finishes(3), false);
        assert!(in_doubt.covered().is_none() && in_doubt.is_behind());
    }

    #[test]
    fn providers_that_have_left_are_kept_up_to_a_number() {
        let mut ledger = ledger();
        let add = |ledger: &mut Ledger, number: usize| {
            ledger.add(&format!("p{number}").into(), State::Failed, None);
        };
        (0..MAX_PROVIDERS).for_each(|number| add(&mut ledger, number));
        assert_eq!(ledger.begin_snapshot(|name| name == "p7").finishes.len(), MAX_PROVIDERS);
        add(&mut ledger, MAX_PROVIDERS);
        assert_eq!(ledger.begin_snapshot(|name| name == "p7").finishes.len(), 1);
    }
}
