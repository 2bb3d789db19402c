//! Cursors: places between two pages of a list.
//!
//! A cursor holds the place of the task beside it, not a number of tasks. So tasks that come, leave or
//! change between two requests neither repeat nor hide others, and the exporter remembers nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::order::{SortKey, TaskOrder};

/// The place from which a page of a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The order of the list.
    pub order: TaskOrder,
    /// The side of `key` on which the page is.
    pub side: Side,
    /// The place of a task, which is not on the page.
    pub key: SortKey<'static>,
}

/// A side of a place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The tasks that come before, the nearest of them.
    Before,
    /// The tasks that come after.
    After,
}

impl Cursor {
    /// Returns the cursor as the value of a parameter: letters, digits, `-` and `_`.
    pub fn encode(&self) -> String {
        // Texts and numbers can always be written.
        let mut bytes = postcard::to_allocvec(self).unwrap_or_default();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor. A checksum detects one that was cut off or typed. It is no protection against
    /// cursors that were made up, which lead to nothing that the list does not show.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (written, _checksum) = bytes.split_last_chunk::<4>()?;
        let cursor: Self = postcard::from_bytes(written).ok()?;
        // There is one way to write it, which includes the checksum.
        (cursor.encode() == text).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::{at, tracked};
    use crate::web::query::order::{SortColumn, TaskRow};

    fn cursor(column: SortColumn) -> Cursor {
        let tracked = tracked();
        let row = TaskRow::new(&tracked, Duration::MAX, at(0));
        let order = TaskOrder { column, is_descending: true };
        Cursor { order, side: Side::After, key: order.key(row).into_owned() }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_no_part_of_it_is() {
        for column in SortColumn::ALL {
            let (cursor, text) = (cursor(column), cursor(column).encode());
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(Cursor::decode(&text), Some(cursor), "{text}");
            for end in 0..text.len() {
                assert_eq!(Cursor::decode(&text[..end]), None);
                assert_eq!(Cursor::decode(&text[end + 1..]), None);
            }
            assert_eq!(Cursor::decode(&format!("{text}=")), None);
            assert_eq!(Cursor::decode(&format!("{text}AAAA")), None);
        }
    }

    proptest! {
        #[test]
        fn a_cursor_with_another_character_is_none(
            at in any::<prop::sample::Index>(), other in "[A-Za-z0-9_-]",
        ) {
            let text = cursor(SortColumn::TaskId).encode();
            let at = at.index(text.len());
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(Cursor::decode(&changed).is_some(), changed == text);
        }

        #[test]
        fn any_bytes_with_a_checksum_are_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            if let Some(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }
    }
}
