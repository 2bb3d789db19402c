//! Unit tests of records, and the examples that tests of the store use as well.

use super::*;
use crate::observation::{Failure, Observation};
use crate::task::{TaskCommon, stable_hash};

const SECOND: Duration = Duration::from_secs(1);
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(600);

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_secs(seconds)
}

pub(crate) fn task(id: &str) -> Task {
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
    Task { id: id.into(), common: Arc::new(common) }
}

pub(crate) fn tracked() -> TrackedTask {
    TrackedTask::new(task("t"), at(0))
}

fn seen(state: State) -> Observation {
    Observation::new(state, state.as_str().to_uppercase())
}

pub(crate) fn failure(reason: Reason) -> Failure {
    Failure { reason, code: "7".into(), detail: "".into() }
}

#[test]
fn an_end_is_counted_once_and_only_if_it_was_watched() {
    let mut watched = tracked();
    assert_eq!(watched.observe(&seen(State::Queued), at(1)).finished, None);
    assert_eq!(watched.observe(&seen(State::Running), at(2)).finished, None);
    let change = watched.observe(&seen(State::Succeeded), at(9));
    assert_eq!((change.from, change.to), (State::Running, State::Succeeded));
    assert_eq!(change.finished, Some(Finished { duration: Some(9 * SECOND) }));

    let mut unwatched = tracked();
    let change = unwatched.observe(&seen(State::Failed), at(1));
    assert!(change.is_final && change.finished.is_none());
    assert_eq!(unwatched.duration(), None);

    // A failed poll saw nothing, so it is no reason to count.
    let mut unseen = tracked();
    unseen.fail(&failure(Reason::Timeout), at(1), STUCK_AFTER);
    assert_eq!(unseen.observe(&seen(State::Cancelled), at(2)).finished, None);
}

#[test]
fn the_last_failure_has_words_until_a_poll_is_answered() {
    let mut tracked = tracked();
    assert_eq!(tracked.error_detail(), None);
    tracked.fail(&Failure::new(Reason::Http, "HTTP status 502"), at(1), STUCK_AFTER);
    assert_eq!(tracked.error_detail(), Some("HTTP status 502"));
    let stored = postcard::to_allocvec(&tracked.record).unwrap();
    let restored: TaskRecord = postcard::from_bytes(&stored).unwrap();
    assert_eq!(restored.error_detail(), Some(Reason::Http.in_words()), "until the next poll");
    tracked.fail(&Failure::new(Reason::Timeout, ""), at(2), STUCK_AFTER);
    assert_eq!(tracked.error_detail(), Some(Reason::Timeout.in_words()));
    tracked.observe(&seen(State::Running), at(3));
    assert_eq!(tracked.error_detail(), None);
    tracked.observe(&seen(State::Failed), at(4));
    assert_eq!(tracked.error_detail(), Some(TASK_FAILED));
}

#[test]
fn durations_prefer_the_word_of_the_api() {
    let told = Observation {
        enqueue_time: Some(at(100)),
        finish_time: Some(at(130)),
        ..seen(State::Succeeded)
    };
    let mut unwatched = tracked();
    unwatched.observe(&told, at(500));
    assert_eq!(unwatched.duration(), Some(30 * SECOND));
    assert_eq!(unwatched.state_since(), at(130));

    let mut watched = tracked();
    watched.observe(&Observation { enqueue_time: Some(at(100)), ..seen(State::Running) }, at(101));
    let change = watched.observe(&Observation { finish_time: None, ..told.clone() }, at(150));
    assert_eq!(change.finished, Some(Finished { duration: Some(50 * SECOND) }));

    // An end before the beginning is no duration.
    let mut odd = tracked();
    odd.observe(&Observation { finish_time: Some(at(99)), ..told }, at(500));
    assert_eq!(odd.duration(), None);
}

#[test]
fn a_failed_poll_erases_nothing() {
    let mut tracked = tracked();
    let progress = Some(0.4);
    let known = Observation {
        progress,
        enqueue_time: Some(at(3)),
        job_type: Some("video".into()),
        ..seen(State::Running)
    };
    tracked.observe(&known, at(10));
    tracked.fail(&failure(Reason::Http), at(20), STUCK_AFTER);
    assert_eq!((tracked.state(), tracked.status()), (State::Running, "RUNNING"));
    assert_eq!((tracked.enqueued(), tracked.enqueued_since()), (at(3), "api"));
    assert_eq!((tracked.progress(), tracked.up()), (progress, Some(false)));
    assert_eq!(tracked.error(), Some(("http", "7")));
    assert_eq!((tracked.last_poll(), tracked.last_success()), (Some(at(20)), Some(at(10))));
    tracked.observe(&seen(State::Running), at(30));
    assert_eq!((tracked.up(), tracked.error()), (Some(true), None));
    assert_eq!((tracked.job_type(), tracked.last_success()), (Some("video"), Some(at(30))));
}

#[test]
fn a_failed_task_is_an_error_of_its_own() {
    let mut tracked = tracked();
    tracked
        .observe(&Observation { failure_code: Some("nsfw".into()), ..seen(State::Failed) }, at(1));
    assert_eq!(tracked.error(), Some(("task", "nsfw")));
    assert_eq!(tracked.up(), Some(true));
}

/// A poll that ended so many seconds after the start, by the wall clock and by the steady one.
fn poll(wall: u64, monotonic: u64) -> PollTime {
    PollTime { wall: at(wall), monotonic: at(monotonic) }
}

fn apply_not_found(tracked: &mut TrackedTask, second: u64) -> Transition {
    tracked.fail(&failure(Reason::NotFound), at(second), STUCK_AFTER)
}

#[test]
fn an_id_that_was_never_known_is_lost_after_three_denials_over_stuck_after() {
    let mut unknown = tracked();
    let change = apply_not_found(&mut unknown, 1);
    assert_eq!((change.to, change.is_final, change.finished), (State::NotFound, false, None));
    assert_eq!(change.final_not_found_in, None);
    assert_eq!(apply_not_found(&mut unknown, 100).final_not_found_in, Some(501 * SECOND));
    assert_eq!(apply_not_found(&mut unknown, 600).final_not_found_in, Some(SECOND));
    // Nothing is said, so nothing is contradicted.
    unknown.fail(&failure(Reason::Timeout), at(610), STUCK_AFTER);
    assert!(unknown.is_stuck(STUCK_AFTER, at(610)));
    let change = apply_not_found(&mut unknown, 620);
    assert_eq!((change.from, change.to), (State::NotFound, State::NotFound));
    assert!(change.is_final && !unknown.is_stuck(STUCK_AFTER, at(9_000)));
    assert_eq!(change.finished, Some(Finished { duration: Some(620 * SECOND) }));
    assert_eq!((unknown.state_since(), unknown.last_changed()), (at(620), at(620)));
    assert_eq!((unknown.queue_age(at(700)), unknown.consecutive_not_found()), (None, Some(4)));
    assert_eq!(apply_not_found(&mut unknown, 9_000).finished, None, "once in its life");
}

#[test]
fn another_response_resets_the_count_of_not_found() {
    let mut known = tracked();
    for second in [1, 300, 599] {
        assert!(!apply_not_found(&mut known, second).is_final);
    }
    assert_eq!(known.observe(&seen(State::Queued), at(600)).to, State::Queued);
    assert_eq!(known.consecutive_not_found(), None);
    for (second, state, is_final) in
        [(700, State::Queued, false), (701, State::Queued, false), (760, State::NotFound, true)]
    {
        let change = apply_not_found(&mut known, second);
        assert_eq!((change.to, change.is_final), (state, is_final), "once known, at {second}");
    }

    let mut refused = tracked();
    apply_not_found(&mut refused, 1);
    apply_not_found(&mut refused, 2);
    refused.fail(&failure(Reason::Auth), at(599), STUCK_AFTER);
    for (second, is_final) in [(700, false), (701, false), (1_299, false), (1_300, true)] {
        assert_eq!(apply_not_found(&mut refused, second).is_final, is_final, "{second}");
    }
}

#[test]
fn a_known_task_is_lost_after_three_denials_over_a_minute() {
    let mut known = tracked();
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
        let change = known.fail(&failure(reason), at(second), STUCK_AFTER);
        assert_eq!(change.to, State::Running, "{second}");
    }
    let change = apply_not_found(&mut known, 120);
    assert_eq!((change.to, change.is_final), (State::NotFound, true));
    assert_eq!(change.finished, Some(Finished { duration: Some(120 * SECOND) }));
    assert_eq!(known.error(), Some(("not_found", "7")));
}

#[test]
fn no_step_of_the_clock_ends_a_task_that_is_missing_for_a_moment() {
    let hours = 3 * 3_600;
    let missing = failure(Reason::NotFound);
    let mut known = tracked();
    known.observe(&seen(State::Running), at(hours));
    for (wall, steady) in [(hours, 1), (2 * hours, 2), (0, 3), (3 * hours, 60)] {
        let change = known.fail(&missing, poll(wall, steady), STUCK_AFTER);
        assert_eq!(change.to, State::Running, "after {steady} s");
    }
    let change = known.fail(&missing, poll(0, 61), STUCK_AFTER);
    assert!(change.is_final, "set back, though missing for a minute");
}

#[test]
fn stuck_is_old_or_without_movement_but_never_waiting_or_final() {
    let mut tracked = tracked();
    assert!(!tracked.is_stuck(STUCK_AFTER, at(600)));
    assert!(tracked.is_stuck(STUCK_AFTER, at(601)), "never answered");

    tracked.observe(&Observation { enqueue_time: Some(at(5000)), ..seen(State::Queued) }, at(1000));
    assert!(!tracked.is_stuck(STUCK_AFTER, at(1600)));
    assert!(tracked.is_stuck(STUCK_AFTER, at(1601)), "unmoved, though the API's clock runs ahead");
    let moved =
        Observation { enqueue_time: Some(at(5000)), progress: Some(0.5), ..seen(State::Queued) };
    tracked.observe(&moved, at(1601));
    assert!(!tracked.is_stuck(STUCK_AFTER, at(2201)));
    tracked.observe(&seen(State::Waiting), at(2202));
    assert!(!tracked.is_stuck(STUCK_AFTER, at(90_000)));
    tracked.observe(&seen(State::Failed), at(90_002));
    assert!(!tracked.is_stuck(STUCK_AFTER, at(99_000)));
    assert_eq!((tracked.last_changed(), tracked.waited(at(99_000))), (at(90_002), Duration::ZERO));
}

/// From when on a task is stuck that was seen in these states at these seconds.
fn stuck_from(polls: &[(u64, State)]) -> u64 {
    let mut tracked = tracked();
    for (number, (second, state)) in (0_u32..).zip(polls) {
        // Its progress moves: it is the age that counts.
        let progress = Some(f64::from(number));
        tracked.observe(&Observation { progress, ..seen(*state) }, at(*second));
    }
    let mut after = polls.last().unwrap().0..;
    let from = after.find(|second| tracked.is_stuck(STUCK_AFTER, at(*second))).unwrap();
    let why = tracked.stuck(STUCK_AFTER, at(from)).unwrap();
    assert_eq!(why.age.unwrap(), why.waited + STUCK_AFTER + SECOND);
    from
}

#[test]
fn the_time_in_waiting_does_not_make_a_task_stuck() {
    use State::{Queued, Running, Unknown, Waiting};
    assert_eq!(stuck_from(&[(10, Queued), (50, Running)]), 601);
    // First seen waiting: since its enqueueing.
    assert_eq!(stuck_from(&[(50_000, Waiting), (90_000, Running)]), 90_601);
    assert_eq!(stuck_from(&[(50_000, Waiting), (90_000, Unknown)]), 90_601);
    // Seen before: from the poll that saw it wait to the poll that saw it run.
    assert_eq!(stuck_from(&[(200, Queued), (300, Waiting), (90_000, Running)]), 90_301);
    // Again and again.
    let polls = [(100, Running), (200, Waiting), (5_000, Running), (5_100, Waiting)];
    assert_eq!(stuck_from(&[&polls[..], &[(90_000, Waiting), (95_000, Running)]].concat()), 95_301);
}

#[test]
fn failed_polls_leave_a_task_waiting() {
    let mut tracked = tracked();
    apply_not_found(&mut tracked, 5);
    tracked.observe(&seen(State::Waiting), at(10));
    for (second, reason) in [(500, Reason::Timeout), (700, Reason::NotFound), (900, Reason::Http)] {
        tracked.fail(&failure(reason), at(second), STUCK_AFTER);
        assert_eq!(tracked.waited(at(second)), Duration::from_secs(second));
        assert!(!tracked.is_stuck(STUCK_AFTER, at(second)));
    }
    tracked.observe(&seen(State::Running), at(1_000));
    tracked.fail(&failure(Reason::Timeout), at(1_100), STUCK_AFTER);
    assert_eq!(tracked.waited(at(1_200)), 1_000 * SECOND, "a failed poll erases nothing");
    assert_eq!(tracked.net_queue_age(at(1_200)), Some(200 * SECOND));
    assert_eq!(tracked.queue_age(at(1_200)), Some(1_200 * SECOND), "the age stays what it is");
}

#[test]
fn a_corrected_enqueue_time_leaves_no_waiting_that_exceeds_the_age() {
    let given = |second, state| Observation { enqueue_time: Some(at(second)), ..seen(state) };
    let mut tracked = TrackedTask::new(task("t"), at(50_000));
    tracked.observe(&seen(State::Waiting), at(50_010));
    tracked.observe(&given(10, State::Waiting), at(50_020));
    assert_eq!(tracked.waited(at(50_020)), 50_010 * SECOND, "since its enqueueing");
    tracked.observe(&given(10, State::Running), at(50_030));
    assert_eq!(tracked.net_queue_age(at(50_100)), Some(70 * SECOND));
    tracked.observe(&given(50_060, State::Running), at(50_070));
    assert_eq!(tracked.waited(at(50_070)), 10 * SECOND);
    assert_eq!(tracked.net_queue_age(at(50_100)), Some(20 * SECOND));
    tracked.observe(&given(99_000, State::Running), at(50_080));
    assert_eq!(tracked.waited(at(50_100)), Duration::ZERO);
    assert_eq!(tracked.net_queue_age(at(50_100)), Some(Duration::ZERO));
}

#[test]
fn the_time_in_waiting_goes_on_in_the_next_life() {
    let mut first = tracked();
    first.observe(&seen(State::Queued), poll(10, 10));
    let change = first.apply(&Ok(seen(State::Waiting)), poll(100, 100), STUCK_AFTER);
    assert!(change.should_persist);
    let change = first.apply(&Ok(seen(State::Waiting)), poll(200, 200), STUCK_AFTER);
    assert!(!change.should_persist, "no write at each poll");
    let kept = postcard::to_allocvec(&first.record).unwrap();
    let record = postcard::from_bytes(&kept).unwrap();
    let mut second = TrackedTask { record, ..TrackedTask::new(task("t"), at(0)) };
    // Another life's steady clock says something else.
    let change = second.apply(&Ok(seen(State::Running)), poll(90_000, 3), STUCK_AFTER);
    assert!(change.should_persist);
    assert_eq!(second.waited(at(90_000)), 89_900 * SECOND);
    let record = postcard::from_bytes(&postcard::to_allocvec(&second.record).unwrap()).unwrap();
    let third = TrackedTask { record, ..TrackedTask::new(task("t"), at(0)) };
    assert!(!third.is_stuck(STUCK_AFTER, at(90_500)) && third.is_stuck(STUCK_AFTER, at(90_501)));
}

/// The files of `--storage.path` hold records in this form.
#[test]
fn the_stored_form_of_a_record_is_that_of_the_version() {
    let mut tracked = tracked();
    let waiting =
        Observation { job_type: Some("video".into()), progress: Some(0.5), ..seen(State::Waiting) };
    tracked.observe(&waiting, at(1));
    tracked.fail(&failure(Reason::Timeout), at(2), STUCK_AFTER);
    let stored = postcard::to_allocvec(&tracked.record).unwrap();
    let form = (stored.len(), stable_hash([&*stored]));
    assert_eq!(form, (99, 5_571_778_047_590_283_080), "raise `VERSION` in src/storage/frame.rs");
}

/// A million tasks have one each.
#[test]
fn a_record_has_96_bytes() {
    assert_eq!(size_of::<TaskRecord>(), 96);
}

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

fn known(state: State) -> TaskRecord {
    let mut known = TaskRecord::new(NOW);
    known.observe(&Observation::new(state, "word"), NOW);
    known
}

#[test]
fn records_made_by_polls_are_plausible() {
    assert!(TaskRecord::new(NOW).is_plausible());
    for state in State::ALL.into_iter().filter(|state| *state != State::Unpolled) {
        let mut known = known(state);
        assert!(known.is_plausible(), "{state}");
        for reason in Reason::ALL {
            known.fail(&Failure::new(reason, ""), NOW, STUCK_AFTER);
            assert!(known.is_plausible(), "{state} {reason}");
        }
    }
    let mut denied = TaskRecord::new(NOW);
    denied.fail(&Failure::new(Reason::NotFound, ""), NOW, STUCK_AFTER);
    assert!(denied.is_plausible());
}

#[test]
fn impossible_records_are_rejected() {
    let wrong = |state: State, change: fn(&mut TaskRecord)| {
        let mut known = if state == State::Unpolled { TaskRecord::new(NOW) } else { known(state) };
        change(&mut known);
        assert!(!known.is_plausible(), "{known:?}");
    };
    let changes: [fn(&mut TaskRecord); 13] = [
        |known| known.progress = Some(-1e250),
        |known| known.progress = Some(f64::NAN),
        |known| known.progress = Some(1.000_001),
        |known| known.enqueued = Timestamp::from_micros(i64::MAX),
        |known| known.state_since = Timestamp::from_micros(i64::MIN),
        |known| known.last_changed = LATEST + Duration::from_micros(1),
        |known| known.last_poll = Some(Timestamp::from_micros(-1)),
        |known| {
            let last_success = Some(Timestamp::from_micros(-1));
            known.anomalies = Some(Box::new(Anomalies { last_success, ..Anomalies::default() }));
        },
        |known| {
            let at = PollTime { wall: LATEST + Duration::from_micros(1), monotonic: NOW };
            let waiting_time = Some(Box::new(WaitingTime::begin(true, at)));
            known.anomalies = Some(Box::new(Anomalies { waiting_time, ..Anomalies::default() }));
        },
        |known| known.is_final = true,
        |known| known.has_end = true,
        |known| known.state = State::Failed,
        |known| known.state = State::Unpolled,
    ];
    for change in changes {
        wrong(State::Running, change);
    }
    wrong(State::Succeeded, |known| known.is_final = false);
    wrong(State::NotFound, |known| known.has_end = true);
    wrong(State::Unpolled, |known| known.was_seen_open = true);
    wrong(State::Unpolled, |known| known.is_final = true);
}
