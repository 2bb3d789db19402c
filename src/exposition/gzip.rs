//! gzip of text that is partly compressed already: one member whose deflate stream consists of
//! separately compressed chunks (RFC 1951, RFC 1952), as pigz makes it in parallel. Several members
//! would be simpler, but curl stops after the first.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::store::blocks::CompressedChunk;

/// The header of a gzip member: deflate, no flags, no time, fastest compression, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Bytes of output space that the compressor gets at once.
const OUTPUT_SPACE: usize = 16 * 1024;

/// A writer that compresses text and appends chunks that are compressed already.
/// [`GzipWriter::finish`] completes the member.
pub struct GzipWriter<W> {
    out: W,
    stream: Compress,
    /// True while the compressor holds text that is not in `out` yet.
    is_pending: bool,
    crc: Crc,
    compressed: Vec<u8>,
    chunk_encoder: ChunkEncoder,
}

impl<W: Write> GzipWriter<W> {
    /// Begins a gzip member.
    ///
    /// # Errors
    /// Errors of `out`, here and below.
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(Self {
            out,
            stream: compressor(),
            is_pending: false,
            crc: Crc::new(),
            compressed: Vec::new(),
            chunk_encoder: ChunkEncoder::default(),
        })
    }

    /// Appends a chunk.
    pub(crate) fn append(&mut self, chunk: &CompressedChunk) -> io::Result<()> {
        if self.is_pending {
            self.deflate(&[], FlushCompress::Full)?;
            self.is_pending = false;
        }
        self.crc.combine(&chunk.crc);
        self.out.write_all(&chunk.deflated)
    }

    /// Returns the encoder of chunks.
    pub(crate) fn chunk_encoder(&mut self) -> &mut ChunkEncoder {
        &mut self.chunk_encoder
    }

    /// Completes the member and returns the inner writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
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

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.crc.update(text);
        self.is_pending = true;
        self.deflate(text, FlushCompress::None)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An encoder of chunks.
#[derive(Default)]
pub(crate) struct ChunkEncoder {
    /// The compressor, which is large and therefore made once.
    compressor: Option<Compress>,
    text: Vec<u8>,
    deflated: Vec<u8>,
}

impl ChunkEncoder {
    /// Compresses the text that `write` writes.
    pub(crate) fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> CompressedChunk {
        self.text.clear();
        write(&mut self.text);
        let mut crc = Crc::new();
        crc.update(&self.text);
        if self.text.is_empty() {
            return CompressedChunk { deflated: Box::default(), crc };
        }
        let compressor = self.compressor.get_or_insert_with(compressor);
        compressor.reset();
        self.deflated.clear();
        // A compressor in a valid state returns no errors.
        let _ = deflate(compressor, &self.text, FlushCompress::Full, &mut self.deflated);
        // A cached chunk should take no more memory than it needs.
        CompressedChunk { deflated: self.deflated.as_slice().into(), crc }
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
        out.reserve(OUTPUT_SPACE);
        let (before, written) = (compressor.total_in(), out.len());
        let room = out.capacity() - written;
        compressor.compress_vec(rest, out, flush)?;
        let taken = usize::try_from(compressor.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        // Unused space means that there was nothing more to write.
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
        fn text_and_chunks_decompress(
            pieces in prop::collection::vec((any::<bool>(), "[a-c]{0,9}", 0..9_000_usize), 0..12),
        ) {
            let mut gzip = GzipWriter::new(Vec::new()).unwrap();
            let mut expected: Vec<u8> = Vec::new();
            for (kept, text, times) in pieces {
                let text = text.repeat(times).into_bytes();
                expected.extend(&text);
                if kept {
                    let chunk = gzip.chunk_encoder().encode(|lines| lines.extend(&text));
                    gzip.append(&chunk).unwrap();
                } else {
                    gzip.write_all(&text).unwrap();
                }
            }
            let file = gzip.finish().unwrap();
            let mut text: Vec<u8> = Vec::new();
            let mut decoder = GzDecoder::new(&file[..]);
            decoder.read_to_end(&mut text).unwrap();
            prop_assert!(text == expected);
            prop_assert!(decoder.into_inner().is_empty(), "one member, and nothing after it");
        }
    }
}
