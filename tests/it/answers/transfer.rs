//! Answers as servers write them: compressed, behind a challenge, with a wish to be left alone, or in
//! no HTTP at all.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::samples::Samples;
use crate::harness::upstream::{Reply, Upstream, answer};
use crate::harness::{Exporter, eventually};

/// A body of the preset `mjdjourney`: the task `t` is running.
const RUNNING: &str = r#"{"code": 0, "data": {"taskId": "t", "status": "running"}}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Starts an exporter that polls the task `t` at each of the servers, each with a provider of that
/// name.
fn poll(upstreams: &[(&str, &Upstream)], more: &str) -> Exporter {
    let providers: Vec<_> =
        upstreams.iter().map(|(name, upstream)| upstream.provider(name, more)).collect();
    let tasks: Vec<_> =
        upstreams.iter().map(|(name, _)| format!("{{ id: t, provider: {name} }}")).collect();
    Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    ))
}

/// Polls servers that always send the same response; returns the reason for which each failed.
fn reasons(cases: &[(&str, Vec<u8>)], more: &str) -> (Exporter, Vec<Option<String>>) {
    let upstreams: Vec<_> = cases
        .iter()
        .map(|(name, bytes)| {
            // A body without a length ends with its connection.
            let is_framed = bytes.windows(15).any(|part| part == b"Content-Length:");
            let bytes = bytes.clone();
            let reply = move |_: &_| match is_framed {
                true => Reply::Keep(bytes.clone()),
                false => Reply::Close(bytes.clone()),
            };
            (*name, Upstream::start(reply))
        })
        .collect();
    let upstreams: Vec<_> = upstreams.iter().map(|(name, upstream)| (*name, upstream)).collect();
    let exporter = poll(&upstreams, more);
    let samples = eventually("all have been polled", || {
        let samples = exporter.scrape();
        (samples.find("aitask_up", &[]).len() == cases.len()).then_some(samples)
    });
    let reason = |name| samples.label("aitask_error", &[("provider", name)], "reason");
    let found = cases.iter().map(|(name, _)| reason(*name).map(str::to_owned)).collect();
    (exporter, found)
}

fn assert_reasons(cases: &[(&str, Vec<u8>, Option<&str>)], more: &str) -> Exporter {
    let pairs: Vec<_> = cases.iter().map(|(name, bytes, _)| (*name, bytes.clone())).collect();
    let (exporter, found) = reasons(&pairs, more);
    let found: Vec<_> = pairs.iter().map(|(name, _)| *name).zip(found).collect();
    let expected = cases.iter().map(|(name, _, reason)| (*name, reason.map(str::to_owned)));
    assert_eq!(found, expected.collect::<Vec<_>>(), "{}", exporter.process.log());
    exporter
}

/// Returns a response with a content coding.
fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[&format!("Content-Encoding: {coding}")], body)
}

#[test]
fn gzip_is_asked_for_and_read_and_nothing_else_is() {
    let whole = gzip(RUNNING.as_bytes());
    let unframed = |body: &[u8]| [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
    let members = [gzip(&RUNNING.as_bytes()[..20]), gzip(&RUNNING.as_bytes()[20..])].concat();
    let refused = answer("401 Unauthorized", &["Content-Encoding: br"], b"\x0b\x02\x80{}\x03");
    let cases = [
        ("gzip", coded("gzip", &whole), None),
        ("x-gzip", coded("X-GZIP", &whole), None),
        ("members", coded("gzip", &members), None),
        // It does not declare gzip, or declares it wrongly.
        ("silent", answer("200 OK", &[], &whole), None),
        ("identity", coded("identity", RUNNING.as_bytes()), None),
        ("plain", coded("gzip", RUNNING.as_bytes()), None),
        ("unframed", unframed(&whole), None),
        ("empty", coded("gzip", b""), Some("empty")),
        ("of-nothing", coded("gzip", &gzip(b"")), Some("empty")),
        ("br", coded("br", b"\x0b\x02\x80{}\x03"), Some("decode")),
        ("twice", coded("gzip, br", &whole), Some("decode")),
        ("again", coded("gzip, x-gzip", &gzip(&whole)), Some("decode")),
        ("refused", refused, Some("auth")),
        ("damaged", coded("gzip", &[&whole[..20], b"xxxxxxxxxxxx"].concat()), Some("decode")),
        ("early", coded("gzip", &whole[..30]), Some("decode")),
        ("cut", unframed(&whole[..30]), Some("connect")),
        // 64 MiB that come as 64 KiB.
        ("bomb", coded("gzip", &gzip(&vec![b' '; 64 << 20])), Some("too_large")),
    ];
    let exporter = assert_reasons(&cases, "");
    let log = exporter.process.log();
    for words in [
        "the content coding br, which was not requested",
        "the content coding gzip, br, which",
        "compressed more than once: gzip, x-gzip",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn the_limit_of_a_body_counts_what_comes_out_of_gzip() {
    let long =
        RUNNING.replace("{\"taskId\"", &format!("{{\"x\": \"{}\", \"taskId\"", "x".repeat(500)));
    let cases = [
        ("fits", coded("gzip", &gzip(RUNNING.as_bytes())), None),
        ("over", coded("gzip", &gzip(long.as_bytes())), Some("too_large")),
    ];
    assert_reasons(&cases, "body_size_limit: 100B");
}

#[test]
fn a_request_offers_gzip_and_a_secret_in_gzip_is_masked() {
    let upstream = Upstream::start(|asked| {
        let secret = asked.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let body = RUNNING.replace("running", secret);
        Reply::Keep(coded("gzip", &gzip(body.as_bytes())))
    });
    let exporter = poll(&[("mj", &upstream)], "authorization: { credentials: hunter2-secret }");
    let report = exporter.get("/probe?provider=mj&task_id=t&debug=true");
    let text = report.text();
    assert!(text.contains("status: \"<secret>\"") && !text.contains("hunter2"), "{text}");
    // In the name of a coding, of which no more is shown than its beginning.
    let secret = "hunter2".repeat(9);
    let header = format!("Content-Encoding: {secret}");
    let echoing = Upstream::saying(answer("200 OK", &[&header], b"{}"));
    let credentials = format!("authorization: {{ credentials: {secret} }}");
    let exporter = poll(&[("mj", &echoing)], &credentials);
    let report = exporter.get("/probe?provider=mj&task_id=t&debug=true");
    let text = report.text();
    assert!(text.contains("the content coding <secret>") && !text.contains("hunter2"), "{text}");
    let asked = upstream.asked();
    assert!(asked.iter().all(|asked| asked.header("accept-encoding") == Some("gzip")), "{asked:?}");
}

#[test]
fn a_challenge_is_no_rejection_of_the_credentials() {
    let page = b"<!DOCTYPE html><title>Just a moment...</title>";
    let rejection = br#"{"code": 401, "message": "no such key"}"#;
    let refused = |status, headers: &[&str], body: &[u8]| answer(status, headers, body);
    let (forbidden, unauthorized) = ("403 Forbidden", "401 Unauthorized");
    let cases = [
        (
            "page",
            refused(forbidden, &["content-type: TEXT/html; charset=UTF-8"], page),
            Some("http"),
        ),
        (
            "page-401",
            refused(unauthorized, &["Content-Type: application/xhtml+xml"], page),
            Some("http"),
        ),
        ("untyped", refused(forbidden, &[], page), Some("http")),
        ("mitigated", refused(forbidden, &["CF-Mitigated: challenge"], rejection), Some("http")),
        ("zipped", refused(forbidden, &["Content-Encoding: gzip"], &gzip(page)), Some("http")),
        (
            "json",
            refused(unauthorized, &["Content-Type: application/json"], rejection),
            Some("auth"),
        ),
        ("mistyped", refused(unauthorized, &["Content-Type: text/html"], rejection), Some("auth")),
        ("empty", refused(forbidden, &[], b""), Some("auth")),
        ("text", refused(forbidden, &["Content-Type: text/plain"], b"no"), Some("auth")),
    ];
    let exporter = assert_reasons(&cases, "");
    let log = exporter.process.log();
    assert!(log.contains("HTTP status 403 with an HTML page: a challenge or a proxy, not the API"));
    // These are polled on as after any failure.
    let polls = |samples: &Samples, name| {
        samples.value("aitask_poll_failures_total", &[("provider", name), ("reason", "http")])
    };
    eventually("polls go on", || {
        let samples = exporter.scrape();
        (polls(&samples, "page") >= Some(3.0) && polls(&samples, "mitigated") >= Some(3.0))
            .then_some(())
    });
}

#[test]
fn a_failed_poll_heeds_retry_after_whatever_its_status_and_form() {
    const SENT: &str = "Date: Wed, 21 Oct 2015 07:28:00 GMT";
    let failed = |status, headers: &[&str]| answer(status, headers, b"{}");
    let error = br#"{"code": 7, "message": "busy"}"#;
    let heeded = [
        ("seconds", failed("429 Too Many Requests", &["Retry-After: 600"])),
        ("fraction", failed("500 Internal Server Error", &["Retry-After: 599.5"])),
        (
            "fixdate",
            failed("502 Bad Gateway", &[SENT, "Retry-After: Wed, 21 Oct 2015 07:38:00 GMT"]),
        ),
        (
            "rfc850",
            failed(
                "503 Service Unavailable",
                &[SENT, "Retry-After: Wednesday, 21-Oct-15 07:38:00 GMT"],
            ),
        ),
        ("asctime", failed("404 Not Found", &[SENT, "Retry-After: Wed Oct 21 07:38:00 2015"])),
        ("far", failed("403 Forbidden", &[SENT, "Retry-After: Wed, 21 Oct 2065 07:28:00 GMT"])),
        (
            "milliseconds",
            failed("429 Too Many Requests", &["Retry-After: 0", "retry-after-ms: 600000"]),
        ),
        ("redirect", failed("302 Found", &["Retry-After: 600", "Location: /"])),
        ("api", answer("200 OK", &["Retry-After: 600"], error)),
    ];
    let ignored = [
        ("epoch", failed("500 Internal Server Error", &["Retry-After: 1796023756"])),
        ("unreadable", failed("500 Internal Server Error", &["Retry-After: soon"])),
        ("usable", answer("200 OK", &["Retry-After: 600"], RUNNING.as_bytes())),
    ];
    let start = |(name, bytes): &(&'static str, Vec<u8>)| (*name, Upstream::saying(bytes.clone()));
    let heeded: Vec<_> = heeded.iter().map(start).collect();
    let ignored: Vec<_> = ignored.iter().map(start).collect();
    let all: Vec<_> = heeded.iter().chain(&ignored).map(|(name, u)| (*name, u)).collect();
    let _exporter = poll(&all, "");
    for (name, upstream) in &ignored {
        eventually(name, || (upstream.asked().len() >= 4).then_some(()));
    }
    for (name, upstream) in &heeded {
        eventually(name, || (!upstream.asked().is_empty()).then_some(()));
        assert_eq!(upstream.asked().len(), 1, "{name}");
    }
}

#[test]
fn what_is_no_http_is_decode_and_many_headers_are_none_of_it() {
    let headers = |count: usize| {
        let headers: Vec<_> = (0..count).map(|n| format!("X-Header-{n}: value {n}")).collect();
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        answer("200 OK", &headers, RUNNING.as_bytes())
    };
    let chunked = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
    };
    let decode = Some("decode");
    let cases = [
        // With Content-Length they are 256.
        ("most", headers(255), None),
        ("more", headers(256), decode),
        ("ssh", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), decode),
        ("status", b"HTTP/1.1 two hundred\r\n\r\n".to_vec(), decode),
        ("version", b"HTTP/7.5 200 OK\r\n\r\n".to_vec(), decode),
        ("header", b"HTTP/1.1 200 OK\r\nno header\r\n\r\n".to_vec(), decode),
        ("alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec(), decode),
        ("chunk", chunked("not hexadecimal\r\n{}\r\n0\r\n\r\n"), decode),
        // A response that ends too early is a broken connection.
        ("half-a-head", b"HTTP/1.1 200 OK\r\nContent".to_vec(), Some("connect")),
        ("half-a-chunk", chunked("ff\r\n{"), Some("connect")),
        ("nothing", Vec::new(), Some("connect")),
    ];
    let exporter = assert_reasons(&cases, "");
    let log = exporter.process.log();
    assert!(log.contains("the answer cannot be read as HTTP: "), "{log}");
}

/// For example a mail server, which speaks first.
#[test]
fn a_server_that_speaks_before_it_is_asked_is_decode() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
            open.push(stream);
        }
    });
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\n\
         providers: [{{ name: mail, preset: mjdjourney, base_url: 'http://{address}' }}]\n\
         tasks: [t]\n"
    ));
    let samples = eventually("some polls", || {
        let samples = exporter.scrape();
        (samples.value("aitask_polls_total", &[])? >= 3.0).then_some(samples)
    });
    let polls = samples.value("aitask_polls_total", &[]);
    let failures = samples.value("aitask_poll_failures_total", &[("reason", "decode")]);
    assert_eq!(failures, polls, "{}", exporter.process.log());
}
