use super::*;
use crate::clock::Timestamp;
use crate::config::RateLimit;
use crate::schedule::dispatch::ScheduleOutcome;

mod admission;
mod lists;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits { poll_interval: 10 * SECOND, max_in_flight: 16, ..Limits::default() }
}

fn schedule(limits: &Limits) -> (Schedule, Instant) {
    let start = Instant::now();
    let cadence = Cadence::new(limits.poll_interval, start, Timestamp::from_micros(0));
    (Schedule::new(limits, false, cadence, 7), start)
}

fn slot(row: u32) -> Slot {
    Slot { row, generation: 0 }
}

fn placed(slot: Slot, hash: u64, group: u64) -> PollTarget {
    PollTarget { slot, hash, group, first_poll: FirstPoll::AtPlace }
}

/// A hash whose place in an interval of 10 s is `seconds` after its start.
fn place(seconds: u64) -> u64 {
    seconds * 1_000_000
}

fn started(next: NextStep) -> PollStart {
    match next {
        NextStep::Poll(Dispatch { starts, .. }) if starts.len() == 1 => starts[0],
        other => panic!("expected a poll of one task, not {other:?}"),
    }
}

/// The next poll that starts, looked for from `now` on, and when.
fn next_started(schedule: &mut Schedule, mut now: Instant) -> (Instant, PollStart) {
    loop {
        match schedule.next(now, false) {
            NextStep::Wait(until) => now = until,
            next => return (now, started(next)),
        }
    }
}

#[test]
fn a_task_is_polled_at_its_place_in_every_interval() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    for round in 0..5 {
        let due = start + 3 * SECOND + round * 10 * SECOND;
        assert_eq!(schedule.next(due - SECOND, false), NextStep::Wait(due));
        let expected = PollStart { slot: slot(0), lag: Duration::ZERO, retry: false };
        assert_eq!(started(schedule.next(due, false)), expected);
        schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, due + SECOND);
    }
}

#[test]
fn a_task_is_never_polled_twice_at_once() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    started(schedule.next(start + 3 * SECOND, false));
    assert_eq!(schedule.next(start + 60 * SECOND, false), NextStep::Idle);
    // It took longer than the interval: the next poll is at the task's next place.
    schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, start + 60 * SECOND);
    assert_eq!(schedule.next(start + 60 * SECOND, false), NextStep::Wait(start + 63 * SECOND));
}

#[test]
fn what_cannot_start_on_time_starts_late_and_nothing_is_dropped() {
    let (mut schedule, start) = schedule(&Limits { max_in_flight: 1, ..limits() });
    for row in 0..3 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let due = start + SECOND;
    for (row, late) in [(0, 0), (1, 2), (2, 4)] {
        let later = 2 - usize::try_from(row).unwrap();
        let now = due + late * SECOND;
        let begun = started(schedule.next(now, false));
        assert_eq!((begun.slot, begun.lag), (slot(row), late * SECOND));
        assert!(!matches!(schedule.next(now + SECOND, false), NextStep::Poll(_)));
        assert_eq!((schedule.admission.in_flight(), schedule.ready()), (1, later));
        schedule.complete(&[(slot(row), ScheduleOutcome::Open)], None, now + 2 * SECOND);
    }
    assert!(!schedule.is_throttled());
}

#[test]
fn failures_back_off_and_success_returns_to_the_rhythm() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    let mut now = start + 3 * SECOND;
    assert!(!started(schedule.next(now, false)).retry);
    for longest in [10, 20, 40, 80, 160, 300, 300] {
        schedule.complete(&[(slot(0), ScheduleOutcome::Failed)], None, now);
        let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
        let longest = longest * SECOND;
        assert!(due - now <= longest && due - now >= longest * 3 / 4, "{:?}", due - now);
        now = due;
        assert!(started(schedule.next(now, false)).retry);
    }
    schedule.complete(&[(slot(0), ScheduleOutcome::Open)], None, now);
    let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
    assert_eq!(u64::try_from((due - start).as_micros()).unwrap() % place(10), place(3));
}

/// Between one interval and the back-off, so that the denial which ends a task comes neither late
/// nor in a hurry.
#[test]
fn a_denied_task_is_polled_again_when_one_more_denial_ends_it() {
    for (outcome, earliest, latest) in [
        (ScheduleOutcome::Failed, 225, 300),
        (ScheduleOutcome::Denied(600 * SECOND), 225, 300),
        (ScheduleOutcome::Denied(100 * SECOND), 100, 100),
        (ScheduleOutcome::Denied(SECOND), 10, 10),
        (ScheduleOutcome::Denied(Duration::ZERO), 10, 10),
    ] {
        let (mut schedule, start) = schedule(&limits());
        schedule.add(placed(slot(0), place(3), 0), start);
        let mut now = start + 3 * SECOND;
        started(schedule.next(now, false));
        for _ in 0..9 {
            schedule.complete(&[(slot(0), ScheduleOutcome::Failed)], None, now);
            let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
            now = due;
            started(schedule.next(now, false));
        }
        schedule.complete(&[(slot(0), outcome)], None, now);
        let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
        let wait = due - now;
        assert!(wait >= earliest * SECOND && wait <= latest * SECOND, "{outcome:?}: {wait:?}");
    }
}

#[test]
fn retry_after_pauses_the_whole_provider_but_not_for_ever() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(1), 0), start);
    schedule.add(placed(slot(1), place(2), 0), start);
    started(schedule.next(start + SECOND, false));
    let day = Duration::from_secs(86_400);
    schedule.complete(&[(slot(0), ScheduleOutcome::Failed)], Some(day), start + SECOND);
    let resumed = start + 601 * SECOND;
    assert!(matches!(schedule.next(start + 2 * SECOND, false), NextStep::Wait(_)));
    assert!(schedule.is_throttled());
    let (at, begun) = next_started(&mut schedule, start + 2 * SECOND);
    assert_eq!((at, begun.lag), (resumed, 599 * SECOND));
    assert!(!schedule.is_throttled());
}

#[test]
fn what_a_pause_held_back_is_made_up_for_at_twice_the_usual_rate() {
    let (mut schedule, start) = schedule(&Limits { max_in_flight: 1_000, ..limits() });
    for row in 0..1_000 {
        // A poll every 10 ms.
        schedule.add(placed(slot(row), place(10) / 1_000 * u64::from(row), 0), start);
    }
    schedule.admission.retry_after(60 * SECOND, start);
    let (mut now, end) = (start, start + 90 * SECOND);
    let (mut polled, mut started) = (std::collections::BTreeMap::new(), Vec::new());
    while now < end {
        match schedule.next(now, false) {
            NextStep::Poll(Dispatch { starts, .. }) => {
                started.push(now);
                let before = polled.insert(starts[0].slot, now);
                assert!(before.is_none_or(|before| now - before >= 5 * SECOND), "polled in vain");
                schedule.complete(&[(starts[0].slot, ScheduleOutcome::Open)], None, now);
            }
            NextStep::Wait(until) => now = until,
            NextStep::Probe | NextStep::Idle => panic!("tasks wait"),
        }
    }
    let after = |seconds: u32| started.iter().filter(|at| **at < start + seconds * SECOND).count();
    assert_eq!(after(60), 0);
    for second in 61..65 {
        let begun = after(second) - after(second - 1);
        let at_once = if second == 61 { 21 } else { 0 };
        assert!((199..=201).contains(&(begun - at_once)), "{begun} polls in second {second}");
    }
    assert_eq!(polled.len(), 1_000);
    let tenths = |at: &Instant| (*at - start).as_millis() / 100;
    let busiest = started.chunk_by(|a, b| tenths(a) == tenths(b)).skip(1).map(<[_]>::len).max();
    assert!(busiest <= Some(21), "{busiest:?} in a tenth of a second");
}

#[test]
fn a_rate_limit_delays_and_the_delay_is_counted() {
    let rate_limit = Some(RateLimit { requests: 1, per: 4 * SECOND, burst: 1 });
    let (mut schedule, start) = schedule(&Limits { rate_limit, ..limits() });
    schedule.add(placed(slot(0), place(1), 0), start);
    schedule.add(placed(slot(1), place(1), 0), start);
    let due = start + SECOND;
    started(schedule.next(due, false));
    assert_eq!(schedule.next(due, false), NextStep::Wait(due + 4 * SECOND));
    assert!(schedule.is_throttled());
    assert_eq!(started(schedule.next(due + 4 * SECOND, false)).lag, 4 * SECOND);
    assert!(!schedule.is_throttled());
}

fn batched(limits: &Limits) -> (Schedule, Instant) {
    let start = Instant::now();
    let cadence = Cadence::new(limits.poll_interval, start, Timestamp::from_micros(0));
    (Schedule::new(limits, true, cadence, 7), start)
}

fn rows(next: NextStep) -> Vec<u32> {
    match next {
        NextStep::Poll(dispatch) => dispatch.slots().map(|slot| slot.row).collect(),
        other => panic!("expected a batch, not {other:?}"),
    }
}

#[test]
fn a_batch_waits_a_little_for_others_of_its_group() {
    let wait = Duration::from_millis(200);
    let (mut schedule, start) = batched(&Limits { batch_size: 3, batch_wait: wait, ..limits() });
    for (row, group) in [(0, 7), (1, 8), (2, 7), (3, 8)] {
        schedule.add(placed(slot(row), place(1), group), start);
    }
    let due = start + SECOND;
    assert_eq!(schedule.next(due, false), NextStep::Wait(due + wait));
    assert_eq!(schedule.ready(), 4);
    let NextStep::Poll(batch) = schedule.next(due + wait, false) else {
        panic!("the time is over")
    };
    let batch = batch.starts;
    assert_eq!(batch.iter().map(|start| start.lag).collect::<Vec<_>>(), [wait; 2]);
    assert_eq!(batch.iter().map(|start| start.slot.row).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(rows(schedule.next(due + wait, false)), [1, 3]);
    assert_eq!((schedule.ready(), schedule.admission.in_flight()), (0, 2));
}

#[test]
fn a_whole_batch_does_not_wait() {
    let (mut schedule, start) = batched(&Limits { batch_size: 2, ..limits() });
    for row in 0..5 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let due = start + SECOND;
    assert_eq!(rows(schedule.next(due, false)), [0, 1]);
    assert_eq!(rows(schedule.next(due, false)), [2, 3]);
    assert_eq!(schedule.next(due, false), NextStep::Wait(due + Duration::from_millis(200)));
    assert_eq!(rows(schedule.next(due + SECOND, false)), [4]);
    assert_eq!(schedule.next(due + SECOND, false), NextStep::Idle, "each is polled once");
}

#[test]
fn a_denied_batch_is_asked_for_together_when_the_first_of_its_tasks_may_end() {
    let (mut schedule, start) = batched(&Limits { batch_size: 2, ..limits() });
    schedule.add(placed(slot(0), place(1), 0), start);
    schedule.add(placed(slot(1), place(1), 0), start);
    let mut now = start + SECOND;
    for _ in 0..9 {
        assert_eq!(rows(schedule.next(now, false)), [0, 1]);
        schedule.complete(
            &[(slot(0), ScheduleOutcome::Failed), (slot(1), ScheduleOutcome::Failed)],
            None,
            now,
        );
        let NextStep::Wait(due) = schedule.next(now, false) else { panic!("nothing is due") };
        now = due;
    }
    assert_eq!(rows(schedule.next(now, false)), [0, 1]);
    let [late, soon] = [3_600, 70].map(|seconds| ScheduleOutcome::Denied(seconds * SECOND));
    schedule.complete(&[(slot(0), late), (slot(1), soon)], None, now);
    assert_eq!(schedule.next(now, false), NextStep::Wait(now + 70 * SECOND));
    assert_eq!(rows(schedule.next(now + 70 * SECOND, false)), [0, 1]);
}

#[test]
fn a_failed_batch_backs_off_as_one_and_a_bad_element_alone() {
    let (mut schedule, start) = batched(&Limits { batch_size: 2, ..limits() });
    schedule.add(placed(slot(0), place(1), 0), start);
    schedule.add(placed(slot(1), place(1), 0), start);
    let due = start + SECOND;
    assert_eq!(rows(schedule.next(due, false)), [0, 1]);
    let failed = [(slot(0), ScheduleOutcome::Failed), (slot(1), ScheduleOutcome::Failed)];
    schedule.complete(&failed, None, due);
    let NextStep::Wait(again) = schedule.next(due, false) else { panic!("nothing is due") };
    assert_eq!(rows(schedule.next(again, false)), [0, 1], "together again");
    schedule.complete(
        &[(slot(0), ScheduleOutcome::Open), (slot(1), ScheduleOutcome::Failed)],
        None,
        again,
    );
    let NextStep::Wait(next) = schedule.next(again, false) else { panic!("nothing is due") };
    let rhythm = u64::try_from((next - start).as_micros()).unwrap() % place(10);
    assert_eq!(rhythm, place(1), "the good one keeps its place");
    assert_eq!(rows(schedule.next(next + SECOND, false)), [0]);
    let NextStep::Wait(last) = schedule.next(next + SECOND, false) else {
        panic!("nothing is due")
    };
    assert!(last - again > 10 * SECOND, "the bad one backs off");
    assert_eq!(rows(schedule.next(last + SECOND, false)), [1]);
}

/// The fault of one task must not cost others their polls.
#[test]
fn a_task_that_fails_shares_no_batch_with_one_that_does_not() {
    let (mut schedule, start) = batched(&Limits { batch_size: 3, ..limits() });
    for row in 0..3 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let due = start + SECOND;
    assert_eq!(rows(schedule.next(due, false)), [0, 1, 2]);
    let ended = [
        (slot(0), ScheduleOutcome::Open),
        (slot(1), ScheduleOutcome::Failed),
        (slot(2), ScheduleOutcome::Open),
    ];
    schedule.complete(&ended, None, due);
    let all_due = due + 60 * SECOND;
    let mut batches = [rows(schedule.next(all_due, false)), rows(schedule.next(all_due, false))];
    batches.sort();
    assert_eq!(batches, [vec![0, 2], vec![1]]);
}

#[test]
fn final_and_removed_tasks_are_polled_no_more() {
    let (mut schedule, start) = schedule(&limits());
    for row in 0..3 {
        schedule.add(placed(slot(row), place(1), 0), start);
    }
    let due = start + SECOND;
    started(schedule.next(due, false));
    schedule.complete(&[(slot(0), ScheduleOutcome::Final)], None, due);
    assert_eq!(schedule.ready(), 2);
    schedule.remove(slot(1));
    assert_eq!(schedule.ready(), 1);
    assert_eq!(started(schedule.next(due, false)).slot, slot(2));
    schedule.remove(slot(2));
    // The place has a new tenant before the old one's poll has ended.
    let tenant = Slot { row: 2, generation: 1 };
    schedule.add(placed(tenant, place(5), 0), due);
    schedule.complete(&[(slot(2), ScheduleOutcome::Open)], None, due + SECOND);
    assert_eq!(schedule.admission.in_flight(), 0);
    assert_eq!(schedule.next(due + SECOND, false), NextStep::Wait(start + 5 * SECOND));
    assert_eq!(started(schedule.next(start + 5 * SECOND, false)).slot, tenant);
}

/// A request that was let through and is not sent takes nothing from the limits.
#[test]
fn a_withdrawn_request_gives_back_what_it_took() {
    let rate_limit = Some(RateLimit { requests: 1, per: 4 * SECOND, burst: 1 });
    let limits = Limits { rate_limit, max_in_flight: 1, ..limits() };
    let (mut schedule, start) = schedule(&limits);
    schedule.add(placed(slot(0), place(1), 0), start);
    schedule.add(placed(slot(1), place(1), 0), start);
    let due = start + SECOND;
    let NextStep::Poll(dispatch) = schedule.next(due, false) else { panic!("a poll is due") };
    schedule.withdraw(&dispatch);
    assert_eq!(schedule.admission.in_flight(), 0);
    assert_eq!(started(schedule.next(due, false)).slot, slot(1));
}

/// A worker that takes over begins with all tasks, some of which it hears of once more.
#[test]
fn a_task_that_comes_twice_is_there_once() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(3), 0), start);
    let due = start + 3 * SECOND;
    started(schedule.next(due, false));
    schedule.add(placed(slot(0), place(3), 0), due);
    assert_eq!(schedule.next(due + 60 * SECOND, false), NextStep::Idle, "it is under way");
    schedule.remove(slot(0));
    schedule.remove(slot(0));
    assert_eq!(schedule.open, 0);
}

#[test]
fn another_interval_moves_what_waits() {
    let (mut schedule, start) = schedule(&limits());
    schedule.add(placed(slot(0), place(9), 0), start);
    let new = Limits { poll_interval: 2 * SECOND, ..limits() };
    schedule.reconfigure(&limits(), &new, false, start);
    assert_eq!(schedule.next(start, false), NextStep::Wait(start + SECOND));
}
