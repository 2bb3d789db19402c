//! The words of a provider's answers that labels show. A provider that sends ever new ones would make
//! ever new series, so there are so many distinct ones in its life, and then `other`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::label::{MAX_DISTINCT, OTHER, bounded};
use crate::mapping::{Mapping, same_word};
use crate::observation::{Failure, Observation};
use crate::record::Known;

/// The words of one provider, for as long as the configuration has it.
#[derive(Debug, Default)]
pub struct Vocabulary {
    statuses: Words,
    codes: Words,
    kinds: Words,
}

impl Vocabulary {
    /// Adds the words that a mapping names. They are shown whatever else there is.
    pub fn declare(&mut self, mapping: &Mapping) {
        self.statuses.declare(mapping.named_words());
        self.codes.declare(mapping.named_codes().map(|code| bounded(code).into()));
    }

    /// Puts the words that are shown in the place of those of an answer.
    pub fn admit(&mut self, outcome: &mut Result<Observation, Failure>) {
        match outcome {
            Ok(observation) => {
                self.statuses.admit(&mut observation.status);
                observation.job_type.iter_mut().for_each(|kind| self.kinds.admit(kind));
                observation.failure_code.iter_mut().for_each(|code| self.codes.admit(code));
            }
            Err(failure) => self.codes.admit(&mut failure.code),
        }
    }

    /// Puts the code that is shown in the place of one of an answer.
    pub fn admit_code(&mut self, code: &mut Arc<str>) {
        self.codes.admit(code);
    }

    /// Puts the words that are shown in the place of those that an earlier life of the exporter has
    /// left.
    pub fn admit_known(&mut self, known: &mut Known) {
        let Self { statuses, codes, kinds } = self;
        let words = known.words_mut();
        statuses.admit(words.status);
        words.job_type.into_iter().for_each(|kind| kinds.admit(kind));
        words.codes.into_iter().flatten().for_each(|code| codes.admit(code));
    }
}

/// Distinct words of one sort.
#[derive(Debug, Default)]
struct Words {
    /// All that may be shown, each kept once for all tasks.
    shown: HashSet<Arc<str>>,
    /// Those of them that a mapping names.
    declared: Vec<Arc<str>>,
}

impl Words {
    fn declare(&mut self, words: impl Iterator<Item = Arc<str>>) {
        for word in words {
            if !self.declared.contains(&word) {
                self.shown.insert(Arc::clone(&word));
                self.declared.push(word);
            }
        }
    }

    /// Puts the word that is shown in the place of `word`: the same, or where there are too many
    /// already [`OTHER`], unless it is only spelled otherwise than one that a mapping names.
    fn admit(&mut self, word: &mut Arc<str>) {
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

    fn words(declared: &[&str]) -> Words {
        let mut words = Words::default();
        words.declare(declared.iter().map(|word| Arc::from(*word)));
        words
    }

    fn admit(words: &mut Words, word: &str) -> String {
        let mut word = Arc::from(word);
        words.admit(&mut word);
        (*word).to_owned()
    }

    #[test]
    fn so_many_distinct_words_are_shown_those_of_the_mapping_among_them() {
        let mut words = words(&["running", "DONE"]);
        let mut shown: HashSet<_> =
            (0..200).map(|number| admit(&mut words, &format!("word-{number}"))).collect();
        assert!(shown.remove(OTHER) && shown.len() == MAX_DISTINCT - 2, "{}", shown.len());
        for word in ["running", "DONE", "word-0", "word-61", ""] {
            assert_eq!(admit(&mut words, word), word);
        }
        for word in ["word-62", "other", "Running late"] {
            assert_eq!(admit(&mut words, word), OTHER);
        }
        assert_eq!([admit(&mut words, " Running"), admit(&mut words, "done")], ["running", "DONE"]);
    }

    #[test]
    fn spellings_of_a_word_count_as_words_and_no_word_of_ours_does() {
        let mut words = words(&["running"]);
        assert_eq!(admit(&mut words, "RUNNING"), "RUNNING");
        for word in ["other", "", "other", "running"] {
            assert_eq!(admit(&mut words, word), word);
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
        assert!(declared.iter().all(|word| admit(&mut words, word) == *word));
        assert_eq!(admit(&mut words, "random"), OTHER);
    }
}
