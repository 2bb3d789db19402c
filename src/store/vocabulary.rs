//! A limit on the distinct words of a provider that become label values. A provider that keeps sending
//! new words would keep creating series, so words over the limit are replaced by `other`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::label::{MAX_DISTINCT, OTHER, bounded};
use crate::mapping::{Mapping, same_word};
use crate::observation::PollOutcome;
use crate::record::TaskRecord;

/// The words of one provider that are label values, as long as the provider is configured.
#[derive(Debug, Default)]
pub struct Vocabulary {
    statuses: WordSet,
    codes: WordSet,
    job_types: WordSet,
}

impl Vocabulary {
    /// Adds the words that a mapping names, which are never replaced.
    pub(crate) fn declare(&mut self, mapping: &Mapping) {
        self.statuses.declare(mapping.named_words());
        self.codes.declare(mapping.named_codes().map(|code| bounded(code).into()));
    }

    /// Replaces the words of an outcome that are over the limit.
    pub fn limit(&mut self, outcome: &mut PollOutcome) {
        match outcome {
            Ok(observation) => {
                self.statuses.limit(&mut observation.status);
                observation.job_type.iter_mut().for_each(|kind| self.job_types.limit(kind));
                observation.failure_code.iter_mut().for_each(|code| self.codes.limit(code));
            }
            Err(failure) => self.codes.limit(&mut failure.code),
        }
    }

    /// Replaces a code that is over the limit.
    pub(crate) fn limit_code(&mut self, code: &mut Arc<str>) {
        self.codes.limit(code);
    }

    /// Replaces the words of a recovered record that are over the limit.
    pub(crate) fn limit_record(&mut self, record: &mut TaskRecord) {
        let Self { statuses, codes, job_types } = self;
        let words = record.words_mut();
        statuses.limit(words.status);
        words.job_type.into_iter().for_each(|kind| job_types.limit(kind));
        words.codes.into_iter().flatten().for_each(|code| codes.limit(code));
    }
}

/// Distinct words of one kind.
#[derive(Debug, Default)]
struct WordSet {
    /// Words that become label values, each stored once for all tasks.
    shown: HashSet<Arc<str>>,
    /// The words among them that a mapping names.
    declared: Vec<Arc<str>>,
}

impl WordSet {
    fn declare(&mut self, words: impl Iterator<Item = Arc<str>>) {
        for word in words {
            if !self.declared.contains(&word) {
                self.shown.insert(Arc::clone(&word));
                self.declared.push(word);
            }
        }
    }

    /// Replaces `word` if it is over the limit: by the word of the mapping that differs only in spelling,
    /// else by [`OTHER`].
    fn limit(&mut self, word: &mut Arc<str>) {
        if word.is_empty() {
            return;
        }
        if let Some(shown) = self.shown.get(word) {
            *word = Arc::clone(shown);
        } else if self.shown.len() < MAX_DISTINCT && **word != *OTHER {
            self.shown.insert(Arc::clone(word));
        } else {
            let declared = self.declared.iter().find(|declared| same_word(declared, word));
            *word = declared.cloned().unwrap_or_else(|| OTHER.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(declared: &[&str]) -> WordSet {
        let mut words = WordSet::default();
        words.declare(declared.iter().map(|word| Arc::from(*word)));
        words
    }

    fn limit(words: &mut WordSet, word: &str) -> String {
        let mut word = Arc::from(word);
        words.limit(&mut word);
        (*word).to_owned()
    }

    #[test]
    fn the_limit_includes_the_words_of_the_mapping() {
        let mut words = words(&["running", "DONE"]);
        let mut shown: HashSet<_> =
            (0..200).map(|number| limit(&mut words, &format!("word-{number}"))).collect();
        assert!(shown.remove(OTHER) && shown.len() == MAX_DISTINCT - 2, "{}", shown.len());
        for word in ["running", "DONE", "word-0", "word-61", ""] {
            assert_eq!(limit(&mut words, word), word);
        }
        for word in ["word-62", "other", "Running late"] {
            assert_eq!(limit(&mut words, word), OTHER);
        }
        assert_eq!([limit(&mut words, " Running"), limit(&mut words, "done")], ["running", "DONE"]);
    }

    #[test]
    fn spellings_count_separately_and_other_does_not_count() {
        let mut words = words(&["running"]);
        assert_eq!(limit(&mut words, "RUNNING"), "RUNNING");
        for word in ["other", "", "other", "running"] {
            assert_eq!(limit(&mut words, word), word);
        }
        assert_eq!(words.shown.len(), 2);
        words.declare(["running".into(), "late".into()].into_iter());
        assert_eq!((words.shown.len(), words.declared.len()), (3, 2));
    }

    #[test]
    fn a_mapping_may_name_more_words_than_answers_may_add() {
        let declared: Vec<_> = (0..100).map(|number| format!("named-{number}")).collect();
        let declared: Vec<_> = declared.iter().map(String::as_str).collect();
        let mut words = words(&declared);
        assert!(declared.iter().all(|word| limit(&mut words, word) == *word));
        assert_eq!(limit(&mut words, "random"), OTHER);
    }
}
