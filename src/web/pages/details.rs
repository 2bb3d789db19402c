//! The details of a task, as sentences and table rows for people.

use std::time::Duration;

use super::format::{self, FormattedTime};
use crate::clock::Timestamp;
use crate::duration;
use crate::history::FailureEntry;
use crate::observation::State;
use crate::record::{StuckReason, TrackedTask};

/// A row of the details of a task: a value, a time, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name of the row.
    pub name: String,
    /// Value as text.
    pub value: String,
    /// Time.
    pub at: Option<FormattedTime>,
    /// Explanation of the value.
    pub note: String,
}

impl Fact {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into(), at: None, note: String::new() }
    }

    /// Formats a text from outside; `none` replaces an empty one.
    fn text(name: &str, text: Option<&str>, none: &str) -> Self {
        Self::new(name, format::escape(text.filter(|text| !text.is_empty()).unwrap_or(none)))
    }

    fn at(name: &str, at: Timestamp, now: Timestamp) -> Self {
        Self { at: Some(FormattedTime::new(at, now)), ..Self::new(name, "") }
    }

    fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// Returns the reasons why a task needs attention, the most serious first.
pub fn troubles(tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(stuck) = tracked.stuck(stuck_after, now) {
        troubles.push(format!("Stuck: {}.", why(stuck, stuck_after)));
    }
    if tracked.is_final() && tracked.state() == State::NotFound {
        let sentence = match tracked.last_success() {
            Some(_) => {
                "Lost: the provider knew the task before, and now answers that it does not exist."
            }
            None => {
                "Not found: the provider answers that the task does not exist, and never gave a \
                 usable answer about it."
            }
        };
        troubles.push(sentence.to_owned());
    }
    match tracked.error() {
        Some(("task", "")) => troubles.push("Failed; the provider gives no code.".to_owned()),
        Some(("task", code)) => {
            troubles.push(format!("Failed, with the code “{}”.", format::escape(code)));
        }
        Some((reason, _)) => {
            let detail = format::escape(tracked.error_detail().unwrap_or_default());
            troubles.push(format!("The last poll failed: {reason}: {detail}"));
        }
        None => {}
    }
    troubles
}

/// Explains why a task is stuck, as the end of a sentence.
fn why(
    StuckReason { age, waited, unchanged_for: still }: StuckReason,
    stuck_after: Duration,
) -> String {
    let age = age.map(|age| {
        let enqueued = format!("enqueued {} ago", format::rough(age));
        match waited.is_zero() {
            true => enqueued,
            false => {
                let rest = format::rough(age.saturating_sub(waited));
                format!("{enqueued} and waited for the user for all but {rest} of that")
            }
        }
    });
    let still = still
        .map(|still| format!("state and progress have not changed for {}", format::rough(still)));
    let both: Vec<_> = age.into_iter().chain(still).collect();
    format!("{}; stuck_after is {}", both.join(", and "), duration::format(stuck_after))
}

/// Returns all details of a task, which `sources` list. `last` is the last recorded failed poll of the
/// task.
pub fn facts(
    tracked: &TrackedTask,
    sources: &[&str],
    stuck_after: Duration,
    last: Option<&FailureEntry>,
    now: Timestamp,
) -> Vec<Fact> {
    [
        standing(tracked, stuck_after, now),
        identity(tracked, sources, now),
        polls(tracked, last, now),
    ]
    .concat()
}

/// Returns the details of the state of a task.
fn standing(tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> Vec<Fact> {
    let provider = format::escape(&tracked.task.common.provider);
    let status = Fact::text("Status", Some(tracked.status()), "none").note("the provider's word");
    let enqueued = Fact::at("Enqueued", tracked.enqueued(), now);
    let mut facts = vec![
        Fact::new("Provider", provider),
        state(tracked),
        status,
        Fact::at("In this state since", tracked.state_since(), now),
        enqueued.note(match (tracked.enqueued_since(), tracked.last_success()) {
            ("api", _) => "reported by the provider",
            ("source", None) => "reported by a list",
            ("source", Some(_)) => "reported by a list; the provider reports no time",
            (_, None) => "the exporter's first sight of the task",
            (_, Some(_)) => "the exporter's first sight of the task; the provider reports no time",
        }),
    ];
    if let Some(age) = tracked.queue_age(now) {
        let waited = tracked.waited(now);
        facts.push(Fact::new("Queue age", format::rough(age)).note(match waited.is_zero() {
            true => String::new(),
            false => format!("{} of that waiting for the user", format::rough(waited)),
        }));
        facts.push(stuck(tracked, stuck_after, now));
        facts.push(Fact::at("Last change of state or progress", tracked.last_changed(), now));
    } else {
        let took = tracked.duration().map(format::rough);
        facts.push(Fact::text("Duration", took.as_deref(), "unknown"));
        facts.push(Fact::at("End observed", tracked.last_changed(), now));
    }
    let progress = tracked.progress().map(format::percent);
    facts.push(Fact::text("Progress", progress.as_deref(), "not reported"));
    facts
}

/// Returns the details of the identity of a task.
fn identity(tracked: &TrackedTask, sources: &[&str], now: Timestamp) -> Vec<Fact> {
    let common = &tracked.task.common;
    let fact = |what: &str, name: &str, value: &str| {
        Fact::new(&format!("{what} {}", format::escape(name)), format::escape(value))
    };
    let labels = common.labels.iter().map(|(name, value)| fact("Label", name, value));
    let params = common.params.iter().map(|(name, value)| fact("Param", name, value));
    let job_type = Fact::text("Job type", tracked.job_type(), "not reported");
    [job_type, listing(tracked, sources, now)].into_iter().chain(labels).chain(params).collect()
}

/// Returns the lists that name a task, or since when none does.
fn listing(tracked: &TrackedTask, sources: &[&str], now: Timestamp) -> Fact {
    match tracked.listing.unlisted_since() {
        None => Fact::new("Listed by", format::escape(&sources.join(", "))),
        Some(since) => {
            let fact =
                Fact { value: "no list since".to_owned(), ..Fact::at("Listed by", since, now) };
            fact.note(match tracked.is_final() {
                true => "",
                false => "polled until its end is seen, or until keep_unlisted has passed",
            })
        }
    }
}

/// Returns the details of the polls of a task.
fn polls(tracked: &TrackedTask, last: Option<&FailureEntry>, now: Timestamp) -> Vec<Fact> {
    let moment = |name: &str, at: Option<Timestamp>, never: &str| {
        at.map_or_else(|| Fact::new(name, never), |at| Fact::at(name, at, now))
    };
    let mut facts = vec![
        moment("Last poll", tracked.last_poll(), "never").note(match tracked.up() {
            Some(true) => "got a usable answer",
            Some(false) => "failed",
            None => "",
        }),
        moment("Last usable answer", tracked.last_success(), "none"),
    ];
    facts.extend(failure(tracked, last, now));
    if let Some(("task", code)) = tracked.error() {
        facts.push(Fact::text("Failure code", Some(code), "not reported"));
    }
    if let Some(times) = tracked.consecutive_not_found() {
        let times = times.to_string();
        facts.push(
            Fact::new("Not found in a row", times).note("the provider does not know the task"),
        );
    }
    facts
}

/// Returns the last failed poll: that of the record if there has been no usable response since,
/// else the last recorded one.
fn failure(tracked: &TrackedTask, last: Option<&FailureEntry>, now: Timestamp) -> Option<Fact> {
    let (reason, detail, at) = match tracked.error().filter(|(reason, _)| *reason != "task") {
        Some((reason, _)) => (reason, tracked.error_detail()?, tracked.last_poll()?),
        None => {
            let FailureEntry { failure, at, .. } = last?;
            (failure.reason.as_str(), &*failure.detail, *at)
        }
    };
    let fact = Fact::at("Last failure", at, now).note(format::escape(detail));
    Some(Fact { value: reason.to_owned(), ..fact })
}

fn state(tracked: &TrackedTask) -> Fact {
    let state = format::state(tracked.state(), tracked.last_poll().is_some());
    Fact::new("State", state).note(match tracked.is_final() {
        true => "final: no longer polled",
        false => "",
    })
}

fn stuck(tracked: &TrackedTask, stuck_after: Duration, now: Timestamp) -> Fact {
    match tracked.stuck(stuck_after, now) {
        Some(stuck) => Fact::new("Stuck", "yes").note(why(stuck, stuck_after)),
        None if tracked.state() == State::Waiting => {
            Fact::new("Stuck", "no").note("the task waits for the user, not for the provider")
        }
        None => {
            let after = duration::format(stuck_after);
            Fact::new("Stuck", "no").note(format!("stuck_after is {after}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::listing::SourceId;
    use crate::observation::{Failure, Observation, Reason};
    use crate::task::{Task, TaskCommon};

    const START: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);
    const STUCK_AFTER: Duration = Duration::from_secs(90);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn tracked() -> TrackedTask {
        let params = [("api_key".into(), "zq".into())].into();
        let common = TaskCommon { provider: "p".into(), labels: [].into(), params };
        TrackedTask::new(Task { id: "a".into(), common: Arc::new(common) }, START)
    }

    fn told(state: State, code: Option<&str>) -> Observation {
        let failure_code = code.map(Into::into);
        Observation { failure_code, ..Observation::new(state, "word") }
    }

    fn fact(tracked: &TrackedTask, name: &str, now: Timestamp) -> Option<(String, String)> {
        let facts = facts(tracked, &["config", "http/jobs"], STUCK_AFTER, None, now).into_iter();
        let mut found = facts.filter(|fact| fact.name == name);
        let at = |fact: &Fact| fact.at.as_ref().map(|at| at.ago.clone()).unwrap_or_default();
        found.next().map(|fact| (fact.value.clone() + &at(&fact), fact.note))
    }

    #[test]
    fn it_is_told_why_a_task_is_stuck() {
        let mut tracked = tracked();
        assert_eq!(troubles(&tracked, STUCK_AFTER, after(90)), [""; 0]);
        let old =
            ["Stuck: enqueued 1m31s ago, and state and progress have not changed for 1m31s; \
                    stuck_after is 1m30s."];
        assert_eq!(troubles(&tracked, STUCK_AFTER, after(91)), old);
        tracked.observe(&told(State::Running, None), after(80));
        let old = ["Stuck: enqueued 1m31s ago; stuck_after is 1m30s."];
        assert_eq!(troubles(&tracked, STUCK_AFTER, after(91)), old);
    }

    #[test]
    fn the_time_that_a_task_waited_for_the_user_is_shown() {
        let days = 3 * 86_400;
        let mut tracked = tracked();
        let queue_age =
            |tracked: &TrackedTask, now| fact(tracked, "Queue age", after(now)).unwrap();
        tracked.observe(&told(State::Waiting, None), after(5));
        let waits = ("3d".to_owned(), "3d of that waiting for the user".to_owned());
        assert_eq!(queue_age(&tracked, days), waits);
        tracked.observe(&told(State::Running, None), after(days));
        assert_eq!(troubles(&tracked, STUCK_AFTER, after(days + 90)), [""; 0]);
        let stuck =
            ["Stuck: enqueued 3d ago and waited for the user for all but 1m31s of that, and \
                      state and progress have not changed for 1m31s; stuck_after is 1m30s."];
        assert_eq!(troubles(&tracked, STUCK_AFTER, after(days + 91)), stuck);
        assert_eq!(queue_age(&tracked, days + 91), waits);
    }

    #[test]
    fn it_is_told_how_a_task_failed_or_was_lost() {
        let mut failed = tracked();
        failed.observe(&told(State::Failed, Some("E1")), after(5));
        let trouble = ["Failed, with the code “E1”."];
        assert_eq!(troubles(&failed, STUCK_AFTER, after(6)), trouble);
        assert_eq!(fact(&failed, "Failure code", START), Some(("E1".into(), String::new())));
        failed.observe(&told(State::Failed, None), after(5));
        let trouble = ["Failed; the provider gives no code."];
        assert_eq!(troubles(&failed, STUCK_AFTER, after(6)), trouble);

        let mut lost = tracked();
        lost.observe(&told(State::Running, None), after(1));
        for seconds in [2, 3, 70] {
            let missing = Failure::new(Reason::NotFound, "HTTP status 404");
            lost.fail(&missing, after(seconds), STUCK_AFTER);
        }
        let trouble = [
            "Lost: the provider knew the task before, and now answers that it does not exist.",
            "The last poll failed: not_found: HTTP status 404",
        ];
        assert_eq!(troubles(&lost, STUCK_AFTER, after(99)), trouble);
        let denied = ("3", "the provider does not know the task");
        let found = fact(&lost, "Not found in a row", after(62)).unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), denied);
        assert_eq!(fact(&lost, "Last usable answer", after(3)).unwrap().0, "2s ago");
        assert_eq!(fact(&lost, "Stuck", after(999)), None);

        let mut never_known = tracked();
        for seconds in [1, 2, 91] {
            let missing = Failure::new(Reason::NotFound, "");
            never_known.fail(&missing, after(seconds), STUCK_AFTER);
        }
        let trouble = [
            "Not found: the provider answers that the task does not exist, and never gave a usable \
             answer about it.",
            "The last poll failed: not_found: the provider does not know the task",
        ];
        assert_eq!(troubles(&never_known, STUCK_AFTER, after(99)), trouble);
    }

    #[test]
    fn the_lists_are_shown_that_name_the_task() {
        let mut tracked = tracked();
        let text = |text: &str| text.to_owned();
        let listed = (text("config, http/jobs"), String::new());
        assert_eq!(fact(&tracked, "Listed by", after(5)), Some(listed));
        let common = Arc::clone(&tracked.task.common);
        tracked.listing.leave(SourceId::CONFIG, &common, after(5), |_| 0);
        let unlisted = (
            text("no list since5s ago"),
            text("polled until its end is seen, or until keep_unlisted has passed"),
        );
        assert_eq!(fact(&tracked, "Listed by", after(10)), Some(unlisted));
        tracked.observe(&told(State::Failed, None), after(9));
        let ended = (text("no list since5s ago"), String::new());
        assert_eq!(fact(&tracked, "Listed by", after(10)), Some(ended));
    }

    #[test]
    fn a_param_is_shown_whatever_it_is_called() {
        let shown = fact(&tracked(), "Param api_key", START);
        assert_eq!(shown, Some(("zq".to_owned(), String::new())));
    }
}
