//! HTTPS: a certificate is trusted only if the configuration says so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, version};

use crate::harness::certificates::{make, openssl_req};
use crate::harness::host::Host;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::{Dir, Exporter, Gateway, eventually};
use crate::web_config::Authority;

/// A server with the certificate and the key in `name.pem` and `name.key`, which speaks TLS in some
/// way.
pub fn config(dir: &Dir, name: &str, change: impl Fn(&mut Offer)) -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_file(dir.path(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.path(&format!("{name}.key"))).unwrap();
    let mut offer = Offer { only_tls12: false, wants_certificate: false };
    change(&mut offer);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] =
        if offer.only_tls12 { &[&version::TLS12] } else { &[&version::TLS12, &version::TLS13] };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = match offer.wants_certificate {
        true => {
            let mut authorities = RootCertStore::empty();
            authorities.add(chain.clone()).unwrap();
            let authorities = Arc::new(authorities);
            let clients = WebPkiClientVerifier::builder_with_provider(authorities, provider);
            builder.with_client_cert_verifier(clients.build().unwrap())
        }
        false => builder.with_no_client_auth(),
    };
    Arc::new(builder.with_single_cert(vec![chain], key).unwrap())
}

/// The ways of a server that are not the usual ones.
pub struct Offer {
    only_tls12: bool,
    wants_certificate: bool,
}

/// Starts a gateway behind TLS that answers every request with the same running task. Its thread
/// ends with the process.
pub fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let session = ServerConnection::new(config).unwrap();
                // A client that does not trust the certificate ends the connection.
                let _ = answer(StreamOwned::new(session, stream.unwrap()));
            });
        }
    });
    address
}

fn answer(mut stream: impl Read + Write) -> std::io::Result<()> {
    const BODY: &str = r#"{"code": 0, "data": {"taskId": "a", "status": "running"}}"#;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )?;
    stream.flush()
}

/// Returns a provider for the list `providers`, with keys of `tls_config` in YAML's flow style.
fn provider(name: &str, host: &str, port: u16, tls: &str) -> String {
    format!(
        "{{ name: {name}, preset: mjdjourney, base_url: \"https://{host}:{port}\", \
         tls_config: {{ {tls} }} }}"
    )
}

/// Starts an exporter in `dir` that polls one task at each of the providers.
fn start(dir: Dir, providers: &[String], names: &[&str]) -> Exporter {
    write_config(&dir, providers, names);
    Exporter::start_in(dir, &[])
}

/// Writes a configuration with one task at each of the providers.
fn write_config(dir: &Dir, providers: &[String], names: &[&str]) {
    let tasks: Vec<_> = names.iter().map(|name| format!("{{ id: a, provider: {name} }}")).collect();
    dir.write(
        "aitask.yml",
        &format!(
            "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
            providers.join(", "),
            tasks.join(", ")
        ),
    );
}

/// Returns the reason for which each of the providers failed, if it did.
fn reasons(exporter: &Exporter, names: &[&str]) -> Vec<Option<String>> {
    let samples = eventually("all have been polled", || {
        let samples = exporter.scrape();
        (samples.find("aitask_up", &[]).len() == names.len()).then_some(samples)
    });
    let reason = |name: &&str| samples.label("aitask_error", &[("provider", name)], "reason");
    names.iter().map(|name| reason(name).map(str::to_owned)).collect()
}

#[test]
fn a_certificate_is_trusted_only_where_the_configuration_says_so() {
    for is_authority in [false, true] {
        let dir = Dir::new();
        make(&dir, "server", &["localhost"], is_authority, (2020, 2100));
        make(&dir, "other", &["localhost"], is_authority, (2020, 2100));
        let port = serve(config(&dir, "server", |_| {})).port();
        let ours = "ca_file: server.pem";
        let providers = [
            provider("system", "localhost", port, ""),
            provider("ours", "localhost", port, ours),
            // One with the same names, but another.
            provider("theirs", "localhost", port, "ca_file: other.pem"),
            // The certificate is for `localhost` alone.
            provider("misnamed", "127.0.0.1", port, ours),
            provider("careless", "127.0.0.1", port, "insecure_skip_verify: true"),
        ];
        let names = ["system", "ours", "theirs", "misnamed", "careless"];
        let exporter = start(dir, &providers, &names);
        let tls = || Some("tls".to_owned());
        assert_eq!(reasons(&exporter, &names), [tls(), None, tls(), tls(), None]);
        exporter.await_value("aitask_tasks", &[("provider", "ours"), ("state", "running")], 1.0);
    }
}

/// `openssl req -x509` makes an authority's certificate, which curl and Go take for a server's.
#[test]
fn the_certificate_that_openssl_makes_is_trusted_where_it_is_named() {
    let dir = Dir::new();
    openssl_req(&dir, "server", &["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    let bundle = [dir.read("server.pem"), {
        make(&dir, "other", &["localhost"], true, (2020, 2100));
        dir.read("other.pem")
    }];
    dir.write("bundle.pem", &bundle.concat());
    let port = serve(config(&dir, "server", |_| {})).port();
    let names = ["name", "address", "bundle"];
    let providers = [
        provider("name", "localhost", port, "ca_file: server.pem"),
        provider("address", "127.0.0.1", port, "ca_file: server.pem, min_version: TLS13"),
        provider("bundle", "localhost", port, "ca_file: bundle.pem"),
    ];
    let exporter = start(dir, &providers, &names);
    assert_eq!(reasons(&exporter, &names), [None, None, None]);
}

#[test]
fn errors_of_tls_are_sentences_with_a_hint() {
    let dir = Dir::new();
    make(&dir, "good", &["localhost", "a.example", "10.0.0.7"], true, (2020, 2100));
    make(&dir, "leaf", &["localhost"], false, (2020, 2100));
    make(&dir, "expired", &["localhost"], true, (2020, 2021));
    make(&dir, "early", &["localhost"], true, (2099, 2100));
    openssl_req(&dir, "nameless", &[]);
    let plain = |name: &str| serve(config(&dir, name, |_| {})).port();
    let (good, leaf, nameless) = (plain("good"), plain("leaf"), plain("nameless"));
    let (expired, early) = (plain("expired"), plain("early"));
    let old = serve(config(&dir, "good", |offer| offer.only_tls12 = true)).port();
    let mutual = serve(config(&dir, "good", |offer| offer.wants_certificate = true)).port();
    let gateway = Gateway::start();
    let closing = Upstream::start(|_| Reply::Close(Vec::new()));
    let ca = |name: &str| format!("ca_file: {name}.pem");
    let cases = [
        ("unknown", "localhost", leaf, "", "is not signed by a trusted authority"),
        (
            "authority",
            "localhost",
            good,
            "ca_file: early.pem",
            "is an authority's certificate, and not one of those in tls_config.ca_file",
        ),
        (
            "misnamed",
            "127.0.0.1",
            good,
            &*ca("good"),
            "is not for 127.0.0.1: it is for localhost, a.example, 10.0.0.7",
        ),
        ("expired", "localhost", expired, &*ca("expired"), "expired at 2021-01-01T00:00:00Z"),
        ("early", "localhost", early, &*ca("early"), "is not valid before 2099-01-01T00:00:00Z"),
        ("nameless", "localhost", nameless, &*ca("nameless"), "it has no subjectAltName"),
        (
            "old",
            "localhost",
            old,
            "ca_file: good.pem, min_version: TLS13",
            "supports no TLS version",
        ),
        (
            "mutual",
            "localhost",
            mutual,
            &*ca("good"),
            "the server requires a certificate from the exporter",
        ),
        ("plain", "localhost", gateway.address.port(), "", "does not speak TLS on this port"),
    ];
    let names = cases.map(|(name, ..)| name);
    let mut providers: Vec<_> =
        cases.iter().map(|(name, host, port, tls, _)| provider(name, host, *port, tls)).collect();
    // A server that closes at the first word of TLS.
    providers.push(provider("closed", "localhost", closing.address.port(), ""));
    let all: Vec<_> = names.into_iter().chain(["closed"]).collect();
    let exporter = start(dir, &providers, &all);
    let found = reasons(&exporter, &all);
    assert!(
        found[..names.len()].iter().all(|reason| reason.as_deref() == Some("tls")),
        "{found:?}"
    );
    let history = exporter.get("/").text().to_owned();
    let log = exporter.process.log();
    assert!(
        log.contains("detail=\"the server closed the connection instead of speaking TLS"),
        "{log}"
    );
    for (name, _, _, _, sentence) in cases {
        let report = exporter.get(&format!("/probe?provider={name}&task_id=a&debug=true"));
        assert!(report.text().contains(sentence), "{name}: {}", report.text());
        assert!(log.contains(sentence), "{name}: {log}");
        assert!(history.contains(&sentence.replace('\'', "&#39;")), "{name}: {history}");
    }
}

/// A reload reads certificate authorities again, though the configuration is the same: those of a
/// file that it names, and the system's.
#[test]
fn a_reload_takes_on_other_certificates() {
    let made = Dir::new();
    for name in ["right", "wrong"] {
        make(&made, name, &["localhost"], false, (2020, 2100));
    }
    let (right, wrong) = (made.read("right.pem"), made.read("wrong.pem"));
    let address = serve(config(&made, "right", |_| {}));
    for (tls, name) in [("ca_file: ca.pem", "ca.pem"), ("", "system.pem")] {
        let text = format!(
            "global: {{ poll_interval: 200ms }}\n\
             providers: [{{ name: mj, preset: mjdjourney, tls_config: {{ {tls} }}, \
             base_url: \"https://localhost:{}\" }}]\ntasks: [a]\n",
            address.port()
        );
        let dir = Dir::with(&text);
        dir.write(name, &wrong);
        let system = dir.path("system.pem");
        let exporter = Exporter::start_among(dir, &[("SSL_CERT_FILE", system)]);
        exporter.await_value("aitask_error", &[("reason", "tls")], 1.0);
        exporter.process.dir.write(name, &right);
        assert_eq!(exporter.reload(&text).status, 200);
        exporter.await_state("a", "running");
    }
}

/// The server resumes sessions for a day. Its certificate expires within the hour.
#[test]
fn no_session_outlives_the_certificate_of_its_server() {
    let (host, dir) = (Host::new(), Dir::new());
    Authority::new("servers").issue_for(&dir, "server", &["localhost"], Duration::from_secs(3_600));
    let port = |change: fn(&mut Offer)| serve(config(&dir, "server", change)).port();
    let ports = [port(|_| {}), port(|offer| offer.only_tls12 = true)];
    let names = ["tls13", "tls12"];
    let providers: Vec<_> = names
        .iter()
        .zip(ports)
        .map(|(name, port)| provider(name, "localhost", port, "ca_file: server.pem"))
        .collect();
    write_config(&dir, &providers, &names);
    let exporter = Exporter::start_in_on(&host, dir, &[]);
    // More than once, so that there is a session to resume.
    for name in names {
        eventually("some polls", || {
            let samples = exporter.scrape();
            let polls = samples.value("aitask_polls_total", &[("provider", name)])?;
            (polls >= 3.0).then_some(())
        });
    }
    assert_eq!(reasons(&exporter, &names), [None, None]);
    host.set_clock(2);
    for name in names {
        exporter.await_value("aitask_error", &[("provider", name), ("reason", "tls")], 1.0);
    }
    assert!(exporter.process.log().contains("the server's certificate expired at"));
}
