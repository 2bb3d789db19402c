//! A value's text to what it means. Pure.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// The last microsecond of the year 9999. A time beyond it has another unit than the mapping says.
const MAX_MICROS: i64 = 253_402_300_799_999_999;

/// How an API writes moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 or ISO 8601, with `T` or a space; UTC where there is no offset.
    Rfc3339,
    /// Seconds since the Unix epoch, as a number or its text, fractions allowed.
    EpochSeconds,
    /// Milliseconds since the Unix epoch, likewise.
    EpochMilliseconds,
}

impl TimeFormat {
    /// The names in a configuration, and what they stand for.
    pub const NAMES: [(&str, Self); 3] = [
        ("rfc3339", Self::Rfc3339),
        ("epoch_seconds", Self::EpochSeconds),
        ("epoch_milliseconds", Self::EpochMilliseconds),
    ];

    /// The moment that `text` tells; `None` where it is unset, which APIs write as `""`, as 0 or as
    /// a moment before 1970 (Go's zero time).
    ///
    /// # Errors
    /// When the text is not of this format, or beyond the year 9999.
    pub fn parse(self, text: &str) -> Result<Option<Timestamp>, &'static str> {
        let text = text.trim();
        if text.is_empty() || text == "0" {
            return Ok(None);
        }
        let micros = match self {
            Self::Rfc3339 => rfc3339(text).ok_or("not an RFC 3339 time")?,
            Self::EpochSeconds => epoch(text, 1_000_000)?,
            Self::EpochMilliseconds => epoch(text, 1_000)?,
        };
        if micros > MAX_MICROS {
            return Err("beyond the year 9999: is the format's unit right?");
        }
        Ok((micros > 0).then_some(Timestamp::from_micros(micros)))
    }
}

fn rfc3339(text: &str) -> Option<i64> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let moment = PARSER.parse_timestamp(text).ok().or_else(|| {
        let local: DateTime = PARSER.parse_datetime(text).ok()?;
        local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(moment.as_microsecond())
}

fn epoch(text: &str, micros_per_unit: u32) -> Result<i64, &'static str> {
    const NOT_A_NUMBER: &str = "not a number";
    if let Ok(units) = text.parse::<i64>() {
        return Ok(units.saturating_mul(i64::from(micros_per_unit)));
    }
    let units: f64 = text.parse().map_err(|_| NOT_A_NUMBER)?;
    if !units.is_finite() {
        return Err(NOT_A_NUMBER);
    }
    // A float holds today's seconds to a quarter of a microsecond: round, or .303527 loses one.
    let seconds = units * f64::from(micros_per_unit) / 1e6;
    match Duration::try_from_secs_f64(seconds) {
        Ok(since_epoch) => {
            let micros = (since_epoch + Duration::from_nanos(500)).as_micros();
            Ok(i64::try_from(micros).unwrap_or(i64::MAX))
        }
        Err(_) if seconds < 0.0 => Ok(0),
        Err(_) => Ok(i64::MAX),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        use TimeFormat::{EpochMilliseconds, EpochSeconds, Rfc3339};
        let seed = Ok(Some(1_750_402_472_303_527));
        let unit = "beyond the year 9999: is the format's unit right?";
        for (format, text, expected) in [
            (Rfc3339, "2025-06-20 06:54:32.303527+00:00", seed),
            (Rfc3339, "2025-06-20T06:54:32.303527Z", seed),
            (Rfc3339, "2025-06-20 06:54:32.303527", seed),
            (Rfc3339, "2025-06-20 14:54:32.303527+0800", seed),
            (Rfc3339, "2025-06-20 06:54:32.303527+00", seed),
            (Rfc3339, " 2025-06-20T06:54:32.303Z ", Ok(Some(1_750_402_472_303_000))),
            (Rfc3339, "", Ok(None)),
            (Rfc3339, "0", Ok(None)),
            (Rfc3339, "0001-01-01T00:00:00Z", Ok(None)),
            (Rfc3339, "yesterday", Err("not an RFC 3339 time")),
            (Rfc3339, "1750402472", Err("not an RFC 3339 time")),
            (EpochSeconds, "1750402472", Ok(Some(1_750_402_472_000_000))),
            (EpochSeconds, "1750402472.303527", seed),
            (EpochSeconds, "0", Ok(None)),
            (EpochSeconds, "-1", Ok(None)),
            (EpochSeconds, "1750402472303", Err(unit)),
            (EpochSeconds, "1e300", Err(unit)),
            (EpochSeconds, "NaN", Err("not a number")),
            (EpochSeconds, "soon", Err("not a number")),
            (EpochMilliseconds, "1750402472303", Ok(Some(1_750_402_472_303_000))),
            (EpochMilliseconds, "1750402472303.527", seed),
            (EpochMilliseconds, "99999999999999999999", Err(unit)),
        ] {
            let parsed = format.parse(text).map(|time| time.map(Timestamp::micros));
            assert_eq!(parsed, expected, "{format:?} {text:?}");
        }
    }

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
}
