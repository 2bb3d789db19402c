//! A response body with padding that takes no memory.

use bytes::Bytes;

/// Largest chunk of padding. Padding goes to the network in chunks, so that the server notices a
/// client that has disconnected.
const SPACES: &[u8] = &[b' '; 16_384];

/// The unsent rest of a response body: spaces, content, spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaddedBody {
    spaces_before: usize,
    content: Bytes,
    spaces_after: usize,
}

impl PaddedBody {
    /// Pads the body at its end with spaces, which JSON allows, to `length` bytes.
    ///
    /// A body that is longer keeps its length.
    pub(crate) fn pad_after_to(mut self, length: usize) -> Self {
        self.spaces_after = length.saturating_sub(self.spaces_before + self.content.len());
        self
    }

    /// Pads the body at its start with spaces to `length` bytes.
    ///
    /// A body that is longer keeps its length.
    pub(crate) fn pad_before_to(mut self, length: usize) -> Self {
        self.spaces_before = length.saturating_sub(self.content.len() + self.spaces_after);
        self
    }

    /// Returns the number of bytes left.
    pub(crate) fn len(&self) -> usize {
        self.spaces_before + self.content.len() + self.spaces_after
    }

    /// Reports whether no byte is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Truncates the body to the first half of its bytes, rounded down.
    pub(crate) fn truncate_to_half(mut self) -> Self {
        let half = self.len() / 2;
        self.spaces_before = self.spaces_before.min(half);
        self.content.truncate(half - self.spaces_before);
        self.pad_after_to(half)
    }

    /// Removes and returns the next chunk of at most `max_bytes` bytes; empty at the end.
    pub(crate) fn take_chunk(&mut self, max_bytes: usize) -> Bytes {
        let padding = match self.spaces_before {
            0 if !self.content.is_empty() => {
                return self.content.split_to(self.content.len().min(max_bytes));
            }
            0 => &mut self.spaces_after,
            _ => &mut self.spaces_before,
        };
        let chunk =
            Bytes::from_static(SPACES).split_to((*padding).min(max_bytes).min(SPACES.len()));
        *padding -= chunk.len();
        chunk
    }
}

impl<T: Into<Bytes>> From<T> for PaddedBody {
    fn from(content: T) -> Self {
        Self { content: content.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_byte_once() {
        let whole = PaddedBody::from("12345").pad_after_to(40_000);
        for (mut body, length, max_bytes) in [
            (whole.clone(), 40_000, usize::MAX),
            (whole.clone().truncate_to_half(), 20_000, 7),
            (PaddedBody::from("12345").truncate_to_half(), 2, 1),
            (PaddedBody::from("12345").pad_after_to(3), 5, 2),
        ] {
            assert_eq!(body.len(), length);
            let mut taken = Vec::new();
            while !body.is_empty() {
                let chunk = body.take_chunk(max_bytes);
                assert!((1..=max_bytes).contains(&chunk.len()));
                taken.extend_from_slice(&chunk);
            }
            assert_eq!(taken.len(), length);
            assert!(taken.starts_with(b"12") && body.take_chunk(1).is_empty());
        }
    }

    #[test]
    fn padding_before_the_content() {
        let mut body = PaddedBody::from("12").pad_before_to(4);
        assert_eq!(body.clone().truncate_to_half().len(), 2);
        let chunks =
            std::iter::from_fn(|| Some(body.take_chunk(3)).filter(|chunk| !chunk.is_empty()));
        assert_eq!(chunks.collect::<Vec<_>>().concat(), b"  12");
    }
}
