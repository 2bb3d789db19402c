//! A value's text to what it means. Pure.

use std::time::Duration;

/// The longest number that is a delay: a year. A larger one is no delay but a moment, counted from
/// 1970, and says nothing that can be relied upon.
pub const MAX_DELAY: Duration = Duration::from_secs(365 * 86_400);

/// How an API writes progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressFormat {
    /// 0 to 100, with or without `%`.
    Percent,
    /// 0 to 1.
    Ratio,
}

impl ProgressFormat {
    /// The names in a configuration, and what they stand for.
    pub const NAMES: [(&str, Self); 2] = [("percent", Self::Percent), ("ratio", Self::Ratio)];

    /// From 0 to 1; `None` for anything that is not a number, since gateways put any text there.
    pub fn parse(self, text: &str) -> Option<f64> {
        let number: f64 = text.trim().trim_end_matches('%').trim_end().parse().ok()?;
        let ratio = match self {
            Self::Percent => number / 100.0,
            Self::Ratio => number,
        };
        ratio.is_finite().then(|| ratio.clamp(0.0, 1.0))
    }
}

/// The format of a delay, for which an API asks to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayFormat {
    /// Seconds, fractions allowed.
    Seconds,
    /// Milliseconds, likewise.
    Milliseconds,
}

impl DelayFormat {
    /// The names in a configuration, and what they stand for.
    pub const NAMES: [(&str, Self); 2] =
        [("seconds", Self::Seconds), ("milliseconds", Self::Milliseconds)];

    /// A delay in whole seconds, rounded up; `None` for what is no number, negative, or more than a
    /// year.
    pub fn parse(self, text: &str) -> Option<Duration> {
        let number: f64 = text.trim().parse().ok()?;
        let seconds = match self {
            Self::Seconds => number,
            Self::Milliseconds => number / 1_000.0,
        };
        let is_delay = (0.0..=MAX_DELAY.as_secs_f64()).contains(&seconds);
        is_delay.then(|| Duration::from_secs_f64(seconds.ceil()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress() {
        use ProgressFormat::{Percent, Ratio};
        for (format, text, expected) in [
            (Percent, "31%", Some(0.31)),
            (Percent, " 100 % ", Some(1.0)),
            (Percent, "250", Some(1.0)),
            (Percent, "", None),
            (Percent, "waiting", None),
            (Ratio, "0.5", Some(0.5)),
            (Ratio, "-3", Some(0.0)),
            (Ratio, "nan", None),
        ] {
            assert_eq!(format.parse(text), expected, "{format:?} {text:?}");
        }
    }

    #[test]
    fn delays() {
        use DelayFormat::{Milliseconds, Seconds};
        for (format, text, expected) in [
            (Seconds, "30", Some(30)),
            (Seconds, " 0.25 ", Some(1)),
            (Seconds, "0", Some(0)),
            (Seconds, "31536000", Some(31_536_000)),
            (Seconds, "1796022000", None),
            (Seconds, "-1", None),
            (Seconds, "NaN", None),
            (Seconds, "soon", None),
            (Milliseconds, "1500", Some(2)),
            (Milliseconds, "1796022000", Some(1_796_022)),
        ] {
            assert_eq!(
                format.parse(text),
                expected.map(Duration::from_secs),
                "{format:?} {text:?}"
            );
        }
    }
}
