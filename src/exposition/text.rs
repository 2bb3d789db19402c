//! The syntax of both formats: header lines, labels and values.

use std::io::{self, Write};

use super::gzip::ChunkEncoder;
use super::{BodyWriter, Format};
use crate::family::{Family, MetricKind, SampleValue};
use crate::store::blocks::CompressedChunk;

/// Bytes that are buffered before they are passed on: enough that passing on costs nothing, and few
/// enough that many concurrent readers cost little memory.
const BUFFER_BYTES: usize = 64 * 1024;

/// A writer of an exposition, line by line: [`TextWriter::family`], its samples, the next family,
/// [`TextWriter::finish`].
pub(crate) struct TextWriter<'a, W> {
    format: Format,
    out: &'a mut BodyWriter<W>,
    buffer: Vec<u8>,
    name: String,
    /// Header of the current family until its first sample is written, so that a family without
    /// samples has no header.
    header: Vec<u8>,
}

impl<'a, W: Write> TextWriter<'a, W> {
    pub(crate) fn new(format: Format, out: &'a mut BodyWriter<W>) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8);
        Self { format, out, buffer, name: String::new(), header: Vec::new() }
    }

    /// Begins a family.
    pub(crate) fn family(&mut self, family: &Family) {
        self.header(family.name, family.kind, family.help);
    }

    /// Begins a family that is in no table; the name of a counter includes `_total`.
    pub(crate) fn header(&mut self, name: &str, kind: MetricKind, help: &str) {
        name.clone_into(&mut self.name);
        self.header.clear();
        // In OpenMetrics the family is called without the suffix that its samples have.
        let title = match (self.format, kind) {
            (Format::OpenMetrics, MetricKind::Counter) => {
                name.strip_suffix("_total").unwrap_or(name)
            }
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

    /// Begins a sample of the current family, with `suffix` appended to its name.
    pub(crate) fn sample(&mut self, suffix: &str) -> SampleWriter<'_, 'a, W> {
        self.buffer.append(&mut self.header);
        self.buffer.extend(self.name.as_bytes());
        self.buffer.extend(suffix.as_bytes());
        SampleWriter { text: self, separator: b'{' }
    }

    /// Appends the lines of the current family that `write` writes, if any.
    pub(crate) fn lines(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let header = self.buffer.len();
        self.buffer.extend_from_slice(&self.header);
        let first = self.buffer.len();
        write(&mut self.buffer);
        if self.buffer.len() == first {
            self.buffer.truncate(header);
        } else {
            self.header.clear();
        }
        self.pass_on(BUFFER_BYTES)
    }

    /// Returns the encoder of chunks, if the body is compressed.
    pub(crate) fn chunk_encoder(&mut self) -> Option<&mut ChunkEncoder> {
        match self.out {
            BodyWriter::Plain(_) => None,
            BodyWriter::Gzip(gzip) => Some(gzip.chunk_encoder()),
        }
    }

    /// Appends a chunk with lines of the current family.
    pub(crate) fn chunk(&mut self, chunk: &CompressedChunk) -> io::Result<()> {
        if chunk.deflated.is_empty() {
            return Ok(());
        }
        self.buffer.append(&mut self.header);
        self.pass_on(1)?;
        match self.out {
            BodyWriter::Plain(_) => Ok(()),
            BodyWriter::Gzip(gzip) => gzip.append(chunk),
        }
    }

    /// Passes on the buffer if it has at least `enough` bytes.
    fn pass_on(&mut self, enough: usize) -> io::Result<()> {
        if self.buffer.len() >= enough {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Completes the exposition.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::OpenMetrics {
            self.buffer.extend(b"# EOF\n");
        }
        self.out.write_all(&self.buffer)
    }
}

/// Suffixes of family names that OpenMetrics calls units.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// A writer of one sample: its labels, then its value.
pub(crate) struct SampleWriter<'t, 'a, W> {
    text: &'t mut TextWriter<'a, W>,
    separator: u8,
}

impl<W: Write> SampleWriter<'_, '_, W> {
    /// Adds a label. `value` is escaped here, so it must not be escaped before.
    pub(crate) fn label(&mut self, name: &str, value: &str) {
        let out = self.begin_label(name);
        escape(out, value, true);
        out.push(b'"');
    }

    /// Adds the label `le` with the upper bound of a histogram bucket.
    pub(crate) fn bound(&mut self, bound: f64) {
        // OpenMetrics requires a canonical spelling of bounds: 1.0, never 1.
        let canonical = self.text.format == Format::OpenMetrics && bound.is_finite();
        let out = self.begin_label("le");
        if canonical {
            out.extend(zmij::Buffer::new().format_finite(bound).as_bytes());
        } else {
            float(out, bound);
        }
        out.push(b'"');
    }

    fn begin_label(&mut self, name: &str) -> &mut Vec<u8> {
        let out = &mut self.text.buffer;
        out.push(self.separator);
        self.separator = b',';
        out.extend(name.as_bytes());
        out.extend(b"=\"");
        out
    }

    /// Writes the value, which completes the sample.
    pub(crate) fn value(self, value: SampleValue) -> io::Result<()> {
        let out = &mut self.text.buffer;
        out.extend(if self.separator == b'{' { " ".as_bytes() } else { b"} " });
        write_value(out, value);
        out.push(b'\n');
        self.text.pass_on(BUFFER_BYTES)
    }
}

/// Writes a value in the syntax of both formats.
pub(crate) fn write_value(out: &mut Vec<u8>, value: SampleValue) {
    match value {
        SampleValue::Count(count) => integer(out, count),
        SampleValue::Float(value) => float(out, value),
        SampleValue::Duration(duration) => {
            seconds(out, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
            // The decimal point keeps this from removing digits before it.
            while out.pop_if(|last| *last == b'0').is_some() {}
            out.pop_if(|last| *last == b'.');
        }
        SampleValue::Timestamp(timestamp) => {
            if timestamp.micros() < 0 {
                out.push(b'-');
            }
            seconds(out, timestamp.micros().unsigned_abs());
        }
    }
}

/// Appends text with the characters escaped that both formats escape: backslash, line feed and,
/// inside quotes, the double quote.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    // Without an early exit this loop is vectorised; nearly every value has nothing to escape.
    if !text.as_bytes().iter().fold(false, |any, byte| any | special(byte)) {
        return out.extend(text.as_bytes());
    }
    for piece in text.as_bytes().split_inclusive(special) {
        match piece.split_last() {
            Some((b'\n', clean)) => {
                out.extend(clean);
                out.extend(b"\\n");
            }
            Some((last, clean)) if special(last) => {
                out.extend(clean);
                out.extend([b'\\', *last]);
            }
            _ => out.extend(piece),
        }
    }
}

fn integer(out: &mut Vec<u8>, value: u64) {
    out.extend(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the shortest digits that parse to `value`, without an exponent.
fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_infinite() {
        return out.extend(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format(value);
    if digits.contains('e') {
        return out.extend(value.to_string().as_bytes());
    }
    out.extend(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
}

/// Appends microseconds as seconds with six decimal places.
fn seconds(out: &mut Vec<u8>, micros: u64) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(micros).as_bytes();
    if let Some((whole, fraction)) = digits.split_last_chunk::<6>().filter(|(w, _)| !w.is_empty()) {
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
        return;
    }
    out.extend_from_slice(b"0.");
    out.extend_from_slice(b"000000".get(digits.len()..).unwrap_or_default());
    out.extend_from_slice(digits);
}
