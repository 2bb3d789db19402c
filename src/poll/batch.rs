//! Assessment of the answer to a request: whether it could be read for each task, or whether asking
//! for fewer tasks at once may help. Pure.

use super::Polled;
use crate::observation::{Failure, Observation, Reason};

/// HTTP statuses with which a server says that it has no such query.
const NO_SUCH_QUERY: [u16; 3] = [404, 405, 501];

/// HTTP statuses with which a server refuses what a request holds: one of its tasks, or their
/// number. Not those of credentials, of a rate limit, or of a server that is in trouble, where
/// further requests only add to it.
const REFUSES_CONTENT: [u16; 7] = [400, 409, 410, 413, 414, 422, 431];

/// An answer, as far as the choice of the next requests depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// Each task has its answer, be it that the task is unknown.
    Read,
    /// The provider has no batch query.
    NoSuchQuery,
    /// True for each task of which the answer says nothing, though it came: fewer tasks at once may
    /// have an answer that can be read.
    Unread(Vec<bool>),
    /// The provider was not reached, refused the credentials, or is in trouble.
    Trouble,
}

impl Assessment {
    /// Assesses what a request brought, which used the batch query if it `is_batch`.
    pub fn of(polled: &Polled, is_batch: bool) -> Self {
        let status = polled.response.as_ref().map(|response| response.status);
        if is_batch && status.is_some_and(|status| NO_SUCH_QUERY.contains(&status)) {
            return Self::NoSuchQuery;
        }
        let is_whole = polled.has_failed_whole;
        let is_unread = |outcome: &Result<Observation, Failure>| {
            let failure = outcome.as_ref().err();
            failure.is_some_and(|failure| is_unread(failure.reason, status, is_whole, is_batch))
        };
        if polled.outcomes.iter().any(is_unread) {
            return Self::Unread(polled.outcomes.iter().map(is_unread).collect());
        }
        let is_trouble = |outcome: &Result<Observation, Failure>| {
            let failure = outcome.as_ref().err();
            failure.is_some_and(|failure| is_trouble(failure.reason))
        };
        match polled.outcomes.iter().any(is_trouble) {
            true => Self::Trouble,
            false => Self::Read,
        }
    }

    /// Reports whether the answer says nothing of the task at `index`.
    pub fn is_unread(&self, index: usize) -> bool {
        match self {
            Self::NoSuchQuery => true,
            Self::Unread(unread) => unread.get(index).copied().unwrap_or_default(),
            Self::Read | Self::Trouble => false,
        }
    }
}

/// Reports whether a failure means that the answer came and says nothing of the task.
fn is_unread(reason: Reason, status: Option<u16>, is_whole: bool, is_batch: bool) -> bool {
    match reason {
        // Of a batch that was cut, some tasks may have been read.
        Reason::TooLarge | Reason::Decode => true,
        Reason::Empty | Reason::Api | Reason::Mapping => is_whole,
        Reason::Http => is_whole && status.is_some_and(|status| REFUSES_CONTENT.contains(&status)),
        // One unknown ID may be meant. Of a single task it is the answer.
        Reason::NotFound => is_whole && is_batch,
        Reason::Timeout | Reason::Tls | Reason::Connect | Reason::Auth | Reason::RateLimited => {
            false
        }
    }
}

fn is_trouble(reason: Reason) -> bool {
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

    use http::HeaderMap;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config;
    use crate::mapping::{Answer, Body};
    use crate::observation::State;

    fn polled(reasons: &[Option<Reason>], has_failed_whole: bool) -> Polled {
        let outcome = |reason: &Option<Reason>| match reason {
            Some(reason) => Err(Failure::new(*reason, "")),
            None => Ok(Observation::new(State::Running, "run")),
        };
        let outcomes = reasons.iter().map(outcome).collect();
        Polled { outcomes, has_failed_whole, ..Polled::failed(0, Failure::new(Reason::Api, "")) }
    }

    #[test]
    fn every_reason_is_the_answers_the_tasks_or_the_providers() {
        let assess = |reason, is_whole, is_batch| {
            Assessment::of(&polled(&[Some(reason), Some(reason)], is_whole), is_batch)
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
                // Of a status that says nothing of the content.
                _ => Assessment::Trouble,
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

    /// Reads the answer to a batch of `a` and `b`: whether it failed as a whole, and the failures.
    fn read(body: &str) -> (bool, [Option<Reason>; 2]) {
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
        let headers = HeaderMap::new();
        let body = Body::Whole(body.as_bytes());
        let sent = Timestamp::from_micros(0);
        let answer = Answer { status: 200, headers: &headers, sent, body };
        let reading = loaded.config.providers[0].mapping.read(&answer, &["a", "b"]);
        let [a, b] = &reading.tasks[..] else { panic!("{reading:?}") };
        let reason = |task: &Result<_, Failure>| task.as_ref().err().map(|failure| failure.reason);
        (reading.has_failed_whole, [reason(a), reason(b)])
    }

    /// An answer about one task must not be believed of all.
    #[test]
    fn an_answer_to_a_batch_is_the_wholes_or_the_elements() {
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
            assert_eq!(read(body), (is_whole, reasons), "{body}");
        }
    }

    #[test]
    fn a_batch_that_was_cut_is_read_in_part() {
        let cut = polled(&[None, Some(Reason::NotFound), Some(Reason::TooLarge)], false);
        let expected = Assessment::Unread(vec![false, false, true]);
        assert_eq!(Assessment::of(&cut, true), expected);
        assert_eq!(Assessment::of(&polled(&[None, None], false), true), Assessment::Read);
    }
}
