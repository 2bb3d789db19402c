//! Wall-clock time. Whoever needs "now" is handed a [`Clock`], so tests decide what time it is.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A moment in microseconds since the Unix epoch: as fine as any API tells, and exact where a
/// float would not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The time that has passed from `earlier` to `self`; zero when `earlier` is later, because
    /// an upstream's clock may run ahead of ours.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Seconds with six digits after the point, as Prometheus reads them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Where "now" comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The host's clock.
    System,
    /// A wall clock that starts at a given moment and advances with tokio's (pausable) time.
    Paused(Instant, Timestamp),
}

impl Clock {
    /// A clock for tests: reads `now` at this instant, then follows tokio's time.
    pub fn starting_at(now: Timestamp) -> Self {
        Self::Paused(Instant::now(), now)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
            }
            Self::Paused(start, at_start) => *at_start + start.elapsed(),
        }
    }
}
