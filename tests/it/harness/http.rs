//! A small HTTP client that shows what came, and shares no code with what it tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::READ_TIMEOUT;

/// A complete response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends GET.
pub fn get(address: SocketAddr, target: &str) -> Reply {
    send(address, "GET", target, &[], "").unwrap()
}

/// Sends a request on a connection of its own; fails if the response is incomplete.
pub fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Reply> {
    let mut stream = connect(address)?;
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    read(stream, method == "HEAD")
}

/// Reads the one response of a connection; fails if it is incomplete.
pub fn read(mut stream: TcpStream, is_head: bool) -> io::Result<Reply> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer, is_head).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(&answer).into_owned())
    })
}

/// Receives a request, responds with 200 and closes the connection; returns the body.
pub fn receive(stream: TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.into_inner().write_all(answer).unwrap();
    body
}

/// Opens a connection on which reads time out.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    Ok(stream)
}

/// Percent-encodes all that is not unreserved in a URL.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn parse(answer: &[u8], is_head: bool) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let headers = lines.map(pair).collect::<Option<_>>()?;
    let mut reply = Reply { status, headers, body: Vec::new() };
    let rest = &answer[end + 4..];
    reply.body = match (reply.header("transfer-encoding"), reply.header("content-length")) {
        _ if is_head => rest.is_empty().then(Vec::new)?,
        (Some("chunked"), _) => unchunk(rest)?,
        (_, Some(length)) => (length == rest.len().to_string()).then(|| rest.to_vec())?,
        _ => rest.to_vec(),
    };
    Some(reply)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = rest.get(end + 2..end + 2 + size)?;
        rest = rest[end + 2 + size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return rest.is_empty().then_some(body);
        }
        body.extend(chunk);
    }
}
