//! A server whose responses and connections a test controls byte by byte, for faults that the
//! simulated gateway does not have.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its own number on the connection, from 0.
    pub number: usize,
    /// The lines of the head.
    pub head: Vec<String>,
    pub body: String,
}

impl Asked {
    /// The text between the first `before` in the request's line and the next `/` or space.
    pub fn after(&self, before: &str) -> &str {
        let rest = self.head[0].split_once(before).unwrap().1;
        rest.split(['/', ' ', '?']).next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head[1..].iter().filter_map(|line| line.split_once(':'));
        pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Returns a response of the preset `mjdjourney` with a running task.
    pub fn running(&self) -> Vec<u8> {
        let id = self.after("/task/");
        json(&format!(r#"{{"code": 0, "data": {{"taskId": "{id}", "status": "running"}}}}"#))
    }
}

/// The fate of a request, and of its connection.
pub enum Reply {
    /// These bytes, and the next request is awaited.
    Keep(Vec<u8>),
    /// These bytes, and the connection is closed.
    Close(Vec<u8>),
    /// The connection is reset.
    Reset,
}

/// Returns a complete response of HTTP/1.1 with a JSON body.
pub fn json(body: &str) -> Vec<u8> {
    answer("200 OK", &["Content-Type: application/json"], body.as_bytes())
}

/// Returns a complete response of HTTP/1.1.
pub fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text += &format!("{header}\r\n");
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// A running server; its threads end with the process.
pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Upstream {
    /// Starts a server that responds with `reply`.
    pub fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&asked), Arc::new(reply));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                // A client that leaves ends its connection.
                thread::spawn(move || serve(connection, stream.unwrap(), &log, &*reply));
            }
        });
        Self { address, asked }
    }

    /// Starts a server that answers each request with the same bytes.
    pub fn saying(reply: Vec<u8>) -> Self {
        Self::start(move |_| Reply::Keep(reply.clone()))
    }

    /// A provider for the list `providers`, with further keys in YAML's flow style.
    pub fn provider(&self, name: &str, more: &str) -> String {
        let url = format!("http://{}", self.address);
        format!("{{ name: {name}, preset: mjdjourney, base_url: \"{url}\", {more} }}")
    }

    /// Returns the requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

fn serve(
    connection: usize,
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    reply: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    for number in 0.. {
        let Some(asked) = receive(&mut reader, connection, number)? else { break };
        log.lock().push(asked.clone());
        match reply(&asked) {
            Reply::Keep(bytes) => stream.write_all(&bytes)?,
            Reply::Close(bytes) => {
                stream.write_all(&bytes)?;
                stream.shutdown(Shutdown::Write)?;
                break;
            }
            Reply::Reset => {
                reset(stream);
                break;
            }
        }
    }
    Ok(())
}

/// Closes a connection so that the peer sees an error instead of an end.
fn reset(stream: TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    stream.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        stream.set_zero_linger().unwrap();
    });
}

fn receive(
    reader: &mut impl BufRead,
    connection: usize,
    number: usize,
) -> io::Result<Option<Asked>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let mut asked = Asked { connection, number, head, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = String::from_utf8(body).unwrap();
    Ok(Some(asked))
}
