//! The conditions of statuses as they occur, and what is no condition.

use std::sync::Arc;

use super::*;
use crate::discovery::list::{RefreshReason, RejectReason, RejectedElement, Rejections};
use crate::discovery::status::CurrentError;
use crate::observation::Failure;
use crate::poll::status::PollHistory;
use crate::reload::status::{ReloadFailure, TasksOverLimit};

const NOW: Timestamp = Timestamp::from_micros(1_750_402_472_000_000);

fn ago(seconds: u64) -> Timestamp {
    NOW - Duration::from_secs(seconds)
}

/// Returns a status from which no condition follows.
pub fn green(now: Timestamp) -> ExporterStatus {
    ExporterStatus {
        now,
        config: ConfigStatus { loaded: now, failure: None, over_limit: None },
        web_config: None,
        storage: None,
        providers: Vec::new(),
        sources: Vec::new(),
    }
}

fn provider(open: usize, polls: PollHistory) -> ProviderStatus {
    ProviderStatus { name: "mj".into(), open, polls, lateness: None }
}

fn answered(seconds: u64) -> PollHistory {
    PollHistory { last_answer: Some(ago(seconds)), ..PollHistory::default() }
}

fn paused(reason: PauseReason, cause: &str) -> PollHistory {
    let (since, until) = (ago(60), NOW + Duration::from_secs(120));
    let pause = CurrentPause { reason, since, until, cause: cause.to_owned() };
    PollHistory { pause: Some(pause), ..answered(90) }
}

fn failing(count: u64, last_answer: Option<Timestamp>) -> PollHistory {
    let failure = Failure::new(Reason::Http, "HTTP status 502");
    let failing = FailingPolls { since: ago(30), count, failure };
    PollHistory { last_answer, failing: Some(failing), pause: None }
}

fn late(seconds: u64) -> Lateness {
    let at = Duration::from_secs;
    Lateness { delay: at(seconds), lasts: at(seconds.saturating_sub(10)) }
}

fn of(status: &ExporterStatus) -> Vec<Condition> {
    Conditions::find(status).first
}

/// Returns the only condition that follows from the status of one provider.
fn only(status: ProviderStatus) -> Condition {
    let found = of(&ExporterStatus { providers: vec![status], ..green(NOW) });
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

fn is_green(status: ProviderStatus) -> bool {
    of(&ExporterStatus { providers: vec![status], ..green(NOW) }).is_empty()
}

fn since(condition: &Condition) -> &str {
    &condition.since.as_ref().unwrap().ago
}

#[test]
fn nothing_is_wrong_where_nothing_is() {
    assert_eq!(Conditions::find(&green(NOW)), Conditions::default());
    assert!(is_green(provider(3, PollHistory::default())), "before the first poll");
    assert!(is_green(provider(3, answered(2))));
    assert!(is_green(provider(3, failing(1, Some(ago(40))))), "one hiccup");
    assert!(is_green(provider(0, failing(9, None))), "nothing is polled any more");
    assert!(is_green(provider(0, paused(PauseReason::Refused, "HTTP status 401"))));
    assert!(is_green(ProviderStatus { lateness: Some(late(60)), ..provider(0, answered(2)) }));
    for status in [
        provider(3, answered(2)),
        provider(3, failing(1, Some(ago(40)))),
        provider(0, failing(9, None)),
    ] {
        assert_eq!(describe_trouble(&status, NOW), None);
    }
}

#[test]
fn a_refused_reload_says_why_and_what_is_in_force() {
    let reason: Arc<str> =
        "c.yml:3:5: unknown key \"x\u{202e}\"\n  3 | x: 1\nc.yml:4:1: more".into();
    let failure = Some(ReloadFailure { since: ago(90), reason });
    let config = ConfigStatus { loaded: ago(3_600), failure, over_limit: None };
    let [condition] = &of(&ExporterStatus { config, ..green(NOW) })[..] else { panic!() };
    assert_eq!(
        condition.sentence,
        "The configuration was not reloaded: c.yml:3:5: unknown key \"x\\u{202e}\"."
    );
    assert_eq!(since(condition), "1m30s ago");
    let effect = "The configuration loaded at 2025-06-20T05:54:32Z (1h ago) is in force.";
    assert_eq!(condition.effect, effect);
}

#[test]
fn storage_and_tasks_over_the_limit_are_conditions() {
    let storage = StorageFailure { since: ago(5), reason: "No space left on device".to_owned() };
    let over_limit = Some(TasksOverLimit { tasks: 1_200, since: ago(7) });
    let config = ConfigStatus { loaded: ago(9), failure: None, over_limit };
    let found = of(&ExporterStatus { config, storage: Some(storage), ..green(NOW) });
    let sentences: Vec<_> = found.iter().map(|condition| &*condition.sentence).collect();
    assert_eq!(
        sentences,
        [
            "The storage path cannot be written: No space left on device.",
            "1,200 tasks are left out: there are more than max_tasks.",
        ]
    );
    assert_eq!([since(&found[0]), since(&found[1])], ["5s ago", "7s ago"]);
}

#[test]
fn a_pause_says_why_and_until_when() {
    let refused = only(provider(2, paused(PauseReason::Refused, "HTTP status 401")));
    assert_eq!(
        refused.sentence,
        "The provider “mj” is paused after HTTP 401: it refuses the credentials."
    );
    assert_eq!(
        refused.effect,
        "They are tried again at 06:56:32 UTC (in 2m). Its tasks are shown as they were; its last \
         usable answer came 1m30s ago."
    );
    assert_eq!((since(&refused), refused.runbook), ("1m ago", "AITaskCredentialsRejected"));
    assert_eq!(refused.link, Some(("Its tasks", "/tasks?provider=mj".to_owned())));

    let asked = provider(2, paused(PauseReason::RetryAfter, "HTTP status 429"));
    let asked = only(ProviderStatus { lateness: Some(late(50)), ..asked });
    assert_eq!(
        asked.sentence,
        "The provider “mj” is paused after HTTP 429, as it asked for with Retry-After."
    );
    assert!(asked.effect.starts_with("Polls continue at 06:56:32 UTC (in 2m). "), "{asked:?}");
    assert!(asked.effect.ends_with(" Polls have been due for 50s."), "{asked:?}");

    // Tasks that come would not be polled.
    let missing = paused(PauseReason::Unreadable, "cannot read /run/token: no such file");
    for (open, left_out) in [(0, "0 open tasks are"), (1, "1 open task is")] {
        let missing = only(provider(open, missing.clone()));
        assert_eq!(
            missing.sentence,
            "The provider “mj” is paused: its credentials cannot be read: cannot read /run/token: \
             no such file."
        );
        assert!(missing.effect.contains(&format!("; {left_out} left out. ")), "{missing:?}");
    }
    let text =
        |reason| describe_trouble(&provider(1, paused(reason, "HTTP status 401")), NOW).unwrap();
    assert_eq!(text(PauseReason::Refused), "paused after HTTP 401 until 06:56:32 UTC");
    assert_eq!(
        text(PauseReason::RetryAfter),
        "paused after HTTP 401 until 06:56:32 UTC (Retry-After)"
    );
    assert_eq!(text(PauseReason::Unreadable), "paused, no credentials, until 06:56:32 UTC");
    for (detail, words) in [
        ("HTTP status 401, code 401", " after HTTP 401"),
        ("HTTP status 200, code 1102", " after HTTP 200, code 1102"),
        ("code 1102", " after code 1102"),
        ("Connection refused (os error 111)", " after Connection refused"),
        ("", ""),
    ] {
        assert_eq!(cause(&paused(PauseReason::Refused, detail).pause.unwrap()), words);
    }
    let mut overdue = paused(PauseReason::Refused, "");
    overdue.pause.as_mut().unwrap().until = ago(1);
    let overdue = only(provider(1, overdue));
    assert!(overdue.effect.starts_with("They are tried again now. "), "{overdue:?}");
}

#[test]
fn missing_answers_and_late_polls_are_conditions() {
    for polls in [failing(1, None), failing(2, Some(ago(40)))] {
        let unanswered = only(provider(1, polls.clone()));
        assert_eq!(
            unanswered.sentence,
            "No poll of the provider “mj” gets a usable answer: HTTP status 502 (http)."
        );
        assert_eq!((since(&unanswered), unanswered.runbook), ("30s ago", "AITaskProviderDown"));
        let text = describe_trouble(&provider(1, polls), NOW).unwrap();
        assert_eq!(text, "no usable answer since 06:54:02 UTC: HTTP 502");
    }
    for (reason, runbook) in [
        (Reason::NotFound, "AITaskNotFound"),
        (Reason::Auth, "AITaskCredentialsRejected"),
        (Reason::RateLimited, "AITaskRateLimited"),
    ] {
        let mut polls = failing(2, None);
        polls.failing.as_mut().unwrap().failure.reason = reason;
        let unanswered = only(provider(1, polls));
        assert_eq!(unanswered.runbook, runbook);
        let is_unknown = unanswered.sentence.starts_with("The provider “mj” knows none of");
        assert_eq!(is_unknown, reason == Reason::NotFound, "{unanswered:?}");
    }
    for (reason, runbook) in
        [(Reason::RateLimited, "AITaskRateLimited"), (Reason::Http, "AITaskPollsStopped")]
    {
        let mut polls = failing(1, Some(ago(40)));
        polls.failing.as_mut().unwrap().failure.reason = reason;
        polls.pause = paused(PauseReason::RetryAfter, "").pause;
        assert_eq!(only(provider(1, polls)).runbook, runbook);
    }
    let never = only(provider(1, failing(1, None)));
    assert!(never.effect.ends_with("no usable answer since the start of the exporter."));
    for (seconds, runbook) in [(85, "AITaskPollsLate"), (300, "AITaskPollsStopped")] {
        let status = ProviderStatus { lateness: Some(late(seconds)), ..provider(1, answered(1)) };
        let text = describe_trouble(&status, NOW).unwrap();
        let late = only(status);
        let delay = format::rough(Duration::from_secs(seconds));
        let sentence = format!("Polls of the provider “mj” are late, the first by {delay}.");
        assert_eq!((late.sentence, late.runbook), (sentence, runbook));
        assert_eq!(text, format!("late by {delay}"));
    }
}

#[test]
fn a_source_says_which_list_is_in_force() {
    let error = CurrentError {
        reason: RefreshReason::Read,
        message: "cannot read a.json.".to_owned(),
        since: ago(20),
    };
    let failed = RefreshHistory { error: Some(error), ..RefreshHistory::default() };
    let of_history = |history: &RefreshHistory| {
        let sources = vec![("file", "cron".to_owned(), history.clone())];
        of(&ExporterStatus { sources, ..green(NOW) })
    };
    for (last_success, discovered, effect) in [
        (
            Some(ago(60)),
            1,
            "Its last good list, of 2025-06-20T06:53:32Z (1m ago), is in force: 1 task.",
        ),
        (None, 2, "A part of its list is in force: 2 tasks."),
        (None, 0, "It has given no list since the start of the exporter"),
    ] {
        let history = RefreshHistory { last_success, discovered, ..failed.clone() };
        let [condition] = &of_history(&history)[..] else { panic!() };
        assert_eq!(
            condition.sentence,
            "The source “cron” (file) of tasks fails: cannot read a.json (read)."
        );
        assert!(condition.effect.starts_with(effect), "{condition:?}");
        assert_eq!(condition.link.as_ref().unwrap().1, "/service-discovery#source-1");
    }
    let mut rejected = Rejections::default();
    let (element, message) = ("x".to_owned(), "it has no ID".to_owned());
    let reason = RejectReason::Id;
    rejected.add(reason, || RejectedElement { element, reason, message });
    let (rejected, rejected_since) = (Arc::new(rejected), Some(ago(5)));
    let history =
        RefreshHistory { discovered: 7, rejected, rejected_since, ..RefreshHistory::default() };
    let [condition] = &of_history(&history)[..] else { panic!() };
    assert_eq!(condition.sentence, "1 element is left out of the list of “cron” (file): id 1.");
    assert_eq!((since(condition), &*condition.effect), ("5s ago", "The others count: 7 tasks."));
}

#[test]
fn many_conditions_are_counted_and_the_first_are_those_of_the_exporter() {
    let providers = vec![provider(1, failing(5, None)); 40];
    let storage = StorageFailure { since: ago(5), reason: "it hangs".to_owned() };
    let found =
        Conditions::find(&ExporterStatus { storage: Some(storage), providers, ..green(NOW) });
    assert_eq!((found.first.len(), found.count, found.others()), (MAX_SHOWN, 41, 21));
    assert_eq!(found.first[0].id, "condition-storage");
    assert_eq!(found.first[19].id, "condition-unanswered-19");
    let long = "long ".repeat(1_000);
    let storage = StorageFailure { since: ago(5), reason: long };
    let found = of(&ExporterStatus { storage: Some(storage), ..green(NOW) });
    assert!(found[0].sentence.len() < 400 && found[0].sentence.ends_with("…."));
}
