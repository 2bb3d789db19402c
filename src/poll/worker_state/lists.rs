//! Lists of the provider: their requests, and what they show of the tasks.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::Instant;

use super::{InFlight, RequestPurpose, RequestResult, WorkerState};
use crate::mapping::task_list::MappedList;
use crate::observation::{Failure, Reason};
use crate::poll::list::{ListResult, poll_list};
use crate::poll::list_turn::{ListObservation, ListObservations, ListReply, ListRequest, ListTurn};
use crate::schedule::admission::{Blocked, PauseReason};
use crate::schedule::dispatch::ScheduleOutcome;
use crate::store::Slot;
use crate::store::lists::{MAX_POLLED_AT_ONCE, MAX_POLLED_TOGETHER};

/// Time over which many tasks are spread that are polled out of turn.
const SPREAD: Duration = Duration::from_secs(1);

/// The list of the provider, as its worker follows it.
#[derive(Debug, Default)]
pub struct ListState {
    /// The request that waits for its turn.
    pub turn: ListTurn,
    /// The tasks whose polls have ended since the refresh began that is under way: what the list shows of
    /// them may be older.
    polled: Option<HashSet<Slot>>,
    /// The tasks that the last list showed.
    watched: HashSet<Slot>,
}

impl ListState {
    /// Notes that the poll of a task has ended.
    pub fn note_poll(&mut self, slot: Slot) {
        if let Some(polled) = &mut self.polled {
            polled.insert(slot);
        }
    }

    /// Forgets the refresh that is under way, whose list will not be applied.
    pub fn end_refresh(&mut self) {
        self.polled = None;
    }
}

impl WorkerState<'_> {
    /// Starts the request for a list that waits, if it may start now. Returns the moment at which to check
    /// again, if there is one.
    pub(super) fn start_list(&mut self, now: Instant) -> Option<Instant> {
        self.list.turn.expire(now);
        let deadline = self.list.turn.deadline()?;
        if let Some(pause) = self.schedule.admission.pause_of_lists(now) {
            let cause = self.pause_cause(pause.reason).to_owned();
            self.list.turn.refuse(pause, &cause, now);
            return None;
        }
        match self.schedule.start_list(now) {
            Ok(()) => {
                self.send_list();
                None
            }
            Err(Blocked::Busy) => Some(deadline),
            Err(Blocked::Throttled(until) | Blocked::NoCredentials(until)) => {
                Some(until.min(deadline))
            }
        }
    }

    fn send_list(&mut self) {
        let Some((request, reply)) = self.list.turn.take() else { return };
        if request.is_first {
            self.list.polled = Some(HashSet::new());
        }
        let in_flight = InFlight {
            purpose: RequestPurpose::List(reply),
            _counted: self.telemetry.request_started(),
        };
        let poll = async move {
            let ListRequest { client, list, query, url, budget, .. } = request;
            let query = list.queries.get(query)?;
            Some(poll_list(&client, &list, query, url, budget).await)
        };
        let poll = AssertUnwindSafe(poll).catch_unwind();
        self.in_flight.push(
            async move { (in_flight, poll.await.ok().flatten().map(RequestResult::List)) }.boxed(),
        );
    }

    /// Counts the result of a request for a list, and passes it to the source.
    pub(super) fn complete_list(&mut self, reply: ListReply, result: Option<ListResult>) {
        let result = result.unwrap_or_else(|| {
            let failure = Failure::new(Reason::Mapping, "the exporter panicked: please report");
            let mapped =
                MappedList { code: None, message: None, retry_after: None, tasks: Err(failure) };
            ListResult { mapped, fetched: None, took: Duration::ZERO }
        });
        let code = result.mapped.code.as_ref();
        self.count_answer(result.fetched.as_ref(), code);
        let failure = result.mapped.tasks.as_ref().err();
        self.causes.note(failure, result.pause().is_some());
        let outcome = ScheduleOutcome::of(failure, None);
        self.schedule.complete_list(outcome, result.pause(), Instant::now());
        // The source may have gone.
        let _ = reply.send(Ok(result));
    }

    /// Takes in what a list shows: each task as if it had been polled, except those whose own polls may
    /// know more. Tasks that the list before showed, and this one does not, are polled soon.
    pub(super) fn take_in_list(&mut self, list: &ListObservations, now: Instant) {
        let polled = self.list.polled.take().unwrap_or_default();
        let mut outcomes = Vec::with_capacity(list.tasks.len());
        let mut shown = HashSet::with_capacity(list.tasks.len());
        for ListObservation { id, outcome, took } in &list.tasks {
            let Some((slot, task)) = self.context.tasks.find_open(id) else { continue };
            shown.insert(slot);
            if polled.contains(&slot) || self.schedule.is_in_flight(slot) {
                continue;
            }
            outcomes.push((slot, self.complete_task(slot, &task, outcome, *took, None)));
        }
        if !outcomes.is_empty() {
            self.telemetry.set_up(true);
            self.context.status.record_request(None);
        }
        self.schedule.observe(&outcomes, now + list.next_list);
        let before = std::mem::replace(&mut self.list.watched, shown);
        let missing: Vec<_> = before.difference(&self.list.watched).copied().collect();
        let step = SPREAD / u32::try_from(missing.len()).unwrap_or(u32::MAX).max(1);
        for (index, slot) in (0..).zip(&missing) {
            let delay = match missing.len() {
                len if len <= MAX_POLLED_TOGETHER => Some(Duration::ZERO),
                len if len <= MAX_POLLED_AT_ONCE => Some(step.saturating_mul(index)),
                _ => None,
            };
            self.schedule.hasten(*slot, delay, now);
        }
    }

    /// Returns the cause of a pause in words.
    pub(super) fn pause_cause(&self, reason: PauseReason) -> &str {
        match reason {
            PauseReason::Refused => &self.causes.refused,
            PauseReason::RetryAfter => &self.causes.retry_after,
            PauseReason::Unreadable => self.secrets_error.as_deref().unwrap_or_default(),
        }
    }
}
