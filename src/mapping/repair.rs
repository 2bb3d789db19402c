//! Repair of JSON that is invalid only in its strings and numbers. Pure.
//!
//! Runs only after the strict parser has refused a body, so that valid responses are parsed once.

/// U+FFFD as UTF-8, and as an escape of JSON.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
const REPLACEMENT_ESCAPE: &[u8] = b"\\ufffd";

/// Returns `body` in a form that a strict parser accepts, at most six times as long; `None` if there is
/// nothing to repair.
///
/// In strings, unpaired surrogates, bytes that are not UTF-8 and the backslash of an unknown escape become
/// U+FFFD, and control characters are escaped. Numbers beyond the range of a float become strings. Nothing
/// else changes, in particular no boundary of a value.
pub fn repair(body: &[u8]) -> Option<Vec<u8>> {
    let mut repair = Repair { out: Vec::with_capacity(body.len()), is_changed: false };
    let mut rest = body;
    while let Some((byte, behind)) = rest.split_first() {
        rest = match byte {
            b'"' => {
                repair.out.push(b'"');
                repair.string(behind)
            }
            b'-' | b'0'..=b'9' => repair.number(rest),
            _ => {
                repair.out.push(*byte);
                behind
            }
        };
    }
    repair.is_changed.then_some(repair.out)
}

/// State of a repair.
struct Repair {
    out: Vec<u8>,
    is_changed: bool,
}

impl Repair {
    fn replace(&mut self, with: &[u8]) {
        self.out.extend_from_slice(with);
        self.is_changed = true;
    }

    /// Repairs a string, after its opening quote. Returns the bytes after its closing one.
    fn string<'b>(&mut self, mut rest: &'b [u8]) -> &'b [u8] {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
        loop {
            let length = rest.iter().position(is_special).unwrap_or(rest.len());
            let (plain, special) = rest.split_at(length);
            for chunk in plain.utf8_chunks() {
                self.out.extend_from_slice(chunk.valid().as_bytes());
                if !chunk.invalid().is_empty() {
                    self.replace(REPLACEMENT);
                }
            }
            rest = match special.split_first() {
                None => return special,
                Some((b'"', behind)) => {
                    self.out.push(b'"');
                    return behind;
                }
                Some((b'\\', behind)) => self.escape(behind),
                Some((control, behind)) => {
                    self.replace(format!("\\u{control:04x}").as_bytes());
                    behind
                }
            };
        }
    }

    /// Repairs an escape, after its backslash. Returns the bytes after it.
    fn escape<'b>(&mut self, rest: &'b [u8]) -> &'b [u8] {
        match rest.split_first() {
            Some((letter @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), behind)) => {
                self.out.extend_from_slice(&[b'\\', *letter]);
                behind
            }
            Some((b'u', digits)) => self.unit(digits),
            Some(_) => {
                self.replace(REPLACEMENT_ESCAPE);
                rest
            }
            None => {
                self.out.push(b'\\');
                rest
            }
        }
    }

    /// Repairs an escaped UTF-16 unit, after its `\u`. Returns the bytes after it, or after its pair.
    fn unit<'b>(&mut self, rest: &'b [u8]) -> &'b [u8] {
        let Some((unit, digits, behind)) = unit(rest) else {
            self.replace(REPLACEMENT_ESCAPE);
            return rest;
        };
        match unit {
            0xd800..0xdc00 => match behind.strip_prefix(b"\\u").and_then(self::unit) {
                Some((0xdc00..0xe000, low, behind)) => {
                    self.out.extend_from_slice(&[b"\\u", digits, b"\\u", low].concat());
                    behind
                }
                _ => {
                    self.replace(REPLACEMENT_ESCAPE);
                    behind
                }
            },
            0xdc00..0xe000 => {
                self.replace(REPLACEMENT_ESCAPE);
                behind
            }
            _ => {
                self.out.extend_from_slice(&[b"\\u", digits].concat());
                behind
            }
        }
    }

    /// Repairs a number. Returns the bytes after it.
    fn number<'b>(&mut self, rest: &'b [u8]) -> &'b [u8] {
        let is_of_number =
            |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| is_of_number(byte)).count();
        let (number, behind) = rest.split_at(length);
        let value = str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
        if value.is_some_and(f64::is_infinite) {
            self.replace(&[b"\"", number, b"\""].concat());
        } else {
            self.out.extend_from_slice(number);
        }
        behind
    }
}

/// Parses four hexadecimal digits. Returns the UTF-16 unit, the digits, and the bytes after them.
fn unit(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (digits, behind) = rest.split_at_checked(4)?;
    let text = str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    Some((u16::from_str_radix(text, 16).ok()?, digits, behind))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn repaired(body: &[u8]) -> Option<Value> {
        repair(body).map(|body| serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn invalid_text_is_replaced() {
        for (body, text) in [
            (&br#""girl \ud83d""#[..], "girl \u{fffd}"),
            (br#""\ud83d\ud83d\ude00x""#, "\u{fffd}😀x"),
            (br#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (br#""\ud83d\n\uD83DA""#, "\u{fffd}\n\u{fffd}A"),
            (br#""\ud83d\u0041""#, "\u{fffd}A"),
            (br#""\ud83d\u12""#, "\u{fffd}\u{fffd}12"),
            (b"\"caf\xc3\"", "caf\u{fffd}"),
            (b"\"\xe5\x9b girl \xff\xfe\"", "\u{fffd} girl \u{fffd}\u{fffd}"),
            (b"\"two\nlines\t\x00\"", "two\nlines\t\0"),
            (br#""it\'s \x41""#, "it\u{fffd}'s \u{fffd}x41"),
            (br#""\u+123""#, "\u{fffd}+123"),
        ] {
            assert_eq!(repaired(body), Some(text.into()), "{}", String::from_utf8_lossy(body));
        }
        let keys = repaired(br#"{"\ud83d": "\\\ud83d", "n": [-1e999, 2]}"#).unwrap();
        assert_eq!(keys["\u{fffd}"], "\\\u{fffd}");
        assert_eq!(keys["n"], serde_json::json!(["-1e999", 2]));
    }

    #[test]
    fn valid_json_and_other_text_stay_the_same() {
        for body in [
            &br#"{"a": ["\ud83d\ude00 \\ud83d \u00e9", 1.5e3, -0, true, null]}"#[..],
            "\"é 😀\"".as_bytes(),
            b"{\"a\": NaN}",
            b"<html>",
            b"\"cut \\",
            b"\"cut",
            b"",
        ] {
            assert_eq!(repair(body), None, "{}", String::from_utf8_lossy(body));
        }
    }
}
