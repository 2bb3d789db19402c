//! Compressed text that is cached until the samples in it change.

use std::fmt;
use std::sync::Arc;

use flate2::Crc;
use parking_lot::Mutex;

/// The lines of some tasks in one family, as a piece of a deflate stream that refers to nothing
/// before it and ends on a whole byte.
#[derive(Debug)]
pub struct CompressedChunk {
    /// The piece of the stream.
    pub deflated: Box<[u8]>,
    /// Checksum and length of the text.
    pub crc: Crc,
}

/// A cache entry for one chunk. Concurrent scrapes share the work: while one encodes the chunk, the
/// others wait for it.
#[derive(Default)]
pub struct CachedChunk(Mutex<Option<(CacheKey, Arc<CompressedChunk>)>>);

/// Everything that the text depends on besides the records.
type CacheKey = Box<[u64]>;

impl CachedChunk {
    /// Returns the chunk cached under `key`, else the one that `encode` returns.
    pub(crate) fn get_or_encode(
        &self,
        key: &[u64],
        encode: impl FnOnce() -> CompressedChunk,
    ) -> Arc<CompressedChunk> {
        // A panic in `encode` leaves the entry as it was.
        let mut cached = self.0.lock();
        if let Some((_, chunk)) = cached.as_ref().filter(|(known, _)| **known == *key) {
            return Arc::clone(chunk);
        }
        let chunk = Arc::new(encode());
        *cached = Some((key.into(), Arc::clone(&chunk)));
        chunk
    }

    /// Reports whether an entry has nothing to invalidate. An entry that a copy of the block shares
    /// may get a chunk at any time.
    pub(crate) fn is_empty(entry: &mut Arc<Self>) -> bool {
        Arc::get_mut(entry).is_some_and(|cached| cached.0.get_mut().is_none())
    }

    /// Invalidates a cache entry. A copy of the block that shares the entry keeps it.
    pub(crate) fn invalidate(entry: &mut Arc<Self>) {
        match Arc::get_mut(entry) {
            Some(cached) => *cached = Self::default(),
            None => *entry = Arc::default(),
        }
    }
}

impl fmt::Debug for CachedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedChunk")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn concurrent_scrapes_share_the_work() {
        let (cached, encoded) = (CachedChunk::default(), AtomicUsize::new(0));
        let get = |key: &[u64]| {
            cached.get_or_encode(key, || {
                encoded.fetch_add(1, Ordering::Relaxed);
                CompressedChunk { deflated: Box::default(), crc: Crc::new() }
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| get(&[1]));
            }
        });
        assert_eq!(encoded.load(Ordering::Relaxed), 1);
        get(&[2]);
        assert_eq!(encoded.load(Ordering::Relaxed), 2, "another key, another text");
    }

    #[test]
    fn a_copy_keeps_what_the_original_invalidates() {
        let chunk = || CompressedChunk { deflated: Box::default(), crc: Crc::new() };
        let mut original = Arc::new(CachedChunk::default());
        let first = original.get_or_encode(&[], chunk);
        let copy = Arc::clone(&original);
        assert!(!CachedChunk::is_empty(&mut original));
        CachedChunk::invalidate(&mut original);
        assert!(CachedChunk::is_empty(&mut original));
        assert!(Arc::ptr_eq(&copy.get_or_encode(&[], chunk), &first));
        assert!(!Arc::ptr_eq(&original.get_or_encode(&[], chunk), &first));
    }
}
