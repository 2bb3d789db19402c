//! Redaction: secrets that a provider sends back, for example in an error message, are masked in
//! its responses before anything else reads them, and in the texts that were read.

mod escape;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr3_iter;
use memchr::memmem::Finder;

use escape::{COMPARED, DecodedChar, EscapeDecoder, FOLLOWED, is_lead};

/// Length of the shortest secret that is masked, in bytes: shorter ones occur in ordinary words.
const MIN_LENGTH: usize = 8;
const MASK: &[u8] = b"<secret>";
/// Length of the longest escape of one character that is recognised before a match and at the end of a
/// truncated text, in bytes.
const MAX_ESCAPE: usize = 16;

/// Masks secrets in every form that common encoders produce: as they are, with any of their characters
/// escaped, and in base64, which may be escaped as well.
pub struct Redactor {
    needles: Vec<Needle>,
    /// Length of the shortest needle, in bytes.
    shortest: usize,
    /// Every byte of every needle, in the order of the bytes.
    anchors: Vec<Anchor>,
    /// Index of the first anchor of each byte, and the end.
    first_anchors: Vec<usize>,
    /// The secrets in lower case, as names of headers are compared.
    names: Vec<Box<str>>,
}

/// A byte of a needle, and its position there.
#[derive(Clone, Copy)]
struct Anchor {
    byte: u8,
    needle: usize,
    at: usize,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new([""; 0])
    }
}

impl Redactor {
    /// Returns a redactor of these secrets, without those of less than 8 bytes.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let (mut needles, mut names) = (Vec::<Needle>::new(), Vec::new());
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.len() < MIN_LENGTH {
                continue;
            }
            names.push(secret.to_lowercase().into());
            // As it is, and as in forms.
            let texts =
                [secret, &secret.replace(' ', "+")].map(|text| Needle::text(text.as_bytes()));
            for needle in texts.into_iter().chain(Needle::base64(secret.as_bytes())) {
                if needles.iter().all(|known| known.bytes() != needle.bytes()) {
                    needles.push(needle);
                }
            }
        }
        let shortest = needles.iter().map(|needle| needle.bytes().len()).min();
        let anchors = needles.iter().enumerate().flat_map(|(needle, text)| {
            let bytes = text.bytes().iter().enumerate();
            bytes.map(move |(at, byte)| Anchor { byte: *byte, needle, at })
        });
        let mut anchors: Vec<_> = anchors.collect();
        anchors.sort_by_key(|anchor| anchor.byte);
        let first = |byte| anchors.partition_point(|anchor| u16::from(anchor.byte) < byte);
        let first_anchors = (0..=256).map(first).collect();
        Self { needles, shortest: shortest.unwrap_or(usize::MAX), anchors, first_anchors, names }
    }

    /// Masks the secrets in bytes; returns `None` if there are none.
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        // An escape is never shorter than its character.
        if text.len() < self.shortest {
            return None;
        }
        let (mut found, mut decoder) = (Vec::new(), EscapeDecoder::new(text));
        for needle in &self.needles {
            needle.find(text, &mut decoder, &mut found);
        }
        self.find_escaped(text, &mut decoder, &mut found);
        if found.is_empty() { None } else { Some(replace(text, found)) }
    }

    /// Masks the secrets in a truncated text, and removes the beginning of one at its end.
    pub fn mask_truncated(&self, start: Bytes) -> Bytes {
        let mut masked = self.mask(&start).map_or(start, Bytes::from);
        let mut decoder = EscapeDecoder::new(&masked);
        let longest = self.needles.iter().map(|needle| needle.bytes().len()).max();
        let window = longest.map_or(0, |longest| longest.saturating_mul(MAX_ESCAPE));
        let mut ends = masked.len().saturating_sub(window)..masked.len();
        // Text that cannot be decoded may be one.
        let is_begun = |at: &usize| {
            self.needles.iter().any(|needle| needle.is_begun(&masked, *at, &mut decoder))
                || decoder.is_exhausted()
        };
        let end = ends.find(is_begun).unwrap_or(masked.len());
        masked.truncate(end);
        masked
    }

    /// Masks the secrets in a text; returns `None` if there are none.
    pub fn mask_text(&self, text: &str) -> Option<String> {
        self.mask(text.as_bytes()).map(|masked| String::from_utf8_lossy(&masked).into_owned())
    }

    /// Masks the secrets in the values of headers, and removes headers with a secret in their names.
    pub fn mask_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let masked = self.mask(value.as_bytes());
            if let Some(Ok(masked)) = masked.map(|masked| HeaderValue::from_bytes(&masked)) {
                *value = masked;
            }
        }
        let has_secret =
            |name: &&HeaderName| self.names.iter().any(|secret| name.as_str().contains(&**secret));
        while let Some(name) = headers.keys().find(has_secret).cloned() {
            headers.remove(name);
        }
    }

    /// Adds the ranges of secrets with an escaped character.
    fn find_escaped(
        &self,
        text: &[u8],
        decoder: &mut EscapeDecoder<'_>,
        found: &mut Vec<Range<usize>>,
    ) {
        let mut behind = 0;
        for at in memchr3_iter(b'\\', b'%', b'&', text) {
            // Within the last match.
            if at < behind {
                continue;
            }
            let mut chain = decoder.chain(at);
            while let Some(symbol) = decoder.next(&mut chain) {
                let mut look = |anchor: &Anchor, matched| {
                    decoder.spend(COMPARED).then_some(())?;
                    let needle = self.needles.get(anchor.needle)?;
                    let place = needle.find_escaped(text, at, matched, &symbol, decoder)?;
                    behind = behind.max(place.end);
                    found.push(place);
                    Some(())
                };
                for anchor in self.anchors_of(symbol.utf8.first()) {
                    look(anchor, anchor.at);
                }
                if is_line_break(&symbol.utf8) {
                    let before = at.checked_sub(1).and_then(|before| text.get(before));
                    for anchor in self.anchors_of(before) {
                        look(anchor, anchor.at + 1);
                    }
                }
            }
            if decoder.is_exhausted() {
                // An attack: text that cannot be decoded is not shown.
                found.push(0..text.len());
                return;
            }
        }
    }

    /// Returns the positions of a byte in the needles.
    fn anchors_of(&self, byte: Option<&u8>) -> &[Anchor] {
        let range = byte.and_then(|byte| {
            let mut firsts = self.first_anchors.iter().skip(usize::from(*byte));
            Some(*firsts.next()?..*firsts.next()?)
        });
        range.and_then(|range| self.anchors.get(range)).unwrap_or_default()
    }
}

/// Replaces ranges of a text by a mask, overlapping ones by a single mask.
fn replace(text: &[u8], mut places: Vec<Range<usize>>) -> Vec<u8> {
    places.sort_by_key(|place| place.start);
    let (mut masked, mut end) = (Vec::with_capacity(text.len()), 0);
    for place in places {
        if place.start >= end {
            masked.extend_from_slice(text.get(end..place.start).unwrap_or_default());
            masked.extend_from_slice(MASK);
        }
        end = end.max(place.end);
    }
    masked.extend_from_slice(text.get(end..).unwrap_or_default());
    masked
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts", self.needles.len())
    }
}

/// One text to search for: a secret, or its base64.
struct Needle {
    finder: Finder<'static>,
    form: NeedleForm,
}

/// Form of a needle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NeedleForm {
    Text,
    /// The characters of base64 that encode only the secret, and whether the character before and the one
    /// after encode a part of it. Encoders may break the line anywhere.
    Base64 {
        shares_first: bool,
        shares_last: bool,
    },
}

/// Result of comparing a needle with a text.
struct Comparison {
    /// Farthest end of the needle, if it matches.
    whole: Option<usize>,
    /// True if the text ends within the needle.
    is_truncated: bool,
}

impl Needle {
    /// Returns the needle for a text itself.
    fn text(text: &[u8]) -> Self {
        Self { finder: Finder::new(text).into_owned(), form: NeedleForm::Text }
    }

    /// Returns the needles for a text's base64 in both alphabets, alone or anywhere within the base64 of a
    /// longer text: three bytes become four characters, so there are three alignments.
    fn base64(text: &[u8]) -> Vec<Self> {
        let mut needles: Vec<Self> = Vec::new();
        for before in 0..3_usize {
            let longer = [vec![0; before].as_slice(), text].concat();
            // Number of characters that encode a part of the text before, and of those without any
            // part of the text after.
            let (skipped, whole) = ((before * 8).div_ceil(6), longer.len() * 8 / 6);
            let form = NeedleForm::Base64 {
                shares_first: before > 0,
                shares_last: longer.len() * 8 % 6 > 0,
            };
            for encoded in
                [BASE64_STANDARD_NO_PAD.encode(&longer), BASE64_URL_SAFE_NO_PAD.encode(&longer)]
            {
                let encoded = encoded.as_bytes().get(skipped..whole).unwrap_or_default();
                if needles.iter().all(|needle| needle.bytes() != encoded) {
                    needles.push(Self { finder: Finder::new(encoded).into_owned(), form });
                }
            }
        }
        needles
    }

    /// Returns the bytes to search for.
    fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Adds the ranges of the needle without escapes.
    fn find(&self, text: &[u8], decoder: &mut EscapeDecoder<'_>, found: &mut Vec<Range<usize>>) {
        for start in self.finder.find_iter(text) {
            found.push(self.widened(text, start..start + self.bytes().len(), decoder));
        }
    }

    /// Returns the range of the needle whose first escape is at `at`, decoded as `symbol`, after
    /// `matched` of its bytes.
    fn find_escaped(
        &self,
        text: &[u8],
        at: usize,
        matched: usize,
        symbol: &DecodedChar,
        decoder: &mut EscapeDecoder<'_>,
    ) -> Option<Range<usize>> {
        let (before, literal) = (text.get(..at)?, self.bytes().get(..matched)?);
        if !before.ends_with(literal) {
            return None;
        }
        let end = self.rest(text, matched, symbol, decoder)?;
        Some(self.widened(text, at - matched..end, decoder))
    }

    /// Reports whether a character may occur between any two of the needle.
    fn may_break(&self, utf8: &[u8]) -> bool {
        is_line_break(utf8) && matches!(self.form, NeedleForm::Base64 { .. })
    }

    /// Returns the end of the needle, of which `matched` bytes precede the escape decoded as `symbol`; the
    /// farthest one if there are several.
    fn rest(
        &self,
        text: &[u8],
        matched: usize,
        symbol: &DecodedChar,
        decoder: &mut EscapeDecoder<'_>,
    ) -> Option<usize> {
        self.follow(text, self.behind(matched, symbol)?, decoder).whole
    }

    /// Reports whether the needle begins at `at` and is cut off by the end of the text.
    fn is_begun(&self, text: &[u8], at: usize, decoder: &mut EscapeDecoder<'_>) -> bool {
        self.follow(text, (0, at), decoder).is_truncated
    }

    /// Compares the needle with a text. `from` is the number of bytes already matched and the position in
    /// the text.
    fn follow(
        &self,
        text: &[u8],
        from: (usize, usize),
        decoder: &mut EscapeDecoder<'_>,
    ) -> Comparison {
        let mut comparison = Comparison { whole: None, is_truncated: false };
        // Alternatives left to try, since an escape may also be meant literally: a secret may contain
        // backslashes or percent signs.
        let (mut left, mut tried) = (vec![from], HashSet::new());
        while let Some((mut matched, mut at)) = left.pop() {
            while tried.insert((matched, at)) && decoder.spend(FOLLOWED) {
                let Some(expected) = self.bytes().get(matched) else {
                    comparison.whole = comparison.whole.max(Some(at));
                    break;
                };
                let Some(byte) = text.get(at) else {
                    comparison.is_truncated = true;
                    break;
                };
                if is_lead(*byte) {
                    let before = left.len();
                    let mut chain = decoder.chain(at);
                    while let Some(symbol) = decoder.next(&mut chain) {
                        left.extend(self.behind(matched, &symbol));
                    }
                    // A truncated escape may stand for any character.
                    comparison.is_truncated |= left.len() == before && text.len() - at < MAX_ESCAPE;
                } else if self.may_break(&[*byte]) {
                    at += 1;
                    continue;
                }
                if expected != byte {
                    break;
                }
                (matched, at) = (matched + 1, at + 1);
            }
        }
        comparison
    }

    /// Returns the number of bytes matched after an escape, and the position in the text.
    fn behind(&self, matched: usize, symbol: &DecodedChar) -> Option<(usize, usize)> {
        let rest = self.bytes().get(matched..)?;
        if rest.starts_with(&symbol.utf8) {
            return Some((matched + symbol.utf8.len(), symbol.end));
        }
        self.may_break(&symbol.utf8).then_some((matched, symbol.end))
    }

    /// Extends a range by the characters of base64 that encode a part of the secret.
    fn widened(
        &self,
        text: &[u8],
        found: Range<usize>,
        decoder: &mut EscapeDecoder<'_>,
    ) -> Range<usize> {
        let NeedleForm::Base64 { shares_first, shares_last } = self.form else { return found };
        let Range { mut start, mut end } = found;
        if shares_first {
            start = start_of_base64(text, start, decoder);
        }
        if shares_last
            && let Some((byte, behind)) = decoder.plain(end)
            && is_base64(byte)
        {
            end = behind;
            while let Some((b'=', behind)) = decoder.plain(end) {
                end = behind;
            }
        }
        start..end
    }
}

/// Returns the start of the character of base64 that ends at `end`; `end` if there is none.
fn start_of_base64(text: &[u8], end: usize, decoder: &mut EscapeDecoder<'_>) -> usize {
    let is_base64_at = |at: &usize| text.get(*at).is_some_and(|byte| is_base64(*byte));
    let mut is_escaped = |at: &usize| {
        let mut chain = decoder.chain(*at);
        while let Some(symbol) = decoder.next(&mut chain) {
            if symbol.end == end && matches!(*symbol.utf8, [byte] if is_base64(byte)) {
                return true;
            }
        }
        false
    };
    let escaped = (end.saturating_sub(MAX_ESCAPE)..end).find(|at| is_escaped(at));
    escaped.or(end.checked_sub(1).filter(is_base64_at)).unwrap_or(end)
}

/// Reports whether a character is a line break, which encoders of base64 insert anywhere.
fn is_line_break(utf8: &[u8]) -> bool {
    matches!(utf8, [b'\r' | b'\n'])
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}
