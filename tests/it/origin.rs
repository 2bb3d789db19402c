//! Requests that a browser sends for the pages of other sites, and headers that guard a browser.

use std::io::{Read, Write};

use crate::crowds::rejected;
use crate::harness::http::{self, Reply};
use crate::harness::{Dir, Exporter, Gateway};

/// Sends a request without a header `Host` but those that are given.
fn raw(exporter: &Exporter, request: &str, headers: &str) -> String {
    let mut stream = http::connect(exporter.address).unwrap();
    write!(stream, "{request}\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_page_of_another_site_neither_reloads_nor_probes() {
    let gateway = Gateway::start();
    let config = format!("providers: [{}]\n", gateway.provider("mj", ""));
    let exporter = Exporter::start(&config);
    let probe = "/probe?provider=mj&task_id=running-1";
    let host = exporter.address.to_string();
    let other_port = format!("http://{}:1", exporter.address.ip());
    let asked = |method, target, headers: &[_]| {
        http::send(exporter.address, method, target, headers, "").unwrap()
    };
    let foreign: [&[(&str, &str)]; 8] = [
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "same-origin, cross-site")],
        &[("Sec-Fetch-Site", "same-planet")],
        &[("Origin", "null")],
        &[("Origin", "http://evil.example")],
        &[("Origin", &other_port)],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://evil.example")],
    ];
    let requests = [("POST", "/-/reload"), ("PUT", "/-/reload"), ("GET", probe), ("HEAD", probe)];
    for (method, target) in requests {
        for headers in foreign {
            let Reply { status, body, .. } = asked(method, target, headers);
            assert_eq!(status, 403, "{method} {target} {headers:?}");
            let lines = body.split(|byte| *byte == b'\n').count();
            assert_eq!(lines, if method == "HEAD" { 1 } else { 2 }, "one sentence");
        }
    }
    assert_eq!(gateway.requests("running-1"), 0, "nothing was asked");
    assert!(!exporter.process.log().contains("configuration reloaded"));
    assert_eq!(rejected(&exporter.scrape(), "cross_site"), 32.0);
    // Read-only endpoints accept links from anywhere.
    assert_eq!(asked("GET", "/tasks", foreign[0]).status, 200);

    let (plain, encrypted) = (format!("http://{host}"), format!("https://{host}"));
    let ours: [&[(&str, &str)]; 5] = [
        &[],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", &plain)],
        &[("Origin", &encrypted)],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "same-planet"), ("Origin", &plain)],
    ];
    for headers in ours {
        assert_eq!(asked("POST", "/-/reload", headers).status, 200, "{headers:?}");
        assert_eq!(asked("GET", probe, headers).status, 200, "{headers:?}");
    }
}

#[test]
fn a_request_says_once_for_which_host_it_is() {
    let exporter = Exporter::start("providers: []\n");
    for (request, headers, status) in [
        ("GET /metrics HTTP/1.1", "Host: x\r\n", 200),
        ("GET /metrics HTTP/1.1", "Host: x:10054\r\n", 200),
        ("GET /metrics HTTP/1.1", "Host: [::1]:10054\r\n", 200),
        ("GET /metrics HTTP/1.0", "", 200),
        ("GET /metrics HTTP/1.1", "", 400),
        ("GET /-/healthy HTTP/1.1", "", 400),
        ("GET /nothing HTTP/1.1", "", 400),
        ("GET /metrics HTTP/1.1", "Host: x\r\nHost: x\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host: x\r\nhost: y\r\n", 400),
        ("GET /metrics HTTP/1.0", "Host: x\r\nHost: y\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host:\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host: x y\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host: http://x/\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host: user@x\r\n", 400),
        ("GET /metrics HTTP/1.1", "Host: x:99999\r\n", 400),
        ("POST /-/reload HTTP/1.0", "", 200),
        ("POST /-/reload HTTP/1.0", "Origin: http://x\r\n", 403),
    ] {
        let answer = raw(&exporter, request, headers);
        let expected = format!("HTTP/1.{} {status} ", &request[request.len() - 1..]);
        assert!(answer.starts_with(&expected), "{request} {headers}: {answer}");
    }
    assert_eq!(rejected(&exporter.scrape(), "host"), 11.0);
}

#[test]
fn every_answer_carries_headers_that_guard_a_browser() {
    let gateway = Gateway::start();
    let config = format!("providers: [{}]\ntasks: [ok-1]\n", gateway.provider("mj", ""));
    let exporter = Exporter::start_in(Dir::with(&config), &[]);
    let probe = "/probe?provider=mj&task_id=ok-1";
    let debug = &format!("{probe}&debug=true");
    for (method, target, status) in [
        ("GET", "/", 200),
        ("GET", "/metrics", 200),
        ("GET", "/tasks", 200),
        ("GET", "/tasks/mj/ok-1", 200),
        ("GET", "/tasks/mj/nothing", 404),
        ("GET", "/api/v1/tasks", 200),
        ("GET", "/config", 200),
        ("GET", probe, 200),
        ("GET", debug, 200),
        ("GET", "/probe?a=%3Cscript%3E", 400),
        ("GET", "/-/healthy", 200),
        ("POST", "/-/reload", 200),
        ("GET", "/-/reload", 405),
        ("POST", "/metrics", 405),
        ("GET", "/nothing", 404),
    ] {
        let reply = http::send(exporter.address, method, target, &[], "").unwrap();
        assert_eq!(reply.status, status, "{method} {target}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{method} {target} {name}");
        }
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{method} {target}: {policy}");
    }
    let answer = raw(&exporter, "GET /metrics HTTP/1.1", "");
    assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
}
