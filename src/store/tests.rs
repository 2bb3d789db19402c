use tokio::time::Instant;

use super::record::Finished;
use super::*;
use crate::config::Limits;
use crate::observation::{Failure, Observation, Reason};
use crate::task::Common;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
}

fn task(id: &str) -> Task {
    let common = Common { provider: "p".into(), labels: [].into(), params: [].into() };
    Task { id: id.into(), common: Arc::new(common) }
}

fn record() -> Record {
    Record::new(task("t"), at(0))
}

fn seen(state: State) -> Observation {
    Observation::new(state, state.as_str().to_uppercase())
}

fn failure(reason: Reason) -> Failure {
    Failure { reason, code: "7".into(), detail: String::new() }
}

#[test]
fn an_end_is_counted_once_and_only_if_it_was_watched() {
    let mut watched = record();
    assert_eq!(watched.observe(&seen(State::Queued), at(1)).finished, None);
    assert_eq!(watched.observe(&seen(State::Running), at(2)).finished, None);
    let change = watched.observe(&seen(State::Succeeded), at(9));
    assert_eq!((change.from, change.to), (State::Running, State::Succeeded));
    assert_eq!(change.finished, Some(Finished { duration: Some(9 * SECOND) }));

    let mut unwatched = record();
    let change = unwatched.observe(&seen(State::Failed), at(1));
    assert!(change.is_final && change.finished.is_none());
    assert_eq!(unwatched.duration(), None);

    // A failed poll saw nothing, so it is no reason to count.
    let mut unseen = record();
    unseen.fail(&failure(Reason::Timeout), at(1), at(1));
    assert_eq!(unseen.observe(&seen(State::Cancelled), at(2)).finished, None);
}

#[test]
fn durations_prefer_the_word_of_the_api() {
    let told = Observation {
        enqueue_time: Some(at(100)),
        finish_time: Some(at(130)),
        ..seen(State::Succeeded)
    };
    let mut unwatched = record();
    unwatched.observe(&told, at(500));
    assert_eq!(unwatched.duration(), Some(30 * SECOND));
    assert_eq!(unwatched.state_since(), at(130));

    let mut watched = record();
    watched.observe(&Observation { enqueue_time: Some(at(100)), ..seen(State::Running) }, at(101));
    let change = watched.observe(&Observation { finish_time: None, ..told.clone() }, at(150));
    assert_eq!(change.finished, Some(Finished { duration: Some(50 * SECOND) }));

    // An end before the beginning is no duration.
    let mut odd = record();
    odd.observe(&Observation { finish_time: Some(at(99)), ..told }, at(500));
    assert_eq!(odd.duration(), None);
}

#[test]
fn a_failed_poll_erases_nothing() {
    let mut record = record();
    let progress = Some(0.4);
    let known = Observation {
        progress,
        enqueue_time: Some(at(3)),
        job_type: Some("video".into()),
        ..seen(State::Running)
    };
    record.observe(&known, at(10));
    record.fail(&failure(Reason::Http), at(20), at(20));
    assert_eq!((record.state(), record.status()), (State::Running, "RUNNING"));
    assert_eq!((record.enqueued(), record.enqueued_since()), (at(3), "api"));
    assert_eq!((record.progress(), record.up()), (progress, Some(false)));
    assert_eq!(record.error(), Some(("http", "7")));
    assert_eq!((record.last_poll(), record.last_success()), (Some(at(20)), Some(at(10))));
    record.observe(&seen(State::Running), at(30));
    assert_eq!((record.up(), record.error()), (Some(true), None));
    assert_eq!((record.job_type(), record.last_success()), (Some("video"), Some(at(30))));
}

#[test]
fn a_failed_task_is_an_error_of_its_own() {
    let mut record = record();
    record
        .observe(&Observation { failure_code: Some("nsfw".into()), ..seen(State::Failed) }, at(1));
    assert_eq!(record.error(), Some(("task", "nsfw")));
    assert_eq!(record.up(), Some(true));
}

#[test]
fn not_found_is_believed_at_once_only_where_nothing_is_known() {
    let mut unknown = record();
    let change = unknown.fail(&failure(Reason::NotFound), at(1), at(1));
    assert_eq!((change.to, change.is_final, change.finished), (State::NotFound, false, None));
    for second in [100, 200, 300] {
        assert!(!unknown.fail(&failure(Reason::NotFound), at(second), at(second)).is_final);
    }
    assert_eq!(unknown.observe(&seen(State::Queued), at(400)).to, State::Queued);

    let mut known = record();
    known.observe(&seen(State::Running), at(1));
    for (second, reason) in [
        (10, Reason::NotFound),
        (40, Reason::NotFound),
        (50, Reason::Http),
        (60, Reason::NotFound),
        (90, Reason::NotFound),
        (100, Reason::Timeout),
        (119, Reason::NotFound),
    ] {
        assert_eq!(
            known.fail(&failure(reason), at(second), at(second)).to,
            State::Running,
            "{second}"
        );
    }
    let change = known.fail(&failure(Reason::NotFound), at(120), at(120));
    assert_eq!((change.to, change.is_final), (State::NotFound, true));
    assert_eq!(change.finished, Some(Finished { duration: Some(120 * SECOND) }));
    assert_eq!(known.error(), Some(("not_found", "7")));
}

#[test]
fn no_step_of_the_clock_ends_a_task_that_is_missing_for_a_moment() {
    let hours = 3 * 3_600;
    let missing = failure(Reason::NotFound);
    let mut known = record();
    known.observe(&seen(State::Running), at(hours));
    for (wall, steady) in [(hours, 1), (2 * hours, 2), (0, 3), (3 * hours, 60)] {
        let change = known.fail(&missing, at(wall), at(steady));
        assert_eq!(change.to, State::Running, "after {steady} s");
    }
    assert!(known.fail(&missing, at(0), at(61)).is_final, "set back, though missing for a minute");
}

#[test]
fn stuck_is_old_or_without_movement_but_never_waiting_or_final() {
    let after = 600 * SECOND;
    let mut record = record();
    assert!(!record.is_stuck(after, at(600)));
    assert!(record.is_stuck(after, at(601)), "never answered");

    record.observe(&Observation { enqueue_time: Some(at(5000)), ..seen(State::Queued) }, at(1000));
    assert!(!record.is_stuck(after, at(1600)));
    assert!(record.is_stuck(after, at(1601)), "no movement, though the API's clock runs ahead");
    let moved =
        Observation { enqueue_time: Some(at(5000)), progress: Some(0.5), ..seen(State::Queued) };
    record.observe(&moved, at(1601));
    assert!(!record.is_stuck(after, at(2201)));

    record.observe(&seen(State::Waiting), at(2202));
    assert!(!record.is_stuck(after, at(90_000)));
    record.observe(&seen(State::Unknown), at(90_000));
    assert!(record.is_stuck(after, at(90_001)), "its age counts from the enqueueing");
    record.observe(&seen(State::Failed), at(90_002));
    assert!(!record.is_stuck(after, at(99_000)));
    assert_eq!(record.moved(), at(90_002));
}

/// A provider's tasks, which are one, and where it is.
fn shard() -> (Arc<Shard>, Slot) {
    let shard =
        Arc::new(Shard::new("p".into(), Clock::Paused(Instant::now(), at(0)), Limits::default()));
    let diff = shard.diff(vec![task("t")]);
    let changes = Arc::clone(&shard).apply(&Limits::default(), diff, &mut HashMap::new(), at(0));
    let slot = changes.added[0].slot;
    (shard, slot)
}

#[test]
fn a_provider_that_has_left_takes_nothing_in() {
    let (shard, slot) = shard();
    let mut told = 0;
    assert!(shard.record(slot, &Ok(seen(State::Queued)), |_, _| told += 1).is_some());
    shard.clear();
    assert_eq!(shard.record(slot, &Ok(seen(State::Failed)), |_, _| told += 1), None);
    assert_eq!((told, shard.open_count(), shard.task(slot)), (1, 0, None));
}

#[test]
fn ever_new_statuses_are_one_after_a_while() {
    let (shard, slot) = shard();
    let mut shown = Vec::new();
    let odd = (0..100).map(|n| (State::Unknown, format!("odd-{n}")));
    let known = [(State::Running, "busy".to_owned()), (State::Unknown, "odd-7".to_owned())];
    for (state, status) in odd.chain(known) {
        let observation = Observation { status: status.into(), ..seen(state) };
        shard.record(slot, &Ok(observation), |record, _| shown.push(record.status().to_owned()));
    }
    let expected = (0..100).map(|n| if n < 64 { format!("odd-{n}") } else { "other".to_owned() });
    let expected = expected.chain(["busy".to_owned(), "odd-7".to_owned()]);
    assert_eq!(shown, expected.collect::<Vec<_>>());
}
