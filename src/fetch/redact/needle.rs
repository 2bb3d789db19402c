//! One text that is looked for: a secret, or its base64.

use std::collections::HashSet;
use std::ops::Range;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

use super::escape::{Decoder, FOLLOWED, Symbol, is_lead};

/// The longest escape of one character that is recognised before a match and at the end of what was
/// cut, in bytes.
pub const MAX_ESCAPE: usize = 16;

/// A text and the ways in which it is found.
pub struct Needle {
    finder: Finder<'static>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// The characters of base64 that hold nothing but the secret, and whether one before and one
    /// behind hold a part of it. Encoders may break the line anywhere.
    Base64 {
        is_cut_before: bool,
        is_cut_behind: bool,
    },
}

/// What came of comparing.
struct Followed {
    /// The farthest end of the whole text.
    whole: Option<usize>,
    /// True where what is compared ended before.
    is_cut: bool,
}

impl Needle {
    /// Returns the needle of the text itself.
    pub fn text(text: &[u8]) -> Self {
        Self { finder: Finder::new(text).into_owned(), form: Form::Text }
    }

    /// Returns the needles of the text's base64 in both alphabets, alone or anywhere within the
    /// base64 of a longer text: three characters are four, so there are three ways to begin.
    pub fn base64(text: &[u8]) -> Vec<Self> {
        let mut needles: Vec<Self> = Vec::new();
        for before in 0..3_usize {
            let longer = [vec![0; before].as_slice(), text].concat();
            // The characters that what comes before has a part in, and those without any part of
            // what comes behind.
            let (skipped, whole) = ((before * 8).div_ceil(6), longer.len() * 8 / 6);
            let form =
                Form::Base64 { is_cut_before: before > 0, is_cut_behind: longer.len() * 8 % 6 > 0 };
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

    /// The text that is looked for.
    pub fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Adds every place where the text stands as it is.
    pub fn find(&self, text: &[u8], decoder: &mut Decoder<'_>, found: &mut Vec<Range<usize>>) {
        for start in self.finder.find_iter(text) {
            found.push(self.widened(text, start..start + self.bytes().len(), decoder));
        }
    }

    /// Returns the place of the text whose first escape is the one at `at`, read as `symbol`, and of
    /// which `matched` bytes stand before it.
    pub fn find_escaped(
        &self,
        text: &[u8],
        at: usize,
        matched: usize,
        symbol: &Symbol,
        decoder: &mut Decoder<'_>,
    ) -> Option<Range<usize>> {
        let (before, literal) = (text.get(..at)?, self.bytes().get(..matched)?);
        if !before.ends_with(literal) {
            return None;
        }
        let end = self.rest(text, matched, symbol, decoder)?;
        Some(self.widened(text, at - matched..end, decoder))
    }

    /// Reports whether a character may stand between any two of the text.
    pub fn may_break(&self, utf8: &[u8]) -> bool {
        is_line_break(utf8) && matches!(self.form, Form::Base64 { .. })
    }

    /// Returns the end of the text, of which `matched` bytes stand before the escape that was read
    /// as `symbol`; the farthest where there are several.
    fn rest(
        &self,
        text: &[u8],
        matched: usize,
        symbol: &Symbol,
        decoder: &mut Decoder<'_>,
    ) -> Option<usize> {
        self.follow(text, self.behind(matched, symbol)?, decoder).whole
    }

    /// Reports whether the text begins at `at` and is cut off before its end.
    pub fn is_begun(&self, text: &[u8], at: usize, decoder: &mut Decoder<'_>) -> bool {
        self.follow(text, (0, at), decoder).is_cut
    }

    /// Compares the text from some place on, of which so much is matched already.
    fn follow(&self, text: &[u8], from: (usize, usize), decoder: &mut Decoder<'_>) -> Followed {
        let mut followed = Followed { whole: None, is_cut: false };
        // What is left to try, where an escape can also be taken as it stands: a text may have
        // backslashes, or percent signs, of its own.
        let (mut left, mut tried) = (vec![from], HashSet::new());
        while let Some((mut matched, mut at)) = left.pop() {
            while tried.insert((matched, at)) && decoder.spend(FOLLOWED) {
                let Some(expected) = self.bytes().get(matched) else {
                    followed.whole = followed.whole.max(Some(at));
                    break;
                };
                let Some(byte) = text.get(at) else {
                    followed.is_cut = true;
                    break;
                };
                if is_lead(*byte) {
                    let before = left.len();
                    let mut chain = decoder.chain(at);
                    while let Some(symbol) = decoder.next(&mut chain) {
                        left.extend(self.behind(matched, &symbol));
                    }
                    // An escape that is cut may stand for anything.
                    followed.is_cut |= left.len() == before && text.len() - at < MAX_ESCAPE;
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
        followed
    }

    /// Returns how much is matched behind an escape, and where that is.
    fn behind(&self, matched: usize, symbol: &Symbol) -> Option<(usize, usize)> {
        let rest = self.bytes().get(matched..)?;
        if rest.starts_with(&symbol.utf8) {
            return Some((matched + symbol.utf8.len(), symbol.end));
        }
        self.may_break(&symbol.utf8).then_some((matched, symbol.end))
    }

    /// Returns the place with the characters of base64 that hold a part of the secret.
    fn widened(&self, text: &[u8], found: Range<usize>, decoder: &mut Decoder<'_>) -> Range<usize> {
        let Form::Base64 { is_cut_before, is_cut_behind } = self.form else { return found };
        let Range { mut start, mut end } = found;
        if is_cut_before {
            start = start_of_base64(text, start, decoder);
        }
        if is_cut_behind
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

/// Returns the start of the character of base64 that ends at `end`, or else `end`.
fn start_of_base64(text: &[u8], end: usize, decoder: &mut Decoder<'_>) -> usize {
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

/// Reports whether a character ends a line, as encoders of base64 do it anywhere.
pub fn is_line_break(utf8: &[u8]) -> bool {
    matches!(utf8, [b'\r' | b'\n'])
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}
