//! Wall-clock time. Code that needs the current time gets a [`Clock`], so that tests control it.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A time in microseconds since the Unix epoch: as precise as the times of any API, and exact, which
/// a float would not be. An `Option` of it takes no more memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Timestamp(
    /// Microseconds since the earliest time that can be represented, so that times are ordered.
    NonZeroU64,
);

/// Microseconds from the earliest time to the Unix epoch.
const EPOCH: u64 = 1 << 63;

impl Timestamp {
    /// Creates a time from microseconds since the Unix epoch; the earliest is `i64::MIN` + 1.
    pub const fn from_micros(micros: i64) -> Self {
        match NonZeroU64::new(micros.cast_unsigned() ^ EPOCH) {
            Some(since_earliest) => Self(since_earliest),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        (self.0.get() ^ EPOCH).cast_signed()
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later, because the clock of a
    /// provider may be ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl From<SystemTime> for Timestamp {
    /// Converts a time; one before the Unix epoch becomes the epoch.
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

/// Writes seconds with six decimal places, as Prometheus reads them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros() < 0 { "-" } else { "" };
        let micros = self.micros().unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A source of the current time: the instant of its start, and the wall-clock time then.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The host's clock.
    System(Instant, Timestamp),
    /// A wall clock that starts at a given moment and advances with tokio's (pausable) time.
    Paused(Instant, Timestamp),
}

impl Clock {
    /// Creates a clock for tests that shows `now` at first and follows tokio's time.
    pub fn starting_at(now: Timestamp) -> Self {
        Self::Paused(Instant::now(), now)
    }

    /// Creates a clock that shows the host's time.
    pub fn system() -> Self {
        Self::System(Instant::now(), host_time())
    }

    /// Returns the current time by the wall clock, which the host may set forward and back.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System(..) => host_time(),
            Self::Paused(..) => self.monotonic(),
        }
    }

    /// Returns the time of the clock's start, by the wall clock.
    pub fn started(&self) -> Timestamp {
        let (Self::System(_, at_start) | Self::Paused(_, at_start)) = self;
        *at_start
    }

    /// Returns the current time, unaffected by clock adjustments since start. Use it to measure
    /// elapsed time.
    pub fn monotonic(&self) -> Timestamp {
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
