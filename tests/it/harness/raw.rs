//! A gateway whose responses a test writes byte by byte, and that records its requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub body: String,
}

impl Asked {
    /// Returns the IDs in a batch of `midjourney-proxy`.
    pub fn ids(&self) -> Vec<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        serde_json::from_value(body["ids"].clone()).unwrap()
    }
}

/// A status line's end, such as `200 OK`, and a body.
pub type Answer = (&'static str, Vec<u8>);

/// A server on threads of this process, which end with it.
pub struct RawGateway {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl RawGateway {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, asked) = (Arc::default(), Arc::default());
        let raw = Self { address, connections, asked };
        let (connections, asked) = (Arc::clone(&raw.connections), Arc::clone(&raw.asked));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::Relaxed);
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                // A client that disconnects ends its connection.
                thread::spawn(move || serve(stream.unwrap(), &*answer, &asked));
            }
        });
        raw
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &impl Fn(&Asked) -> Answer,
    seen: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let asked = Asked { method, target, body: String::from_utf8(body).unwrap() };
        let (status, body) = answer(&asked);
        seen.lock().push(asked);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.into_bytes(), body].concat())?;
    }
}
