//! Where an answer goes: as it is, or compressed.

use std::io::{self, Write};

use super::gzip::Gzip;

/// A way out. [`Out::finish`] ends it.
pub enum Out<W> {
    /// As it is.
    Plain(W),
    /// Compressed.
    Gzip(Box<Gzip<W>>),
}

impl<W: Write> Out<W> {
    /// The way to `out`, compressed with `gzip`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(gzip: bool, out: W) -> io::Result<Self> {
        Ok(match gzip {
            true => Self::Gzip(Box::new(Gzip::new(out)?)),
            false => Self::Plain(out),
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
        }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(gzip) => gzip.flush(),
        }
    }
}
