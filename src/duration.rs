//! Durations in the syntax of Prometheus: `1h30m`, `15s`, `200ms`.

use std::time::Duration;

use serde::Serializer;

/// Units in milliseconds, from large to small; a duration has each at most once, in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];
/// Maximum duration, in milliseconds: a hundred years, so that sums with any time of day
/// stay in range.
const MAX_MS: u64 = 100 * UNITS[0].1;

/// Parses a duration; `0` needs no unit.
///
/// # Errors
/// A description of the error, and in a second line what to write instead.
pub fn parse(text: &str) -> Result<Duration, String> {
    const SYNTAX: &str = "not a duration\nwrite it as 15s, 200ms or 1h30m; the units are y w d h m \
                          s ms, larger units first";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration needs a unit\nwrite {text}s for seconds"));
    }
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).ok_or(SYNTAX)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).ok_or(SYNTAX)?;
        let position = units.iter().position(|(name, _)| *name == unit).ok_or(SYNTAX)?;
        let (skipped, smaller) = units.split_at_checked(position + 1).ok_or(SYNTAX)?;
        let factor = skipped.last().map_or(0, |(_, factor)| *factor);
        let part = if number.is_empty() { None } else { Some(number.parse::<u64>()) };
        let part = part.ok_or(SYNTAX)?.ok().and_then(|number| number.checked_mul(factor));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MS)
            .ok_or("a duration of more than 100 years")?;
        (rest, units) = (after, smaller);
    }
    if text.is_empty() { Err(SYNTAX.into()) } else { Ok(Duration::from_millis(total)) }
}

/// Formats a duration so that [`parse`] reads it, in whole milliseconds and without years and weeks,
/// which are hard to read at a glance.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS.into_iter().filter(|(unit, _)| !matches!(*unit, "y" | "w")) {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Serializes a duration as [`format`] writes it.
///
/// # Errors
/// Fails when the serializer does.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_prometheus() {
        let good = [
            ("0", 0),
            ("0s", 0),
            ("200ms", 200),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("1m30s5ms", 90_005),
            ("1d", 86_400_000),
            ("2w", 1_209_600_000),
            ("1y", 31_536_000_000),
            ("100y", MAX_MS),
        ];
        for (text, ms) in good {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(text), Ok(duration), "{text}");
            assert_eq!(parse(&format(duration)), Ok(duration), "{text}");
        }
        assert_eq!(format(Duration::from_millis(5_400_000)), "1h30m");
        let bad = [
            "",
            "s",
            "15",
            "1.5s",
            "-1s",
            "1s1m",
            "1m1m",
            "1ms1s",
            "1 s",
            "1S",
            "1h 30m",
            "101y",
            "99999999999999999999s",
            "1y99999999999999999999ms",
            "ä",
            "1µs",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
