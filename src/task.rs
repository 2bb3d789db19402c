//! Identity: what a task is before anything is known of it.

pub mod group;
pub mod id;
pub mod index;

use std::sync::Arc;

use id::Id;

/// Label pairs in the order of their names.
pub type Labels = Arc<[(Box<str>, Box<str>)]>;

/// One ID at one provider, as the configuration lists it. Small and cheap to clone: a fleet can
/// have a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The ID as the provider gave it: 1 to 4,096 bytes, no NUL, neither `.` nor `..`.
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

/// Whether a text can be a task's ID, or a value in its URL.
///
/// # Errors
/// What it would have to be: the end of a sentence that names it.
pub fn check_id(id: &str) -> Result<(), &'static str> {
    match id {
        "" => Err("is not empty"),
        "." | ".." => Err("is not `.` or `..`, which no URL can carry"),
        _ if id.len() > MAX_ID_BYTES => Err("has at most 4096 bytes"),
        // NUL ends the input of Prometheus's lexer.
        _ if id.contains('\0') => Err("has no NUL"),
        _ => Ok(()),
    }
}

/// FNV-1a over the parts, each closed by a byte that UTF-8 never contains, with a final mix
/// because FNV's low bits alone spread similar IDs badly.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
