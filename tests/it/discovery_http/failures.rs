//! Every way in which a request for a list can fail, each with its reason.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use aitask_exporter::discovery::list::RefreshReason;
use aitask_exporter::observation::Reason;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Source;
use crate::harness::Dir;
use crate::harness::certificates::make;
use crate::harness::upstream::{Reply, Upstream, answer, json};
use crate::tls::{config, serve};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

const JSON: &str = "Content-Type: application/json";

/// Returns the outcome of a refresh from a server that sends these bytes, in words.
fn outcome(bytes: &[u8], closes: bool) -> Result<Vec<String>, String> {
    let bytes = bytes.to_vec();
    let upstream = Upstream::start(move |_| match closes {
        true => Reply::Close(bytes.clone()),
        false => Reply::Keep(bytes.clone()),
    });
    Source::of(&upstream, "").ids()
}

#[test]
fn a_good_list_is_read_in_every_form_of_http() {
    let body = br#"["a","b"]"#;
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: APPLICATION/json;charset=UTF-8\r\n\
        Transfer-Encoding: chunked\r\n\r\n4\r\n[\"a\"\r\n5\r\n,\"b\"]\r\n0\r\n\r\n";
    let unframed = format!("HTTP/1.0 200 OK\r\n{JSON}\r\n\r\n[\"a\",\"b\"]");
    for (bytes, closes) in [
        (answer("200 OK", &[JSON], body), false),
        (answer("200 OK", &[JSON, "Content-Encoding: gzip"], &gzip(body)), false),
        (answer("200 OK", &[JSON], &[b"\xef\xbb\xbf", &body[..]].concat()), false),
        (chunked.into(), false),
        (unframed.into(), true),
    ] {
        assert_eq!(outcome(&bytes, closes).unwrap(), ["a", "b"]);
    }
    // Empty lists are lists.
    assert_eq!(outcome(&json("[]"), false), Ok(vec![]));
}

#[test]
fn every_failure_has_its_reason() {
    let html = ["Content-Type: text/html; charset=utf-8"];
    let gzipped = [JSON, "Content-Encoding: gzip"];
    let location = [JSON, "Location: /elsewhere"];
    let whole = gzip(br#"["a","b","c","d"]"#);
    let mut damaged = whole.clone();
    damaged[15] ^= 0xff;
    let cut = |headers: &str, body: &[u8]| {
        [format!("HTTP/1.1 200 OK\r\n{JSON}\r\n{headers}\r\n").as_bytes(), body].concat()
    };
    for (bytes, closes, expected) in [
        (answer("200 OK", &html, b"[]"), false, "decode: the content type is text/html"),
        (answer("200 OK", &[], b"[]"), false, "decode: the response has no content type"),
        (answer("401 No", &[JSON], b"[]"), false, "auth: HTTP status 401"),
        (answer("403 No", &html, b"<html>"), false, "auth: HTTP status 403"),
        (answer("404 No", &[JSON], b"[]"), false, "not_found: HTTP status 404"),
        (answer("429 No", &[JSON], b"[]"), false, "rate_limited: HTTP status 429"),
        (answer("500 No", &[JSON], b"[]"), false, "http: HTTP status 500"),
        (answer("502 Bad Gateway", &html, b"<html>"), false, "http: HTTP status 502"),
        (answer("204 None", &[JSON], b""), false, "http: HTTP status 204"),
        (answer("206 Part", &[JSON], b"[]"), false, "http: HTTP status 206"),
        (answer("302 Moved", &location, b"[]"), false, "http: HTTP status 302: redirects are not"),
        // Nobody asked whether it has changed.
        (answer("304 Same", &[JSON], b""), false, "http: HTTP status 304"),
        (answer("200 OK", &[JSON], b""), false, "empty: HTTP status 200 without a body"),
        (answer("200 OK", &[JSON], b" \n"), false, "empty: HTTP status 200 without a body"),
        (json("{}"), false, "decode: "),
        (json("\"a\""), false, "decode: "),
        (json("[1,]"), false, "decode: "),
        (json("[1"), false, "decode: "),
        (json("[1][2]"), false, "decode: "),
        (answer("200 OK", &[JSON], b"[\"\xff\"]"), false, "decode: "),
        (json(&"[".repeat(200)), false, "decode: nested deeper than 128"),
        (answer("200 OK", &[JSON, "Content-Encoding: br"], b"x"), false, "decode: "),
        (answer("200 OK", &gzipped, &damaged), false, "decode: the gzip body is damaged"),
        (answer("200 OK", &gzipped, &whole[..20]), false, "decode: the gzip body is damaged"),
        (cut("Content-Length: 9\r\n", b"[\"a\""), true, "connect: "),
        (cut("Transfer-Encoding: chunked\r\n", b"4\r\n[\"a\"\r\n"), true, "connect: "),
        (cut("", &whole[..20]), true, "connect: "),
        (b"no HTTP\r\n\r\n".to_vec(), true, "decode: the answer cannot be read as HTTP"),
        (b"".to_vec(), true, "connect: "),
    ] {
        let error = outcome(&bytes, closes).unwrap_err();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Upstream::saying(json(r#"["a"]"#));
    let location = format!("Location: http://{}/list", other.address);
    for status in ["301 Moved", "302 Found", "303 See", "307 Moved", "308 Moved"] {
        let moved = answer(status, &[&location, JSON], b"[]");
        let upstream = Upstream::saying(moved);
        let mut source = Source::of(&upstream, "authorization: { credentials: secret-token }");
        assert!(source.ids().unwrap_err().contains("redirects are not followed"), "{status}");
    }
    assert_eq!(other.asked().len(), 0);
}

#[test]
fn a_refusal_says_when_to_ask_again() {
    for (status, reason) in [("429 Later", Reason::RateLimited), ("503 Later", Reason::Http)] {
        let upstream = Upstream::saying(answer(status, &["Retry-After: 7", JSON], b"[]"));
        let error = Source::of(&upstream, "").refresh().unwrap_err();
        assert_eq!(error.reason, RefreshReason::Poll(reason));
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }
}

#[test]
fn a_server_that_is_not_there_or_resets() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Source::new(&format!("http://{closed}"), "").ids().unwrap_err();
    assert!(error.starts_with("connect: Connection refused"), "{error}");
    let upstream = Upstream::start(|_| Reply::Reset);
    let error = Source::of(&upstream, "").ids().unwrap_err();
    assert!(error.starts_with("connect: "), "{error}");
    let plain = Upstream::saying(json("[]"));
    let https = format!("https://{}", plain.address);
    let error = Source::new(&https, "").ids().unwrap_err();
    assert!(error.starts_with("connect: the server closed the connection instead"), "{error}");
}

#[test]
fn a_certificate_is_trusted_only_if_the_configuration_says_so() {
    let dir = Dir::new();
    make(&dir, "server", &["localhost"], true, (2020, 2100));
    let address = serve(config(&dir, "server", |_| {}));
    let url = format!("https://localhost:{}", address.port());
    let error = Source::new(&url, "").ids().unwrap_err();
    assert!(error.starts_with("tls: "), "{error}");
    // The server speaks of a task, and not of its content type.
    let mut source = Source::in_dir(dir, &url, "tls_config: { ca_file: server.pem }");
    let error = source.ids().unwrap_err();
    assert!(error.starts_with("decode: the response has no content type"), "{error}");
}

/// Starts a server that sends a head and then, as long as the client reads, a part of a body again and
/// again; without a part it sends nothing more.
fn endless(head: &str, part: &[u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (head, part) = (head.to_owned(), part.repeat(10_000));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (head, part) = (head.clone(), part.clone());
            thread::spawn(move || {
                let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
                while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() && !part.is_empty() {
                    sent = stream.write_all(&part);
                }
                // The connection stays open until the client leaves.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            });
        }
    });
    address
}

#[test]
fn an_endless_or_silent_server_is_left() {
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}\r\n\r\n");
    let address = endless(&head, b"[\"a\"],");
    let error = Source::new(&format!("http://{address}"), "timeout: 1m").ids().unwrap_err();
    assert_eq!(error, "too_large: more than 32 MiB");
    // An endless page with an error is not read at all.
    let address = endless("HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n\r\n", b"<p>");
    let error = Source::new(&format!("http://{address}"), "timeout: 1m").ids().unwrap_err();
    assert_eq!(error, "http: HTTP status 500");
    for head in ["", &*head] {
        let address = endless(head, b"");
        let error = Source::new(&format!("http://{address}"), "timeout: 300ms").ids().unwrap_err();
        assert_eq!(error, "timeout: no complete list within 300ms");
    }
}

#[test]
fn a_list_that_unpacks_to_too_much_is_refused() {
    let bomb = gzip(&vec![b' '; 40 << 20]);
    let upstream = Upstream::saying(answer("200 OK", &[JSON, "Content-Encoding: gzip"], &bomb));
    assert_eq!(Source::of(&upstream, "").ids().unwrap_err(), "too_large: more than 32 MiB");
}

#[test]
fn too_many_elements_are_refused() {
    let many = format!("[{}1]", "1,".repeat(1_000_000));
    let upstream = Upstream::saying(json(&many));
    let error = Source::of(&upstream, "timeout: 1m").ids().unwrap_err();
    assert_eq!(error, "too_large: more than 1000000 elements");
    let mut mapped = Source::of(&upstream, "timeout: 1m, response: { id: '' }");
    assert_eq!(mapped.ids().unwrap_err(), "too_large: more than 1000000 elements");
}
