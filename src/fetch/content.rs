//! Reading of a response's body, up to the limit and decompressed.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

use crate::mapping::ReceivedBody;
use crate::printable::excerpt;

/// First bytes of a gzip member (RFC 1952); no JSON begins with them.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes that a gzip body may have beyond twice its content: a header of up to 64 KiB. No server sends
/// a body that is twice as long as its content.
const GZIP_OVERHEAD: usize = 64 << 10;
/// Maximum number of characters of the name of a coding that are shown.
const MAX_CODING_CHARS: usize = 40;

/// Error of a body that was not received completely.
#[derive(Debug)]
pub enum ReadError {
    /// The connection broke, or the data is not HTTP.
    Client(reqwest::Error),
    /// The connection was closed within a compressed body that is delimited only by the end of the
    /// connection.
    CutShort,
}

/// Reads a body of at most `limit` bytes, decompressed. An unread rest closes the connection.
///
/// # Errors
/// Fails when the body is not received completely.
pub async fn read(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<ReceivedBody, ReadError> {
    if let Some(detail) = unknown_coding(response.headers()) {
        return Ok(ReceivedBody::Unreadable(detail));
    }
    let is_framed = is_framed(response.version(), response.headers());
    let mut body = BodyReader::new(limit);
    let mut ended = Ok(());
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Client)? {
        ended = body.push(chunk);
        if ended.is_err() {
            break;
        }
    }
    match ended.and_then(|()| body.finish()) {
        Ok(()) => Ok(ReceivedBody::Whole(body.into_bytes())),
        Err(Stop::TooLarge) => Ok(ReceivedBody::Truncated { start: body.into_bytes(), limit }),
        Err(Stop::Early) if !is_framed => Err(ReadError::CutShort),
        Err(Stop::Early | Stop::Corrupt) => {
            Ok(ReceivedBody::Unreadable("the gzip body is damaged or ends early".to_owned()))
        }
    }
}

/// Returns why a body cannot be read if its codings are not supported: anything but gzip, once.
fn unknown_coding(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_ENCODING)?;
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let values: Vec<_> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let all = values.join(", ");
    let names = all.split(',').map(str::trim);
    let codings = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    let is_gzip =
        |name: &str| ["gzip", "x-gzip"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let (gzip, other): (Vec<_>, Vec<_>) = codings.partition(|name| is_gzip(name));
    let shown = excerpt(&all, MAX_CODING_CHARS);
    match (gzip.len(), other.len()) {
        (0 | 1, 0) => None,
        (_, 0) => Some(format!("the body is compressed more than once: {shown}")),
        _ => Some(format!("the body is in the content coding {shown}, which was not requested")),
    }
}

/// Reports whether the body is delimited by anything but the end of the connection.
fn is_framed(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_2
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
}

/// State of reading a body.
struct BodyReader {
    limit: usize,
    /// Bytes received, compressed or not.
    received: usize,
    state: ReadState,
}

enum ReadState {
    /// Too few bytes to distinguish gzip from text.
    Undecided(Bytes),
    /// Text. Most responses arrive in one chunk, which is not copied.
    Plain { first: Option<Bytes>, rest: BytesMut },
    /// Gzip, whatever the headers say.
    Gzip(Box<MultiGzDecoder<BoundedText>>),
}

/// Reason to stop reading a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    TooLarge,
    /// Invalid gzip.
    Corrupt,
    /// Gzip without its trailer, or with a wrong one.
    Early,
}

impl BodyReader {
    fn new(limit: usize) -> Self {
        Self { limit, received: 0, state: ReadState::Undecided(Bytes::new()) }
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), Stop> {
        let chunk = match &mut self.state {
            ReadState::Undecided(begun) => {
                let chunk = join(begun, chunk);
                if chunk.len() < GZIP.len() {
                    *begun = chunk;
                    return Ok(());
                }
                self.state = match chunk.starts_with(&GZIP) {
                    true => {
                        ReadState::Gzip(Box::new(MultiGzDecoder::new(BoundedText::new(self.limit))))
                    }
                    false => ReadState::Plain { first: None, rest: BytesMut::new() },
                };
                chunk
            }
            _ => chunk,
        };
        self.received = self.received.saturating_add(chunk.len());
        match &mut self.state {
            ReadState::Undecided(_) => Ok(()),
            ReadState::Plain { first, rest } => {
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
            ReadState::Gzip(decoder) => {
                let most = self.limit.saturating_mul(2).saturating_add(GZIP_OVERHEAD);
                let written = decoder.write_all(&chunk);
                let is_over = decoder.get_ref().is_over || self.received > most;
                if is_over { Err(Stop::TooLarge) } else { written.map_err(|_| Stop::Corrupt) }
            }
        }
    }

    /// Completes the body.
    fn finish(&mut self) -> Result<(), Stop> {
        let ReadState::Gzip(decoder) = &mut self.state else { return Ok(()) };
        let finished = decoder.try_finish();
        // The last part of the text is decompressed only now.
        let is_over = decoder.get_ref().is_over;
        if is_over { Err(Stop::TooLarge) } else { finished.map_err(|_| Stop::Early) }
    }

    /// Returns the bytes received so far, up to the limit.
    fn into_bytes(mut self) -> Bytes {
        match &mut self.state {
            ReadState::Undecided(begun) => std::mem::take(begun),
            ReadState::Plain { first, rest } => {
                first.take().unwrap_or_else(|| std::mem::take(rest).freeze())
            }
            ReadState::Gzip(decoder) => std::mem::take(&mut decoder.get_mut().text).into(),
        }
    }
}

fn join(begun: &Bytes, chunk: Bytes) -> Bytes {
    if begun.is_empty() { chunk } else { [&begun[..], &chunk[..]].concat().into() }
}

/// Decompressed text, up to a limit.
struct BoundedText {
    text: Vec<u8>,
    limit: usize,
    /// True once the limit was exceeded.
    is_over: bool,
}

impl BoundedText {
    const fn new(limit: usize) -> Self {
        Self { text: Vec::new(), limit, is_over: false }
    }
}

impl Write for BoundedText {
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
        let mut collector = BodyReader::new(LIMIT);
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
        for unknown in ["br", "deflate", "zstd", "gzip, br", "br, gzip", "gzipped"] {
            let detail =
                format!("the body is in the content coding {unknown}, which was not requested");
            assert_eq!(coding(&[unknown]), Some(detail));
        }
        for (twice, shown) in [
            (&["gzip,gzip"][..], "gzip,gzip"),
            (&["gzip", "identity", "x-gzip"], "gzip, identity, x-gzip"),
        ] {
            assert_eq!(
                coding(twice),
                Some(format!("the body is compressed more than once: {shown}"))
            );
        }
        assert!(coding(&["gzip", "br"]).unwrap().contains("gzip, br, which was not requested"));
    }
}
