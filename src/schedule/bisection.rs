//! Bisection of batches whose response could not be read: they are requested again in halves, down to
//! single tasks, so that a task with a broken response fails alone.
//!
//! A divided batch is a tree of parts. Until one of them can be read, the provider itself may be broken:
//! then only one part is in flight at a time, of one tree. Once a part was read, all parts are sent as
//! fast as the admission allows. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::batches::retry_at;
use crate::observation::{Failure, Reason};
use crate::store::Slot;

/// Number of consecutive unreadable parts of a group after which the provider counts as broken: enough
/// for the path to a single task of a batch of 1,000, and for a few of its neighbours.
const MAX_UNREAD: usize = 16;

/// Span in which the number of parts is limited to the number of open tasks plus [`MIN_PARTS`]: otherwise
/// the batches of a gateway with random unreadable responses would be divided without end.
const PARTS_SPAN: Duration = Duration::from_secs(300);
const MIN_PARTS: usize = 64;

/// Maximum number of groups with a state; there is a group for each combination of params, which
/// are few.
const MAX_GROUPS: usize = 64;

/// Identifier of a part of a batch that is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartId {
    tree: u64,
    part: usize,
}

/// A failed batch whose tasks are not requested again, but fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Tasks that are not requested again.
    pub slots: Vec<Slot>,
    /// Failure of the whole batch.
    pub failure: Failure,
    /// Duration of the request for the batch.
    pub took: Duration,
}

/// Conclusions from divided batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Tasks whose response cannot be read even alone, while those of others can.
    pub broken: Vec<Slot>,
    /// Parts that could not be read, although each half of them could.
    pub together: Vec<UnreadableTogether>,
    /// Tasks that are not requested again.
    pub abandoned: Vec<Abandoned>,
    /// True if no part of a group can be read: the provider is broken, not its tasks.
    pub gave_up: bool,
}

/// Tasks whose responses can be read only separately.
#[derive(Debug, PartialEq, Eq)]
pub struct UnreadableTogether {
    /// The tasks.
    pub slots: Vec<Slot>,
    /// Number of tasks in the request.
    pub asked: usize,
    /// Failure of the batch that they were in.
    pub reason: Reason,
}

/// Divided batches of a provider.
#[derive(Debug, Default)]
pub struct Bisection {
    trees: Vec<BatchTree>,
    next_tree: u64,
    /// Groups whose batches are not divided before this time.
    paused: Vec<(u64, Instant)>,
    streaks: Vec<Streak>,
    /// Tasks that are known to be broken since responses for others were read.
    proven: Vec<Slot>,
    /// Number of parts since the start of the span.
    parts: usize,
    parts_since: Option<Instant>,
}

/// Consecutive parts of a group that could not be read.
#[derive(Debug)]
struct Streak {
    group: u64,
    parts: usize,
    /// Single tasks among them, of completed trees: broken, unless the provider is.
    tasks: Vec<Slot>,
}

/// A divided batch.
#[derive(Debug)]
struct BatchTree {
    id: u64,
    group: u64,
    failure: Failure,
    took: Duration,
    parts: Vec<BatchPart>,
    /// Parts that have not been requested yet; the next one is the last in the list.
    waiting: Vec<usize>,
    in_flight: usize,
    /// True once a response for the group was read.
    has_read: bool,
    broken: Vec<Slot>,
}

/// A part of a batch.
#[derive(Debug)]
struct BatchPart {
    parent: Option<usize>,
    slots: Vec<Slot>,
    /// Number of tasks in the request.
    size: usize,
    halves: usize,
    halves_read: usize,
}

/// A response to a batch, or to a part of one, that could not be read.
#[derive(Debug)]
pub struct Unread<'a> {
    /// Tasks about which the response says nothing; not empty.
    pub slots: Vec<Slot>,
    /// Number of tasks in the request.
    pub asked: usize,
    /// Failure of each of them.
    pub failure: &'a Failure,
    /// Duration of the request.
    pub took: Duration,
}

impl Bisection {
    /// Starts to divide a batch of tasks of `group`. Returns false if it does not: because that was without success
    /// recently, or happens too often for `open` tasks.
    pub fn begin(&mut self, group: u64, unread: Unread<'_>, open: usize, now: Instant) -> bool {
        self.paused.retain(|(_, until)| now < *until);
        let is_paused = self.paused.iter().any(|(paused, _)| *paused == group);
        if is_paused || self.paused.len() >= MAX_GROUPS || !self.may_divide(open, now) {
            return false;
        }
        let mut tree = BatchTree {
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

    /// Reports whether a part may be requested now, if the admission allows it.
    pub fn is_ready(&self) -> bool {
        self.ready_tree().is_some()
    }

    /// Starts the next part. Returns its ID, its group and its tasks.
    pub fn start(&mut self) -> Option<(PartId, u64, Vec<Slot>)> {
        let index = self.ready_tree()?;
        let tree = self.trees.get_mut(index)?;
        let part = tree.waiting.pop()?;
        tree.in_flight += 1;
        let slots = tree.parts.get(part)?.slots.clone();
        Some((PartId { tree: tree.id, part }, tree.group, slots))
    }

    /// Returns the index of the first tree with a part that may be sent: any tree with a readable response,
    /// or the first one without.
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

    /// Records that a part was read.
    pub fn part_read(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        tree.has_read = true;
        let parent = tree.parts.get(id.part).and_then(|part| part.parent);
        if let Some(parent) = parent.and_then(|parent| tree.parts.get_mut(parent)) {
            parent.halves_read += 1;
        }
    }

    /// Records that a part could not be read. Returns true if it is divided further; a single task is not,
    /// and no part of a tree that is abandoned.
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

    /// Records that a part ended without a response. A single task counts as broken if others are read.
    pub fn part_failed(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        if let Some([slot]) = tree.parts.get(id.part).map(|part| &*part.slots) {
            tree.broken.push(*slot);
        }
    }

    /// Records that a part was not sent, because its tasks were removed.
    pub fn part_vanished(&mut self, id: PartId) {
        let Some(tree) = self.part_ended(id) else { return };
        let parent = tree.parts.get(id.part).and_then(|part| part.parent);
        if let Some(parent) = parent.and_then(|parent| tree.parts.get_mut(parent)) {
            parent.halves = parent.halves.saturating_sub(1);
        }
    }

    fn part_ended(&mut self, id: PartId) -> Option<&mut BatchTree> {
        let tree = self.trees.iter_mut().find(|tree| tree.id == id.tree)?;
        tree.in_flight = tree.in_flight.saturating_sub(1);
        Some(tree)
    }

    /// Records that a response for `group` was read, so that the provider is not broken.
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

    /// Counts a part of `group` that could not be read. Returns the number of consecutive ones.
    fn add_to_streak(&mut self, group: u64) -> usize {
        self.streak(group).map_or(0, |streak| {
            streak.parts += 1;
            streak.parts
        })
    }

    /// Abandons the trees of `group` without a readable response, after a request that has failed in a way in
    /// which further ones would.
    pub fn abandon_unproven(&mut self, group: u64) -> Vec<Abandoned> {
        let is_it = |tree: &mut BatchTree| tree.group == group && !tree.has_read;
        self.trees.extract_if(.., is_it).map(BatchTree::abandon).collect()
    }

    /// Removes all trees and their findings. Returns the tasks that wait in them.
    pub fn clear(&mut self) -> Vec<Slot> {
        self.paused.clear();
        self.streaks.clear();
        self.proven.clear();
        self.trees.drain(..).flat_map(|tree| tree.abandon().slots).collect()
    }

    /// Removes the completed trees, and those of groups that are abandoned. Returns the findings since the
    /// last call. `hash` is the hash of the provider.
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
            |tree: &mut BatchTree| tree.is_done() || (!tree.has_read && over.contains(&tree.group));
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

impl BatchTree {
    /// Divides the unread tasks of a part in two. A single task is requested once more, with the query for
    /// one task. Returns the number of parts.
    fn divide(&mut self, part: usize, mut slots: Vec<Slot>) -> usize {
        let second = slots.split_off(slots.len().div_ceil(2));
        // The last one pushed is requested first.
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

    fn together(&self) -> impl Iterator<Item = UnreadableTogether> {
        let parts = self.parts.iter();
        let parts = parts.filter(|part| part.halves > 0 && part.halves_read == part.halves);
        let reason = self.failure.reason;
        parts.map(move |part| UnreadableTogether {
            slots: part.slots.clone(),
            asked: part.size,
            reason,
        })
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
