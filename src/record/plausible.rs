//! Whether what was read from a file can be what is known of a task.

use super::Known;
use crate::clock::Timestamp;
use crate::observation::State;
use crate::record::waited::Waited;

/// No clock and no API gives a moment outside of these: the mapping reads none before 1970
/// and none after the year 9999.
const EARLIEST: Timestamp = Timestamp::from_micros(0);
const LATEST: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

impl Known {
    /// Reports whether polls can have led to this. A checksum that is right does not say so.
    pub fn is_plausible(&self) -> bool {
        self.times_are_plausible()
            && self.progress.is_none_or(|progress| (0.0..=1.0).contains(&progress))
            && self.flags_fit_state()
    }

    fn times_are_plausible(&self) -> bool {
        let trouble = self.trouble.as_deref();
        let last_success = trouble.and_then(|trouble| trouble.last_success);
        let waited = trouble.and_then(|trouble| trouble.waited.as_deref());
        let waited = waited.into_iter().flat_map(Waited::moments);
        let known = [self.enqueued, self.state_since, self.moved];
        let mut times = known.into_iter().chain(self.last_poll).chain(last_success).chain(waited);
        times.all(|moment| (EARLIEST..=LATEST).contains(&moment))
    }

    fn flags_fit_state(&self) -> bool {
        let is_final = match self.state {
            State::Succeeded | State::Failed | State::Cancelled => self.is_final,
            State::NotFound => true,
            State::Queued | State::Running | State::Waiting | State::Unknown => !self.is_final,
            State::Unpolled => !self.is_final && !self.seen_open && self.status.is_empty(),
        };
        is_final && (self.is_final || !self.has_end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::{Failure, Observation, Reason};
    use crate::record::Trouble;
    use crate::record::poll_time::PollTime;

    const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);
    const STUCK_AFTER: Duration = Duration::from_secs(600);

    fn known(state: State) -> Known {
        let mut known = Known::new(NOW);
        known.observe(&Observation::new(state, "word"), NOW);
        known
    }

    #[test]
    fn what_polls_lead_to_is_plausible() {
        assert!(Known::new(NOW).is_plausible());
        for state in State::ALL.into_iter().filter(|state| *state != State::Unpolled) {
            let mut known = known(state);
            assert!(known.is_plausible(), "{state}");
            for reason in Reason::ALL {
                known.fail(&Failure::new(reason, ""), NOW, STUCK_AFTER);
                assert!(known.is_plausible(), "{state} {reason}");
            }
        }
        let mut denied = Known::new(NOW);
        denied.fail(&Failure::new(Reason::NotFound, ""), NOW, STUCK_AFTER);
        assert!(denied.is_plausible());
    }

    #[test]
    fn what_no_poll_leads_to_is_not() {
        let wrong = |state: State, change: fn(&mut Known)| {
            let mut known = if state == State::Unpolled { Known::new(NOW) } else { known(state) };
            change(&mut known);
            assert!(!known.is_plausible(), "{known:?}");
        };
        let changes: [fn(&mut Known); 13] = [
            |known| known.progress = Some(-1e250),
            |known| known.progress = Some(f64::NAN),
            |known| known.progress = Some(1.000_001),
            |known| known.enqueued = Timestamp::from_micros(i64::MAX),
            |known| known.state_since = Timestamp::from_micros(i64::MIN),
            |known| known.moved = LATEST + Duration::from_micros(1),
            |known| known.last_poll = Some(Timestamp::from_micros(-1)),
            |known| {
                let last_success = Some(Timestamp::from_micros(-1));
                known.trouble = Some(Box::new(Trouble { last_success, ..Trouble::default() }));
            },
            |known| {
                let at = PollTime { now: LATEST + Duration::from_micros(1), steady: NOW };
                let waited = Some(Box::new(Waited::begin(true, at)));
                known.trouble = Some(Box::new(Trouble { waited, ..Trouble::default() }));
            },
            |known| known.is_final = true,
            |known| known.has_end = true,
            |known| known.state = State::Failed,
            |known| known.state = State::Unpolled,
        ];
        for change in changes {
            wrong(State::Running, change);
        }
        wrong(State::Succeeded, |known| known.is_final = false);
        wrong(State::NotFound, |known| known.has_end = true);
        wrong(State::Unpolled, |known| known.seen_open = true);
        wrong(State::Unpolled, |known| known.is_final = true);
    }
}
