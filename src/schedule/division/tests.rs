//! Batches of which some tasks cannot be read.

mod switches;

use std::collections::BTreeMap;

use super::super::cadence::Cadence;
use super::*;
use crate::clock::Timestamp;
use crate::config::Limits;
use crate::observation::Reason;
use crate::schedule::dispatch::ScheduleOutcome;
use crate::store::FirstPoll;
use crate::store::PollTarget;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A provider that is asked in simulated time. A response takes no time, unless many are wanted at
/// once.
struct SimulatedProvider {
    schedule: Schedule,
    now: Instant,
    /// The sizes of the requests, and whether each was a batch.
    requests: Vec<(usize, bool)>,
    /// Polls of each task that ended: usable, failed.
    polls: BTreeMap<u32, (u32, u32)>,
    changes: Vec<BatchChange>,
}

/// A response to a request for some tasks.
enum SimulatedResponse {
    Read,
    /// Nothing of any.
    Garbage(Reason),
    /// All but these.
    AllBut(Vec<u32>),
    NoSuchQuery,
    ProviderFailed,
}

impl SimulatedProvider {
    /// One with so many tasks, all due at once.
    fn new(tasks: u32, limits: &Limits) -> Self {
        let now = Instant::now();
        let cadence = Cadence::new(limits.poll_interval, now, Timestamp::from_micros(0));
        let mut schedule = Schedule::new(limits, true, cadence, 7);
        for row in 0..tasks {
            let slot = Slot { row, generation: 0 };
            // Less than a batch's wait apart.
            schedule.add(
                PollTarget {
                    slot,
                    hash: 1_000_000 + u64::from(row),
                    group: 0,
                    first_poll: FirstPoll::AtPlace,
                },
                now,
            );
        }
        let (requests, polls, changes) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { schedule, now, requests, polls, changes }
    }

    /// The next request, when it is time for it.
    fn next(&mut self) -> Dispatch {
        loop {
            match self.schedule.next(self.now, false) {
                NextStep::Poll(dispatch) => return dispatch,
                NextStep::Wait(until) => self.now = until,
                NextStep::Probe | NextStep::Idle => panic!("tasks wait"),
            }
        }
    }

    /// Asks until `span` has passed. `respond` has the tasks, and whether it is a batch.
    fn run(&mut self, span: Duration, respond: impl Fn(&[u32], bool) -> SimulatedResponse) {
        let end = self.now + span;
        while self.now < end {
            match self.schedule.next(self.now, false) {
                NextStep::Poll(dispatch) => self.take(&dispatch, &respond),
                NextStep::Wait(until) => self.now = until,
                NextStep::Probe | NextStep::Idle => panic!("tasks wait"),
            }
        }
    }

    fn take(&mut self, dispatch: &Dispatch, respond: impl Fn(&[u32], bool) -> SimulatedResponse) {
        let asked: Vec<_> = dispatch.slots().map(|slot| slot.row).collect();
        self.requests.push((asked.len(), dispatch.is_batch));
        let response = respond(&asked, dispatch.is_batch);
        let mut failure = Failure::new(Reason::Decode, "");
        let unread: Vec<Slot> = match &response {
            SimulatedResponse::Read | SimulatedResponse::ProviderFailed => Vec::new(),
            SimulatedResponse::Garbage(reason) => {
                failure.reason = *reason;
                dispatch.slots().collect()
            }
            SimulatedResponse::AllBut(out) => {
                failure.reason = Reason::TooLarge;
                dispatch.slots().filter(|slot| out.contains(&slot.row)).collect()
            }
            SimulatedResponse::NoSuchQuery => dispatch.slots().collect(),
        };
        let assessment = match &response {
            SimulatedResponse::NoSuchQuery => Assessment::NoSuchQuery,
            SimulatedResponse::ProviderFailed => Assessment::ProviderFailed,
            _ if unread.is_empty() => Assessment::Read,
            _ => Assessment::Unread {
                tasks: dispatch.slots().map(|slot| unread.contains(&slot)).collect(),
                failure: &failure,
                took: Duration::ZERO,
            },
        };
        let consequences = self.schedule.adapt_batches(dispatch, &assessment, self.now);
        let mut outcomes = Vec::new();
        for slot in dispatch.slots() {
            let is_unread = unread.contains(&slot);
            if is_unread && consequences.are_retried {
                continue;
            }
            let has_failed = is_unread || matches!(response, SimulatedResponse::ProviderFailed);
            outcomes.push(self.end(slot, has_failed));
        }
        self.schedule.complete(&outcomes, None, self.now);
        for abandoned in consequences.abandoned {
            let outcomes: Vec<_> =
                abandoned.slots.iter().map(|slot| self.end(*slot, true)).collect();
            self.schedule.reschedule(&outcomes, self.now);
        }
        self.changes.extend(consequences.changes);
    }

    fn end(&mut self, slot: Slot, has_failed: bool) -> (Slot, ScheduleOutcome) {
        let (usable, failed) = self.polls.entry(slot.row).or_default();
        *(if has_failed { failed } else { usable }) += 1;
        (slot, if has_failed { ScheduleOutcome::Failed } else { ScheduleOutcome::Open })
    }

    /// The tasks of which a poll has failed.
    fn failed(&self) -> Vec<u32> {
        let failed = self.polls.iter().filter(|(_, (_, failed))| *failed > 0);
        failed.map(|(index, _)| *index).collect()
    }

    fn take_requests(&mut self) -> usize {
        std::mem::take(&mut self.requests).len()
    }
}

fn limits() -> Limits {
    Limits { poll_interval: 10 * SECOND, batch_size: 50, ..Limits::default() }
}

fn garbage_with(bad: &[u32]) -> impl Fn(&[u32], bool) -> SimulatedResponse {
    let bad = bad.to_vec();
    move |asked, _| match asked.iter().any(|index| bad.contains(index)) {
        true => SimulatedResponse::Garbage(Reason::Decode),
        false => SimulatedResponse::Read,
    }
}

#[test]
fn a_broken_task_fails_alone_and_is_asked_for_alone_for_a_while() {
    for bad in [vec![0], vec![49], vec![17], vec![3, 4], vec![5, 48], vec![0, 1, 2, 3, 4, 5, 6]] {
        let mut provider = SimulatedProvider::new(50, &limits());
        provider.run(9 * SECOND, garbage_with(&bad));
        assert_eq!(provider.failed(), bad, "in the first round");
        assert_eq!(provider.polls.len(), 50, "each was polled");
        let spent = provider.take_requests();
        assert!(spent <= 2 + 12 * bad.len(), "{spent} requests for {bad:?}");
        assert!(
            matches!(&provider.changes[..], [BatchChange::Isolated(tasks)] if tasks.len() == bad.len())
        );
        // Four minutes of rounds: one batch each, and the broken ones alone.
        provider.run(4 * MINUTE, garbage_with(&bad));
        assert_eq!(provider.failed(), bad);
        let spent = provider.take_requests();
        let most = 24 + 12 * bad.len();
        assert!(spent <= most, "{spent} requests in 24 rounds with {bad:?}");
        assert_eq!(provider.changes.len(), 1, "logged once");
        // And it comes back to the batch when it is whole again.
        provider.run(21 * MINUTE, |_, _| SimulatedResponse::Read);
        provider.take_requests();
        provider.run(MINUTE, |_, _| SimulatedResponse::Read);
        assert!(provider.requests.iter().all(|request| *request == (50, true)));
    }
}

#[test]
fn a_broken_task_is_tried_in_a_batch_again_after_five_to_twenty_minutes() {
    // Alone it can be read, so nothing else distinguishes it from its neighbours.
    let respond = |asked: &[u32], is_batch: bool| match is_batch && asked.contains(&17) {
        true => SimulatedResponse::Garbage(Reason::Decode),
        false => SimulatedResponse::Read,
    };
    let mut provider = SimulatedProvider::new(50, &limits());
    provider.run(2 * 60 * MINUTE, respond);
    assert!(provider.failed().is_empty());
    assert!(provider.polls.values().all(|polls| *polls == (720, 0)), "no round is missed");
    let logged = provider.changes.len();
    assert!((6..=24).contains(&logged), "{logged} times in two hours");
    let spent = provider.take_requests();
    // It and its neighbour, as nothing shows which of the two is broken.
    assert!(spent <= 3 * 720 + 24 * 16, "{spent} requests in 720 rounds");
}

#[test]
fn a_provider_that_sends_garbage_is_not_asked_more_for_it() {
    for size in [2, 7, 50] {
        let limits = Limits { batch_size: size, ..limits() };
        let garbage = |_: &[u32], _: bool| SimulatedResponse::Garbage(Reason::Decode);
        let mut provider = SimulatedProvider::new(1_000, &limits);
        provider.run(5 * SECOND, garbage);
        let batches = 1_000_usize.div_ceil(size);
        let spent = provider.take_requests();
        assert!(spent <= batches + 16, "{spent} requests for {batches} batches of {size}");
        assert_eq!(provider.failed().len(), 1_000);
        assert_eq!(provider.changes, [BatchChange::GaveUp], "logged once");
        provider.run(4 * MINUTE, garbage);
        let spent = provider.take_requests();
        assert!(spent <= 8 * batches, "{spent} requests for {batches} batches that back off");
        // None was set apart: with responses that can be read, all are in batches.
        provider.run(6 * MINUTE, |_, _| SimulatedResponse::Read);
        provider.take_requests();
        provider.run(MINUTE, |_, _| SimulatedResponse::Read);
        let spent = provider.take_requests();
        assert!(spent <= 8 * batches, "{spent} requests in six rounds");
        assert_eq!(provider.changes.len(), 1);
    }
}

/// Also not one whose garbage is now and then a response.
#[test]
fn an_unsteady_provider_is_asked_a_few_times_more_at_the_most() {
    for good in [2_u64, 10, 100] {
        let count = std::cell::Cell::new(0_u64);
        let respond = |_: &[u32], _: bool| {
            count.set(count.get() + 1);
            let random = crate::task::stable_hash([count.get().to_le_bytes().as_slice()]);
            match random.is_multiple_of(good) {
                true => SimulatedResponse::Read,
                false => SimulatedResponse::Garbage(Reason::Decode),
            }
        };
        let mut provider = SimulatedProvider::new(1_000, &limits());
        provider.run(10 * MINUTE, respond);
        let spent = provider.requests.len();
        // Without any trouble: 20 batches in each of 60 rounds.
        assert!(spent <= 5 * 60 * 20, "{spent} requests, one of {good} of which is read");
    }
}

#[test]
fn many_tasks_with_a_broken_one_in_every_batch() {
    let bad: Vec<u32> = (0..20).map(|batch| batch * 50 + batch).collect();
    let mut provider = SimulatedProvider::new(1_000, &limits());
    provider.run(9 * SECOND, garbage_with(&bad));
    assert_eq!(provider.failed(), bad);
    assert_eq!(provider.polls.len(), 1_000);
    provider.take_requests();
    provider.run(4 * MINUTE, garbage_with(&bad));
    assert_eq!(provider.failed(), bad);
    let spent = provider.take_requests();
    assert!(spent <= 24 * 21 + 20 * 8, "{spent} requests in 24 rounds");
}

#[test]
fn a_provider_in_trouble_is_not_asked_for_parts() {
    let mut provider = SimulatedProvider::new(1_000, &limits());
    provider.run(5 * SECOND, |_, _| SimulatedResponse::ProviderFailed);
    assert_eq!((provider.failed().len(), provider.take_requests()), (1_000, 20));
    // A failure of the provider while a batch is divided ends the division.
    let count = std::cell::Cell::new(0);
    let mut provider = SimulatedProvider::new(1_000, &limits());
    provider.run(5 * SECOND, |_, _| {
        count.set(count.get() + 1);
        if count.get() > 2 {
            SimulatedResponse::ProviderFailed
        } else {
            SimulatedResponse::Garbage(Reason::Decode)
        }
    });
    assert_eq!(provider.failed().len(), 1_000);
    assert!(provider.requests.len() <= 22, "{} requests", provider.requests.len());
}

/// Limits hold for parts as for any request.
#[test]
fn parts_keep_to_the_limits() {
    let limits = Limits { max_in_flight: 2, ..limits() };
    let mut provider = SimulatedProvider::new(50, &limits);
    let first = provider.next();
    provider.take(&first, garbage_with(&[10]));
    let next = |provider: &mut SimulatedProvider| match provider.schedule.next(provider.now, false)
    {
        NextStep::Poll(dispatch) => Some(dispatch),
        NextStep::Probe | NextStep::Wait(_) | NextStep::Idle => None,
    };
    let half = next(&mut provider).unwrap();
    assert!(half.is_part() && half.is_batch && half.starts.len() == 25);
    assert!(next(&mut provider).is_none(), "one at a time until one was read");
    // A removed task is not requested in its part.
    provider.schedule.remove(Slot { row: 30, generation: 0 });
    provider.take(&half, |_, _| SimulatedResponse::Garbage(Reason::Decode));
    let quarter = next(&mut provider).unwrap();
    provider.take(&quarter, |_, _| SimulatedResponse::Read);
    let two = [next(&mut provider).unwrap(), next(&mut provider).unwrap()];
    assert!(two.iter().all(Dispatch::is_part) && next(&mut provider).is_none());
    assert_eq!(provider.schedule.admission.in_flight(), 2);
    for part in &two {
        provider.take(part, |_, _| SimulatedResponse::Read);
    }
    let asked: usize = two.iter().map(|part| part.starts.len()).sum();
    assert_eq!((asked, provider.polls.len()), (12 + 24, 49));
}

/// The tasks of a part can leave, and must not leave others waiting for it.
#[test]
fn only_the_unread_tasks_of_a_batch_are_asked_for_again() {
    let mut provider = SimulatedProvider::new(4, &Limits { batch_size: 4, ..limits() });
    let batch = provider.next();
    provider.take(&batch, |_, _| SimulatedResponse::AllBut(vec![1, 3]));
    let parts = [provider.next(), provider.next()];
    let rows = |part: &Dispatch| part.slots().map(|slot| slot.row).collect::<Vec<_>>();
    assert_eq!(parts.each_ref().map(rows), [[1], [3]]);
    assert!(parts.iter().all(Dispatch::is_part));
}

#[test]
fn a_part_whose_tasks_have_left_holds_up_no_other() {
    let mut provider = SimulatedProvider::new(4, &Limits { batch_size: 2, ..limits() });
    let batches = [provider.next(), provider.next()];
    for batch in &batches {
        provider.take(batch, |_, _| SimulatedResponse::Garbage(Reason::Decode));
    }
    for row in [0, 1] {
        provider.schedule.remove(Slot { row, generation: 0 });
    }
    let part = provider.next();
    assert!(part.is_part());
    assert_eq!(part.slots().map(|slot| slot.row).collect::<Vec<_>>(), [2]);
}

/// A reload can give a task other params while its batch is divided: it is requested with them.
#[test]
fn a_task_that_changes_its_group_leaves_its_part() {
    let mut provider = SimulatedProvider::new(50, &limits());
    let take = |provider: &mut SimulatedProvider, bad: &[u32]| {
        let dispatch = provider.next();
        provider.take(&dispatch, garbage_with(bad));
        dispatch.slots().map(|slot| slot.row).collect::<Vec<_>>()
    };
    assert_eq!(take(&mut provider, &[10]).len(), 50);
    let slot = Slot { row: 3, generation: 0 };
    provider.schedule.regroup(PollTarget {
        slot,
        hash: 1_000_003,
        group: 8,
        first_poll: FirstPoll::AtPlace,
    });
    let half = take(&mut provider, &[]);
    assert!(half.len() == 24 && !half.contains(&3));
    assert_eq!(take(&mut provider, &[]).len(), 25);
    assert_eq!(take(&mut provider, &[]), [3]);
}
