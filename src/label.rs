//! Limits on label values that come from outside.

use std::borrow::Cow;

/// Maximum length of a label value: enough for any real status or code, and short enough that a
/// response full of text cannot inflate the exposition.
const MAX_BYTES: usize = 1024;

/// Maximum number of distinct values of one kind, such as codes, that the responses of a provider can
/// add to a label; further ones count as [`OTHER`]. More than any API documents, and few enough for a
/// API that numbers its responses.
pub const MAX_DISTINCT: usize = 64;

/// The label value for all values over [`MAX_DISTINCT`].
pub const OTHER: &str = "other";

const ELLIPSIS: char = '…';

/// Returns `value` shortened to at most 1,024 bytes, including `…` if it was cut, and with U+FFFD for
/// each NUL, because Prometheus takes a NUL for the end of the exposition.
pub fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= MAX_BYTES && !value.contains('\0') {
        return Cow::Borrowed(value);
    }
    // One character more than fits shows that the value is too long.
    let head = value.chars().take(MAX_BYTES + 1);
    let mut kept: String =
        head.map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if kept.len() > MAX_BYTES {
        kept.truncate(kept.floor_char_boundary(MAX_BYTES - ELLIPSIS.len_utf8()));
        kept.push(ELLIPSIS);
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_values_are_kept_as_they_are() {
        let value = "a\"\\\n\r…".repeat(128);
        assert_eq!(value.len(), MAX_BYTES);
        assert!(matches!(bounded(&value), Cow::Borrowed(kept) if kept == value));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(bounded(&"a".repeat(1025)), "a".repeat(1021) + "…");
        assert_eq!(bounded(&"ü".repeat(513)), "ü".repeat(510) + "…");
    }

    #[test]
    fn nul_is_replaced() {
        assert_eq!(bounded("a\0b"), "a\u{fffd}b");
        assert_eq!(bounded(&"\0".repeat(400)), "\u{fffd}".repeat(340) + "…");
    }

    proptest! {
        #[test]
        fn every_value_is_bounded(value in any::<String>(), times in 1..200_usize) {
            let value = value.repeat(times);
            let kept = bounded(&value);
            prop_assert!(kept.len() <= MAX_BYTES && !kept.contains('\0'));
            prop_assert_eq!(bounded(&kept), kept.as_ref());
        }
    }
}
