//! Proxies on the way to a provider: that of the configuration, that of the environment, and none.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use crate::harness::certificates::make;
use crate::harness::upstream::{Reply, Upstream, answer};
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, http};
use crate::tls::{config, serve};

/// The name of a host that there is not: only a proxy can make something of it.
const HOST: &str = "gateway.invalid";

fn provider(name: &str, base_url: &str, more: &str) -> String {
    format!("{{ name: {name}, preset: mjdjourney, base_url: '{base_url}', {more} }}")
}

fn configuration(providers: &[String], tasks: &[(&str, &str)]) -> String {
    let tasks: Vec<_> =
        tasks.iter().map(|(name, id)| format!("{{ id: {id}, provider: {name} }}")).collect();
    format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    )
}

/// Waits until each task is running or, where the word is another, has failed for this reason.
fn assert_all(exporter: &Exporter, expected: &[(&str, &str)]) {
    for (id, word) in expected {
        match *word {
            "running" => exporter.await_state(id, "running"),
            reason => {
                exporter.await_value("aitask_error", &[("task_id", id), ("reason", reason)], 1.0)
            }
        };
    }
}

#[test]
fn the_environment_names_the_proxy_where_the_configuration_says_so() {
    let (proxy, direct) = (Gateway::start(), Gateway::start());
    let here = format!("http://{}", direct.address);
    let url = format!("http://{HOST}");
    let asks = "proxy_from_environment: true";
    let providers = [
        provider("asks", &url, asks),
        provider("does-not", &url, "proxy_from_environment: false"),
        provider("silent", &url, ""),
        provider("excepted", "http://a.excepted.invalid", asks),
        provider("loopback", &here, asks),
        provider("localhost", &format!("http://localhost:{}", direct.address.port()), asks),
        // HTTPS has its own variable, which is not set.
        provider("secure", &format!("https://{HOST}"), asks),
    ];
    let expected = [
        ("running-asks", "running"),
        ("does-not", "connect"),
        ("silent", "connect"),
        ("excepted", "connect"),
        ("running-loopback", "running"),
        ("running-localhost", "running"),
        ("secure", "connect"),
    ];
    let names = ["asks", "does-not", "silent", "excepted", "loopback", "localhost", "secure"];
    let tasks: Vec<_> = names.into_iter().zip(expected.map(|(id, _)| id)).collect();
    let proxy_url = format!("http://user:hunter2-env@{}", proxy.address);
    let variables = [("http_proxy", &*proxy_url), ("NO_PROXY", "other, .excepted.invalid")];
    let exporter = Exporter::start_among(Dir::with(&configuration(&providers, &tasks)), &variables);
    assert_all(&exporter, &expected);
    // Exactly the right requests came through the proxy, and the proxy received the password.
    let headers = proxy.asked("running-asks")["last_headers"].clone();
    assert_eq!(headers["proxy-authorization"], "Basic dXNlcjpodW50ZXIyLWVudg==");
    assert!(direct.requests("running-loopback") > 0 && direct.requests("running-localhost") > 0);
    let pages = [exporter.get("/config"), exporter.get("/"), exporter.get("/metrics")];
    let shown: String = pages.iter().map(http::Reply::text).collect();
    assert!(!shown.contains("hunter2") && !exporter.process.log().contains("hunter2"));
}

#[test]
fn no_proxy_excepts_hosts_from_the_proxy_of_the_configuration() {
    let (proxy, direct) = (Gateway::start(), Gateway::start());
    let through = |list: &str| format!("proxy_url: 'http://{}', no_proxy: '{list}'", proxy.address);
    let url = format!("http://{HOST}");
    let here = format!("http://{}", direct.address);
    let providers = [
        provider("none", &url, &through("")),
        provider("other", &url, &through("excepted.invalid, 10.0.0.0/8")),
        provider("itself", &url, &through("a, invalid")),
        provider("all", &url, &through("*")),
        provider("loopback", &here, &through("a")),
        provider("forced", &here, &through("")),
    ];
    let expected = [
        ("running-none", "running"),
        ("running-other", "running"),
        ("itself", "connect"),
        ("all", "connect"),
        ("running-loopback", "running"),
        ("running-forced", "running"),
    ];
    let names = ["none", "other", "itself", "all", "loopback", "forced"];
    let tasks: Vec<_> = names.into_iter().zip(expected.map(|(id, _)| id)).collect();
    let exporter = Exporter::start(&configuration(&providers, &tasks));
    assert_all(&exporter, &expected);
    assert!(direct.requests("running-loopback") > 0 && proxy.requests("running-forced") > 0);
}

#[test]
fn a_bad_proxy_of_the_environment_is_a_mistake_without_its_text() {
    let dir = Dir::with(&configuration(
        &[provider("mj", &format!("http://{HOST}"), "proxy_from_environment: true")],
        &[],
    ));
    let mut command = Command::new(PROGRAM);
    command.arg("--config.check").arg("--config.file").arg(dir.path("aitask.yml"));
    command.env("HTTP_PROXY", "ftp://user:hunter2@proxy.example").env_remove("NO_PROXY");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(":2:") && said.contains("variable HTTP_PROXY is not a proxy URL"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

/// A proxy's error page quotes the request.
#[test]
fn secrets_of_a_proxy_that_come_back_are_masked() {
    let proxy = Upstream::start(|asked| {
        let sent = asked.header("proxy-authorization").unwrap_or_default();
        let body = format!("<p>no: hunter2-secret, {sent}</p>");
        Reply::Keep(answer("407 Proxy Authentication Required", &[], body.as_bytes()))
    });
    let url = format!("http://me:hunter2-secret@{}", proxy.address);
    let provider = provider("mj", &format!("http://{HOST}"), "proxy_from_environment: true");
    let config = configuration(&[provider], &[("mj", "a")]);
    let exporter = Exporter::start_among(Dir::with(&config), &[("HTTP_PROXY", &url)]);
    let report = exporter.get("/probe?provider=mj&task_id=a&debug=true");
    assert!(report.text().contains("no: <secret>, Basic <secret>"), "{}", report.text());
}

/// Passes on what comes from each side to the other.
fn join(near: TcpStream, far: TcpStream) {
    let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
    for (mut from, mut into) in pairs {
        // Each side may leave.
        thread::spawn(move || io::copy(&mut from, &mut into));
    }
}

/// Starts a proxy that forwards to `to`, whatever host is requested; returns the requested hosts.
fn proxy(
    to: SocketAddr,
    greet: fn(&mut TcpStream) -> io::Result<String>,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let host = greet(&mut stream).unwrap();
            log.lock().push(host);
            join(stream, TcpStream::connect(to).unwrap());
        }
    });
    (address, asked)
}

/// `CONNECT host:port HTTP/1.1`.
fn connect(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned())
}

/// SOCKS 5 (RFC 1928) with a user and a password (RFC 1929), and the name of a host.
fn socks(stream: &mut TcpStream) -> io::Result<String> {
    fn take(stream: &mut TcpStream, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    fn text(stream: &mut TcpStream) -> io::Result<String> {
        let length = take(stream, 1)?[0];
        Ok(String::from_utf8(take(stream, length.into())?).unwrap())
    }
    let methods = take(stream, 2)?[1];
    assert!(take(stream, methods.into())?.contains(&2));
    stream.write_all(&[5, 2])?;
    take(stream, 1)?;
    assert_eq!((&*text(stream)?, &*text(stream)?), ("user", "hunter2"));
    stream.write_all(&[1, 0])?;
    // CONNECT to the name of a host.
    assert_eq!(take(stream, 4)?, [5, 1, 0, 3]);
    let host = text(stream)?;
    let port = take(stream, 2)?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

#[test]
fn a_proxy_of_socks_is_sent_the_name_of_the_host() {
    let gateway = Gateway::start();
    for scheme in ["socks5", "socks5h"] {
        let (address, asked) = proxy(gateway.address, socks);
        let url = format!("proxy_url: '{scheme}://user:hunter2@{address}'");
        let provider = provider("mj", &format!("http://{HOST}:8080"), &url);
        let exporter = Exporter::start(&configuration(&[provider], &[("mj", "running-1")]));
        exporter.await_state("running-1", "running");
        assert_eq!(asked.lock()[0], format!("{HOST}:8080"));
        assert!(!exporter.get("/config").text().contains("hunter2"));
    }
}

#[test]
fn https_goes_through_a_tunnel() {
    let dir = Dir::new();
    make(&dir, "server", &[HOST], true, (2020, 2100));
    let (address, asked) = proxy(serve(config(&dir, "server", |_| {})), connect);
    let certificate = dir.path("server.pem");
    let keys = format!(
        "proxy_from_environment: true, tls_config: {{ ca_file: '{}' }}",
        certificate.display()
    );
    let providers = [provider("mj", &format!("https://{HOST}"), &keys)];
    let exporter = Exporter::start_among(
        Dir::with(&configuration(&providers, &[("mj", "a")])),
        &[("HTTPS_PROXY", &format!("http://{address}"))],
    );
    exporter.await_state("a", "running");
    assert_eq!(asked.lock()[0], format!("{HOST}:443"));
}
