//! Probes among polls, and credentials that are refused or cannot be read.

use super::*;
use crate::schedule::admission::PauseReason;

/// Goes on until `end`, with a client that has a probe waiting all the time. Each request takes
/// `took`. Returns the moments at which polls and probes started.
fn besieged(
    schedule: &mut Schedule,
    took: Duration,
    start: Instant,
    end: Instant,
) -> (Vec<Instant>, Vec<Instant>) {
    let (mut polls, mut probes) = (Vec::new(), Vec::new());
    let mut in_flight: VecDeque<(Instant, Option<Slot>)> = VecDeque::new();
    let mut now = start;
    while now < end {
        let wake = loop {
            match schedule.next(now, true) {
                NextStep::Poll(dispatch) => {
                    polls.push(now);
                    in_flight.push_back((now + took, Some(dispatch.starts[0].slot)));
                }
                NextStep::Probe => {
                    probes.push(now);
                    in_flight.push_back((now + took, None));
                }
                NextStep::Wait(until) => break Some(until),
                NextStep::Idle => break None,
            }
        };
        match in_flight.front().copied() {
            Some((ends, slot)) if wake.is_none_or(|wake| ends <= wake) => {
                in_flight.pop_front();
                now = ends;
                match slot {
                    Some(slot) => schedule.complete(&[(slot, ScheduleOutcome::Open)], None, now),
                    None => schedule.complete_probe(ScheduleOutcome::Open, None, took, now),
                }
            }
            _ => now = wake.unwrap(),
        }
    }
    (polls, probes)
}

fn with_tasks(limits: &Limits, tasks: u32) -> (Schedule, Instant) {
    let (mut schedule, start) = schedule(limits);
    for row in 0..tasks {
        let hash = place(10) / u64::from(tasks) * u64::from(row);
        schedule.add(placed(slot(row), hash, 0), start);
    }
    (schedule, start)
}

/// More is due than the rate limit lets through.
#[test]
fn a_client_that_probes_all_the_time_has_a_tenth_of_the_turns() {
    let rate_limit = Some(RateLimit { requests: 4, per: SECOND, burst: 4 });
    let limits = Limits { rate_limit, ..limits() };
    let (mut schedule, start) = with_tasks(&limits, 150);
    let end = start + 100 * SECOND;
    let (polls, probes) = besieged(&mut schedule, SECOND / 100, start, end);
    let late = |moment: &&Instant| **moment >= start + 10 * SECOND;
    let (polls, probes) = (polls.iter().filter(late).count(), probes.iter().filter(late).count());
    assert!((322..=325).contains(&polls), "{polls} polls");
    assert!((35..=37).contains(&probes), "{probes} probes: a waiting one gets its turn");
}

#[test]
fn probes_take_what_polls_leave() {
    let rate_limit = Some(RateLimit { requests: 4, per: SECOND, burst: 4 });
    let limits = Limits { rate_limit, ..limits() };
    let (mut schedule, start) = with_tasks(&limits, 15);
    let end = start + 100 * SECOND;
    let (polls, probes) = besieged(&mut schedule, SECOND / 100, start, end);
    assert!((149..=151).contains(&polls.len()), "{} polls", polls.len());
    assert!(probes.len() > 200, "{} probes", probes.len());
}

/// A burst that was saved for polls which come due at once.
#[test]
fn probes_leave_nine_tenths_of_a_burst() {
    let rate_limit = Some(RateLimit { requests: 1, per: 60 * SECOND, burst: 60 });
    let limits = Limits { rate_limit, max_in_flight: 100, ..limits() };
    let (mut schedule, start) = schedule(&limits);
    for row in 0..60 {
        schedule.add(placed(slot(row), place(9), 0), start);
    }
    let (_, probes) = besieged(&mut schedule, SECOND / 100, start, start + 9 * SECOND);
    assert_eq!(probes.len(), 6);
    let due = start + 9 * SECOND;
    let polls = std::iter::from_fn(|| match schedule.next(due, false) {
        NextStep::Poll(_) => Some(()),
        _ => None,
    });
    assert_eq!(polls.count(), 54);
}

#[test]
fn without_a_rate_limit_there_is_a_probe_a_second_while_polls_are_due() {
    let limits = Limits { max_in_flight: 2, ..limits() };
    // Each slot could do 100 requests in 10 s, and 500 are due.
    let (mut schedule, start) = with_tasks(&limits, 500);
    let end = start + 60 * SECOND;
    let (polls, probes) = besieged(&mut schedule, SECOND / 10, start, end);
    // Until more is due than can be done.
    let late = |moment: &&Instant| **moment >= start + 20 * SECOND;
    let (polls, probes) = (polls.iter().filter(late).count(), probes.iter().filter(late).count());
    assert!(polls > 700, "{polls} polls");
    assert!((30..=41).contains(&probes), "{probes} probes");
}

/// The only request that may be under way is a probe to which the provider responds late.
#[test]
fn slow_probes_leave_most_of_the_time_to_polls() {
    let (mut schedule, start) = with_tasks(&Limits { max_in_flight: 1, ..limits() }, 100);
    let mut now = start;
    let (mut probing, mut polling) = (Duration::ZERO, Duration::ZERO);
    while now < start + 600 * SECOND {
        match schedule.next(now, true) {
            NextStep::Probe => {
                (now, probing) = (now + 5 * SECOND, probing + 5 * SECOND);
                schedule.complete_probe(ScheduleOutcome::Unreached, None, 5 * SECOND, now);
            }
            NextStep::Poll(dispatch) => {
                let took = SECOND / 4;
                (now, polling) = (now + took, polling + took);
                schedule.complete(&[(dispatch.starts[0].slot, ScheduleOutcome::Open)], None, now);
            }
            NextStep::Wait(until) => now = until,
            NextStep::Idle => panic!("tasks wait"),
        }
    }
    assert!(polling > 8 * probing, "{polling:?} of polls, {probing:?} of probes");
    assert!(probing > 40 * SECOND, "{probing:?}");
}

#[test]
fn a_pause_after_a_probe_applies_to_polls() {
    let (mut schedule, start) = with_tasks(&limits(), 2);
    assert_eq!(schedule.next(start, true), NextStep::Probe);
    schedule.complete_probe(ScheduleOutcome::Failed, Some(60 * SECOND), SECOND, start);
    let pause = schedule.admission.pause_of_probes(start + SECOND).unwrap();
    assert_eq!((pause.reason, pause.until), (PauseReason::RetryAfter, start + 60 * SECOND));
    let due = start + 5 * SECOND;
    assert_eq!(
        schedule.next(due, false),
        NextStep::Wait(start + 10 * SECOND),
        "what comes due counts"
    );
    assert_eq!((schedule.ready(), schedule.is_throttled()), (1, true));
    assert_eq!(schedule.next(start + 10 * SECOND, false), NextStep::Wait(start + 60 * SECOND));
    assert_eq!((schedule.ready(), schedule.oldest_due()), (2, Some(due)));
    started(schedule.next(start + 60 * SECOND, false));
}

/// The task of a client's probe may belong to another account.
#[test]
fn refusals_of_probes_stop_probes_and_no_polls() {
    let (mut schedule, mut now) = schedule(&limits());
    for longest in [10, 20, 40, 80] {
        assert_eq!(schedule.next(now, true), NextStep::Probe);
        schedule.complete_probe(ScheduleOutcome::Refused, None, Duration::ZERO, now);
        assert_eq!(schedule.admission.pause(now), None);
        assert!(schedule.admission.has_refused_credentials(), "new credentials are looked for");
        let pause = schedule.admission.pause_of_probes(now).unwrap();
        assert_eq!(pause.reason, PauseReason::Refused);
        let wait = pause.until - now;
        assert!(wait <= longest * SECOND && wait >= longest * SECOND * 3 / 4, "{wait:?}");
        now = pause.until;
    }
    schedule.add(placed(slot(0), place(1), 0), now);
    let (mut now, _) = next_started(&mut schedule, now);
    schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, now);
    // Another ID may be refused just as well.
    schedule.complete_probe(ScheduleOutcome::Refused, None, Duration::ZERO, now);
    (now, _) = next_started(&mut schedule, now);
    schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, now);
    assert!(schedule.admission.has_refused_credentials());
    let pause = schedule.admission.pause_of_probes(now).unwrap();
    schedule.complete_probe(ScheduleOutcome::Open, None, Duration::ZERO, pause.until);
    assert_eq!(schedule.admission.pause_of_probes(pause.until), None);
    now = pause.until;

    // What polls are refused stops both, and a probe keeps nothing refused.
    (now, _) = next_started(&mut schedule, now);
    schedule.complete(&[(slot(0), ScheduleOutcome::Refused)], None, now);
    let pause = schedule.admission.pause(now).unwrap();
    assert_eq!(schedule.admission.pause_of_probes(now), Some(pause));
    let later = pause.until;
    started(schedule.next(later, false));
    assert!(schedule.admission.pause_of_probes(later).is_some(), "the credentials are being tried");
    schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, later);
    assert_eq!(schedule.admission.pause_of_probes(later), None);
}

#[test]
fn refused_credentials_leave_one_poll_at_a_time() {
    let (mut schedule, start) = schedule(&limits());
    for row in 0..5 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let mut now = start + SECOND;
    started(schedule.next(now, false));
    started(schedule.next(now, false));
    schedule.complete(&[(slot(0), ScheduleOutcome::Refused)], None, now);
    let next = schedule.next(now, false);
    assert!(!matches!(next, NextStep::Poll(_)), "one that began before is still under way");
    schedule.complete(&[(slot(1), ScheduleOutcome::Refused)], None, now);
    for (row, longest) in [(2, 10), (3, 20), (4, 40)] {
        let (at, trial) = next_started(&mut schedule, now);
        assert!(at - now <= longest * SECOND && at - now >= longest * SECOND * 3 / 4);
        now = at;
        assert!(!matches!(schedule.next(now, false), NextStep::Poll(_)), "one at a time");
        assert!(trial.slot.row == row || trial.slot.row < 2);
        schedule.complete(&[(trial.slot, ScheduleOutcome::Refused)], None, now);
    }
    let (at, trial) = next_started(&mut schedule, now);
    schedule.complete(&[(trial.slot, ScheduleOutcome::Open)], None, at);
    started(schedule.next(at, false));
    started(schedule.next(at, false));
}

/// A vanished secret, or one that was refused, is no throttling; nor is what waits for them.
#[test]
fn only_limits_and_pauses_count_as_throttling() {
    let rate_limit = Some(RateLimit { requests: 1, per: 4 * SECOND, burst: 1 });
    let (mut schedule, start) = schedule(&Limits { rate_limit, ..limits() });
    for row in 0..3 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let due = start + SECOND;
    schedule.admission.hold_until(due + 5 * SECOND);
    assert_eq!(schedule.next(due, false), NextStep::Wait(due + 5 * SECOND));
    assert!(!schedule.is_throttled(), "no secret");
    schedule.admission.end_hold();
    let mut now = due + 5 * SECOND;
    started(schedule.next(now, false));
    assert_eq!(schedule.next(now, false), NextStep::Wait(now + 4 * SECOND), "the rate limit");
    assert!(schedule.is_throttled());
    now += 2 * SECOND;
    schedule.complete(&[(slot(0), ScheduleOutcome::Refused)], None, now);
    let NextStep::Wait(again) = schedule.next(now, false) else {
        panic!("a probing poll is to come")
    };
    assert!(!schedule.is_throttled(), "refused");
    schedule.admission.hold_until(again + SECOND);
    assert_eq!(schedule.next(again, false), NextStep::Wait(again + SECOND));
    assert!(!schedule.is_throttled());
}

#[test]
fn a_reload_forgets_neither_refusals_nor_failures() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    let mut now = start + 3 * SECOND;
    started(schedule.next(now, false));
    schedule.complete(&[(slot(0), ScheduleOutcome::Refused)], None, now);
    schedule.reconfigure(&limits(), &limits(), false, now);
    assert!(schedule.admission.has_refused_credentials());
    schedule.admission.reset_auth_backoff();
    for _ in 0..5 {
        let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
        now = due;
        started(schedule.next(now, false));
        schedule.complete(&[(slot(0), ScheduleOutcome::Failed)], None, now);
    }
    let NextStep::Wait(backed_off) = schedule.next(now, false) else { panic!("nothing is due") };
    let other = Limits { poll_interval: 11 * SECOND, ..limits() };
    now += 100 * SECOND;
    schedule.reconfigure(&limits(), &other, false, now);
    assert_eq!(schedule.next(now, false), NextStep::Wait(backed_off), "neither sooner nor later");
    let fast = Limits { poll_interval: SECOND, ..limits() };
    schedule.reconfigure(&other, &fast, false, now);
    let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
    assert!(due < backed_off && due - now >= 24 * SECOND, "as far as six failures push it now");
}
