//! The identity of a task, without anything that polls have learned.

mod dot_segments;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayString;
use hashbrown::HashTable;

use dot_segments::has_dot_segment;

/// Label pairs in the order of their names.
pub type Labels = Arc<[(Box<str>, Box<str>)]>;

/// One ID at one provider, as the configuration lists it. Small and cheap to clone: a fleet can
/// have a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The ID as the provider gave it: 1 to 4,096 bytes, no NUL, no dot segments.
    pub id: TaskId,
    /// The properties that it shares with other tasks.
    pub common: Arc<TaskCommon>,
}

/// The properties that many tasks have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskCommon {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The tasks' own static labels, sorted by name; names are valid and not among ours.
    pub labels: Labels,
    /// Values for the further placeholders of the provider's request, sorted by name.
    pub params: Labels,
}

impl AsRef<Self> for Task {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Task {
    /// Returns a hash of provider and ID that is the same in every run and on every machine: it places
    /// the task in the schedule.
    pub fn hash(&self) -> u64 {
        stable_hash([self.common.provider.as_bytes(), self.id.as_bytes()])
    }

    /// Returns a hash that is equal for tasks which one request can ask for together.
    pub fn group(&self) -> u64 {
        let parts =
            self.common.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        stable_hash(parts)
    }
}

/// Maximum length of an ID that is stored inline, in bytes: a UUID has 36.
const SHORT: usize = 39;

/// The ID of a task. An ID of the usual length is stored inline, which takes less memory than a pointer
/// and keeps a scan of all tasks sequential.
#[derive(Clone)]
pub struct TaskId(IdText);

#[derive(Clone)]
enum IdText {
    Short(ArrayString<SHORT>),
    Long(Arc<str>),
}

impl From<&str> for TaskId {
    fn from(id: &str) -> Self {
        Self(ArrayString::from(id).map_or_else(|_| IdText::Long(id.into()), IdText::Short))
    }
}

impl Deref for TaskId {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            IdText::Short(text) => text,
            IdText::Long(text) => text,
        }
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TaskId {}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Tasks of one [group](Task::group), never none.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    first: Task,
    rest: Vec<Task>,
}

impl TaskGroup {
    /// Returns a group of a single task.
    pub fn one(task: Task) -> Self {
        Self { first: task, rest: Vec::new() }
    }

    /// Collects tasks in their order; `None` where there are none.
    pub fn collect(tasks: impl IntoIterator<Item = Task>) -> Option<Self> {
        let mut tasks = tasks.into_iter();
        Some(Self { first: tasks.next()?, rest: tasks.collect() })
    }

    /// Returns the first task, which has the same params as all others.
    pub fn first(&self) -> &Task {
        &self.first
    }

    /// Returns the tasks in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Returns the number of tasks, at least 1.
    pub fn count(&self) -> usize {
        1 + self.rest.len()
    }
}

/// Finds tasks of a list by provider and ID. It holds positions alone, and so takes nine bytes a
/// task.
#[derive(Debug, Default)]
pub struct TaskIndex {
    positions: HashTable<usize>,
    state: RandomState,
}

impl TaskIndex {
    /// Returns an index of `tasks`, which are distinct.
    pub fn of(tasks: &[Task]) -> Self {
        let mut index = Self::default();
        index.reserve(tasks.len(), tasks);
        for (position, task) in tasks.iter().enumerate() {
            index.insert(position, task, tasks);
        }
        index
    }

    /// Reserves memory for `more` tasks.
    pub fn reserve<T: AsRef<Task>>(&mut self, more: usize, tasks: &[T]) {
        let Self { positions, state } = self;
        positions.reserve(more, |position| hash_in(state, tasks.get(*position).map(T::as_ref)));
    }

    /// Returns the position of `task` in `tasks`.
    pub fn find<T: AsRef<Task>>(&self, task: &Task, tasks: &[T]) -> Option<usize> {
        let is_it = |position: &usize| {
            tasks.get(*position).is_some_and(|other| is_same(task, other.as_ref()))
        };
        self.positions.find(hash_in(&self.state, Some(task)), is_it).copied()
    }

    /// Returns a hash of a task's provider and ID, which is another one for each index.
    pub fn hash(&self, task: &Task) -> u64 {
        hash_in(&self.state, Some(task))
    }

    /// Inserts `task`, which is or will be at `position` of the list.
    pub fn insert<T: AsRef<Task>>(&mut self, position: usize, task: &Task, tasks: &[T]) {
        let Self { positions, state } = self;
        let of = |position: &usize| hash_in(state, tasks.get(*position).map(T::as_ref));
        positions.insert_unique(hash_in(state, Some(task)), position, of);
    }
}

fn hash_in(state: &RandomState, task: Option<&Task>) -> u64 {
    state.hash_one(task.map(|task| (&*task.common.provider, &*task.id)))
}

fn is_same(task: &Task, other: &Task) -> bool {
    *task.id == *other.id && task.common.provider == other.common.provider
}

/// Maximum length of an ID, in bytes: longer than the IDs of any API, and short enough for the
/// limits of servers on URLs once encoded.
const MAX_ID_BYTES: usize = 4096;

/// The rule that an ID with [dot segments](has_dot_segment) breaks.
pub const DOT_SEGMENT: &str =
    "must not have a segment `.` or `..` between slashes, percent-encoded or not";

/// Checks whether a text can be a task's ID, or the value of a param.
///
/// # Errors
/// The end of a sentence that names it: a rule that it breaks.
pub fn check_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("must not be empty"),
        "." | ".." => Err("must not be `.` or `..`, which no URL can carry"),
        _ if id.len() > MAX_ID_BYTES => Err("must have at most 4096 bytes"),
        // NUL ends the input of Prometheus's lexer.
        _ if id.contains('\0') => Err("must not contain NUL"),
        _ if has_dot_segment(id) => Err(DOT_SEGMENT),
        _ => Ok(()),
    }
}

/// Checks a value that fills `{+name}` in a path, where its slashes part segments.
///
/// # Errors
/// The end of a sentence that names it: a rule that it breaks.
pub fn check_segments(value: &str) -> Result<(), &'static str> {
    if value.contains(['?', '#', '\\']) {
        return Err("must not contain `?`, `#` or `\\`, since its slashes are kept");
    }
    // Servers and proxies remove such segments, and others with them.
    match value.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        true => {
            Err("must not have a segment that is empty, `.` or `..`, since its slashes are kept")
        }
        false => Ok(()),
    }
}

/// Hashes parts as [`stable_hash`] does, piece by piece. FNV-1a, with a final mix because FNV's low
/// bits alone spread similar IDs badly.
#[derive(Clone, Copy, Debug)]
pub struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl StableHasher {
    /// Adds bytes to the part that is open.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Closes the part, with a byte that UTF-8 never contains.
    pub fn end_part(&mut self) {
        self.write(&[0xff]);
    }

    /// Returns the hash of the parts that were closed.
    pub const fn finish(self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ (hash >> 33)
    }
}

/// Returns a hash of the parts that is the same in every run and on every machine.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = StableHasher::default();
    for part in parts {
        hasher.write(part);
        hasher.end_part();
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_part_segments_and_nothing_else() {
        for value in ["a", "a/b", "models/m:x/operations/1", "...", "a/.b", "%2e%2e/a", "a b/é"] {
            assert_eq!(check_segments(value), Ok(()), "{value}");
        }
        for value in
            ["", "/", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a?b", "a#b", "a\\..\\b"]
        {
            assert!(check_segments(value).is_err(), "{value}");
        }
    }

    #[test]
    fn ids_of_every_length_are_kept() {
        for length in [1, 36, SHORT - 1, SHORT, SHORT + 1, 4_096] {
            let text = "é".repeat(length)[..length / 2 * 2].to_owned() + &"x".repeat(length % 2);
            let id = TaskId::from(text.as_str());
            assert_eq!((&*id, &id), (text.as_str(), &id.clone()));
            assert_eq!(matches!(id.0, IdText::Short(_)), length <= SHORT);
        }
        assert_eq!(size_of::<TaskId>(), 48);
    }
}
