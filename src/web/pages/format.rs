//! The formats of times, durations, texts and links on the pages.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Timestamp;
use crate::duration;
use crate::observation::State;
pub use crate::printable::escape;

/// Maximum number of characters of a text in a table; the page of the task has all of it.
const IN_A_TABLE: usize = 80;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time and its distance from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormattedTime {
    /// Time in UTC in the format of ISO 8601, in whole seconds.
    pub iso: String,
    /// `5m12s ago`, or `in 3s` if a clock runs ahead.
    pub ago: String,
}

impl FormattedTime {
    /// Formats `moment` at the time `now`.
    pub fn new(moment: Timestamp, now: Timestamp) -> Self {
        let iso = jiff::Timestamp::from_microsecond(moment.micros());
        let iso = iso.map(|iso| iso.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let ahead = moment.since(now);
        let ago = if ahead < Duration::from_secs(1) {
            format!("{} ago", rough(now.since(moment)))
        } else {
            format!("in {}", rough(ahead))
        };
        // No calendar has the year of such a time.
        Self { iso: iso.unwrap_or_else(|_| moment.to_string()), ago }
    }
}

/// Formats a time as a clock shows it, in UTC; with the date unless that is the date of `now`.
pub fn clock(moment: Timestamp, now: Timestamp) -> String {
    let iso = |moment| FormattedTime::new(moment, now).iso;
    let (text, today) = (iso(moment), iso(now));
    match (text.split_once('T'), today.split_once('T')) {
        (Some((date, time)), Some((other, _))) if date == other => {
            format!("{} UTC", time.trim_end_matches('Z'))
        }
        _ => text,
    }
}

/// Formats a duration with the precision that a glance needs: seconds in the first hour, minutes in
/// the first day, then hours.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = match seconds {
        0..HOUR => 1,
        HOUR..DAY => MINUTE,
        _ => HOUR,
    };
    duration::format(Duration::from_secs(seconds - seconds % unit))
}

/// Formats a duration in milliseconds up to a second, and in tenths of seconds above.
pub fn exact(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

/// Formats a ratio as whole per cent.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Returns the word for a state on the pages. A task without a usable answer is `unpolled` in the
/// metrics also while its polls fail, which would mislead a reader.
pub fn state(state: State, is_polled: bool) -> &'static str {
    match (state, is_polled) {
        (State::Unpolled, true) => "no answer yet",
        (State::Unpolled, false) => "not polled yet",
        _ => state.as_str(),
    }
}

/// Formats a number with commas between thousands.
pub fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Escapes a text from outside and cuts it to the length for a table.
pub fn short(text: &str) -> String {
    cut(text, IN_A_TABLE)
}

/// Maximum number of characters of a text within a sentence.
const IN_A_SENTENCE: usize = 300;

/// Escapes a text from outside and cuts it to the length for a sentence.
pub fn excerpt(text: &str) -> String {
    cut(text, IN_A_SENTENCE)
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => escape(text.get(..end).unwrap_or_default()) + "…",
        None => escape(text),
    }
}

/// All characters except those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the link to the page of a task.
pub fn task_link(provider: &str, id: &str) -> String {
    format!("/tasks/{}/{}", encode(provider), encode(id))
}

/// Returns the link to the probe of a task that shows request, response and mapping.
pub fn probe_link(provider: &str, id: &str) -> String {
    link("/probe", &[("provider", provider), ("task_id", id), ("debug", "true")])
}

/// Returns the link to the table of the tasks that match.
pub fn tasks_link(query: &[(&str, &str)]) -> String {
    link("/tasks", query)
}

/// Returns the link to the table of the tasks that the parameters of a query select.
pub fn tasks_query_link(query: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    link("/tasks", query)
}

/// Returns the link to the tasks that match as JSON.
pub fn tasks_json_link(query: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    link("/api/v1/tasks", query)
}

/// Appends the parameters to `path`.
fn link(path: &str, query: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let mut link = path.to_owned();
    let mut separator = '?';
    for (name, value) in query {
        link.push(separator);
        link.push_str(name.as_ref());
        link.push('=');
        link.push_str(&encode(value.as_ref()));
        separator = '&';
    }
    link
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc_and_by_their_distance() {
        let now = Timestamp::from_micros(1_750_402_472_303_527);
        for (before, iso, ago) in [
            (0, "2025-06-20T06:54:32Z", "0s ago"),
            (59, "2025-06-20T06:53:33Z", "59s ago"),
            (3_599, "2025-06-20T05:54:33Z", "59m59s ago"),
            (2 * 3_600 + 61, "2025-06-20T04:53:31Z", "2h1m ago"),
            (86_400 * 3 + 7_322, "2025-06-17T04:52:30Z", "3d2h ago"),
            (86_400 * 400, "2024-05-16T06:54:32Z", "400d ago"),
        ] {
            let moment = FormattedTime::new(now - Duration::from_secs(before), now);
            assert_eq!((&*moment.iso, &*moment.ago), (iso, ago));
        }
        let ahead = FormattedTime::new(now + Duration::from_secs(90), now);
        assert_eq!((&*ahead.iso, &*ahead.ago), ("2025-06-20T06:56:02Z", "in 1m30s"));
        let shortly = FormattedTime::new(now + Duration::from_millis(900), now);
        assert_eq!(shortly.ago, "0s ago");
        // Times outside every calendar.
        for micros in [i64::MIN + 1, i64::MAX] {
            let moment = FormattedTime::new(Timestamp::from_micros(micros), now);
            assert!(!moment.iso.contains('T') && !moment.ago.is_empty(), "{moment:?}");
        }
    }

    #[test]
    fn a_clock_shows_the_date_of_another_day_only() {
        let now = Timestamp::from_micros(1_750_402_472_303_527);
        let hour = Duration::from_secs(3_600);
        assert_eq!(clock(now + hour, now), "07:54:32 UTC");
        assert_eq!(clock(now + 24 * hour, now), "2025-06-21T06:54:32Z");
        assert!(!clock(Timestamp::from_micros(i64::MAX), now).contains("UTC"));
    }

    #[test]
    fn short_durations_are_exact() {
        for (millis, text) in [(0, "0ms"), (999, "999ms"), (1_000, "1.0s"), (12_340, "12.3s")] {
            assert_eq!(exact(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (10_000, "10,000")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!([percent(0.0), percent(0.929), percent(1.0)], ["0%", "93%", "100%"]);
    }

    #[test]
    fn texts_stand_in_their_place() {
        assert_eq!(escape("a\nb\u{202e}c é<"), "a\\nb\\u{202e}c é<");
        assert_eq!(short(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(short(&"é".repeat(81)), "é".repeat(80) + "…");
    }

    #[test]
    fn any_text_stays_one_piece() {
        assert_eq!(
            task_link("p/q", "a/../%2F?é#-._~"),
            "/tasks/p%2Fq/a%2F..%2F%252F%3F%C3%A9%23-._~"
        );
        assert_eq!(probe_link("p", "a&b=c"), "/probe?provider=p&task_id=a%26b%3Dc&debug=true");
        assert_eq!(tasks_link(&[]), "/tasks");
        assert_eq!(tasks_link(&[("provider", "a b")]), "/tasks?provider=a%20b");
    }
}
