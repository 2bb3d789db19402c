//! Batches whose answer could not be read, asked for again in halves, down to single tasks: so that
//! one task whose answer is broken fails alone.
//!
//! A batch that is divided is a tree of parts. Until one of them can be read, the provider itself
//! may be what is broken: then one part is under way at a time, and only of one tree. Once one was
//! read, all parts go out as fast as the admission lets them. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::batches::retry_at;
use crate::observation::{Failure, Reason};
use crate::store::Slot;

/// After so many parts of a group in a row that could not be read, with no answer between them that
/// could, it is the provider that is broken: enough for the way down to a single task of a batch of
/// 1,000, and a few of its neighbours.
const MAX_UNREAD: usize = 16;

/// In each such span the parts are at most as many as the open tasks and [`MIN_PARTS`]: a gateway
/// of which every other answer is garbage is divided for as long as there is something to divide.
const PARTS_SPAN: Duration = Duration::from_secs(300);
const MIN_PARTS: usize = 64;

/// Groups of which something is remembered; there are as many groups as there are combinations of
/// params, which are few.
const MAX_GROUPS: usize = 64;

/// Stands for a part of a batch while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartId {
    tree: u64,
    part: usize,
}

/// A failed request whose tasks were to be asked for again, in place of which they fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Tasks that are not asked for again.
    pub slots: Vec<Slot>,
    /// The failure of the whole batch that they were in.
    pub failure: Failure,
    /// Duration of the request for it.
    pub took: Duration,
}

/// Conclusions from divided batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Tasks whose answer cannot be read where they are asked for alone either, while others' can.
    pub broken: Vec<Slot>,
    /// Parts that could not be read, though each half of them could.
    pub together: Vec<Together>,
    /// Tasks that are not asked for again.
    pub abandoned: Vec<Abandoned>,
    /// True where no part of a group can be read: it is the provider, and none of its tasks, that is
    /// broken.
    pub gave_up: bool,
}

/// Tasks that cannot be read together.
#[derive(Debug, PartialEq, Eq)]
pub struct Together {
    /// The tasks.
    pub slots: Vec<Slot>,
    /// Number of tasks that were asked for at once.
    pub asked: usize,
    /// The failure of the batch that they were in.
    pub reason: Reason,
}

/// The batches of a provider that are being divided.
#[derive(Debug, Default)]
pub struct Bisection {
    trees: Vec<Tree>,
    next_tree: u64,
    /// Groups that are not divided before a moment.
    paused: Vec<(u64, Instant)>,
    streaks: Vec<Streak>,
    /// Tasks that are broken, as answers of others have shown since.
    proven: Vec<Slot>,
    /// Parts made since the beginning of a span.
    parts: usize,
    parts_since: Option<Instant>,
}

/// Parts of a group in a row that could not be read.
#[derive(Debug)]
struct Streak {
    group: u64,
    parts: usize,
    /// Single tasks among them, of trees that have ended: broken, if the provider is not.
    tasks: Vec<Slot>,
}

#[derive(Debug)]
struct Tree {
    id: u64,
    group: u64,
    failure: Failure,
    took: Duration,
    parts: Vec<BatchPart>,
    /// Parts that have not been asked for; the next one is the last.
    waiting: Vec<usize>,
    in_flight: usize,
    /// True once an answer of the group was read.
    has_read: bool,
    broken: Vec<Slot>,
}

#[derive(Debug)]
struct BatchPart {
    parent: Option<usize>,
    slots: Vec<Slot>,
    /// Number of tasks that the request asks for.
    size: usize,
    halves: usize,
    halves_read: usize,
}

/// The answer to a batch, or to a part of one, that could not be read.
#[derive(Debug)]
pub struct Unread<'a> {
    /// The tasks of which it says nothing; not empty.
    pub slots: Vec<Slot>,
    /// Number of tasks that were asked for.
    pub asked: usize,
    /// The failure of each of them.
    pub failure: &'a Failure,
    /// Duration of the request.
    pub took: Duration,
}

impl Bisection {
    /// Begins to divide a batch of tasks of `group`. Returns whether it does: not where that has
    /// just been in vain, or happens too often among `open` tasks.
    pub fn begin(&mut self, group: u64, unread: Unread<'_>, open: usize, now: Instant) -> bool {
        self.paused.retain(|(_, until)| now < *until);
        let is_paused = self.paused.iter().any(|(paused, _)| *paused == group);
        if is_paused || self.paused.len() >= MAX_GROUPS || !self.may_divide(open, now) {
            return false;
        }
        let mut tree = Tree {
            id: self.next_tree,
            group,
            failure: unread.failure.clone(),
            took: unread.took,
            parts: Vec::new(),
            waiting: Vec::new(),
            in_flight: 0,
            has_read: unread.slots.len() < unread.asked,
            broken: Vec::new(),
        };
        self.next_tree = self.next_tree.wrapping_add(1);
        let slots = unread.slots.clone();
        tree.parts.push(BatchPart::new(None, slots, unread.asked));
        self.parts += tree.divide(0, unread.slots);
        self.trees.push(tree);
        true
    }

    /// Reports whether a part may be asked for now, were the admission open.
    pub fn is_ready(&self) -> bool {
        self.ready_tree().is_some()
    }

    /// Takes the next part, to be asked for now.
    pub fn start(&mut self) -> Option<(PartId, u64, Vec<Slot>)> {
        let index = self.ready_tree()?;
        let tree = self.trees.get_mut(index)?;
        let part = tree.waiting.pop()?;
        tree.in_flight += 1;
        let slots = tree.parts.get(part)?.slots.clone();
        Some((PartId { tree: tree.id, part }, tree.group, slots))
    }

    /// The first tree with a part that may go out: any that has shown its provider to work, and the
    /// first of those that have not.
    fn ready_tree(&self) -> Option<usize> {
        let mut is_first = true;
        self.trees.iter().position(|tree| {
            if tree.is_done() {
                return false;
            }
            let may_try = tree.has_read || std::mem::take(&mut is_first) && tree.in_flight == 0;
            may_try && !tree.waiting.is_empty()
        })
    }

    /// A part was read.
    pub fn part_read(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        tree.has_read = true;
        let parent = tree.parts.get(id.part).and_then(|part| part.parent);
        if let Some(parent) = parent.and_then(|parent| tree.parts.get_mut(parent)) {
            parent.halves_read += 1;
        }
    }

    /// A part could not be read. Returns whether it is divided further; one that was no batch is
    /// not, nor is a part of a tree that has to be given up.
    pub fn part_unread(
        &mut self,
        id: PartId,
        unread: Unread<'_>,
        is_batch: bool,
        open: usize,
        now: Instant,
    ) -> bool {
        let may_divide = self.may_divide(open, now);
        let Some(tree) = self.part_ended(id) else { return false };
        tree.has_read |= unread.slots.len() < unread.asked;
        let (group, is_proven) = (tree.group, tree.has_read);
        if !is_batch {
            tree.broken.extend(unread.slots.iter().copied());
        }
        let is_over = !is_proven && self.add_to_streak(group) >= MAX_UNREAD;
        if !is_batch || !may_divide || is_over {
            return false;
        }
        let tree = self.trees.iter_mut().find(|tree| tree.id == id.tree);
        self.parts += tree.map_or(0, |tree| tree.divide(id.part, unread.slots));
        true
    }

    /// A part ended without an answer. Of a single task that is its own doing, if others are read.
    pub fn part_failed(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        if let Some([slot]) = tree.parts.get(id.part).map(|part| &*part.slots) {
            tree.broken.push(*slot);
        }
    }

    /// A part was not sent, because its tasks have left.
    pub fn part_vanished(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        let parent = tree.parts.get(id.part).and_then(|part| part.parent);
        if let Some(parent) = parent.and_then(|parent| tree.parts.get_mut(parent)) {
            parent.halves = parent.halves.saturating_sub(1);
        }
    }

    fn part_ended(&mut self, id: PartId) -> Option<&mut Tree> {
        let tree = self.trees.iter_mut().find(|tree| tree.id == id.tree)?;
        tree.in_flight = tree.in_flight.saturating_sub(1);
        Some(tree)
    }

    /// An answer of `group` was read: the provider works.
    pub fn group_read(&mut self, group: u64) {
        for tree in self.trees.iter_mut().filter(|tree| tree.group == group) {
            tree.has_read = true;
        }
        for streak in self.streaks.extract_if(.., |streak| streak.group == group) {
            self.proven.extend(streak.tasks);
        }
    }

    fn streak(&mut self, group: u64) -> Option<&mut Streak> {
        if !self.streaks.iter().any(|streak| streak.group == group) {
            if self.streaks.len() >= MAX_GROUPS {
                self.streaks.remove(0);
            }
            self.streaks.push(Streak { group, parts: 0, tasks: Vec::new() });
        }
        self.streaks.iter_mut().find(|streak| streak.group == group)
    }

    /// Counts a part of `group` that could not be read. Returns how many there are in a row.
    fn add_to_streak(&mut self, group: u64) -> usize {
        self.streak(group).map_or(0, |streak| {
            streak.parts += 1;
            streak.parts
        })
    }

    /// A request for tasks of `group` has failed in a way in which further ones would. Ends its
    /// trees, but for those that have shown the provider to work.
    pub fn abandon_unproven(&mut self, group: u64) -> Vec<Abandoned> {
        let is_it = |tree: &mut Tree| tree.group == group && !tree.has_read;
        self.trees.extract_if(.., is_it).map(Tree::abandon).collect()
    }

    /// Ends every tree, and forgets what they have shown. Returns the tasks that wait in them.
    pub fn clear(&mut self) -> Vec<Slot> {
        self.paused.clear();
        self.streaks.clear();
        self.proven.clear();
        self.trees.drain(..).flat_map(|tree| tree.abandon().slots).collect()
    }

    /// Ends the trees of which every part has ended, and those of a group that has to be given up.
    /// Returns what has been found since the last time. `hash` is the provider's.
    pub fn conclude(&mut self, open: usize, hash: u64, now: Instant) -> Findings {
        let mut findings = Findings::default();
        findings.broken.append(&mut self.proven);
        if self.trees.is_empty() {
            return findings;
        }
        let may_divide = self.may_divide(open, now);
        let over = self.streaks.iter().filter(|streak| streak.parts >= MAX_UNREAD || !may_divide);
        let over: Vec<_> = over.map(|streak| streak.group).collect();
        for group in &over {
            self.paused.retain(|(paused, _)| paused != group);
            self.paused.push((*group, retry_at(hash, now)));
        }
        self.streaks.retain(|streak| !over.contains(&streak.group));
        findings.gave_up = !over.is_empty();
        let is_over =
            |tree: &mut Tree| tree.is_done() || (!tree.has_read && over.contains(&tree.group));
        for tree in self.trees.extract_if(.., is_over).collect::<Vec<_>>() {
            match tree.has_read {
                true => {
                    findings.broken.extend(&tree.broken);
                    findings.together.extend(tree.together());
                }
                false if over.contains(&tree.group) => {}
                false => {
                    if let Some(streak) = self.streak(tree.group) {
                        streak.tasks.extend(&tree.broken);
                    }
                }
            }
            findings.abandoned.extend(Some(tree.abandon()).filter(|left| !left.slots.is_empty()));
        }
        findings
    }

    fn may_divide(&mut self, open: usize, now: Instant) -> bool {
        let since = *self.parts_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PARTS_SPAN {
            (self.parts, self.parts_since) = (0, Some(now));
        }
        self.parts < open.saturating_add(MIN_PARTS)
    }
}

impl Tree {
    /// Has what was not read of a part asked for in two. A single task is asked for once more, with
    /// the query for one. Returns in how many.
    fn divide(&mut self, part: usize, mut slots: Vec<Slot>) -> usize {
        let second = slots.split_off(slots.len().div_ceil(2));
        // The last that is pushed is the first that is asked for.
        let halves = [second, slots].into_iter().filter(|half| !half.is_empty());
        let mut made = 0;
        for half in halves {
            self.waiting.push(self.parts.len());
            let size = half.len();
            self.parts.push(BatchPart::new(Some(part), half, size));
            made += 1;
        }
        if let Some(part) = self.parts.get_mut(part) {
            part.halves = made;
        }
        made
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    fn together(&self) -> impl Iterator<Item = Together> {
        let parts = self.parts.iter();
        let parts = parts.filter(|part| part.halves > 0 && part.halves_read == part.halves);
        let reason = self.failure.reason;
        parts.map(move |part| Together { slots: part.slots.clone(), asked: part.size, reason })
    }

    fn abandon(self) -> Abandoned {
        let Self { parts, waiting, failure, took, .. } = self;
        let left = waiting.iter().filter_map(|part| parts.get(*part));
        let slots = left.flat_map(|part| part.slots.iter().copied()).collect();
        Abandoned { slots, failure, took }
    }
}

impl BatchPart {
    fn new(parent: Option<usize>, slots: Vec<Slot>, size: usize) -> Self {
        Self { parent, slots, size, halves: 0, halves_read: 0 }
    }
}
