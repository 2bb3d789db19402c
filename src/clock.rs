//! Wall-clock time. Whoever needs "now" is handed a [`Clock`], so tests decide what time it is.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A moment in microseconds since the Unix epoch: as fine as any API tells, and exact where a
/// float would not be. An `Option` of it is no larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Timestamp(
    /// Microseconds since the earliest moment that there is, in which order they compare.
    NonZeroU64,
);

/// From the earliest moment to the Unix epoch.
const EPOCH: u64 = 1 << 63;

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch; the earliest is `i64::MIN` + 1.
    pub const fn from_micros(micros: i64) -> Self {
        match NonZeroU64::new(micros.cast_unsigned() ^ EPOCH) {
            Some(since_earliest) => Self(since_earliest),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        (self.0.get() ^ EPOCH).cast_signed()
    }

    /// The time that has passed from `earlier` to `self`; zero when `earlier` is later, because
    /// an upstream's clock may run ahead of ours.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl From<SystemTime> for Timestamp {
    /// The Unix epoch for a moment before it.
    fn from(moment: SystemTime) -> Self {
        let since_epoch = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Timestamp {
    fn from(micros: i64) -> Self {
        Self::from_micros(micros)
    }
}

impl From<Timestamp> for i64 {
    fn from(moment: Timestamp) -> Self {
        moment.micros()
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.micros().saturating_add(micros))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.micros().saturating_sub(micros))
    }
}

/// Seconds with six digits after the point, as Prometheus reads them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros() < 0 { "-" } else { "" };
        let micros = self.micros().unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Where "now" comes from: since when there is this clock, and what time it was then.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The host's clock.
    System(Instant, Timestamp),
    /// A wall clock that starts at a given moment and advances with tokio's (pausable) time.
    Paused(Instant, Timestamp),
}

impl Clock {
    /// A clock for tests: reads `now` at this instant, then follows tokio's time.
    pub fn starting_at(now: Timestamp) -> Self {
        Self::Paused(Instant::now(), now)
    }

    /// The host's clock.
    pub fn system() -> Self {
        Self::System(Instant::now(), host_time())
    }

    /// The present moment, by a clock that its host may set forward and back.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System(..) => host_time(),
            Self::Paused(..) => self.steady(),
        }
    }

    /// What it would be now, had nobody set the clock since there is this one: tells how much time
    /// has passed between two moments of one process.
    pub fn steady(&self) -> Timestamp {
        let (Self::System(start, at_start) | Self::Paused(start, at_start)) = self;
        *at_start + start.elapsed()
    }
}

fn host_time() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_moment_takes_no_space() {
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }

    proptest! {
        #[test]
        fn moments_are_kept_and_compare_as_their_microseconds(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (a.max(i64::MIN + 1), b.max(i64::MIN + 1));
            let (first, second) = (Timestamp::from_micros(a), Timestamp::from_micros(b));
            prop_assert_eq!((first.micros(), second.micros()), (a, b));
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            let since = u64::try_from(i128::from(a) - i128::from(b)).unwrap_or(0);
            prop_assert_eq!(first.since(second), Duration::from_micros(since));
        }
    }
}
