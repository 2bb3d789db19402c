//! The queries of URLs, which are parsed strictly: unknown and ambiguous parameters are rejected.
//!
//! axum's `Query` would accept a parameter that is given twice, and replace bytes that are not
//! UTF-8.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::clock::Timestamp;
use crate::observation::State;
use crate::record::TrackedTask;

/// Parses and decodes the parameters of `query`, in their order.
///
/// # Errors
/// A parameter is given twice or is not UTF-8 text; the error is a sentence that names it.
pub fn parse_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or("the name of a parameter is not UTF-8 text")?;
        let value =
            decode(value).ok_or_else(|| format!("the parameter {key:?} is not UTF-8 text"))?;
        if !seen.insert(key.clone()) {
            return Err(format!("the parameter {key:?} is given twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Decodes a percent-encoded text, in which forms encode a space as `+`.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// A filter of tasks. A field that is `None` matches any task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Name of the provider.
    pub provider: Option<String>,
    /// State of the task.
    pub state: Option<State>,
    /// True for stuck tasks, false for all others.
    pub stuck: Option<bool>,
    /// Whole ID of the task.
    pub task_id: Option<String>,
}

impl TaskFilter {
    /// Parses a query.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        Self::from_pairs(parse_pairs(query)?)
    }

    /// Parses the query that a form sends, in which an empty field matches any task.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse_form(query: &str) -> Result<Self, String> {
        let mut pairs = parse_pairs(query)?;
        pairs.retain(|(_, value)| !value.is_empty());
        Self::from_pairs(pairs)
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            match (key.as_str(), value.as_str()) {
                ("provider", _) => filter.provider = Some(value),
                ("task_id", _) => filter.task_id = Some(value),
                ("state", _) => {
                    let known = State::ALL.into_iter().find(|state| state.as_str() == value);
                    filter.state = Some(known.ok_or_else(|| format!("unknown state {value:?}"))?);
                }
                ("stuck", "true" | "1") => filter.stuck = Some(true),
                ("stuck", "false" | "0") => filter.stuck = Some(false),
                ("stuck", _) => return Err("stuck must be true or false".to_owned()),
                _ => {
                    return Err(format!(
                        "unknown parameter {key:?}: the filters are provider, state, stuck and \
                         task_id"
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// Returns the parameters from which [`TaskFilter::parse`] parses this filter.
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        let stuck = self.stuck.map(|stuck| if stuck { "true" } else { "false" });
        [
            ("provider", self.provider.as_deref()),
            ("state", self.state.map(State::as_str)),
            ("stuck", stuck),
            ("task_id", self.task_id.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// Reports whether a task of the provider matches.
    pub fn matches(&self, tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> bool {
        self.state.is_none_or(|state| tracked.state() == state)
            && self.stuck.is_none_or(|stuck| tracked.is_stuck(stuck_after, now) == stuck)
            && self.task_id.as_ref().is_none_or(|id| **id == *tracked.task.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a", &[("a", "")]),
            ("=", &[("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("task%5Fid=a+b%2B%26%C3%A9", &[("task_id", "a b+&é")]),
            ("a=100%&b=%zz", &[("a", "100%"), ("b", "%zz")]),
        ] {
            assert_eq!(parse_pairs(query), Ok(owned(expected)), "{query}");
        }
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        for (query, expected) in [
            ("a=1&a=1", r#"the parameter "a" is given twice"#),
            ("a=1&b=2&%61=3", r#"the parameter "a" is given twice"#),
            ("a=%FF", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%C3", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%ED%A0%80", r#"the parameter "a" is not UTF-8 text"#),
            ("%FF=a", "the name of a parameter is not UTF-8 text"),
        ] {
            assert_eq!(parse_pairs(query), Err(expected.to_owned()), "{query}");
        }
    }

    #[test]
    fn queries_are_read_strictly_and_a_form_may_leave_fields_empty() {
        let all = TaskFilter {
            provider: Some("a b".to_owned()),
            state: Some(State::NotFound),
            stuck: Some(false),
            task_id: Some("x/y".to_owned()),
        };
        let query = "provider=a+b&state=not_found&stuck=false&task_id=x%2Fy";
        assert_eq!(TaskFilter::parse(query), Ok(all.clone()));
        assert_eq!(TaskFilter::parse_form(query), Ok(all.clone()));
        let pairs = [("provider", "a b"), ("state", "not_found"), ("stuck", "false")];
        assert_eq!(all.pairs(), [&pairs[..], &[("task_id", "x/y")]].concat());
        let nothing = "provider=&state=&stuck=&task_id=";
        assert_eq!(TaskFilter::parse_form(nothing), Ok(TaskFilter::default()));
        assert_eq!(TaskFilter::parse(nothing), Err(r#"unknown state """#.to_owned()));
        for (query, message) in [
            ("state=lost", r#"unknown state "lost""#),
            ("stuck=maybe", "stuck must be true or false"),
            ("a=1", r#"unknown parameter "a": the filters are provider, state, stuck and task_id"#),
            ("state=queued&state=queued", r#"the parameter "state" is given twice"#),
        ] {
            for read in [TaskFilter::parse, TaskFilter::parse_form] {
                assert_eq!(read(query), Err(message.to_owned()), "{query}");
            }
        }
    }
}
