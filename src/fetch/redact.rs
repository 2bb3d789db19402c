//! Redaction: secrets that a provider sends back, in the message of a refusal say, are taken out of
//! its answers before anything reads them, and out of what was read.

mod escape;
mod html;
mod needle;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr3_iter;

use escape::{COMPARED, Decoder};
use needle::{MAX_ESCAPE, Needle, is_line_break};

/// The shortest secret that is looked for, in bytes: shorter ones stand in words that mean
/// something else.
const MIN_LENGTH: usize = 8;
const MASK: &[u8] = b"<secret>";

/// Finds secrets in every form that a common encoder gives them: as they are, with any of their
/// characters escaped, and in base64, which may be escaped as well.
pub struct Redactor {
    needles: Vec<Needle>,
    /// The length of the shortest needle, in bytes.
    shortest: usize,
    /// Every byte of every needle, in the order of the bytes.
    anchors: Vec<Anchor>,
    /// The index of the first anchor of each byte, and the end.
    first_anchors: Vec<usize>,
    /// What no header may be called, in lower case.
    names: Vec<Box<str>>,
}

/// A byte of a needle, and its place there.
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
    /// A redactor of these secrets; those of less than 8 bytes are left out.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let (mut needles, mut names) = (Vec::<Needle>::new(), Vec::new());
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.len() < MIN_LENGTH {
                continue;
            }
            names.push(secret.to_lowercase().into());
            // As it is, and as forms write it.
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

    /// Returns the bytes without secrets; `None` where they have none.
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        // An escape is never shorter than what it stands for.
        if text.len() < self.shortest {
            return None;
        }
        let (mut found, mut decoder) = (Vec::new(), Decoder::new(text));
        for needle in &self.needles {
            needle.find(text, &mut decoder, &mut found);
        }
        self.find_escaped(text, &mut decoder, &mut found);
        if found.is_empty() { None } else { Some(replace(text, found)) }
    }

    /// Returns the beginning of a text without secrets, and without the beginning of one at its end.
    pub fn mask_cut(&self, start: Bytes) -> Bytes {
        let mut masked = self.mask(&start).map_or(start, Bytes::from);
        let mut decoder = Decoder::new(&masked);
        let longest = self.needles.iter().map(|needle| needle.bytes().len()).max();
        let window = longest.map_or(0, |longest| longest.saturating_mul(MAX_ESCAPE));
        let mut ends = masked.len().saturating_sub(window)..masked.len();
        // What cannot be read may be one.
        let is_begun = |at: &usize| {
            self.needles.iter().any(|needle| needle.is_begun(&masked, *at, &mut decoder))
                || decoder.is_exhausted()
        };
        let end = ends.find(is_begun).unwrap_or(masked.len());
        masked.truncate(end);
        masked
    }

    /// Returns the text without secrets; `None` where it has none.
    pub fn mask_text(&self, text: &str) -> Option<String> {
        self.mask(text.as_bytes()).map(|masked| String::from_utf8_lossy(&masked).into_owned())
    }

    /// Takes secrets out of the values of headers, and headers out whose names have one.
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

    /// Adds the places of secrets of which a character is escaped.
    fn find_escaped(&self, text: &[u8], decoder: &mut Decoder<'_>, found: &mut Vec<Range<usize>>) {
        let mut behind = 0;
        for at in memchr3_iter(b'\\', b'%', b'&', text) {
            // Within one that was found.
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
                // An attack: what cannot be read is not shown.
                found.push(0..text.len());
                return;
            }
        }
    }

    /// Returns where a byte is in the needles.
    fn anchors_of(&self, byte: Option<&u8>) -> &[Anchor] {
        let range = byte.and_then(|byte| {
            let mut firsts = self.first_anchors.iter().skip(usize::from(*byte));
            Some(*firsts.next()?..*firsts.next()?)
        });
        range.and_then(|range| self.anchors.get(range)).unwrap_or_default()
    }
}

/// Returns the text with a mask in each of the places, in one where they overlap.
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
