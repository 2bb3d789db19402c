//! Credentials that are refused or cannot be read.

use super::*;

#[test]
fn refused_credentials_leave_one_poll_at_a_time() {
    let (mut schedule, start) = schedule(&limits());
    for index in 0..5 {
        schedule.add(placed(slot(index), place(1), 0), start);
    }
    let mut now = start + SECOND;
    started(schedule.next(now, false));
    started(schedule.next(now, false));
    schedule.finish(&[(slot(0), PollOutcome::Refused)], None, now);
    let next = schedule.next(now, false);
    assert!(!matches!(next, Next::Poll(_)), "one that began before is still under way");
    schedule.finish(&[(slot(1), PollOutcome::Refused)], None, now);
    for (index, longest) in [(2, 10), (3, 20), (4, 40)] {
        let (at, trial) = next_started(&mut schedule, now);
        assert!(at - now <= longest * SECOND && at - now >= longest * SECOND * 3 / 4);
        now = at;
        assert!(!matches!(schedule.next(now, false), Next::Poll(_)), "one at a time");
        assert!(trial.slot.index == index || trial.slot.index < 2);
        schedule.finish(&[(trial.slot, PollOutcome::Refused)], None, now);
    }
    let (at, trial) = next_started(&mut schedule, now);
    schedule.finish(&[(trial.slot, PollOutcome::Open)], None, at);
    started(schedule.next(at, false));
    started(schedule.next(at, false));
}

/// A vanished secret, or one that was refused, is no throttling; nor is what waits for them.
#[test]
fn only_limits_and_pauses_count_as_throttling() {
    let rate_limit = Some(RateLimit { requests: 1, per: 4 * SECOND, burst: 1 });
    let (mut schedule, start) = schedule(&Limits { rate_limit, ..limits() });
    for index in 0..3 {
        schedule.add(placed(slot(index), place(1), 0), start);
    }
    let due = start + SECOND;
    schedule.admission.hold_until(due + 5 * SECOND);
    assert_eq!(schedule.next(due, false), Next::Wait(due + 5 * SECOND));
    assert!(!schedule.is_throttled(), "no secret");
    schedule.admission.end_hold();
    let mut now = due + 5 * SECOND;
    started(schedule.next(now, false));
    assert_eq!(schedule.next(now, false), Next::Wait(now + 4 * SECOND), "the rate limit");
    assert!(schedule.is_throttled());
    now += 2 * SECOND;
    schedule.finish(&[(slot(0), PollOutcome::Refused)], None, now);
    let Next::Wait(again) = schedule.next(now, false) else { panic!("a probing poll is to come") };
    assert!(!schedule.is_throttled(), "refused");
    schedule.admission.hold_until(again + SECOND);
    assert_eq!(schedule.next(again, false), Next::Wait(again + SECOND));
    assert!(!schedule.is_throttled());
}

#[test]
fn a_reload_forgets_neither_refusals_nor_failures() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    let mut now = start + 3 * SECOND;
    started(schedule.next(now, false));
    schedule.finish(&[(slot(0), PollOutcome::Refused)], None, now);
    schedule.reconfigure(&limits(), &limits(), false, now);
    assert!(schedule.admission.has_refused_credentials());
    schedule.admission.reset_auth_backoff();
    for _ in 0..5 {
        let Next::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
        now = due;
        started(schedule.next(now, false));
        schedule.finish(&[(slot(0), PollOutcome::Failed)], None, now);
    }
    let Next::Wait(backed_off) = schedule.next(now, false) else { panic!("nothing is due") };
    let other = Limits { poll_interval: 11 * SECOND, ..limits() };
    now += 100 * SECOND;
    schedule.reconfigure(&limits(), &other, false, now);
    assert_eq!(schedule.next(now, false), Next::Wait(backed_off), "neither sooner nor later");
    let fast = Limits { poll_interval: SECOND, ..limits() };
    schedule.reconfigure(&other, &fast, false, now);
    let Next::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
    assert!(due < backed_off && due - now >= 24 * SECOND, "as far as six failures push it now");
}
