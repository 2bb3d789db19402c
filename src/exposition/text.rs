//! The syntax of both formats: header lines, labels, values. Knows nothing of tasks.

use std::io::{self, Write};

use super::Format;
use super::gzip::Parts;
use super::out::Out;
use crate::family::{Family, Kind, SampleValue};
use crate::store::kept::Part;

/// How much is gathered before it is passed on: enough that passing on costs nothing, little
/// enough that many readers at once cost little.
const BLOCK_BYTES: usize = 64 * 1024;

/// Writes an exposition line by line: [`Text::family`], its samples, the next family,
/// [`Text::finish`].
pub struct Text<'a, W> {
    format: Format,
    out: &'a mut Out<W>,
    block: Vec<u8>,
    name: String,
    /// The header of the present family, until its first sample is written: a family without
    /// samples leaves no trace.
    header: Vec<u8>,
}

impl<'a, W: Write> Text<'a, W> {
    pub fn new(format: Format, out: &'a mut Out<W>) -> Self {
        let block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        Self { format, out, block, name: String::new(), header: Vec::new() }
    }

    /// Begins the family `name`; `_total` belongs to a counter's name.
    pub fn family(&mut self, family: &Family) {
        self.header(family.name, family.kind, family.help);
    }

    /// Begins a family that is in no table.
    pub fn header(&mut self, name: &str, kind: Kind, help: &str) {
        name.clone_into(&mut self.name);
        self.header.clear();
        // In OpenMetrics the family is called without the suffix that its samples have.
        let title = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let quotes = self.format == Format::OpenMetrics;
        for (keyword, content) in [("HELP", help), ("TYPE", kind.as_str())] {
            self.header_line(keyword, title, |header| escape(header, content, quotes));
        }
        let unit = title.rsplit('_').next().filter(|unit| UNITS.contains(unit));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.header_line("UNIT", title, |header| header.extend(unit.as_bytes()));
        }
    }

    fn header_line(&mut self, keyword: &str, title: &str, content: impl FnOnce(&mut Vec<u8>)) {
        for part in ["# ", keyword, " ", title, " "] {
            self.header.extend(part.as_bytes());
        }
        content(&mut self.header);
        self.header.push(b'\n');
    }

    /// Begins a sample of the present family, named with `suffix`.
    pub fn sample(&mut self, suffix: &str) -> Sample<'_, 'a, W> {
        self.block.append(&mut self.header);
        self.block.extend(self.name.as_bytes());
        self.block.extend(suffix.as_bytes());
        Sample { text: self, separator: b'{' }
    }

    /// Goes on with whole lines of the present family, if `write` writes any.
    pub fn lines(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let header = self.block.len();
        self.block.extend_from_slice(&self.header);
        let first = self.block.len();
        write(&mut self.block);
        if self.block.len() == first {
            self.block.truncate(header);
        } else {
            self.header.clear();
        }
        self.pass_on(BLOCK_BYTES)
    }

    /// What makes parts, where the way out takes them.
    pub fn parts(&mut self) -> Option<&mut Parts> {
        match self.out {
            Out::Plain(_) => None,
            Out::Gzip(gzip) => Some(gzip.parts()),
        }
    }

    /// Goes on with a part of whole lines of the present family.
    pub fn part(&mut self, part: &Part) -> io::Result<()> {
        if part.deflated.is_empty() {
            return Ok(());
        }
        self.block.append(&mut self.header);
        self.pass_on(1)?;
        match self.out {
            Out::Plain(_) => Ok(()),
            Out::Gzip(gzip) => gzip.append(part),
        }
    }

    /// Passes on what has been gathered, once it is `enough` bytes.
    fn pass_on(&mut self, enough: usize) -> io::Result<()> {
        if self.block.len() >= enough {
            self.out.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    /// Ends the exposition.
    pub fn finish(mut self) -> io::Result<()> {
        if self.format == Format::OpenMetrics {
            self.block.extend(b"# EOF\n");
        }
        self.out.write_all(&self.block)
    }
}

/// The units that OpenMetrics is told, by the end of the family's name.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// A sample whose value is not written yet.
pub struct Sample<'t, 'a, W> {
    text: &'t mut Text<'a, W>,
    separator: u8,
}

impl<W: Write> Sample<'_, '_, W> {
    /// Adds a label; `value` as it is, it is escaped here and nowhere else.
    pub fn label(&mut self, name: &str, value: &str) {
        let block = self.begin_label(name);
        escape(block, value, true);
        block.push(b'"');
    }

    /// Adds the upper bound of a histogram's bucket.
    pub fn bound(&mut self, bound: f64) {
        // OpenMetrics wants one spelling of a bound from every exporter: 1.0, never 1.
        let canonical = self.text.format == Format::OpenMetrics && bound.is_finite();
        let block = self.begin_label("le");
        if canonical {
            block.extend(zmij::Buffer::new().format_finite(bound).as_bytes());
        } else {
            float(block, bound);
        }
        block.push(b'"');
    }

    fn begin_label(&mut self, name: &str) -> &mut Vec<u8> {
        let block = &mut self.text.block;
        block.push(self.separator);
        self.separator = b',';
        block.extend(name.as_bytes());
        block.extend(b"=\"");
        block
    }

    /// Ends the sample.
    pub fn value(self, value: SampleValue) -> io::Result<()> {
        let block = &mut self.text.block;
        block.extend(if self.separator == b'{' { " ".as_bytes() } else { b"} " });
        write_value(block, value);
        block.push(b'\n');
        self.text.pass_on(BLOCK_BYTES)
    }
}

/// Writes a value as both formats have it.
pub fn write_value(block: &mut Vec<u8>, value: SampleValue) {
    match value {
        SampleValue::Count(count) => integer(block, count),
        SampleValue::Float(value) => float(block, value),
        SampleValue::Duration(duration) => {
            seconds(block, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
            // The point stops this from reaching the digits before it.
            while block.pop_if(|last| *last == b'0').is_some() {}
            block.pop_if(|last| *last == b'.');
        }
        SampleValue::Timestamp(timestamp) => {
            if timestamp.micros() < 0 {
                block.push(b'-');
            }
            seconds(block, timestamp.micros().unsigned_abs());
        }
    }
}

/// Backslash, line feed and, inside quotes, the quote: all that both formats escape.
pub fn escape(block: &mut Vec<u8>, text: &str, quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    // Without an early exit this is vectorised, and nearly every value ends here.
    if !text.as_bytes().iter().fold(false, |any, byte| any | special(byte)) {
        return block.extend(text.as_bytes());
    }
    for piece in text.as_bytes().split_inclusive(special) {
        match piece.split_last() {
            Some((b'\n', clean)) => {
                block.extend(clean);
                block.extend(b"\\n");
            }
            Some((last, clean)) if special(last) => {
                block.extend(clean);
                block.extend([b'\\', *last]);
            }
            _ => block.extend(piece),
        }
    }
}

fn integer(block: &mut Vec<u8>, value: u64) {
    block.extend(itoa::Buffer::new().format(value).as_bytes());
}

/// The shortest digits that read back as `value`, without an exponent.
fn float(block: &mut Vec<u8>, value: f64) {
    if value.is_infinite() {
        return block.extend(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format(value);
    if digits.contains('e') {
        return block.extend(value.to_string().as_bytes());
    }
    block.extend(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
}

/// Microseconds as seconds with six digits after the point.
fn seconds(block: &mut Vec<u8>, micros: u64) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(micros).as_bytes();
    if let Some((whole, fraction)) = digits.split_last_chunk::<6>().filter(|(w, _)| !w.is_empty()) {
        block.extend_from_slice(whole);
        block.push(b'.');
        block.extend_from_slice(fraction);
        return;
    }
    block.extend_from_slice(b"0.");
    block.extend_from_slice(b"000000".get(digits.len()..).unwrap_or_default());
    block.extend_from_slice(digits);
}
