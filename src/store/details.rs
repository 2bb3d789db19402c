//! The details of failures, each stored once for all tasks of a provider: an outage gives a million
//! tasks the same one.

use std::collections::HashSet;
use std::sync::Arc;

use crate::observation::Failure;

/// Maximum number of details of a provider in memory, those in words of the reasons aside: with
/// [`MAX_BYTES`], they take at most 4 MiB, however many tasks fail in ways of their own.
const MAX_DETAILS: usize = 8_192;

/// Maximum length of a detail: enough for the longest sentence of a TLS error.
const MAX_BYTES: usize = 512;

/// The details of the failures that the records of one provider hold.
#[derive(Debug, Default)]
pub struct DetailPool {
    details: HashSet<Arc<str>>,
    /// Number of details that found no room since unused ones were last removed.
    refused: usize,
}

impl DetailPool {
    /// Shortens the detail of a failure, and replaces it by the same text in the pool. An empty detail,
    /// and a new one for which there is no room, become the reason in words.
    pub fn share(&mut self, failure: &mut Failure) {
        match failure.detail.len() {
            0 => failure.detail = failure.reason.in_words().into(),
            1..=MAX_BYTES => {}
            _ => failure.detail = shortened(&failure.detail).into(),
        }
        if let Some(known) = self.details.get(&failure.detail) {
            failure.detail = Arc::clone(known);
            return;
        }
        if !self.has_room() {
            failure.detail = failure.reason.in_words().into();
            if let Some(known) = self.details.get(&failure.detail) {
                failure.detail = Arc::clone(known);
                return;
            }
        }
        self.details.insert(Arc::clone(&failure.detail));
    }

    /// Reports whether there is room for one more detail, for which unused ones are removed. That
    /// visits all of them, so it happens once for as many refused details.
    fn has_room(&mut self) -> bool {
        if self.details.len() < MAX_DETAILS {
            return true;
        }
        self.refused += 1;
        if self.refused < MAX_DETAILS {
            return false;
        }
        self.refused = 0;
        self.details.retain(|detail| Arc::strong_count(detail) > 1);
        self.details.len() < MAX_DETAILS
    }
}

/// Returns a text cut to [`MAX_BYTES`], including the `…` at its end.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_BYTES - '…'.len_utf8());
    let mut kept = text.get(..end).unwrap_or_default().to_owned();
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Reason;

    fn share(pool: &mut DetailPool, detail: &str) -> Arc<str> {
        let mut failure = Failure::new(Reason::Http, detail);
        pool.share(&mut failure);
        failure.detail
    }

    #[test]
    fn equal_details_are_stored_once_and_long_ones_are_cut() {
        let mut pool = DetailPool::default();
        let first = share(&mut pool, "HTTP status 502");
        assert!(Arc::ptr_eq(&first, &share(&mut pool, "HTTP status 502")));
        let long = share(&mut pool, &"ü".repeat(MAX_BYTES));
        assert!(long.len() <= MAX_BYTES && long.ends_with("ü…"), "{long}");
        assert_eq!(&*share(&mut pool, &"a".repeat(MAX_BYTES)), "a".repeat(MAX_BYTES));
        assert_eq!(&*share(&mut pool, ""), Reason::Http.in_words());
    }

    #[test]
    fn details_over_the_limit_become_the_reason_until_others_are_unused() {
        let mut pool = DetailPool::default();
        let detail = |number: usize| format!("detail {number}");
        let mut held: Vec<_> =
            (0..MAX_DETAILS).map(|number| share(&mut pool, &detail(number))).collect();
        let words = share(&mut pool, "one more");
        assert_eq!(&*words, Reason::Http.in_words());
        assert!(Arc::ptr_eq(&words, &share(&mut pool, "another")));
        assert_eq!(&*share(&mut pool, &detail(7)), "detail 7", "known ones stay");
        held.truncate(7);
        for number in 0..MAX_DETAILS {
            share(&mut pool, &format!("later {number}"));
        }
        assert_eq!(&*share(&mut pool, "one more"), "one more");
        assert!(pool.details.len() < MAX_DETAILS, "{}", pool.details.len());
    }
}
