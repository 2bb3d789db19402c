//! `Retry-After` (RFC 9110): seconds or a date.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How long to wait; `None` without a header that can be read. A date in the past is no wait. Dates
/// count from the answer's own `Date`, so that a clock of ours that is wrong does not silence the
/// provider; without one, from `now`.
pub fn parse(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text(headers, &RETRY_AFTER)?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a long time all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    Some(date(text)?.duration_since(sent(headers, now)).unwrap_or_default())
}

/// Returns the moment of an answer's own `Date`; `now` where it has none that can be read, or one
/// before the year 2000.
pub fn sent(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    let year_2000 = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
    let date = text(headers, &DATE).and_then(date);
    date.filter(|date| *date >= year_2000).unwrap_or(now)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// RFC 9110's date is RFC 2822's with the zone written `GMT`.
fn date(text: &str) -> Option<SystemTime> {
    let date: Timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        // 2015-10-21T07:28:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(parse(&headers, now), expected.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(parse(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_answer() {
        let headers = |date: &str| {
            let after = (RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT".parse().unwrap());
            HeaderMap::from_iter([after, (DATE, date.parse().unwrap())])
        };
        // 2015-10-21T04:28:00Z: our clock is three hours behind.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_401_680);
        let sent = headers("Wed, 21 Oct 2015 07:28:20 GMT");
        assert_eq!(parse(&sent, now), Some(Duration::from_secs(10)));
        assert_eq!(parse(&headers("today"), now), Some(Duration::from_secs(3 * 3_600 + 30)));
        let unset = headers("Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(super::sent(&unset, now), now);
    }
}
