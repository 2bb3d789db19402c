//! Lists among polls, and tasks that a list watches.

use super::*;
use crate::schedule::admission::{Blocked, PauseReason};

fn open(row: u32) -> (Slot, ScheduleOutcome) {
    (slot(row), ScheduleOutcome::Open)
}

#[test]
fn a_watched_task_is_polled_at_its_place_after_the_list_is_overdue() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    // Lists before its first poll, while it waits, and when it is due already.
    for second in [1, 5, 9] {
        schedule.observe(&[open(0)], start + (second + 15) * SECOND);
    }
    assert_eq!(schedule.next(start + 32 * SECOND, false), NextStep::Wait(start + 33 * SECOND));
    schedule.mark_due(start + 33 * SECOND);
    assert_eq!(schedule.ready(), 1);
    schedule.observe(&[open(0)], start + 48 * SECOND);
    assert_eq!(schedule.ready(), 0);
    assert_eq!(schedule.next(start + 52 * SECOND, false), NextStep::Wait(start + 53 * SECOND));
    assert_eq!(started(schedule.next(start + 53 * SECOND, false)).slot, slot(0));
    // While its poll is in flight, the list changes nothing.
    assert!(schedule.is_in_flight(slot(0)));
    schedule.observe(&[(slot(0), ScheduleOutcome::Final)], start + 90 * SECOND);
    schedule.complete(&[open(0)], None, start + 54 * SECOND);
    assert_eq!(schedule.next(start + 54 * SECOND, false), NextStep::Wait(start + 63 * SECOND));
}

#[test]
fn a_task_that_a_list_shows_as_final_is_polled_no_more() {
    let (mut schedule, start) = schedule(&limits());
    for row in 0..2 {
        schedule.add(placed(slot(row), place(3), 0), start);
    }
    schedule.mark_due(start + 3 * SECOND);
    for row in 0..2 {
        let outcome = (slot(row), ScheduleOutcome::Final);
        schedule.observe(&[outcome, outcome], start + 20 * SECOND);
    }
    assert_eq!((schedule.ready(), schedule.open), (0, 0));
    assert_eq!(schedule.next(start + 60 * SECOND, false), NextStep::Idle);
}

#[test]
fn a_task_that_a_list_lacks_is_polled_soon() {
    let (mut schedule, start) = schedule(&limits());
    for row in 0..3 {
        schedule.add(placed(slot(row), place(3), 0), start);
    }
    schedule.observe(&[open(0), open(1)], start + 40 * SECOND);
    schedule.hasten(slot(0), Some(SECOND), start);
    schedule.hasten(slot(1), None, start);
    // Not later than it would have been.
    schedule.hasten(slot(2), Some(9 * SECOND), start);
    assert_eq!(schedule.next(start, false), NextStep::Wait(start + SECOND));
    assert_eq!(started(schedule.next(start + SECOND, false)).slot, slot(0));
    assert_eq!(schedule.next(start + SECOND, false), NextStep::Wait(start + 3 * SECOND));
    schedule.mark_due(start + 3 * SECOND);
    assert_eq!(schedule.ready(), 2);
}

#[test]
fn lists_and_polls_that_are_due_take_turns() {
    let rate_limit = Some(RateLimit { requests: 1, per: SECOND, burst: 1 });
    let (mut schedule, start) = schedule(&Limits { rate_limit, ..limits() });
    for row in 0..100 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let (mut lists, mut polls) = (0_u32, 0_u32);
    for second in 1..=20 {
        let now = start + second * SECOND;
        // A list always waits.
        match schedule.start_list(now) {
            Ok(()) => {
                lists += 1;
                schedule.complete_list(ScheduleOutcome::Open, None, now);
            }
            Err(_) => {
                let begun = started(schedule.next(now, false));
                polls += 1;
                schedule.complete(&[(begun.slot, ScheduleOutcome::Final)], None, now);
            }
        }
    }
    assert_eq!((lists, polls), (10, 10));
}

#[test]
fn lists_keep_to_the_limits_and_pauses_of_the_provider() {
    let (mut schedule, start) = schedule(&Limits { max_in_flight: 1, ..limits() });
    schedule.add(placed(slot(0), place(3), 0), start);
    assert_eq!(schedule.start_list(start), Ok(()));
    assert_eq!(schedule.start_list(start), Err(Blocked::Busy));
    assert_eq!(schedule.next(start + 3 * SECOND, false), NextStep::Idle);
    schedule.complete_list(ScheduleOutcome::Failed, Some(7 * SECOND), start + 3 * SECOND);
    let until = start + 10 * SECOND;
    assert_eq!(schedule.next(start + 3 * SECOND, false), NextStep::Wait(until));
    let pause = schedule.admission.pause_of_lists(start + 4 * SECOND).unwrap();
    assert_eq!((pause.reason, pause.until), (PauseReason::RetryAfter, until));
}

/// A token may be good for single tasks and not for a list.
#[test]
fn credentials_that_are_refused_for_a_list_stop_no_poll() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    assert_eq!(schedule.start_list(start), Ok(()));
    schedule.complete_list(ScheduleOutcome::Refused, None, start);
    let pause = schedule.admission.pause_of_lists(start + SECOND).unwrap();
    assert_eq!(pause.reason, PauseReason::Refused);
    assert_eq!(schedule.admission.pause_of_probes(start + SECOND), None);
    assert_eq!(started(schedule.next(start + 3 * SECOND, false)).slot, slot(0));
    schedule.complete(&[open(0)], None, start + 3 * SECOND);
    // The answer to a poll says nothing about lists.
    assert!(schedule.admission.pause_of_lists(start + 4 * SECOND).is_some());
    assert_eq!(schedule.start_list(pause.until), Ok(()));
    schedule.complete_list(ScheduleOutcome::Open, None, pause.until);
    assert_eq!(schedule.admission.pause_of_lists(pause.until), None);
}
