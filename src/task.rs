//! Identity: what a task is before anything is known of it.

mod dot_segments;
pub mod group;
pub mod id;
pub mod index;

use std::sync::Arc;

use dot_segments::has_dot_segment;
use id::Id;

/// Label pairs in the order of their names.
pub type Labels = Arc<[(Box<str>, Box<str>)]>;

/// One ID at one provider, as the configuration lists it. Small and cheap to clone: a fleet can
/// have a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The ID as the provider gave it: 1 to 4,096 bytes, no NUL, no dot segments.
    pub id: Id,
    /// All that it shares with other tasks.
    pub common: Arc<Common>,
}

/// What many tasks have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Common {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The tasks' own static labels, sorted by name; names are valid and not among ours.
    pub labels: Labels,
    /// Values for the further placeholders of the provider's request, sorted by name.
    pub params: Labels,
}

impl Task {
    /// A hash of provider and ID that is the same in every run and on every machine: it places
    /// the task in the schedule.
    pub fn hash(&self) -> u64 {
        stable_hash([self.common.provider.as_bytes(), self.id.as_bytes()])
    }

    /// Equal for tasks that one request can ask for together.
    pub fn group(&self) -> u64 {
        let parts =
            self.common.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        stable_hash(parts)
    }
}

/// Longer than any API's IDs, and short enough for every server's limit on URLs once encoded.
const MAX_ID_BYTES: usize = 4096;

/// The rule that an ID with [dot segments](has_dot_segment) breaks.
pub const DOT_SEGMENT: &str = "has no segment `.` or `..` between slashes, percent-encoded or not";

/// Checks whether a text can be a task's ID, or the value of a param.
///
/// # Errors
/// The end of a sentence that names it: a rule that it breaks.
pub fn check_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("is not empty"),
        "." | ".." => Err("is not `.` or `..`, which no URL can carry"),
        _ if id.len() > MAX_ID_BYTES => Err("has at most 4096 bytes"),
        // NUL ends the input of Prometheus's lexer.
        _ if id.contains('\0') => Err("has no NUL"),
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
        return Err("has no `?`, `#` or `\\`, since its slashes are kept");
    }
    // Servers and proxies remove such segments, and others with them.
    match value.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        true => Err("has no segment that is empty, `.` or `..`, since its slashes are kept"),
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
}
