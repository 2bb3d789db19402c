mod histories;
mod lists;
mod registrations;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tokio::time::Instant;

use super::lists::{FirstPolls, ListContext, ListedTasks};
use super::sources::ListTiming;
use super::*;
use crate::config::{Limits, load_text};
use crate::listing::SourceId;
use crate::observation::{Failure, Observation, PollOutcome, Reason};
use crate::record::TaskRecord;
use crate::record::tests::{STUCK_AFTER, at, failure, task, tracked};

/// Returns a provider with one task, and the slot of the task.
fn provider() -> (Arc<ProviderTasks>, Slot) {
    provider_with(&mut HashMap::new())
}

/// Returns the same with recovered records.
fn provider_with(recovered: &mut HashMap<Arc<str>, TaskRecord>) -> (Arc<ProviderTasks>, Slot) {
    let provider = "{ name: p, preset: mjdjourney, response: { codes: { failed: [E24] } } }";
    let text = format!("providers: [{provider}]\ntasks: []\n");
    let loaded = load_text("c.yml", &text, Path::new("")).unwrap();
    let tasks = Arc::new(ProviderTasks::new(
        "p".into(),
        Clock::Paused(Instant::now(), at(0)),
        Limits::default(),
        HistoryBudget::new(1),
    ));
    let registry = SourceRegistry::default();
    tasks.configure(&loaded.config.providers[0], at(0), &registry);
    let timing = ListTiming { is_first: true, newness: None };
    let mut context = ListContext {
        source: SourceId::CONFIG,
        now: at(0),
        monotonic: at(0),
        timing,
        is_window: false,
        registry: &registry,
        room: 10,
        save: &|_| {},
        first_polls: FirstPolls::new(timing, 1),
        ends: None,
    };
    let listed = ListedTasks { tasks: vec![task("t")], enqueue_times: Vec::new() };
    let diff = tasks.diff(SourceId::CONFIG, listed);
    tasks.apply_arrivals(diff, recovered, &mut context, &mut TaskChanges::none(Arc::clone(&tasks)));
    (tasks, Slot { row: 0, generation: 0 })
}

#[test]
fn a_removed_provider_ignores_polls() {
    let (tasks, slot) = provider();
    let mut calls = 0;
    assert!(
        tasks
            .record_poll(slot, &Ok(Observation::new(State::Queued, "WORD")), |_, _| calls += 1)
            .is_some()
    );
    tasks.clear(&|_| {});
    assert_eq!(
        tasks.record_poll(slot, &Ok(Observation::new(State::Failed, "WORD")), |_, _| calls += 1),
        None
    );
    assert_eq!((calls, tasks.open_count(), tasks.task(slot)), (1, 0, None));
}

/// Distinct values of each label: the word of the state, the kind of job and the code.
type Shown = [HashSet<String>; 3];

/// Adds the label values of a record.
fn show(tracked: &TrackedTask, shown: &mut Shown) {
    let values =
        [tracked.status(), tracked.job_type().unwrap_or_default(), tracked.error().unwrap().1];
    for (value, shown) in values.into_iter().zip(shown) {
        shown.insert(value.to_owned());
    }
}

/// Returns an observation of a failed task with words of every kind.
fn failed(number: usize) -> Observation {
    let word = |what: &str| Arc::from(format!("{what}-{number}"));
    Observation {
        job_type: Some(word("kind")),
        failure_code: Some(word("code")),
        ..Observation::new(State::Failed, word("status"))
    }
}

#[test]
fn words_over_the_limit_become_other() {
    let (tasks, slot) = provider();
    let mut shown = Shown::default();
    let mut poll = |outcome: PollOutcome| {
        // A kind stays, so each is that of a task of its own.
        let mut other = tracked();
        let mut admitted = outcome.clone();
        tasks.limit_words(&mut admitted);
        other.apply(&admitted, at(1), STUCK_AFTER);
        tasks.record_poll(slot, &outcome, |tracked, _| show(tracked, &mut shown));
        show(&other, &mut shown);
        (other.status().to_owned(), other.error().unwrap().1.to_owned())
    };
    for number in 0..200 {
        poll(Ok(failed(number)));
        let code = format!("poll-{number}").into();
        poll(Err(Failure { code, ..failure(Reason::Api) }));
    }
    // What the mapping names is shown nevertheless.
    let named = Observation { failure_code: Some("E24".into()), ..failed(0) };
    let named = Observation { status: "running".into(), ..named };
    assert_eq!(poll(Ok(named)), ("running".to_owned(), "E24".to_owned()));
    for shown in &mut shown {
        shown.remove("");
        assert!(shown.contains("other") && (33..=65).contains(&shown.len()), "{shown:?}");
    }
    let code = |code: &str| (*tasks.limit_code(&code.into())).to_owned();
    assert_eq!([code("code-0"), code("code-199"), code("e24")], ["code-0", "other", "E24"]);
}

#[test]
fn recovered_words_count_towards_the_limit() {
    let mut record = TaskRecord::new(at(0));
    record.observe(&failed(0), at(1));
    let (tasks, slot) = provider_with(&mut HashMap::from([("t".into(), record)]));
    for number in 1..200 {
        tasks.record_poll(slot, &Ok(failed(number)), |_, _| {});
    }
    let admitted = |number| {
        let mut outcome = Ok(failed(number));
        tasks.limit_words(&mut outcome);
        outcome.unwrap()
    };
    assert_eq!(admitted(0), failed(0));
    let other = admitted(199);
    let kind = other.job_type.as_deref();
    assert_eq!([Some(&*other.status), kind, other.failure_code.as_deref()], [Some("other"); 3]);
}
