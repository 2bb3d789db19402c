//! Assessment of a poll's result: whether the response could be read for each task, or whether a
//! request for fewer tasks may help. Pure.

use super::PollResult;
use crate::observation::{PollOutcome, Reason};
use crate::schedule::dispatch::Dispatch;
use crate::schedule::division::BatchReply;

/// HTTP statuses of servers without such a query.
const NO_SUCH_QUERY: [u16; 3] = [404, 405, 501];

/// HTTP statuses with which a server refuses the content of a request: one of its tasks, or their
/// number. Those of refused credentials, a rate limit or a failing server are not among them, since
/// further requests would only add to the problem.
const REFUSES_CONTENT: [u16; 7] = [400, 409, 410, 413, 414, 422, 431];

/// Result of a request, as far as the choice of the next requests depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// The response covers every task, even if it says that a task is unknown.
    Read,
    /// The provider has no batch query.
    NoSuchQuery,
    /// A response arrived, but says nothing about the tasks marked true: the response to a smaller
    /// request may be readable.
    Unread(Vec<bool>),
    /// The provider was not reached, refused the credentials, or fails.
    ProviderFailed,
}

impl Assessment {
    /// Assesses the result of a request, which used the batch query if it `is_batch`.
    pub fn of(result: &PollResult, is_batch: bool) -> Self {
        let status = result.fetched.as_ref().map(|fetched| fetched.response.status);
        if is_batch && status.is_some_and(|status| NO_SUCH_QUERY.contains(&status)) {
            return Self::NoSuchQuery;
        }
        let is_whole = result.has_failed_whole;
        let is_unread = |outcome: &PollOutcome| {
            let failure = outcome.as_ref().err();
            failure.is_some_and(|failure| is_unread(failure.reason, status, is_whole, is_batch))
        };
        if result.outcomes.iter().any(is_unread) {
            return Self::Unread(result.outcomes.iter().map(is_unread).collect());
        }
        let is_provider_failure = |outcome: &PollOutcome| {
            let failure = outcome.as_ref().err();
            failure.is_some_and(|failure| is_provider_failure(failure.reason))
        };
        match result.outcomes.iter().any(is_provider_failure) {
            true => Self::ProviderFailed,
            false => Self::Read,
        }
    }

    /// Reports whether the response says nothing about the task at `index`.
    pub fn is_unread(&self, index: usize) -> bool {
        match self {
            Self::NoSuchQuery => true,
            Self::Unread(unread) => unread.get(index).copied().unwrap_or_default(),
            Self::Read | Self::ProviderFailed => false,
        }
    }

    /// Returns the result of a request for the schedule's batches.
    pub fn batch_reply<'r>(&self, dispatch: &Dispatch, result: &'r PollResult) -> BatchReply<'r> {
        let failure =
            result.outcomes.iter().zip(0..).find_map(|(outcome, index)| {
                outcome.as_ref().err().filter(|_| self.is_unread(index))
            });
        match (self, failure) {
            (Self::Unread(_), Some(failure)) => {
                let unread = dispatch.slots().zip(0..).filter(|(_, index)| self.is_unread(*index));
                let slots = unread.map(|(slot, _)| slot).collect();
                BatchReply::Unread { slots, failure, took: result.took }
            }
            (Self::NoSuchQuery, _) => BatchReply::NoSuchQuery,
            (Self::ProviderFailed, _) => BatchReply::ProviderFailed,
            (Self::Read | Self::Unread(_), _) => BatchReply::Read,
        }
    }
}

/// Reports whether a failure means that a response arrived but says nothing about the task.
fn is_unread(reason: Reason, status: Option<u16>, is_whole: bool, is_batch: bool) -> bool {
    match reason {
        // Some tasks of a truncated batch may have been read.
        Reason::TooLarge | Reason::Decode => true,
        Reason::Empty | Reason::Api | Reason::Mapping => is_whole,
        Reason::Http => is_whole && status.is_some_and(|status| REFUSES_CONTENT.contains(&status)),
        // In a batch one unknown ID may be meant; for a single task it is the answer.
        Reason::NotFound => is_whole && is_batch,
        Reason::Timeout | Reason::Tls | Reason::Connect | Reason::Auth | Reason::RateLimited => {
            false
        }
    }
}

fn is_provider_failure(reason: Reason) -> bool {
    match reason {
        Reason::Timeout
        | Reason::Tls
        | Reason::Connect
        | Reason::Auth
        | Reason::RateLimited
        | Reason::Http => true,
        Reason::NotFound
        | Reason::TooLarge
        | Reason::Empty
        | Reason::Decode
        | Reason::Api
        | Reason::Mapping => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config;
    use crate::mapping::{ProviderResponse, ReceivedBody};
    use crate::observation::{Failure, Observation, State};

    fn result(reasons: &[Option<Reason>], has_failed_whole: bool) -> PollResult {
        let outcome = |reason: &Option<Reason>| match reason {
            Some(reason) => Err(Failure::new(*reason, "")),
            None => Ok(Observation::new(State::Running, "run")),
        };
        let outcomes = reasons.iter().map(outcome).collect();
        PollResult {
            outcomes,
            has_failed_whole,
            ..PollResult::failed(0, Failure::new(Reason::Api, ""))
        }
    }

    #[test]
    fn every_reason_is_assessed() {
        let assess = |reason, is_whole, is_batch| {
            Assessment::of(&result(&[Some(reason), Some(reason)], is_whole), is_batch)
        };
        let unread = Assessment::Unread(vec![true, true]);
        for reason in Reason::ALL {
            let whole = match reason {
                Reason::TooLarge
                | Reason::Decode
                | Reason::Empty
                | Reason::Api
                | Reason::Mapping
                | Reason::NotFound => unread.clone(),
                // With a status that says nothing about the content.
                _ => Assessment::ProviderFailed,
            };
            assert_eq!(assess(reason, true, true), whole, "{reason}");
        }
        for reason in [Reason::Mapping, Reason::NotFound] {
            assert_eq!(assess(reason, false, true), Assessment::Read, "{reason} of each element");
        }
        assert_eq!(assess(Reason::NotFound, true, false), Assessment::Read, "of a single task");
        assert!(is_unread(Reason::Http, Some(400), true, true));
        assert!(!is_unread(Reason::Http, Some(500), true, true));
        assert!(!is_unread(Reason::Http, Some(403), true, true));
    }

    /// Maps the response to a batch of these tasks. Returns whether it failed as a whole, and the
    /// reasons of the failures.
    fn map_batch(body: &str, ids: &[&str]) -> (bool, Vec<Option<Reason>>) {
        let text = "
            providers:
              - name: p
                base_url: https://gateway.example
                request: { path: '/{task_id}', batch: { path: /list, query: { ids: '{task_ids}' } } }
                response:
                  code: /code
                  codes: { cancelled: [2], not_found: [3] }
                  task: /data
                  id: /id
                  status: /status
                  states: { running: [run], succeeded: [done] }";
        let loaded = config::load_text("x.yml", text, Path::new(""));
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        let response = ProviderResponse {
            status: 200,
            headers: HeaderMap::new(),
            sent: Timestamp::from_micros(0),
            body: ReceivedBody::Whole(Bytes::copy_from_slice(body.as_bytes())),
        };
        let mapped = loaded.config.providers[0].mapping.map_response(&response, ids, true);
        let reason = |task: &Result<_, Failure>| task.as_ref().err().map(|failure| failure.reason);
        (mapped.has_failed_whole, mapped.outcomes.iter().map(reason).collect())
    }

    /// A response about one task must not be applied to all.
    #[test]
    fn a_batch_fails_as_a_whole_or_by_task() {
        let [mapping, not_found] = [Some(Reason::Mapping), Some(Reason::NotFound)];
        for (body, is_whole, reasons) in [
            (r#"{"data": [{"id": "a", "status": "run"}]}"#, false, [None, not_found]),
            (r#"{"data": [{"id": "a"}, {"id": "b", "status": "run"}]}"#, false, [mapping, None]),
            (r#"{"data": []}"#, false, [not_found; 2]),
            (r#"{"data": null}"#, false, [not_found; 2]),
            (r#"{"data": "none"}"#, true, [mapping; 2]),
            (r#"{"data": [{"status": "run"}]}"#, true, [mapping; 2]),
            ("{}", true, [mapping; 2]),
            // One object, of one task or of an unknown one.
            (r#"{"data": {"id": "a", "status": "run"}}"#, true, [None, mapping]),
            (r#"{"data": {"status": "done"}}"#, true, [mapping; 2]),
            (
                r#"{"code": 2, "data": [{"id": "a", "status": "run"}]}"#,
                true,
                [Some(Reason::Api); 2],
            ),
            (r#"{"code": 3}"#, true, [not_found; 2]),
            ("<html>", true, [Some(Reason::Decode); 2]),
        ] {
            assert_eq!(map_batch(body, &["a", "b"]), (is_whole, reasons.to_vec()), "{body}");
            // A batch of one task is still a batch.
            assert_eq!(map_batch(body, &["a"]), (is_whole, reasons[..1].to_vec()), "{body}");
        }
    }

    #[test]
    fn a_truncated_batch_is_read_in_part() {
        let truncated = result(&[None, Some(Reason::NotFound), Some(Reason::TooLarge)], false);
        let expected = Assessment::Unread(vec![false, false, true]);
        assert_eq!(Assessment::of(&truncated, true), expected);
        assert_eq!(Assessment::of(&result(&[None, None], false), true), Assessment::Read);
    }
}
