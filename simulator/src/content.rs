//! A body that need not lie in memory: spaces, some text, spaces.

use bytes::Bytes;

/// As much as is handed to the network at a time, so that a client that leaves is noticed.
const CHUNK: &[u8] = &[b' '; 16_384];

/// What is still to be sent of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    spaces_before: usize,
    text: Bytes,
    spaces: usize,
}

impl Content {
    /// This body, made `length` bytes long by spaces, which JSON does not mind.
    pub fn padded_to(mut self, length: usize) -> Self {
        self.spaces = length.saturating_sub(self.spaces_before + self.text.len());
        self
    }

    /// The same with the spaces in front.
    pub fn padded_before_to(mut self, length: usize) -> Self {
        self.spaces_before = length.saturating_sub(self.text.len() + self.spaces);
        self
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.spaces_before + self.text.len() + self.spaces
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first half of it.
    pub fn half(mut self) -> Self {
        let half = self.len() / 2;
        self.spaces_before = self.spaces_before.min(half);
        self.text.truncate(half - self.spaces_before);
        self.padded_to(half)
    }

    /// Takes off the next piece, of at most `limit` bytes; empty at the end.
    pub fn take(&mut self, limit: usize) -> Bytes {
        let spaces = match self.spaces_before {
            0 if !self.text.is_empty() => return self.text.split_to(self.text.len().min(limit)),
            0 => &mut self.spaces,
            _ => &mut self.spaces_before,
        };
        let piece = Bytes::from_static(CHUNK).split_to((*spaces).min(limit).min(CHUNK.len()));
        *spaces -= piece.len();
        piece
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_taken_once() {
        let whole = Content::from("12345").padded_to(40_000);
        for (mut content, length, limit) in [
            (whole.clone(), 40_000, usize::MAX),
            (whole.clone().half(), 20_000, 7),
            (Content::from("12345").half(), 2, 1),
            (Content::from("12345").padded_to(3), 5, 2),
        ] {
            assert_eq!(content.len(), length);
            let mut taken = Vec::new();
            while !content.is_empty() {
                let piece = content.take(limit);
                assert!((1..=limit).contains(&piece.len()));
                taken.extend_from_slice(&piece);
            }
            assert_eq!(taken.len(), length);
            assert!(taken.starts_with(b"12") && content.take(1).is_empty());
        }
    }

    #[test]
    fn spaces_may_come_first() {
        let mut content = Content::from("12").padded_before_to(4);
        assert_eq!(content.clone().half().len(), 2);
        let pieces = std::iter::from_fn(|| Some(content.take(3)).filter(|piece| !piece.is_empty()));
        assert_eq!(pieces.collect::<Vec<_>>().concat(), b"  12");
    }
}
