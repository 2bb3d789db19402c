//! gzip of text that is partly compressed already: one member whose deflate stream is made of
//! pieces (RFC 1951, RFC 1952), the way in which pigz compresses in parallel. Several members
//! would be simpler, but curl stops after the first.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::store::kept::Part;

/// Deflate with no flags, no time, the fastest way, from no particular system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// How much room the compressor is given at once.
const ROOM: usize = 16 * 1024;

/// Compresses what is written, and takes in parts as they are. [`Gzip::finish`] ends it.
pub struct Gzip<W> {
    out: W,
    stream: Compress,
    /// Whether the compressor holds text that is not yet in `out`.
    pending: bool,
    crc: Crc,
    compressed: Vec<u8>,
    parts: Parts,
}

impl<W: Write> Gzip<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(Self {
            out,
            stream: compressor(),
            pending: false,
            crc: Crc::new(),
            compressed: Vec::new(),
            parts: Parts::default(),
        })
    }

    /// Goes on with a part.
    pub fn append(&mut self, part: &Part) -> io::Result<()> {
        if self.pending {
            self.deflate(&[], FlushCompress::Full)?;
            self.pending = false;
        }
        self.crc.combine(&part.crc);
        self.out.write_all(&part.deflated)
    }

    /// What makes parts for it.
    pub fn parts(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.deflate(&[], FlushCompress::Finish)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn deflate(&mut self, text: &[u8], flush: FlushCompress) -> io::Result<()> {
        self.compressed.clear();
        deflate(&mut self.stream, text, flush, &mut self.compressed)?;
        self.out.write_all(&self.compressed)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.crc.update(text);
        self.pending = true;
        self.deflate(text, FlushCompress::None)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes parts.
#[derive(Default)]
pub struct Parts {
    /// Large, and so made once.
    compressor: Option<Compress>,
    text: Vec<u8>,
    deflated: Vec<u8>,
}

impl Parts {
    /// The part with what `write` writes.
    pub fn make(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Part {
        self.text.clear();
        write(&mut self.text);
        let mut crc = Crc::new();
        crc.update(&self.text);
        if self.text.is_empty() {
            return Part { deflated: Box::default(), crc };
        }
        let compressor = self.compressor.get_or_insert_with(compressor);
        compressor.reset();
        self.deflated.clear();
        // A compressor in order has no errors.
        let _ = deflate(compressor, &self.text, FlushCompress::Full, &mut self.deflated);
        // What is kept takes no more room than it needs.
        Part { deflated: self.deflated.as_slice().into(), crc }
    }
}

fn compressor() -> Compress {
    // Level 1: on such text the higher levels cost more time than they save bytes.
    Compress::new(Compression::new(1), false)
}

fn deflate(
    compressor: &mut Compress,
    text: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut rest = text;
    loop {
        out.reserve(ROOM);
        let (before, written) = (compressor.total_in(), out.len());
        let room = out.capacity() - written;
        compressor.compress_vec(rest, out, flush)?;
        let taken = usize::try_from(compressor.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        // Room that is left over means that there was nothing more to write.
        if rest.is_empty() && out.len() - written < room {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_parts_come_back(
            pieces in prop::collection::vec((any::<bool>(), "[a-c]{0,9}", 0..9_000_usize), 0..12),
        ) {
            let mut gzip = Gzip::new(Vec::new()).unwrap();
            let mut expected: Vec<u8> = Vec::new();
            for (kept, text, times) in pieces {
                let text = text.repeat(times).into_bytes();
                expected.extend(&text);
                if kept {
                    let part = gzip.parts().make(|lines| lines.extend(&text));
                    gzip.append(&part).unwrap();
                } else {
                    gzip.write_all(&text).unwrap();
                }
            }
            let file = gzip.finish().unwrap();
            let mut text: Vec<u8> = Vec::new();
            let mut decoder = GzDecoder::new(&file[..]);
            decoder.read_to_end(&mut text).unwrap();
            prop_assert!(text == expected);
            prop_assert!(decoder.into_inner().is_empty(), "one member, and nothing behind it");
        }
    }
}
