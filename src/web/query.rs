//! The queries of URLs, which are parsed strictly: unknown and ambiguous parameters are rejected.
//!
//! axum's `Query` would accept a parameter that is given twice, and replace bytes that are not
//! UTF-8.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::clock::Timestamp;
use crate::config::task_rules::is_label_name;
use crate::observation::State;
use crate::record::TrackedTask;

/// Parses and decodes the parameters of `query`, in their order.
///
/// # Errors
/// A parameter is given twice or is not UTF-8 text; the error is a sentence that names it.
pub fn parse_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    parse_repeatable_pairs(query, None)
}

/// Parses parameters as [`parse_pairs`] does, of which one may be given several times.
fn parse_repeatable_pairs(
    query: &str,
    repeatable: Option<&str>,
) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or("the name of a parameter is not UTF-8 text")?;
        let value =
            decode(value).ok_or_else(|| format!("the parameter {key:?} is not UTF-8 text"))?;
        if !seen.insert(key.clone()) && repeatable != Some(&*key) {
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

/// The parameter that may be given several times.
const STATE: &str = "state";
/// The beginning of the name of a parameter that compares a label.
const LABEL_PREFIX: &str = "label.";

/// A filter of tasks: a task matches if it satisfies every field. A field that is `None` or empty is
/// satisfied by any task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Name of the provider.
    pub provider: Option<String>,
    /// States, one of which is the task's. Contains none twice.
    pub states: Vec<State>,
    /// True for stuck tasks, false for all others.
    pub stuck: Option<bool>,
    /// True for final tasks, false for open ones.
    pub is_final: Option<bool>,
    /// Whole ID of the task.
    pub task_id: Option<String>,
    /// Names and values of labels that the task has. As in Prometheus, a label without a value is the
    /// same as no label.
    pub labels: Vec<(String, String)>,
}

impl TaskFilter {
    /// Parses a query.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        Self::from_pairs(parse_repeatable_pairs(query, Some(STATE))?)
    }

    /// Parses the query that a form sends, in which an empty field matches any task.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse_form(query: &str) -> Result<Self, String> {
        let mut pairs = parse_repeatable_pairs(query, Some(STATE))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Self::from_pairs(pairs)
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "provider" => filter.provider = Some(value),
                "task_id" => filter.task_id = Some(value),
                STATE => {
                    let known = State::ALL.into_iter().find(|state| state.as_str() == value);
                    let state = known.ok_or_else(|| format!("unknown state {value:?}"))?;
                    if !filter.states.contains(&state) {
                        filter.states.push(state);
                    }
                }
                "stuck" => filter.stuck = Some(parse_bool(&key, &value)?),
                "final" => filter.is_final = Some(parse_bool(&key, &value)?),
                _ => match key.strip_prefix(LABEL_PREFIX) {
                    Some(name) if is_label_name(name) => {
                        filter.labels.push((name.to_owned(), value));
                    }
                    Some(name) => return Err(format!("{name:?} is not a label name")),
                    None => {
                        return Err(format!(
                            "unknown parameter {key:?}: the filters are provider, state, stuck, \
                             final, task_id and label.NAME"
                        ));
                    }
                },
            }
        }
        Ok(filter)
    }

    /// Returns the parameters from which [`TaskFilter::parse`] parses this filter.
    pub fn pairs(&self) -> Vec<(Cow<'static, str>, &str)> {
        let provider = self.provider.iter().map(|name| ("provider".into(), &**name));
        let states = self.states.iter().map(|state| (STATE.into(), state.as_str()));
        let stuck = self.stuck.map(|stuck| ("stuck".into(), bool_text(stuck)));
        let is_final = self.is_final.map(|is_final| ("final".into(), bool_text(is_final)));
        let task_id = self.task_id.iter().map(|id| ("task_id".into(), &**id));
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| (format!("{LABEL_PREFIX}{name}").into(), &**value));
        provider.chain(states).chain(stuck).chain(is_final).chain(task_id).chain(labels).collect()
    }

    /// Reports whether a task of the provider matches.
    pub fn matches(&self, tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> bool {
        (self.states.is_empty() || self.states.contains(&tracked.state()))
            && self.stuck.is_none_or(|stuck| tracked.is_stuck(stuck_after, now) == stuck)
            && self.is_final.is_none_or(|is_final| tracked.is_final() == is_final)
            && self.task_id.as_ref().is_none_or(|id| **id == *tracked.task.id)
            && self.labels.iter().all(|(name, value)| {
                let labels = &tracked.task.common.labels;
                let label = labels.iter().find(|(own, _)| **own == **name);
                label.map_or("", |(_, own)| own) == value
            })
    }
}

fn parse_bool(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{key} must be true or false")),
    }
}

const fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
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
            states: vec![State::NotFound, State::Queued],
            stuck: Some(false),
            is_final: Some(true),
            task_id: Some("x/y".to_owned()),
            labels: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2 3".to_owned())],
        };
        let query = "provider=a+b&state=not_found&state=queued&stuck=false&final=1&task_id=x%2Fy\
                     &label.a=1&label.b=2%203";
        let with_double = format!("{query}&state=queued");
        assert_eq!(TaskFilter::parse(query), Ok(all.clone()));
        assert_eq!(TaskFilter::parse(&with_double), Ok(all.clone()));
        assert_eq!(TaskFilter::parse_form(query), Ok(all.clone()));
        let pairs = all.pairs();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, *value)).collect();
        let expected = [
            ("provider", "a b"),
            ("state", "not_found"),
            ("state", "queued"),
            ("stuck", "false"),
            ("final", "true"),
            ("task_id", "x/y"),
            ("label.a", "1"),
            ("label.b", "2 3"),
        ];
        assert_eq!(pairs, expected);
        let nothing = "provider=&state=&stuck=&final=&task_id=&label.a=";
        assert_eq!(TaskFilter::parse_form(nothing), Ok(TaskFilter::default()));
        assert_eq!(TaskFilter::parse(nothing), Err(r#"unknown state """#.to_owned()));
        for (query, message) in [
            ("state=lost", r#"unknown state "lost""#),
            ("state=queued&state=lost", r#"unknown state "lost""#),
            ("stuck=maybe", "stuck must be true or false"),
            ("final=maybe", "final must be true or false"),
            (
                "a=1",
                r#"unknown parameter "a": the filters are provider, state, stuck, final, task_id and label.NAME"#,
            ),
            ("label.=a", r#""" is not a label name"#),
            ("label.a-b=a", r#""a-b" is not a label name"#),
            ("label.a=1&label.a=1", r#"the parameter "label.a" is given twice"#),
            ("provider=a&provider=a", r#"the parameter "provider" is given twice"#),
        ] {
            for read in [TaskFilter::parse, TaskFilter::parse_form] {
                assert_eq!(read(query), Err(message.to_owned()), "{query}");
            }
        }
    }
}
