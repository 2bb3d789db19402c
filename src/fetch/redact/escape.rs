//! Decoding of escaped characters: escapes of JSON and JavaScript, percent-encoding and HTML's
//! character references, also nested.

#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

/// Depth up to which escapes whose own characters are escaped are decoded.
const MAX_DEPTH: u8 = 3;
/// Maximum number of characters of one escape that may be escaped themselves. A character outside
/// of Unicode's first plane takes 100 in JSON within JSON within JSON, each of which escapes every
/// character.
const MAX_NESTED: usize = 128;
/// The same for a whole text: for each byte, and for a text of any length. Ordinary responses take a
/// hundredth.
const NESTED_A_BYTE: usize = 2;
const NESTED_AT_LEAST: usize = 4_096;
/// Limits of the work of comparing with secrets, likewise, in units of [`COMPARED`]: a secret of
/// backslashes can be decoded in many ways.
const WORK_A_BYTE: usize = 128;
const WORK_AT_LEAST: usize = 1 << 20;
/// Work of comparing the text before an escape: a few nanoseconds.
pub const COMPARED: usize = 1;
/// Work of comparing one more character, with all its possible escapes.
pub const FOLLOWED: usize = 64;
/// Maximum number of nested escapes at one position, such as `&amp;amp;#43;`, and of backslashes in
/// a row: JSON within JSON doubles them and adds one, so that four levels make 15.
const MAX_CHAIN: usize = 16;
/// Maximum number of digits of a character reference, including leading zeros.
const MAX_DIGITS: usize = 8;
/// Length of the longest name that HTML has for an ASCII character, in bytes.
const MAX_NAME: usize = 16;

/// A decoded character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedChar {
    /// The character in UTF-8, or one byte of it.
    pub utf8: ArrayVec<u8, 4>,
    /// Position after the escape.
    pub end: usize,
}

impl DecodedChar {
    /// Returns the number of a Latin-1 character beyond ASCII.
    fn latin1(&self) -> Option<u8> {
        match *self.utf8 {
            [0xc2, low] => Some(low),
            [0xc3, low] => Some(low + 0x40),
            _ => None,
        }
    }
}

/// An escape, and those that begin with its decoded character, from the inside out: `\u0026#43;` is `&`,
/// and decoded twice `+`.
#[derive(Debug)]
pub struct EscapeChain {
    /// Decoded character of the last escape, and the position after it.
    lead: u8,
    end: usize,
    /// True as long as there have been only literal backslashes.
    is_raw: bool,
    depth: u8,
    /// Number of escapes decoded so far.
    read: usize,
    /// Latin-1 character of the last escape, which was also decoded as a byte.
    latin1: Option<DecodedChar>,
}

/// A byte, literal or decoded.
#[derive(Clone, Copy)]
struct Decoded {
    byte: u8,
    /// Position after it.
    end: usize,
    /// Number of escapes decoded for it.
    layers: usize,
}

/// Reports whether an escape can begin with this byte.
pub const fn is_lead(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&')
}

/// Decoder of the escapes of a text, in time bounded by its length.
#[derive(Debug)]
pub struct EscapeDecoder<'t> {
    text: &'t [u8],
    /// Number of nested escapes that may still be decoded: in all, and at the current position.
    left: usize,
    left_here: usize,
    /// Work of comparing that is left, in units of [`COMPARED`].
    work_left: usize,
}

impl<'t> EscapeDecoder<'t> {
    /// Returns a decoder of `text`.
    pub const fn new(text: &'t [u8]) -> Self {
        let left = text.len() * NESTED_A_BYTE + NESTED_AT_LEAST;
        let work_left = text.len() * WORK_A_BYTE + WORK_AT_LEAST;
        Self { text, left, left_here: MAX_NESTED, work_left }
    }

    /// Counts work of comparing with a secret. Returns false once it exceeds the work of any ordinary
    /// text.
    pub fn spend(&mut self, work: usize) -> bool {
        self.work_left = self.work_left.saturating_sub(work);
        self.work_left > 0
    }

    /// Reports whether decoding has stopped, because the text has more nested escapes than any encoder
    /// writes, or needs more comparisons.
    pub const fn is_exhausted(&self) -> bool {
        self.left == 0 || self.work_left == 0
    }

    /// Returns the chain of escapes at `at`, before any of them is decoded.
    pub fn chain(&mut self, at: usize) -> EscapeChain {
        self.left_here = MAX_NESTED;
        self.chain_within(at, MAX_DEPTH)
    }

    /// Returns the first byte at `at` that begins no escape, literal or decoded, and the position after
    /// it.
    pub fn plain(&mut self, at: usize) -> Option<(u8, usize)> {
        self.left_here = MAX_NESTED;
        self.byte_at(at, MAX_DEPTH)
    }

    /// Decodes the next escape of a chain. An escape of a Latin-1 character is decoded twice, since
    /// encoders that write bytes of UTF-8 write each of them as the character with its number.
    pub fn next(&mut self, chain: &mut EscapeChain) -> Option<DecodedChar> {
        if let Some(symbol) = chain.latin1.take() {
            return Some(symbol);
        }
        if !is_lead(chain.lead) || chain.read == MAX_CHAIN {
            return None;
        }
        let (end, depth) = (chain.end, chain.depth);
        let doubled =
            (chain.lead == b'\\' && self.get(end) == Some(b'\\')).then(|| byte(b'\\', end + 1));
        chain.is_raw &= doubled.is_some();
        let symbol = match chain.lead {
            b'\\' if chain.is_raw => doubled,
            b'\\' => self.backslash(end, depth, chain.read).or(doubled),
            b'%' => self.percent(end, depth),
            b'&' => self.reference(end, depth),
            _ => None,
        }?;
        chain.read += 1;
        chain.end = symbol.end;
        chain.lead = if let [byte] = *symbol.utf8 { byte } else { 0 };
        if let Some(code) = symbol.latin1() {
            let byte = byte(code, symbol.end);
            chain.latin1 = Some(symbol);
            return Some(byte);
        }
        Some(symbol)
    }

    fn chain_within(&self, at: usize, depth: u8) -> EscapeChain {
        let lead = self.get(at).unwrap_or_default();
        EscapeChain { lead, end: at + 1, is_raw: true, depth, read: 0, latin1: None }
    }

    fn get(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Returns the first wanted byte decoded from nested escapes.
    fn nested(
        &mut self,
        at: usize,
        depth: u8,
        max_layers: usize,
        is_wanted: impl Fn(u8, &EscapeChain) -> bool,
    ) -> Option<Decoded> {
        let depth = depth.checked_sub(1).filter(|_| max_layers > 0)?;
        self.left_here = self.left_here.checked_sub(1)?;
        self.left = self.left.checked_sub(1)?;
        let mut chain = self.chain_within(at, depth);
        while chain.read < max_layers
            && let Some(symbol) = self.next(&mut chain)
        {
            if let [byte] = *symbol.utf8
                && is_wanted(byte, &chain)
            {
                return Some(Decoded { byte, end: symbol.end, layers: chain.read });
            }
        }
        None
    }

    fn byte_at(&mut self, at: usize, depth: u8) -> Option<(u8, usize)> {
        self.decoded_at(at, depth, MAX_CHAIN).map(|decoded| (decoded.byte, decoded.end))
    }

    /// Returns the first byte at `at` that begins no escape, decoded from at most `max_layers` escapes.
    fn decoded_at(&mut self, at: usize, depth: u8, max_layers: usize) -> Option<Decoded> {
        let byte = self.get(at)?;
        if is_lead(byte) {
            return self.nested(at, depth, max_layers, |byte, _| !is_lead(byte));
        }
        Some(Decoded { byte, end: at + 1, layers: 0 })
    }

    /// Decodes the text after a backslash that is itself escaped `layers` times.
    fn backslash(&mut self, at: usize, depth: u8, layers: usize) -> Option<DecodedChar> {
        let (letter, end) = match self.get(at)? {
            lead if is_lead(lead) => {
                // A backslash, if it is escaped as often as the one before. Literal ones only double
                // the backslash of the next escape.
                let decoded = self.nested(at, depth, MAX_CHAIN, |byte, chain| match byte {
                    b'\\' => !chain.is_raw && chain.read >= layers,
                    byte => !is_lead(byte),
                })?;
                (decoded.byte, decoded.end)
            }
            letter => (letter, at + 1),
        };
        let letter = match letter {
            b'u' => return self.unicode(end, depth, layers),
            b'x' => {
                let (code, end) = self.hex(end, 2, depth)?;
                return character(code, end);
            }
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            letter if letter.is_ascii_punctuation() => letter,
            _ => return None,
        };
        Some(byte(letter, end))
    }

    /// Decodes the text after `\u`: four digits, with a second escape if they are a surrogate, or any
    /// number of digits in braces.
    fn unicode(&mut self, at: usize, depth: u8, layers: usize) -> Option<DecodedChar> {
        let (first, at) = self.byte_at(at, depth)?;
        if first == b'{' {
            return self.braced(at, depth);
        }
        let (rest, end) = self.hex(at, 3, depth)?;
        let code = (char::from(first).to_digit(16)? << 12) + rest;
        if !(0xd800..0xdc00).contains(&code) {
            return character(code, end);
        }
        // The low surrogate follows after as many backslashes, or after one that is escaped as often.
        let behind = self.text.get(end..)?.iter().take(MAX_CHAIN);
        let raw = end + behind.take_while(|byte| **byte == b'\\').count();
        let escaped =
            self.nested(end, depth, MAX_CHAIN, |byte, chain| byte == b'\\' && chain.read >= layers);
        let (low, end) = [Some(raw), escaped.map(|escaped| escaped.end)]
            .into_iter()
            .flatten()
            .find_map(|at| self.low_surrogate(at, depth))?;
        character(0x1_0000 + ((code - 0xd800) << 10) + low, end)
    }

    fn low_surrogate(&mut self, at: usize, depth: u8) -> Option<(u32, usize)> {
        let (b'u', at) = self.byte_at(at, depth)? else { return None };
        let (code, end) = self.hex(at, 4, depth)?;
        Some((code.checked_sub(0xdc00).filter(|low| *low < 0x400)?, end))
    }

    /// Decodes the text after `%`: two digits, or `u` and four digits as in old JavaScript.
    fn percent(&mut self, at: usize, depth: u8) -> Option<DecodedChar> {
        match self.byte_at(at, depth)? {
            (b'u', at) => {
                let (code, end) = self.hex(at, 4, depth)?;
                character(code, end)
            }
            (first, at) => {
                let (low, end) = self.hex(at, 1, depth)?;
                let code = char::from(first).to_digit(16)? * 16 + low;
                Some(byte(u8::try_from(code).ok()?, end))
            }
        }
    }

    /// Decodes the text after `&`: a number, or a name and a semicolon.
    fn reference(&mut self, at: usize, depth: u8) -> Option<DecodedChar> {
        let hash = self.decoded_at(at, depth, MAX_CHAIN)?;
        let (first, mut end) = (hash.byte, hash.end);
        if first == b'#' {
            return match self.decoded_at(end, depth, hash.layers)? {
                Decoded { byte: b'x' | b'X', end, .. } => {
                    self.reference_number(end, 16, hash.layers, depth)
                }
                _ => self.reference_number(end, 10, hash.layers, depth),
            };
        }
        let mut name = ArrayVec::<u8, { MAX_NAME }>::new();
        let mut letter = first;
        while letter.is_ascii_alphanumeric() {
            name.try_push(letter).ok()?;
            (letter, end) = self.byte_at(end, depth)?;
        }
        if letter == b';' { Some(byte(html_character(&name)?, end)) } else { None }
    }

    /// Decodes the number of a reference. It ends with a semicolon or, as in HTML, before anything that is no
    /// digit. An encoder escapes all digits equally often, and neither them nor the semicolon more often
    /// than `#`: other escapes are not part of the reference.
    fn reference_number(
        &mut self,
        mut at: usize,
        radix: u32,
        hash_layers: usize,
        depth: u8,
    ) -> Option<DecodedChar> {
        let (mut code, mut layers) = (0_u32, None);
        for count in 0..=MAX_DIGITS {
            let next = self.decoded_at(at, depth, hash_layers);
            let digit = next.and_then(|next| {
                let digit = char::from(next.byte).to_digit(radix)?;
                (*layers.get_or_insert(next.layers) == next.layers).then_some((digit, next.end))
            });
            let Some((digit, end)) = digit else {
                let close = next.filter(|next| next.byte == b';');
                let end = close.map_or(at, |close| close.end);
                return if count > 0 { character(code, end) } else { None };
            };
            code = code.checked_mul(radix)?.checked_add(digit)?;
            at = end;
        }
        None
    }

    /// Decodes hexadecimal digits up to a closing brace.
    fn braced(&mut self, mut at: usize, depth: u8) -> Option<DecodedChar> {
        let mut code = 0_u32;
        for count in 0..=MAX_DIGITS {
            let (digit, end) = self.byte_at(at, depth)?;
            if digit == b'}' {
                return if count > 0 { character(code, end) } else { None };
            }
            let digit = char::from(digit).to_digit(16)?;
            code = code.checked_mul(16)?.checked_add(digit)?;
            at = end;
        }
        None
    }

    fn hex(&mut self, mut at: usize, digits: usize, depth: u8) -> Option<(u32, usize)> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        // Most digits are not escaped themselves.
        if let Some(raw) = self.text.get(at..at + digits) {
            let code = raw.iter().try_fold(0, |code, byte| Some(code * 16 + digit(byte)?));
            if let Some(code) = code {
                return Some((code, at + digits));
            }
        }
        let mut code = 0;
        for _ in 0..digits {
            let (byte, end) = self.byte_at(at, depth)?;
            code = code * 16 + digit(&byte)?;
            at = end;
        }
        Some((code, at))
    }
}

fn character(code: u32, end: usize) -> Option<DecodedChar> {
    let mut buffer = [0; 4];
    let length = char::from_u32(code)?.encode_utf8(&mut buffer).len();
    let mut utf8 = ArrayVec::from(buffer);
    utf8.truncate(length);
    Some(DecodedChar { utf8, end })
}

fn byte(byte: u8, end: usize) -> DecodedChar {
    let mut utf8 = ArrayVec::from([byte, 0, 0, 0]);
    utf8.truncate(1);
    DecodedChar { utf8, end }
}

/// Returns the ASCII character that has this name in HTML.
fn html_character(name: &[u8]) -> Option<u8> {
    Some(match name {
        b"Tab" => b'\t',
        b"NewLine" => b'\n',
        b"excl" => b'!',
        b"quot" | b"QUOT" => b'"',
        b"num" => b'#',
        b"dollar" => b'$',
        b"percnt" => b'%',
        b"amp" | b"AMP" => b'&',
        b"apos" => b'\'',
        b"lpar" => b'(',
        b"rpar" => b')',
        b"ast" | b"midast" => b'*',
        b"plus" => b'+',
        b"comma" => b',',
        b"period" => b'.',
        b"sol" => b'/',
        b"colon" => b':',
        b"semi" => b';',
        b"lt" | b"LT" => b'<',
        b"equals" => b'=',
        b"gt" | b"GT" => b'>',
        b"quest" => b'?',
        b"commat" => b'@',
        b"lsqb" | b"lbrack" => b'[',
        b"bsol" => b'\\',
        b"rsqb" | b"rbrack" => b']',
        b"Hat" => b'^',
        b"lowbar" | b"UnderBar" => b'_',
        b"grave" | b"DiacriticalGrave" => b'`',
        b"lcub" | b"lbrace" => b'{',
        b"verbar" | b"vert" | b"VerticalLine" => b'|',
        b"rcub" | b"rbrace" => b'}',
        _ => return None,
    })
}
