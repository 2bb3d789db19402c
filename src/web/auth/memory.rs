//! Outcomes of comparisons, without the passwords that were compared.

use std::collections::{HashMap, HashSet, VecDeque};

/// The largest number of wrong passwords that are remembered. A client with an old password asks with
/// the same one again and again, and so do most who guess.
const MAX_WRONG: usize = 4_096;

/// A keyed hash of a user's name, the hash and the password that was compared with it.
pub type Tag = [u8; 32];

/// The outcomes of comparisons.
#[derive(Debug, Default)]
pub struct Memory {
    /// The last right password of each user.
    right: HashMap<Box<[u8]>, Tag>,
    wrong: HashSet<Tag>,
    /// The wrong ones, the oldest first.
    order: VecDeque<Tag>,
}

impl Memory {
    /// Returns the outcome of a comparison, if it is remembered.
    pub fn recall(&self, user: &[u8], tag: &Tag) -> Option<bool> {
        if self.right.get(user) == Some(tag) {
            return Some(true);
        }
        self.wrong.contains(tag).then_some(false)
    }

    /// Remembers a right password: the only one of its user.
    pub fn remember_right(&mut self, user: &[u8], tag: Tag) {
        self.right.insert(user.into(), tag);
    }

    /// Forgets the right passwords of users that do not fit.
    pub fn retain(&mut self, fits: impl Fn(&[u8]) -> bool) {
        self.right.retain(|user, _| fits(user));
    }

    /// Remembers a wrong password, and forgets the oldest where there are too many.
    pub fn remember_wrong(&mut self, tag: Tag) {
        if self.wrong.insert(tag) {
            self.order.push_back(tag);
        }
        if self.order.len() > MAX_WRONG
            && let Some(oldest) = self.order.pop_front()
        {
            self.wrong.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_right_password_of_a_user_is_remembered() {
        let mut memory = Memory::default();
        let of = |memory: &Memory| {
            [("alice", 1), ("alice", 2), ("bob", 1), ("bob", 3)]
                .map(|(user, tag)| memory.recall(user.as_bytes(), &[tag; 32]))
        };
        memory.remember_right(b"alice", [1; 32]);
        memory.remember_right(b"bob", [3; 32]);
        assert_eq!(of(&memory), [Some(true), None, None, Some(true)]);
        memory.remember_right(b"alice", [2; 32]);
        assert_eq!(of(&memory), [None, Some(true), None, Some(true)]);
        memory.retain(|user| user == b"alice");
        assert_eq!(of(&memory), [None, Some(true), None, None]);
    }

    #[test]
    fn the_oldest_wrong_password_is_forgotten() {
        let mut memory = Memory::default();
        let tag = |number: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_le_bytes());
            tag
        };
        for number in (0..=MAX_WRONG).chain(1..=MAX_WRONG) {
            memory.remember_wrong(tag(number));
        }
        assert_eq!(memory.recall(b"alice", &tag(0)), None);
        assert_eq!(memory.recall(b"alice", &tag(1)), Some(false));
        assert_eq!((memory.wrong.len(), memory.order.len()), (MAX_WRONG, MAX_WRONG));
    }
}
