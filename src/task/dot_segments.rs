//! Dot segments, by which a path leads elsewhere than where it begins: `a/../b`.
//!
//! An ID goes out percent-encoded, and a gateway may decode it before it passes the request on, once or
//! more often. The text between two slashes must not be `.` or `..`.

/// Reports whether a text has a segment `.` or `..` between slashes or backslashes, or where it begins
/// or ends, also one that appears only when the text is percent-decoded, however often. Of a segment
/// counts what a server may make of it: nothing from a `;`, `?` or `#` on, and no control characters.
pub fn has_dot_segment(text: &str) -> bool {
    if !text.contains(['.', '%']) {
        return false;
    }
    decode(text.as_bytes()).split(|byte| matches!(byte, b'/' | b'\\')).any(is_dot_segment)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|byte| matches!(byte, b';' | b'?' | b'#')).next().unwrap_or_default();
    let mut name = name.iter().filter(|byte| !byte.is_ascii_control());
    let (first, second, third) = (name.next(), name.next(), name.next());
    first == Some(&b'.') && second.is_none_or(|byte| *byte == b'.') && third.is_none()
}

/// Decodes a text until nothing in it is percent-encoded any more. Takes one pass, since IDs come by
/// the million: what was decoded may be the end of an escape itself, and nothing else.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for byte in text {
        decoded.push(*byte);
        while let [.., b'%', high, low] = *decoded {
            let Some(byte) = hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low) else {
                break;
            };
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte);
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dot_segments_are_found_in_every_form() {
        for text in [
            ".",
            "..",
            "../..",
            "..\\..",
            "a/../b",
            "a\\..\\b",
            "a/./b",
            "/..",
            "../",
            "a/..",
            "./a",
            "%2e",
            "%2E%2e",
            ".%2e",
            "..%2Fv1",
            "..%5Cv1",
            "%2e%2e%2fv1",
            "%252e%252e%252fv1",
            "%25252e%25252E%25252f",
            "a%2f%2e%2e",
            "a%2f..%5cb",
            "%2%65%2%65/a",
            "%%32%65./a",
            "a%25%32%66..",
            "..;/a",
            "a/..;x=1/b",
            "a/..%3bx/b",
            "..?a",
            "..%23",
            "a/.\t./b",
            "a/..%00/b",
            "a/.%0a./b",
        ] {
            assert!(has_dot_segment(text), "{text}");
        }
    }

    #[test]
    fn ids_with_dots_and_slashes_are_none() {
        for text in [
            "a",
            "a.b",
            "v1..2",
            "...",
            "..a",
            "a..",
            ".a",
            "a/.b/c",
            "a/...",
            "a/..b/c",
            "models/veo-3.1/operations/abc",
            "projects/p/locations/us-central1/operations/1.2",
            "100%",
            "%",
            "%2",
            "50%25",
            "a%2e",
            "%2e%2e%2e/a",
            "%2g./a",
            "a//b",
            "a.;b/c",
            "任务/一.二",
            "",
        ] {
            assert!(!has_dot_segment(text), "{text}");
        }
    }

    /// An escape that is finished by each further byte must not be looked at again and again.
    #[test]
    fn the_longest_id_takes_one_pass() {
        let text = format!("%{}2e", "25".repeat(2_000));
        assert_eq!(decode(text.as_bytes()), b".");
        assert!(has_dot_segment(&text));
    }

    proptest! {
        #[test]
        fn it_is_as_if_decoded_again_and_again(text in "[%./25eEfFcC3ab;]{0,24}") {
            let mut bytes = text.clone().into_bytes();
            let has_one = |bytes: &[u8]| {
                bytes.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dot_segment)
            };
            let mut found = has_one(&bytes);
            loop {
                let once = percent_decode(&bytes).collect::<Vec<_>>();
                found |= has_one(&once);
                if once == bytes {
                    break;
                }
                bytes = once;
            }
            prop_assert_eq!(decode(text.as_bytes()), bytes);
            prop_assert_eq!(has_dot_segment(&text), found);
        }
    }
}
