use std::collections::HashSet;
use std::path::Path;

use tokio::time::Instant;

use super::*;
use crate::config::{Limits, load_text};
use crate::observation::{Failure, Observation, Reason};
use crate::task::TaskCommon;

const STUCK_AFTER: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
}

fn task(id: &str) -> Task {
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
    Task { id: id.into(), common: Arc::new(common) }
}

fn record() -> Record {
    Record::new(task("t"), at(0))
}

fn failure(reason: Reason) -> Failure {
    Failure { reason, code: "7".into(), detail: String::new() }
}

/// A provider's tasks, which are one, and where it is.
fn shard() -> (Arc<Shard>, Slot) {
    shard_with(&mut HashMap::new())
}

/// The same, with what an earlier life knew of the task.
fn shard_with(remembered: &mut HashMap<Arc<str>, Known>) -> (Arc<Shard>, Slot) {
    let provider = "{ name: p, preset: mjdjourney, response: { codes: { failed: [E24] } } }";
    let text = format!("providers: [{provider}]\ntasks: []\n");
    let loaded = load_text("c.yml", &text, Path::new("")).unwrap();
    let shard =
        Arc::new(Shard::new("p".into(), Clock::Paused(Instant::now(), at(0)), Limits::default()));
    let diff = shard.diff(vec![task("t")]);
    let provider = &loaded.config.providers[0];
    Arc::clone(&shard).apply(provider, diff, remembered, at(0));
    (shard, Slot { index: 0, generation: 0 })
}

#[test]
fn a_provider_that_has_left_takes_nothing_in() {
    let (shard, slot) = shard();
    let mut told = 0;
    assert!(
        shard
            .record(slot, &Ok(Observation::new(State::Queued, "WORD")), |_, _| told += 1)
            .is_some()
    );
    shard.clear();
    assert_eq!(
        shard.record(slot, &Ok(Observation::new(State::Failed, "WORD")), |_, _| told += 1),
        None
    );
    assert_eq!((told, shard.open_count(), shard.task(slot)), (1, 0, None));
}

/// Distinct values of each label: the word of the state, the kind of job and the code.
type Shown = [HashSet<String>; 3];

/// Adds what a record shows.
fn show(record: &Record, shown: &mut Shown) {
    let values =
        [record.status(), record.job_type().unwrap_or_default(), record.error().unwrap().1];
    for (value, shown) in values.into_iter().zip(shown) {
        shown.insert(value.to_owned());
    }
}

/// Every sort of words, of a task that fails at every poll.
fn failed(number: usize) -> Observation {
    let word = |what: &str| Arc::from(format!("{what}-{number}"));
    Observation {
        job_type: Some(word("kind")),
        failure_code: Some(word("code")),
        ..Observation::new(State::Failed, word("status"))
    }
}

#[test]
fn ever_new_words_are_one_after_a_while() {
    let (shard, slot) = shard();
    let mut shown = Shown::default();
    let mut poll = |outcome: Result<Observation, Failure>| {
        // A kind stays, so each is that of a task of its own.
        let mut other = record();
        let mut admitted = outcome.clone();
        shard.admit_words(&mut admitted);
        other.take_in(&admitted, at(1), STUCK_AFTER);
        shard.record(slot, &outcome, |record, _| show(record, &mut shown));
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
    let code = |code: &str| (*shard.admit_code(&code.into())).to_owned();
    assert_eq!([code("code-0"), code("code-199"), code("e24")], ["code-0", "other", "E24"]);
}

#[test]
fn words_of_an_earlier_life_count_as_words() {
    let mut known = Known::new(at(0));
    known.observe(&failed(0), at(1));
    let (shard, slot) = shard_with(&mut HashMap::from([("t".into(), known)]));
    for number in 1..200 {
        shard.record(slot, &Ok(failed(number)), |_, _| {});
    }
    let admitted = |number| {
        let mut outcome = Ok(failed(number));
        shard.admit_words(&mut outcome);
        outcome.unwrap()
    };
    assert_eq!(admitted(0), failed(0));
    let other = admitted(199);
    let kind = other.job_type.as_deref();
    assert_eq!([Some(&*other.status), kind, other.failure_code.as_deref()], [Some("other"); 3]);
}
