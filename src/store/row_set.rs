//! A set of rows: one bit for each row of a table.

/// A set of rows.
#[derive(Clone, Debug, Default)]
pub struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    /// Adds a row. Returns false if it is in the set already.
    pub fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = place(row);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Removes a row. Returns false if it is not in the set.
    pub fn remove(&mut self, row: u32) -> bool {
        let (word, bit) = place(row);
        let Some(word) = self.words.get_mut(word) else { return false };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// Reports whether a row is in the set.
    pub fn contains(&self, row: u32) -> bool {
        let (word, bit) = place(row);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Returns the rows that are not in `other`, in ascending order.
    pub fn without<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = u32> + 's {
        let words = (0_u32..).zip(&self.words);
        words.flat_map(|(index, word)| {
            let other = other.words.get(super::to_index(index)).copied().unwrap_or(0);
            bits(word & !other).map(move |bit| index * u64::BITS + bit)
        })
    }
}

/// Returns the index of a row's word, and the row's bit in the word.
fn place(row: u32) -> (usize, u64) {
    (super::to_index(row / u64::BITS), 1 << (row % u64::BITS))
}

/// Returns the numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_set_behaves_like_a_set(
            steps in prop::collection::vec((any::<bool>(), 0_u32..300), 0..200),
            other in prop::collection::btree_set(0_u32..300, 0..200),
        ) {
            let (mut set, mut model, mut others) = (RowSet::default(), BTreeSet::new(), RowSet::default());
            for (insert, row) in steps {
                match insert {
                    true => prop_assert_eq!(set.insert(row), model.insert(row)),
                    false => prop_assert_eq!(set.remove(row), model.remove(&row)),
                }
            }
            for row in &other {
                others.insert(*row);
            }
            let without: Vec<_> = set.without(&others).collect();
            prop_assert_eq!(without, model.difference(&other).copied().collect::<Vec<_>>());
        }
    }
}
