//! `--web.config.file`: TLS, users and headers, as curl, promtool and Prometheus see them.

mod clients;
pub mod files;
mod renewal;
pub mod users;

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::tools::{Prometheus, present};
use crate::harness::{Dir, Exporter, http, until};
use crate::web::serves_many;

/// The name of the file in a test's directory.
const FILE: &str = "web.yml";
const TLS: &str = "tls_server_config: { cert_file: server.pem, key_file: server.key }\n";

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns the certificate of the authority.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate with these names, and its key.
    pub fn sign(&self, names: &[&str]) -> (String, String) {
        self.sign_with(names, |_| {})
    }

    fn sign_with(
        &self,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer);
        (certificate.unwrap().pem(), key.serialize_pem())
    }

    /// Writes `name.pem` and `name.key`: a certificate that expires after `lifetime`.
    pub fn issue_for(&self, dir: &Dir, name: &str, names: &[&str], lifetime: Duration) {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + lifetime;
        let not_after = date_time_ymd(1970, 1, 1) + age;
        let (certificate, key) = self.sign_with(names, |params| params.not_after = not_after);
        dir.write(&format!("{name}.pem"), &certificate);
        dir.write(&format!("{name}.key"), &key);
    }

    /// Writes `name.pem` and `name.key`.
    pub fn issue(&self, dir: &Dir, name: &str, names: &[&str]) {
        let (certificate, key) = self.sign(names);
        dir.write(&format!("{name}.pem"), &certificate);
        dir.write(&format!("{name}.key"), &key);
    }
}

/// A directory with a configuration, the certificate of an authority in `ca.pem`, and a
/// certificate of the exporter's with its key.
pub fn prepare() -> (Dir, Authority) {
    let dir = Dir::with("providers: []\n");
    let authority = Authority::new("ours");
    dir.write("ca.pem", &authority.certificate.pem());
    authority.issue(&dir, "server", &["localhost", "127.0.0.1"]);
    (dir, authority)
}

/// An exporter with a web configuration.
fn start(dir: Dir, config: &str) -> Exporter {
    start_with(dir, config, &[])
}

fn start_with(dir: Dir, config: &str, flags: &[&str]) -> Exporter {
    let file = dir.write(FILE, config);
    let flag = format!("--web.config.file={}", file.display());
    Exporter::start_in(dir, &[&[&flag, "--log.level=debug"], flags].concat())
}

/// A response that curl received.
#[derive(Debug)]
struct Got {
    /// 0 when there was none.
    status: u16,
    /// Headers and body.
    text: String,
}

/// Asks with curl, which trusts `ca.pem`, on a connection of its own.
fn curl(exporter: &Exporter, target: &str, args: &[&str]) -> Got {
    let scheme = if exporter.process.log().contains("tls=true") { "https" } else { "http" };
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--http1.1", "--max-time", "30", "--cacert"]);
    command.arg(exporter.process.dir.path("ca.pem")).args(args);
    command.args(["--write-out", "\n%{http_code}"]);
    command.arg(format!("{scheme}://{}{target}", exporter.address));
    let output = present(&mut command, Command::output);
    let said = String::from_utf8_lossy(&output.stdout);
    let (text, status) = said.rsplit_once('\n').unwrap();
    Got { status: status.parse().unwrap(), text: text.to_owned() }
}

fn status(exporter: &Exporter, args: &[&str]) -> u16 {
    curl(exporter, "/metrics", args).status
}

/// Arguments that make curl show a certificate.
fn showing(exporter: &Exporter, name: &str) -> [String; 4] {
    let path = |end: &str| exporter.process.dir.path(&format!("{name}.{end}"));
    let path = |end| path(end).to_str().unwrap().to_owned();
    ["--cert".to_owned(), path("pem"), "--key".to_owned(), path("key")]
}

#[test]
fn nothing_is_configured_by_default_and_by_an_empty_name() {
    let exporter = Exporter::start_in(Dir::with("providers: []\n"), &["--web.config.file="]);
    assert_eq!(exporter.get("/metrics").status, 200);
}

#[test]
fn tls_is_spoken_with_who_trusts_the_certificate() {
    let (dir, _) = prepare();
    dir.write("other.pem", &Authority::new("theirs").certificate.pem());
    let exporter = start(dir, TLS);
    assert_eq!(status(&exporter, &[]), 200);
    // HTTP/2 is not offered, and who prefers it is served all the same.
    assert!(curl(&exporter, "/-/healthy", &["--http2"]).text.starts_with("HTTP/1.1 200"));
    let other = exporter.process.dir.path("other.pem");
    assert_eq!(status(&exporter, &["--cacert", other.to_str().unwrap()]), 0);
    let plain = http::send(exporter.address, "GET", "/metrics", &[], "");
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn versions_and_suites_are_those_of_the_file() {
    let only = |version| ["--tls-max".to_owned(), version, "--tlsv1.2".to_owned()];
    let spoken = |more: &str, args: &[&str]| {
        let (dir, _) = prepare();
        let exporter = start(dir, &TLS.replace(" }", &format!(", {more} }}")));
        status(&exporter, args) == 200
    };
    let v12 = only("1.2".to_owned());
    let v12: Vec<_> = v12.iter().map(String::as_str).collect();
    assert!(spoken("min_version: TLS12", &v12));
    assert!(!spoken("min_version: TLS13", &v12));
    assert!(spoken("min_version: TLS13", &["--tlsv1.3"]));
    assert!(!spoken("max_version: TLS12", &["--tlsv1.3"]));
    assert!(spoken("max_version: TLS12", &v12));
    let one = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let with = |suite| [&v12[..], &["--ciphers", suite]].concat();
    assert!(spoken(one, &with("ECDHE-ECDSA-AES256-GCM-SHA384")));
    assert!(!spoken(one, &with("ECDHE-ECDSA-AES128-GCM-SHA256")));
    // A list without suites of TLS 1.3 is none about TLS 1.3.
    assert!(spoken(one, &["--tlsv1.3"]));
    assert!(spoken("curve_preferences: [CurveP384]", &["--curves", "P-384"]));
    assert!(!spoken("curve_preferences: [CurveP384]", &["--curves", "P-256"]));
}

#[test]
fn the_server_prefers_its_own_order_unless_told_otherwise() {
    let chosen = |more: &str| {
        let (dir, _) = prepare();
        let suites = "[TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
                      TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]";
        let more = format!(", max_version: TLS12, cipher_suites: {suites}{more} }}");
        let exporter = start(dir, &TLS.replace(" }", &more));
        let theirs = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
        let ca = exporter.process.dir.path("ca.pem");
        let mut command = Command::new("curl");
        command.args(["--verbose", "--silent", "--ciphers", theirs, "--cacert"]).arg(ca);
        command.arg(format!("https://{}/-/healthy", exporter.address));
        let said = present(&mut command, Command::output).stderr;
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = said.lines().find(|line| line.contains("SSL connection using"));
        line.unwrap_or_else(|| panic!("{said}")).contains("CHACHA20")
    };
    assert!(chosen(""));
    assert!(!chosen(", prefer_server_cipher_suites: false"));
}

#[test]
fn every_answer_carries_the_headers() {
    let config = "http_server_config:\n  http2: false\n  headers:\n    \
                  Content-Security-Policy: default-src 'self'\n    X-Frame-Options: deny\n    \
                  X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1; mode=block\n    \
                  Strict-Transport-Security: ''\n";
    let exporter = start(Dir::with("providers: []\n"), config);
    for target in ["/metrics", "/", "/nothing", "/-/healthy"] {
        let reply = exporter.get(target);
        for (name, value) in [
            ("content-security-policy", Some("default-src 'self'")),
            ("x-frame-options", Some("deny")),
            ("x-content-type-options", Some("nosniff")),
            ("x-xss-protection", Some("1; mode=block")),
            ("strict-transport-security", None),
        ] {
            assert_eq!(reply.header(name), value, "{target} {name}");
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_with_tls_and_a_password() {
    let (dir, authority) = prepare();
    authority.issue(&dir, "client", &["prometheus"]);
    let ca = dir.path("ca.pem");
    let (certificate, key) = (dir.path("client.pem"), dir.path("client.key"));
    let mutual = "client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert }";
    let config = TLS.replace(" }", &format!(", {mutual}"));
    let exporter = start(dir, &format!("{config}{}", users::file(&[("prometheus", "secret")])));
    let config = |password: &str| {
        format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n\
             - job_name: aitask_exporter\n  scheme: https\n  \
             basic_auth: {{ username: prometheus, password: {password} }}\n  \
             tls_config: {{ ca_file: {}, cert_file: {}, key_file: {} }}\n  \
             static_configs: [{{ targets: ['{}'] }}]\n",
            ca.display(),
            certificate.display(),
            key.display(),
            exporter.address
        )
    };
    let right = Prometheus::start(Dir::new(), &config("secret"));
    let wrong = Prometheus::start(Dir::new(), &config("guess"));
    until("Prometheus scrapes", || right.value("up") == Some(1.0));
    until("the other one is refused", || wrong.value("up") == Some(0.0));
}

/// A session of TLS that has not begun.
fn session(
    exporter: &Exporter,
    authority: &Authority,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, http::connect(exporter.address).unwrap())
}

#[test]
fn a_handshake_and_headers_have_5_seconds_each_and_keep_nobody_out() {
    let (dir, authority) = prepare();
    let exporter = start(dir, TLS);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..20).map(|_| http::connect(exporter.address).unwrap()).collect();
    let mut begun = http::connect(exporter.address).unwrap();
    // The beginning of a record that never comes.
    begun.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let mut slow = session(&exporter, &authority);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    assert_eq!(status(&exporter, &[]), 200);
    silent.push(begun);
    for mut stream in silent {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(start.elapsed() > Duration::from_millis(4_500), "closed early: {rest:?}");
    }
    // Closed without a response.
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert!(start.elapsed() > Duration::from_millis(4_500));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_connection_serves_many_requests_under_tls_too() {
    let (dir, authority) = prepare();
    let exporter = start(dir, TLS);
    serves_many(session(&exporter, &authority));
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let (dir, _) = prepare();
    let mut exporter = start(dir, TLS);
    let _silent = http::connect(exporter.address).unwrap();
    assert_eq!(status(&exporter, &[]), 200);
    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());
    assert!(!exporter.process.log().contains("stopped before all requests had finished"));
}
