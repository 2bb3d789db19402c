//! Filters of lists of tasks.

use std::borrow::Cow;
use std::time::Duration;

use super::search::IdSearch;
use crate::clock::Timestamp;
use crate::config::task_rules::is_label_name;
use crate::observation::State;
use crate::record::TrackedTask;

/// The parameter that may be given several times.
pub const STATE: &str = "state";
/// Maximum number of labels in a filter: more than a task has by default. Each is compared with every
/// task.
const MAX_LABELS: usize = 64;
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
    /// Part of the ID of the task.
    pub search: Option<IdSearch>,
    /// Names and values of labels that the task has. As in Prometheus, a label without a value is the
    /// same as no label.
    pub labels: Vec<(String, String)>,
}

impl TaskFilter {
    /// Sets the field that a parameter selects.
    ///
    /// # Errors
    /// There is no such parameter, or its value is invalid; the error is a sentence.
    pub fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "provider" => self.provider = Some(value),
            "task_id" => self.task_id = Some(value),
            "search" if value.is_empty() => return Err("search must not be empty".to_owned()),
            "search" => self.search = Some(IdSearch::new(value)),
            STATE => {
                let state = parse_state(&value)?;
                if !self.states.contains(&state) {
                    self.states.push(state);
                }
            }
            "stuck" => self.stuck = Some(parse_bool(key, &value)?),
            "final" => self.is_final = Some(parse_bool(key, &value)?),
            _ => match key.strip_prefix(LABEL_PREFIX) {
                Some(_) if self.labels.len() == MAX_LABELS => {
                    return Err(format!("at most {MAX_LABELS} labels may be given"));
                }
                Some(name) if is_label_name(name) => self.labels.push((name.to_owned(), value)),
                Some(name) => return Err(format!("{name:?} is not a label name")),
                None => {
                    return Err(format!(
                        "unknown parameter {key:?}: the filters are provider, state, stuck, final, \
                         task_id, search and label.NAME; order and pages are sort, limit and cursor"
                    ));
                }
            },
        }
        Ok(())
    }

    /// Returns the same filter with one value of a label.
    #[must_use]
    pub fn with_label(&self, name: &str, value: &str) -> Self {
        let mut filter = self.clone();
        filter.labels.retain(|(own, _)| *own != name);
        filter.labels.push((name.to_owned(), value.to_owned()));
        filter
    }

    /// Returns the parameters from which [`TaskFilter::set`] sets this filter.
    pub fn pairs(&self) -> Vec<(Cow<'static, str>, Cow<'_, str>)> {
        fn pair<'v>(name: &'static str, value: &'v str) -> (Cow<'static, str>, Cow<'v, str>) {
            (name.into(), value.into())
        }
        let provider = self.provider.iter().map(|name| pair("provider", name));
        let states = self.states.iter().map(|state| pair(STATE, state.as_str()));
        let stuck = self.stuck.map(|stuck| pair("stuck", bool_text(stuck)));
        let is_final = self.is_final.map(|is_final| pair("final", bool_text(is_final)));
        let task_id = self.task_id.iter().map(|id| pair("task_id", id));
        let search = self.search.iter().map(|search| pair("search", search.as_str()));
        let labels = self.labels.iter().map(|(name, value)| {
            (format!("{LABEL_PREFIX}{name}").into(), Cow::Borrowed(value.as_str()))
        });
        let flags = stuck.into_iter().chain(is_final);
        provider.chain(states).chain(flags).chain(task_id).chain(search).chain(labels).collect()
    }

    /// Reports whether a task of the provider matches.
    pub fn matches(&self, tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> bool {
        (self.states.is_empty() || self.states.contains(&tracked.state()))
            && self.stuck.is_none_or(|stuck| tracked.is_stuck(stuck_after, now) == stuck)
            && self.is_final.is_none_or(|is_final| tracked.is_final() == is_final)
            && self.task_id.as_ref().is_none_or(|id| **id == *tracked.task.id)
            && self.search.as_ref().is_none_or(|search| search.matches(&tracked.task.id))
            && self.labels.iter().all(|(name, value)| {
                let labels = &tracked.task.common.labels;
                let label = labels.iter().find(|(own, _)| **own == **name);
                label.map_or("", |(_, own)| own) == value
            })
    }
}

fn parse_state(value: &str) -> Result<State, String> {
    let known = State::ALL.into_iter().find(|state| state.as_str() == value);
    known.ok_or_else(|| {
        let all = State::ALL.map(State::as_str).join(", ");
        format!("unknown state {value:?}: the states are {all}")
    })
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
    use crate::web::query::TaskQuery;

    fn query_of(filter: &TaskFilter) -> TaskQuery {
        TaskQuery { filter: filter.clone(), ..TaskQuery::default() }
    }

    #[test]
    fn queries_are_read_strictly_and_a_form_may_leave_fields_empty() {
        let all = TaskFilter {
            provider: Some("a b".to_owned()),
            states: vec![State::NotFound, State::Queued],
            stuck: Some(false),
            is_final: Some(true),
            task_id: Some("x/y".to_owned()),
            search: Some(IdSearch::new("Y%".to_owned())),
            labels: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2 3".to_owned())],
        };
        let query = "provider=a+b&state=not_found&state=queued&stuck=false&final=1&task_id=x%2Fy&search=Y%25\
                     &label.a=1&label.b=2%203";
        let with_double = format!("{query}&state=queued");
        assert_eq!(TaskQuery::parse(query), Ok(query_of(&all)));
        assert_eq!(TaskQuery::parse(&with_double), Ok(query_of(&all)));
        assert_eq!(TaskQuery::parse_form(query), Ok(query_of(&all)));
        let pairs = all.pairs();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("provider", "a b"),
            ("state", "not_found"),
            ("state", "queued"),
            ("stuck", "false"),
            ("final", "true"),
            ("task_id", "x/y"),
            ("search", "Y%"),
            ("label.a", "1"),
            ("label.b", "2 3"),
        ];
        assert_eq!(pairs, expected);
        let nothing = "provider=&state=&stuck=&final=&task_id=&search=&label.a=";
        assert_eq!(TaskQuery::parse_form(nothing), Ok(TaskQuery::default()));
        let states = "the states are queued, running, waiting, succeeded, failed, cancelled, \
                      not_found, unknown, unpolled";
        let unknown = |state: &str| format!("unknown state {state:?}: {states}");
        assert_eq!(TaskQuery::parse(nothing), Err(unknown("")));
        assert_eq!(TaskQuery::parse("search="), Err("search must not be empty".to_owned()));
        let lost = unknown("lost");
        for (query, message) in [
            ("state=lost", lost.as_str()),
            ("state=queued&state=lost", &lost),
            ("stuck=maybe", "stuck must be true or false"),
            ("final=maybe", "final must be true or false"),
            (
                "a=1",
                r#"unknown parameter "a": the filters are provider, state, stuck, final, task_id, search and label.NAME; order and pages are sort, limit and cursor"#,
            ),
            ("label.=a", r#""" is not a label name"#),
            ("label.a-b=a", r#""a-b" is not a label name"#),
            ("label.a=1&label.a=1", r#"the parameter "label.a" is given twice"#),
            ("provider=a&provider=a", r#"the parameter "provider" is given twice"#),
        ] {
            for read in [TaskQuery::parse, TaskQuery::parse_form] {
                assert_eq!(read(query), Err(message.to_owned()), "{query}");
            }
        }
    }

    #[test]
    fn a_filter_has_a_limited_number_of_labels() {
        let query =
            |count| (0..count).map(|n| format!("label.l{n}=1")).collect::<Vec<_>>().join("&");
        let most = TaskQuery::parse(&query(MAX_LABELS)).unwrap();
        assert_eq!(most.filter.labels.len(), MAX_LABELS);
        let message = "at most 64 labels may be given".to_owned();
        assert_eq!(TaskQuery::parse(&query(MAX_LABELS + 1)), Err(message));
    }
}
