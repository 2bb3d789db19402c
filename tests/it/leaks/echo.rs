//! A gateway that sends back the texts of requests, in any form and at any place of a response.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::forms::{FORMS, Layers};

/// Three `?` are a `/` in base64 wherever they are.
pub const TOKEN: &str = "zq+tok/en=42&\"x\\y%z <w>é???";
pub const DIGITS: &str = "9007199254";
/// The password of providers that have one, and what is in place of it where they have none.
pub const PASSWORD: &str = "zq+pass/word?";
pub const ACCESS_KEY: &str = "zq/access+7777";

/// Places in a response that can hold a text: the fields of the mapping, and the rest.
pub const PLACES: [&str; 11] =
    ["status", "type", "fail", "code", "message", "why", "time", "key", "header", "text", "phrase"];

/// The gateway, on threads of this process until they end with it.
pub struct Echo {
    pub address: SocketAddr,
    /// Everything that was sent back, in its plain form.
    pub secrets: Arc<Mutex<BTreeSet<String>>>,
}

impl Echo {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let secrets = Arc::default();
        let shared = Arc::clone(&secrets);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let secrets = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &secrets));
            }
        });
        Self { address, secrets }
    }
}

fn serve(stream: TcpStream, secrets: &Mutex<BTreeSet<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut target, mut credentials) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim_end().is_empty() {
                break;
            }
            if target.is_empty() {
                target.push_str(line.split(' ').nth(1).unwrap());
            } else if line.to_lowercase().starts_with("authorization:") {
                credentials.push_str(line.split(' ').nth(2).unwrap_or_default().trim());
            }
        }
        let mut path = target.rsplit('/');
        let id = path.next().unwrap();
        let sent = sent(path.next().unwrap(), &credentials);
        let answer = answer(id, &sent);
        let layers = Layers::of(&String::from_utf8_lossy(&answer));
        for secret in sent.iter().filter(|_| !id.starts_with("number")) {
            // Or nothing would be shown by not seeing it.
            assert!(layers.hold(secret), "{secret} is not in {id}");
        }
        secrets.lock().extend(sent);
        if reader.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

/// Returns the texts that a provider was sent and that are secrets by themselves.
fn sent(provider: &str, credentials: &str) -> Vec<String> {
    let password = PASSWORD.to_owned();
    match provider {
        "digits" => vec![DIGITS.to_owned()],
        "basic" | "proxied" => vec![password, format!("u1:{PASSWORD}")],
        "named" | "scheme" | "cookie" => vec![password],
        "kling" => {
            let signature = credentials.rsplit('.').next().unwrap().to_owned();
            vec![ACCESS_KEY.to_owned(), credentials.to_owned(), signature]
        }
        _ => vec![TOKEN.to_owned()],
    }
}

fn answer(id: &str, sent: &[String]) -> Vec<u8> {
    let (place, form) = id.split_once('.').unwrap();
    let form = FORMS.iter().find(|(name, _)| *name == form).unwrap().1;
    let said: Vec<_> = sent.iter().map(|secret| form(secret)).collect();
    let said = format!("not [{}]", said.join("] ["));
    let at = |wanted: &str| if place == wanted { &*said } else { "" };
    let code = match place {
        "number" => "9.007199254e9".to_owned(),
        "code" => format!("\"{said}\""),
        "message" => "7".to_owned(),
        _ => "0".to_owned(),
    };
    let status = if place == "fail" { "bad" } else { at("status") };
    let mut body = format!(
        r#"{{"code":{code},"message":"{}","id":"{id}","status":"{status}","type":"{}","fail":"{}","why":"{}","at":"{}","{}":1}}"#,
        at("message"),
        at("type"),
        at("fail"),
        at("why"),
        at("time"),
        at("key"),
    );
    if place == "text" {
        body = format!("<p>{said}</p>");
    }
    let (number, phrase) = if place == "phrase" { (400, &*said) } else { (200, "OK") };
    let name = if place == "name" { &sent[0] } else { "X-Name" };
    format!(
        "HTTP/1.1 {number} {phrase}\r\nX-Note: {}\r\n{name}: 1\r\nContent-Length: {}\r\n\r\n{body}",
        at("header"),
        body.len(),
    )
    .into_bytes()
}
