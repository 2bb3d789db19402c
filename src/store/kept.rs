//! Compressed text that is kept until what it shows changes.

use std::fmt;
use std::sync::Arc;

use flate2::Crc;
use parking_lot::Mutex;

/// The lines of some tasks in one family, as a piece of a deflate stream that refers to nothing
/// before it and ends on a whole byte.
#[derive(Debug)]
pub struct Part {
    /// The piece.
    pub deflated: Box<[u8]>,
    /// Checksum and length of the text.
    pub crc: Crc,
}

/// A place for a part. Who comes while it is being made waits for it, so that scrapes at the same
/// time share the work.
#[derive(Default)]
pub struct Kept(Mutex<Option<Marked>>);

/// A part, and for which marks it was made.
type Marked = (Box<[u64]>, Arc<Part>);

impl Kept {
    /// The part that was made for these `marks`, else what `make` makes. The marks stand for
    /// what the text depends on besides the records.
    pub fn get(&self, marks: &[u64], make: impl FnOnce() -> Part) -> Arc<Part> {
        // A panic while a part is made leaves none.
        let mut kept = self.0.lock();
        if let Some((_, part)) = kept.as_ref().filter(|(of, _)| **of == *marks) {
            return Arc::clone(part);
        }
        let part = Arc::new(make());
        *kept = Some((marks.into(), Arc::clone(&part)));
        part
    }
}

/// Forgets what was kept. A copy of the block that shares the place keeps it.
pub fn forget(place: &mut Arc<Kept>) {
    match Arc::get_mut(place) {
        Some(kept) => *kept = Kept::default(),
        None => *place = Arc::default(),
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn scrapes_at_once_share_the_work() {
        let (kept, made) = (Kept::default(), AtomicUsize::new(0));
        let get = |marks: &[u64]| {
            kept.get(marks, || {
                made.fetch_add(1, Ordering::Relaxed);
                Part { deflated: Box::default(), crc: Crc::new() }
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| get(&[1]));
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        get(&[2]);
        assert_eq!(made.load(Ordering::Relaxed), 2, "other marks, another text");
    }

    #[test]
    fn a_copy_keeps_what_the_original_forgets() {
        let part = || Part { deflated: Box::default(), crc: Crc::new() };
        let mut original = Arc::new(Kept::default());
        let first = original.get(&[], part);
        let copy = Arc::clone(&original);
        forget(&mut original);
        assert!(Arc::ptr_eq(&copy.get(&[], part), &first));
        assert!(!Arc::ptr_eq(&original.get(&[], part), &first));
    }
}
