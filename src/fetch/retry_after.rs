//! `Retry-After` (RFC 9110) as servers send it: seconds, also with a fraction, or a date;
//! `retry-after-ms` takes precedence.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::mapping::fields::MAX_DELAY;

/// Header with milliseconds, which several model APIs send in addition to the seconds.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Parses the delay before the next request; returns `None` without a valid header. Fractions are rounded
/// up, a date in the past is a delay of 0, and of several values the longest counts. Dates count from the
/// response's own `Date`, so that a wrong clock of ours does not pause the provider; without one, from
/// `now`.
pub fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let milliseconds = texts(headers, &RETRY_AFTER_MS)
        .filter_map(|text| longest(text, Duration::from_millis))
        .max();
    milliseconds.or_else(|| {
        let delay = |text| match parse_date(text) {
            Some(until) => Some(until.duration_since(date(headers, now)).unwrap_or_default()),
            None => longest(text, Duration::from_secs),
        };
        texts(headers, &RETRY_AFTER).filter_map(delay).max()
    })
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| Some(value.to_str().ok()?.trim()))
}

/// Returns the longest delay in a list of numbers: a proxy may have joined two headers.
fn longest(text: &str, unit: fn(u64) -> Duration) -> Option<Duration> {
    let numbers = text.split(',').filter_map(|number| rounded_up(number.trim()));
    numbers.map(unit).filter(|delay| *delay <= MAX_DELAY).max()
}

/// Parses a decimal number and rounds it up to an integer; too many digits saturate.
fn rounded_up(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(whole.parse().unwrap_or(u64::MAX).saturating_add(more))
}

/// Returns the time of a response's own `Date`; `now` if it has no valid one, or one before the year
/// 2000.
pub fn date(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    let year_2000 = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
    let date = texts(headers, &DATE).find_map(parse_date);
    date.filter(|date| *date >= year_2000).unwrap_or(now)
}

/// Parses a date in one of the three formats of RFC 9110, or in that of e-mail.
fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok().or_else(|| {
        let date: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(date.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-10-21T07:28:00Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480)
    }

    fn parsed(headers: &[(HeaderName, &str)]) -> Option<Duration> {
        let pairs = headers.iter().map(|(name, text)| (name.clone(), text.parse().unwrap()));
        parse(&pairs.collect(), now())
    }

    #[test]
    fn seconds_and_dates() {
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("1.5", Some(2)),
            ("0.001", Some(1)),
            ("2.000", Some(2)),
            ("31536000", Some(31_536_000)),
            ("31536000.5", None),
            ("31536001", None),
            ("3, 7.2,soon", Some(8)),
            ("7, 1445412510", Some(7)),
            // The epoch, and more digits than a number holds.
            ("1445412510", None),
            ("99999999999999999999999", None),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wednesday, 21-Oct-15 07:28:30 GMT", Some(30)),
            ("Wed Oct 21 07:28:30 2015", Some(30)),
            ("Wed, 21 Oct 2015 08:28:30 +0100", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("Tue, 21 Oct 2025 07:28:00 GMT", Some(315_619_200)),
            ("soon", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("1.5.2", None),
            ("1e3", None),
            ("", None),
            ("  ", None),
            (", ", None),
            ("-5, -7", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(parsed(&[(RETRY_AFTER, text)]), expected, "{text:?}");
        }
        assert_eq!(parsed(&[]), None);
    }

    #[test]
    fn milliseconds_take_precedence() {
        let both = |ms, seconds| parsed(&[(RETRY_AFTER_MS, ms), (RETRY_AFTER, seconds)]);
        assert_eq!(both("1500", "9"), Some(Duration::from_millis(1_500)));
        assert_eq!(both("0.25", "9"), Some(Duration::from_millis(1)));
        // An epoch, and an invalid value.
        for ms in ["1796023756000", "soon"] {
            assert_eq!(both(ms, "9"), Some(Duration::from_secs(9)), "{ms}");
        }
        // The longer of two valid values.
        for [first, second] in [["soon", "3"], ["3", "1"], ["1", "3"], ["3", "99999999999"]] {
            let twice = parsed(&[(RETRY_AFTER, first), (RETRY_AFTER, second)]);
            assert_eq!(twice, Some(Duration::from_secs(3)), "{first} {second}");
        }
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_answer() {
        let headers = |date: &str| {
            let after = (RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT".parse().unwrap());
            HeaderMap::from_iter([after, (DATE, date.parse().unwrap())])
        };
        // 2015-10-21T04:28:00Z: our clock is three hours behind.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_401_680);
        for sent in ["Wed, 21 Oct 2015 07:28:20 GMT", "Wed Oct 21 07:28:20 2015"] {
            assert_eq!(parse(&headers(sent), now), Some(Duration::from_secs(10)), "{sent}");
        }
        assert_eq!(parse(&headers("today"), now), Some(Duration::from_secs(3 * 3_600 + 30)));
        let unset = headers("Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(&unset, now), now);
    }
}
