//! Parsing of the times in responses, and their plausibility. Pure.

use std::time::Duration;

use jiff::civil::Time;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::Offset;

use crate::clock::Timestamp;

/// Last microsecond of the year 9999, the latest time that our clock can have.
const MAX_MICROS: i64 = 253_402_300_799_999_999;
/// Start of the year 2: zero times of Go, Java and .NET are in the year 1.
const YEAR_2: i64 = -62_104_060_800_000_000;
/// Start of the year 2000: no API is older, and seconds parsed as milliseconds are earlier until the year
/// 31,000.
const YEAR_2000: i64 = 946_684_800_000_000;
/// Tolerance between two clocks of a provider: the one for the times of tasks and the one for the `Date` of
/// responses.
const MAX_AHEAD: Duration = Duration::from_secs(300);
/// Maximum difference between two time zones.
const MAX_ZONES: Duration = Duration::from_hours(26);
/// Maximum length of the text of a time, in bytes.
const MAX_TEXT: usize = 128;
/// Maximum number of digits of a fraction that jiff parses.
const MAX_FRACTION: usize = 9;

const SECONDS: u32 = 1;
const MILLISECONDS: u32 = 1_000;
const MICROSECONDS: u32 = 1_000_000;
const NANOSECONDS: u32 = 1_000_000_000;

/// Format of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 or ISO 8601, with `T` or a space; times without an offset have this one.
    Rfc3339(Offset),
    /// Seconds since the Unix epoch, as a number or as text, with or without a fraction.
    EpochSeconds,
    /// Milliseconds since the Unix epoch, likewise.
    EpochMilliseconds,
    /// Seconds, milliseconds, microseconds or nanoseconds since the Unix epoch, by their size.
    Epoch,
}

impl TimeFormat {
    /// Names in the configuration.
    pub const NAMES: [(&str, Self); 4] = [
        ("rfc3339", Self::Rfc3339(Offset::UTC)),
        ("epoch_seconds", Self::EpochSeconds),
        ("epoch_milliseconds", Self::EpochMilliseconds),
        ("epoch", Self::Epoch),
    ];

    /// Parses a time in a response that was sent at `sent`. Returns `None` if it is unset: `""`, 0, the Unix
    /// epoch, a date of zeros, or a time before the year 2.
    ///
    /// # Errors
    /// Fails when the text does not have this format, or the time is not plausible: before the year 2000, or more
    /// than 5 minutes after `sent`. The error is one of a few fixed sentences.
    pub fn parse(self, text: &str, sent: Timestamp) -> Result<Option<Timestamp>, &'static str> {
        let text = text.trim();
        if text.is_empty() || text == "0" {
            return Ok(None);
        }
        let is_epoch = !matches!(self, Self::Rfc3339(_));
        let micros = match self {
            Self::Rfc3339(_) if text.starts_with("0000-00-00") => return Ok(None),
            Self::Rfc3339(zone) => rfc3339(text, zone)?,
            Self::EpochSeconds => epoch(text, Some(SECONDS))?,
            Self::EpochMilliseconds => epoch(text, Some(MILLISECONDS))?,
            Self::Epoch => epoch(text, None)?,
        };
        if is_unset(micros) {
            return Ok(None);
        }
        if micros < YEAR_2000 {
            return Err(if is_epoch {
                "before the year 2000: is the unit correct?"
            } else {
                "before the year 2000: is this the right field?"
            });
        }
        let moment = Timestamp::from_micros(micros);
        let ahead = moment.since(sent);
        if ahead > MAX_ZONES || micros > MAX_MICROS {
            return Err(if is_epoch {
                "days in the future: is the unit correct?"
            } else {
                "days in the future: is this the right field?"
            });
        }
        if ahead > MAX_AHEAD {
            return Err("more than 5 minutes in the future: is the zone correct?");
        }
        Ok(Some(moment))
    }
}

/// Parses a UTC offset such as `+08:00`, `-0330`, `+08` or `Z`.
pub fn zone(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let two = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| is_number)
    };
    let (hours, minutes) = (two(hours)?, if digits.len() == 2 { 0 } else { two(minutes)? });
    let seconds = (hours * 60 + minutes) * 60;
    // The range of RFC 3339.
    let is_offset = hours < 24 && minutes < 60;
    let signed = match sign {
        "+" => seconds,
        "-" => -seconds,
        _ => return None,
    };
    Offset::from_seconds(signed).ok().filter(|_| is_offset)
}

fn not_rfc3339(text: &str) -> &'static str {
    if text.parse::<f64>().is_ok() {
        "a number, not an RFC 3339 time: should the format be `epoch`?"
    } else {
        "not an RFC 3339 time: is the format correct?"
    }
}

/// Reports whether a time, in microseconds since the Unix epoch, means that there is none.
const fn is_unset(micros: i64) -> bool {
    micros == 0 || micros < YEAR_2
}

/// Parses a time in any form of `rfc3339`, as microseconds since the Unix epoch; years that do not fit
/// saturate.
fn rfc3339(text: &str, zone: Offset) -> Result<i64, &'static str> {
    let moment = iso(text, zone).or_else(|| iso(&normalised(text)?, zone));
    moment.unwrap_or_else(|| Err(not_rfc3339(text)))
}

/// Parses a time in a form of ISO 8601, likewise. Returns `None` for any other form.
fn iso(text: &str, zone: Offset) -> Option<Result<i64, &'static str>> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let pieces = PARSER.parse_pieces(text).ok()?;
    let (date, time) = (pieces.date(), pieces.time());
    let local = date.to_datetime(time.unwrap_or(Time::midnight()));
    // jiff has no timestamps in the last day of the year 9999.
    let far = if date.year() > 0 { i64::MAX } else { i64::MIN };
    let moment = pieces.to_numeric_offset().unwrap_or(zone).to_timestamp(local);
    let micros = moment.map_or(far, jiff::Timestamp::as_microsecond);
    // Midnight would make a task up to a day older than it is, and stuck.
    let is_day = time.is_none() && !is_unset(micros);
    Some(if is_day {
        Err("a date without a time of day: is this the right field?")
    } else {
        Ok(micros)
    })
}

/// Converts a time to ISO 8601 from other forms: that of Go, `2026-11-30 15:00:00.5 +0800 CST m=+0.1`, with a
/// space before the offset, or with more digits than nanoseconds have.
fn normalised(text: &str) -> Option<String> {
    let text = Some(text).filter(|text| text.len() <= MAX_TEXT)?;
    let mut parts = text.split_ascii_whitespace().filter(|part| !part.starts_with("m="));
    let mut time = parts.next()?.to_owned();
    let mut next = parts.next();
    if let Some(clock) = next.filter(|part| part.contains(':') && !part.starts_with(['+', '-'])) {
        time = format!("{time}T{clock}");
        next = parts.next();
    }
    if let Some(offset) = next {
        let offset = match offset {
            "UTC" | "GMT" => "Z",
            offset => offset,
        };
        time.push_str(offset);
        // Go also prints the name of the zone, in letters or as the offset again.
        let is_name =
            |name: &str| name.chars().all(|c| c.is_ascii_alphabetic()) || zone(name).is_some();
        if parts.next().is_some_and(|name| !is_name(name)) || parts.next().is_some() {
            return None;
        }
    }
    Some(with_short_fraction(&time))
}

/// Removes the digits of a fraction beyond nanoseconds.
fn with_short_fraction(time: &str) -> String {
    let Some((whole, rest)) = time.split_once(['.', ',']) else { return time.to_owned() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = rest.split_at_checked(digits).unwrap_or((rest, ""));
    let fraction = fraction.get(..MAX_FRACTION).unwrap_or(fraction);
    format!("{whole}.{fraction}{offset}")
}

/// Returns the units per second of a Unix time of this size: the numbers for the years 1973 to 5138 do not
/// overlap between units.
fn units_per_second(whole: u64) -> u32 {
    const E11: u64 = 100_000_000_000;
    match whole / E11 {
        0 => SECONDS,
        1..1_000 => MILLISECONDS,
        1_000..1_000_000 => MICROSECONDS,
        _ => NANOSECONDS,
    }
}

/// Parses a number of units since the Unix epoch into microseconds, saturating.
fn epoch(text: &str, unit: Option<u32>) -> Result<i64, &'static str> {
    const NOT_A_NUMBER: &str = "not a number: is the format correct?";
    let per_second = |whole| unit.unwrap_or_else(|| units_per_second(whole));
    if let Ok(units) = text.parse::<i64>() {
        return Ok(match per_second(units.unsigned_abs()) {
            NANOSECONDS => units / 1_000,
            per_second => units.saturating_mul(i64::from(MICROSECONDS / per_second)),
        });
    }
    let number: f64 = text.parse().map_err(|_| NOT_A_NUMBER)?;
    if !number.is_finite() {
        return Err(NOT_A_NUMBER);
    }
    let (most, sign) = if number < 0.0 { (i64::MIN, -1) } else { (i64::MAX, 1) };
    // A float represents today's seconds to a quarter of a microsecond: without rounding, .303527 would
    // lose one.
    let whole = Duration::try_from_secs_f64(number.abs()).map_or(u64::MAX, |size| size.as_secs());
    let size = Duration::try_from_secs_f64(number.abs() / f64::from(per_second(whole)));
    let micros = size.map(|size| (size + Duration::from_nanos(500)).as_micros());
    let micros = micros.ok().and_then(|micros| i64::try_from(micros).ok());
    Ok(micros.map_or(most, |micros| sign * micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30T07:00:00Z
    const SENT: i64 = 1_796_022_000_000_000;
    const UTC: TimeFormat = TimeFormat::Rfc3339(Offset::UTC);

    fn parse(format: TimeFormat, text: &str) -> Result<Option<i64>, &'static str> {
        let time = format.parse(text, Timestamp::from_micros(SENT));
        time.map(|time| time.map(Timestamp::micros))
    }

    #[test]
    fn rfc3339_in_all_its_forms() {
        let seed = Ok(Some(1_750_402_472_303_527));
        let whole = Ok(Some(1_750_402_472_000_000));
        for (text, expected) in [
            ("2025-06-20 06:54:32.303527+00:00", seed),
            ("2025-06-20T06:54:32.303527Z", seed),
            ("2025-06-20t06:54:32,303527z", seed),
            ("2025-06-20 06:54:32.303527", seed),
            ("2025-06-20 14:54:32.303527+0800", seed),
            ("2025-06-20 06:54:32.303527+00", seed),
            ("2025-06-20T06:54:32.303527891234Z", seed),
            ("2025-06-20T06:54:32,303527891234567", seed),
            ("2025-06-20 14:54:32.303527123456+08:00", seed),
            (" 2025-06-20T06:54:32.303Z ", Ok(Some(1_750_402_472_303_000))),
            ("2025-06-20 14:54:32 +0800", whole),
            ("2025-06-20 14:54:32 +08:00", whole),
            ("2025-06-20T14:54:32 +0800", whole),
            ("2025-06-20 14:54:32.303527 +0800 CST", seed),
            ("2025-06-20 09:54:32 +0300 +03", whole),
            ("2025-06-20 06:54:32 +0000 UTC", whole),
            ("2025-06-20 06:54:32 UTC", whole),
            ("2025-06-20 03:24:32 -0330 NST m=+0.100000001", whole),
            ("2025-06-20 06:54:32 Z", whole),
        ] {
            assert_eq!(parse(UTC, text), expected, "{text:?}");
        }
        for text in [
            "yesterday",
            "2025-06-20 06:54:32 CST",
            "2025-06-20 06:54:32 +0800 CST more",
            "2025-06-20 06:54:32 +0800 1",
            "2025-13-20 06:54:32",
            "2025-06-20",
            &"1".repeat(200),
        ] {
            assert!(parse(UTC, text).is_err(), "{text:?}");
        }
        assert!(parse(UTC, "1750402472").unwrap_err().contains("`epoch`"));
    }

    #[test]
    fn a_zone_applies_to_times_without_an_offset() {
        let beijing = TimeFormat::Rfc3339(zone("+08:00").unwrap());
        let expected = Ok(Some(1_750_402_472_000_000));
        for text in ["2025-06-20 14:54:32", "2025-06-20T06:54:32Z", "2025-06-20 06:54:32 UTC"] {
            assert_eq!(parse(beijing, text), expected, "{text:?}");
        }
        for (text, seconds) in
            [("Z", 0), ("+08:00", 28_800), ("-0330", -12_600), ("+08", 28_800), ("+23:59", 86_340)]
        {
            assert_eq!(zone(text).map(Offset::seconds), Some(seconds), "{text}");
        }
        for text in ["", "8", "+8", "08:00", "+24:00", "+08:60", "+08:0", "+08:00:00", "+é", "CST"]
        {
            assert_eq!(zone(text), None, "{text}");
        }
    }

    #[test]
    fn epochs() {
        use TimeFormat::{Epoch, EpochMilliseconds, EpochSeconds};
        let seed = Ok(Some(1_750_402_472_303_527));
        let milli = Ok(Some(1_750_402_472_303_000));
        let not_a_number = Err("not a number: is the format correct?");
        for (format, text, expected) in [
            (EpochSeconds, "1750402472", Ok(Some(1_750_402_472_000_000))),
            (EpochSeconds, "1750402472.303527", seed),
            (EpochSeconds, "1.750402472e9", Ok(Some(1_750_402_472_000_000))),
            (EpochSeconds, "NaN", not_a_number),
            (EpochSeconds, "1e999", not_a_number),
            (EpochSeconds, "soon", not_a_number),
            (EpochMilliseconds, "1750402472303", milli),
            (EpochMilliseconds, "1750402472303.527", seed),
            (EpochMilliseconds, "2026-11-30 07:00:00", not_a_number),
            (Epoch, "1750402472", Ok(Some(1_750_402_472_000_000))),
            (Epoch, "1750402472.303527", seed),
            (Epoch, "1750402472303", milli),
            (Epoch, "1750402472303.527", seed),
            (Epoch, "1750402472303527", seed),
            (Epoch, "1750402472303527999", seed),
        ] {
            assert_eq!(parse(format, text), expected, "{format:?} {text:?}");
        }
    }

    #[test]
    fn unset_times_are_not_odd() {
        for (_, format) in TimeFormat::NAMES {
            assert_eq!(parse(format, ""), Ok(None));
            assert_eq!(parse(format, " 0 "), Ok(None));
        }
        for text in [
            "0001-01-01T00:00:00Z",
            "0001-01-01 08:05:43 +0805 LMT",
            "0001-01-01T00:00:00+08:00",
            "0000-00-00 00:00:00",
            "0000-00-00",
            "0001-01-01",
            "1970-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(UTC, text), Ok(None), "{text}");
        }
        for text in ["0.0", "-62135596800", "-62135596800.0"] {
            assert_eq!(parse(TimeFormat::EpochSeconds, text), Ok(None), "{text}");
        }
        assert_eq!(parse(TimeFormat::EpochMilliseconds, "-62135596800000"), Ok(None));
    }

    #[test]
    fn implausible_times_are_refused() {
        use TimeFormat::{Epoch, EpochMilliseconds, EpochSeconds};
        for (format, text, question) in [
            // Seconds as milliseconds, and the other way round.
            (EpochMilliseconds, "1796022000", "unit"),
            (EpochSeconds, "1796022000000", "unit"),
            (EpochSeconds, "99999999999999999999", "unit"),
            (EpochSeconds, "-1", "unit"),
            (EpochSeconds, "946684799", "unit"),
            (EpochSeconds, "1796022301", "zone"),
            (Epoch, "1796050800", "zone"),
            (UTC, "2026-11-30 15:00:00", "zone"),
            (UTC, "2026-11-30 07:05:00.000001", "zone"),
            (UTC, "2026-12-02 07:00:00", "field"),
            (UTC, "1999-12-31 23:59:59", "field"),
            (UTC, "9999-06-01 00:00:00", "field"),
            (UTC, "9999-12-31T23:59:59Z", "days in the future: is this the right field"),
            (UTC, "9999-12-31 23:59:59.999999999-23:59", "days in the future"),
            (UTC, "2026-11-30", "a date without a time of day"),
        ] {
            let said = parse(format, text).unwrap_err();
            assert!(said.ends_with('?') && said.contains(question), "{format:?} {text}: {said}");
        }
        for (format, text) in [
            (EpochSeconds, "946684800"),
            (EpochSeconds, "1796022300"),
            (UTC, "2026-11-30 07:05:00"),
            (UTC, "2000-01-01T00:00:00Z"),
        ] {
            assert!(matches!(parse(format, text), Ok(Some(_))), "{format:?} {text}");
        }
        // For any time of our clock.
        for sent in [i64::MIN, 0, i64::MAX] {
            let sent = Timestamp::from_micros(sent);
            let far = EpochSeconds.parse("253402300800", sent);
            assert!(far.is_err(), "{sent}");
        }
    }
}
