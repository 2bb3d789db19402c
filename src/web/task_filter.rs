//! Which tasks are asked for: the query of `/api/v1/tasks` and of `/tasks`.

use std::time::Duration;

use super::query;
use crate::clock::Timestamp;
use crate::observation::State;
use crate::record::TrackedTask;

/// What narrows the list. What is `None` fits any task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// The name of the provider.
    pub provider: Option<String>,
    /// The state.
    pub state: Option<State>,
    /// Whether the task is stuck.
    pub stuck: Option<bool>,
    /// The whole ID.
    pub task_id: Option<String>,
}

impl TaskFilter {
    /// Reads a query.
    ///
    /// # Errors
    /// What cannot be understood, as a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        Self::of(query::pairs(query)?)
    }

    /// Reads what a form sends, in which a field that was left empty narrows nothing.
    ///
    /// # Errors
    /// What cannot be understood, as a sentence.
    pub fn of_form(query: &str) -> Result<Self, String> {
        let mut pairs = query::pairs(query)?;
        pairs.retain(|(_, value)| !value.is_empty());
        Self::of(pairs)
    }

    fn of(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let mut question = Self::default();
        for (key, value) in pairs {
            match (key.as_str(), value.as_str()) {
                ("provider", _) => question.provider = Some(value),
                ("task_id", _) => question.task_id = Some(value),
                ("state", _) => {
                    let known = State::ALL.into_iter().find(|state| state.as_str() == value);
                    question.state = Some(known.ok_or_else(|| format!("no state {value:?}"))?);
                }
                ("stuck", "true" | "1") => question.stuck = Some(true),
                ("stuck", "false" | "0") => question.stuck = Some(false),
                ("stuck", _) => return Err("stuck is true or false".to_owned()),
                _ => {
                    return Err(format!(
                        "unknown parameter {key:?}: provider, state, stuck and task_id narrow"
                    ));
                }
            }
        }
        Ok(question)
    }

    /// What [`TaskFilter::parse`] reads as this question.
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

    /// Whether a task of the provider fits.
    pub fn fits(&self, record: &TrackedTask, stuck_after: Duration, now: Timestamp) -> bool {
        self.state.is_none_or(|state| record.state() == state)
            && self.stuck.is_none_or(|stuck| record.is_stuck(stuck_after, now) == stuck)
            && self.task_id.as_ref().is_none_or(|id| **id == *record.task.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(TaskFilter::of_form(query), Ok(all.clone()));
        let pairs = [("provider", "a b"), ("state", "not_found"), ("stuck", "false")];
        assert_eq!(all.pairs(), [&pairs[..], &[("task_id", "x/y")]].concat());
        let nothing = "provider=&state=&stuck=&task_id=";
        assert_eq!(TaskFilter::of_form(nothing), Ok(TaskFilter::default()));
        assert_eq!(TaskFilter::parse(nothing), Err(r#"no state """#.to_owned()));
        for (query, message) in [
            ("state=lost", r#"no state "lost""#),
            ("stuck=maybe", "stuck is true or false"),
            ("a=1", r#"unknown parameter "a": provider, state, stuck and task_id narrow"#),
            ("state=queued&state=queued", r#"the parameter "state" is given twice"#),
        ] {
            for read in [TaskFilter::parse, TaskFilter::of_form] {
                assert_eq!(read(query), Err(message.to_owned()), "{query}");
            }
        }
    }
}
