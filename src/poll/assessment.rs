//! Assessment of a poll's result: whether the response could be read for each task, or whether a
//! request for fewer tasks may help. Pure.

use super::PollResult;
use crate::observation::{Failure, Reason};
use crate::schedule::division::Assessment;

/// HTTP statuses of servers without such a query.
const NO_SUCH_QUERY: [u16; 3] = [404, 405, 501];

/// HTTP statuses with which a server refuses the content of a request: one of its tasks, or their
/// number. Those of refused credentials, a rate limit or a failing server are not among them, since
/// further requests would only add to the problem.
const REFUSES_CONTENT: [u16; 7] = [400, 409, 410, 413, 414, 422, 431];

/// Assesses the result of a request, which used the batch query if it `is_batch`.
pub fn assess(result: &PollResult, is_batch: bool) -> Assessment<'_> {
    let status = result.fetched.as_ref().map(|fetched| fetched.response.status);
    if is_batch && status.is_some_and(|status| NO_SUCH_QUERY.contains(&status)) {
        return Assessment::NoSuchQuery;
    }
    let is_whole = result.has_failed_whole;
    let is_unread = |failure: &Failure| is_unread(failure.reason, status, is_whole, is_batch);
    let failures = || result.outcomes.iter().map(|outcome| outcome.as_ref().err());
    if let Some(failure) = failures().flatten().find(|failure| is_unread(failure)) {
        let tasks = failures().map(|failure| failure.is_some_and(is_unread)).collect();
        return Assessment::Unread { tasks, failure, took: result.took };
    }
    match failures().flatten().any(|failure| is_provider_failure(failure.reason)) {
        true => Assessment::ProviderFailed,
        false => Assessment::Read,
    }
}

/// Reports whether a failure means that a response arrived but says nothing about the task.
fn is_unread(reason: Reason, status: Option<u16>, is_whole: bool, is_batch: bool) -> bool {
    match reason {
        // Some tasks of a truncated batch may have been read.
        Reason::TooLarge | Reason::Decode => true,
        Reason::Empty | Reason::Api | Reason::Mapping => is_whole,
        Reason::Http => is_whole && status.is_some_and(|status| REFUSES_CONTENT.contains(&status)),
        // In a batch one unknown ID may be meant; for a single task it is the outcome.
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
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config;
    use crate::mapping::{ProviderResponse, ReceivedBody};
    use crate::observation::{Observation, State};

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

    /// Returns the assessment of an unreadable response with this failure.
    fn unread<'f>(tasks: &[bool], failure: &'f Failure) -> Assessment<'f> {
        Assessment::Unread { tasks: tasks.to_vec(), failure, took: Duration::ZERO }
    }

    #[test]
    fn every_reason_is_assessed() {
        for reason in Reason::ALL {
            let failure = Failure::new(reason, "");
            let whole = match reason {
                Reason::TooLarge
                | Reason::Decode
                | Reason::Empty
                | Reason::Api
                | Reason::Mapping
                | Reason::NotFound => unread(&[true, true], &failure),
                // With a status that says nothing about the content.
                _ => Assessment::ProviderFailed,
            };
            assert_eq!(assess(&result(&[Some(reason); 2], true), true), whole, "{reason}");
        }
        for reason in [Reason::Mapping, Reason::NotFound] {
            let by_task = result(&[Some(reason); 2], false);
            assert_eq!(assess(&by_task, true), Assessment::Read, "{reason} of each element");
        }
        let single = result(&[Some(Reason::NotFound)], true);
        assert_eq!(assess(&single, false), Assessment::Read, "of a single task");
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
        let failure = Failure::new(Reason::TooLarge, "");
        assert_eq!(assess(&truncated, true), unread(&[false, false, true], &failure));
        assert_eq!(assess(&result(&[None, None], false), true), Assessment::Read);
    }
}
