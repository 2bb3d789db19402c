//! The body of an answer: read up to the limit, and decompressed.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

use crate::printable::excerpt;

/// The first bytes of a gzip member (RFC 1952), with which no JSON begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The bytes that gzip may need beyond twice its content: a header of up to 64 KiB. No server makes
/// a body twice as long as its content.
const GZIP_OVERHEAD: usize = 64 << 10;
/// The most characters of the name of a coding that are shown.
const MAX_CODING_CHARS: usize = 40;

/// A body, as far as it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// The part before the limit.
    TooLarge(Bytes),
    /// None of it, for this reason.
    Unreadable(String),
}

/// A body that did not come whole.
#[derive(Debug)]
pub enum ReadError {
    /// The connection broke, or what came is no HTTP.
    Client(reqwest::Error),
    /// The connection was closed within a compressed body that only its end delimits.
    CutShort,
}

/// Reads a body of at most `limit` bytes, decompressed. What is left unread closes the connection.
///
/// # Errors
/// When the body does not come whole.
pub async fn read(response: &mut reqwest::Response, limit: usize) -> Result<Content, ReadError> {
    if let Some(coding) = unknown_coding(response.headers()) {
        let coding = excerpt(&coding, MAX_CODING_CHARS);
        let detail = format!("the body is in the coding {coding}, which was not asked for");
        return Ok(Content::Unreadable(detail));
    }
    let is_framed = is_framed(response.version(), response.headers());
    let mut body = Collector::new(limit);
    let mut ended = Ok(());
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Client)? {
        ended = body.push(chunk);
        if ended.is_err() {
            break;
        }
    }
    match ended.and_then(|()| body.finish()) {
        Ok(()) => Ok(Content::Whole(body.into_bytes())),
        Err(Stop::TooLarge) => Ok(Content::TooLarge(body.into_bytes())),
        Err(Stop::Early) if !is_framed => Err(ReadError::CutShort),
        Err(Stop::Early | Stop::Corrupt) => {
            Ok(Content::Unreadable("the gzip body is damaged or ends early".to_owned()))
        }
    }
}

/// Returns the codings of a body if there is one that is not read: anything but gzip, once.
fn unknown_coding(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_ENCODING)?;
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let values: Vec<_> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let all = values.join(", ");
    let names = all.split(',').map(str::trim);
    let mut codings =
        names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    let is_gzip =
        |name: &str| ["gzip", "x-gzip"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let first = codings.next()?;
    (!is_gzip(first) || codings.next().is_some()).then_some(all)
}

/// Reports whether the body is delimited by something else than the end of the connection.
fn is_framed(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_2
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
}

/// A body that is being read.
struct Collector {
    limit: usize,
    /// Bytes that have come, compressed or not.
    received: usize,
    state: State,
}

enum State {
    /// Too little came to tell gzip from text.
    Begun(Bytes),
    /// Text as it comes. Most answers come in one chunk, which is not copied.
    Plain { first: Option<Bytes>, rest: BytesMut },
    /// Gzip, whatever the headers say of it.
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

/// The reason for which a body is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    TooLarge,
    /// Gzip that breaks its rules.
    Corrupt,
    /// Gzip without its end, or with another end than belongs to it.
    Early,
}

impl Collector {
    fn new(limit: usize) -> Self {
        Self { limit, received: 0, state: State::Begun(Bytes::new()) }
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), Stop> {
        let chunk = match &mut self.state {
            State::Begun(begun) => {
                let chunk = join(begun, chunk);
                if chunk.len() < GZIP.len() {
                    *begun = chunk;
                    return Ok(());
                }
                self.state = match chunk.starts_with(&GZIP) {
                    true => State::Gzip(Box::new(MultiGzDecoder::new(Bounded::new(self.limit)))),
                    false => State::Plain { first: None, rest: BytesMut::new() },
                };
                chunk
            }
            _ => chunk,
        };
        self.received = self.received.saturating_add(chunk.len());
        match &mut self.state {
            State::Begun(_) => Ok(()),
            State::Plain { first, rest } => {
                let room =
                    self.limit.saturating_sub(first.as_ref().map_or(0, Bytes::len) + rest.len());
                if first.is_none() && rest.is_empty() && chunk.len() <= room {
                    *first = Some(chunk);
                    return Ok(());
                }
                rest.extend(first.take());
                rest.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                if chunk.len() > room { Err(Stop::TooLarge) } else { Ok(()) }
            }
            State::Gzip(decoder) => {
                let most = self.limit.saturating_mul(2).saturating_add(GZIP_OVERHEAD);
                let written = decoder.write_all(&chunk);
                let is_over = decoder.get_ref().is_over || self.received > most;
                if is_over { Err(Stop::TooLarge) } else { written.map_err(|_| Stop::Corrupt) }
            }
        }
    }

    /// Takes note that all has come.
    fn finish(&mut self) -> Result<(), Stop> {
        let State::Gzip(decoder) = &mut self.state else { return Ok(()) };
        let finished = decoder.try_finish();
        // The last of the text comes out only now.
        let is_over = decoder.get_ref().is_over;
        if is_over { Err(Stop::TooLarge) } else { finished.map_err(|_| Stop::Early) }
    }

    /// Returns what has come so far, at most as many bytes as the limit allows.
    fn into_bytes(mut self) -> Bytes {
        match &mut self.state {
            State::Begun(begun) => std::mem::take(begun),
            State::Plain { first, rest } => {
                first.take().unwrap_or_else(|| std::mem::take(rest).freeze())
            }
            State::Gzip(decoder) => std::mem::take(&mut decoder.get_mut().text).into(),
        }
    }
}

fn join(begun: &Bytes, chunk: Bytes) -> Bytes {
    if begun.is_empty() { chunk } else { [&begun[..], &chunk[..]].concat().into() }
}

/// Text that is decompressed, up to a limit.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
    /// True once there was more.
    is_over: bool,
}

impl Bounded {
    const fn new(limit: usize) -> Self {
        Self { text: Vec::new(), limit, is_over: false }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if bytes.len() > room {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    const LIMIT: usize = 1_000;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns a body that comes in chunks of `size` bytes, or why it is of no use and what of it
    /// came before the limit.
    fn collect(body: &[u8], size: usize) -> Result<Vec<u8>, (Stop, usize)> {
        let mut collector = Collector::new(LIMIT);
        let mut chunks = body.chunks(size).map(Bytes::copy_from_slice);
        let pushed = chunks.try_for_each(|chunk| collector.push(chunk));
        let ended = pushed.and_then(|()| collector.finish());
        let text = collector.into_bytes();
        assert!(text.len() <= LIMIT);
        ended.map(|()| text.to_vec()).map_err(|stop| (stop, text.len()))
    }

    #[test]
    fn text_and_gzip_come_out_as_text_in_whatever_chunks() {
        let text = br#"{"status":"running"}"#.repeat(50);
        let members = [gzip(b"{\"a\":"), gzip(b""), gzip(b"1}")].concat();
        for size in [1, 2, 3, 7, 100, 10_000] {
            assert_eq!(collect(&text, size).unwrap(), text);
            assert_eq!(collect(&gzip(&text), size).unwrap(), text);
            assert_eq!(collect(&members, size).unwrap(), b"{\"a\":1}");
            assert_eq!(collect(&gzip(b""), size).unwrap(), b"");
            // What only begins as gzip does, and nothing at all.
            for short in [&b"\x1f"[..], b"{", b""] {
                assert_eq!(collect(short, size).unwrap(), short);
            }
        }
    }

    #[test]
    fn the_limit_counts_what_comes_out() {
        let too_large = Err((Stop::TooLarge, LIMIT));
        for size in [1, 999, 1_000, 10_000] {
            let (fits, over) = (vec![b'x'; LIMIT], vec![b'x'; LIMIT + 1]);
            assert_eq!(collect(&fits, size).unwrap(), fits);
            assert_eq!(collect(&gzip(&fits), size).unwrap(), fits);
            assert_eq!(collect(&over, size), too_large);
            assert_eq!(collect(&gzip(&over), size), too_large);
            assert_eq!(collect(&gzip(&vec![b'x'; 10 << 20]), size), too_large);
        }
        // Members without end of which nothing comes out.
        assert_eq!(collect(&gzip(b"").repeat(10_000), 1_000), Err((Stop::TooLarge, 0)));
    }

    #[test]
    fn damaged_gzip_is_found_out() {
        let whole = gzip(&br#"{"status":"running"}"#.repeat(40));
        for size in [1, 5, 10_000] {
            for end in 2..whole.len() {
                let stop = collect(&whole[..end], size).unwrap_err().0;
                assert_eq!(stop, Stop::Early, "{end} bytes");
            }
            let mut flipped = whole.clone();
            let last = flipped.len() - 6;
            flipped[last] ^= 1;
            assert_eq!(collect(&flipped, size).unwrap_err().0, Stop::Early);
            let header = &b"\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..];
            for damaged in [&[&whole[..], b"a tail of text"].concat(), header] {
                assert_eq!(collect(damaged, size).unwrap_err().0, Stop::Corrupt, "{damaged:?}");
            }
        }
    }

    #[test]
    fn only_gzip_is_read() {
        let coding = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            unknown_coding(&headers)
        };
        for known in [&[][..], &[""], &["gzip"], &["X-GZIP"], &["identity"], &["identity, GZip"]] {
            assert_eq!(coding(known), None, "{known:?}");
        }
        for unknown in ["br", "deflate", "zstd", "gzip, br", "br, gzip", "gzip,gzip", "gzipped"] {
            assert_eq!(coding(&[unknown]).as_deref(), Some(unknown));
        }
        assert_eq!(coding(&["gzip", "br"]).as_deref(), Some("gzip, br"));
    }
}
