//! HTTPS: a certificate is trusted where the configuration says so, and nowhere else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Dir, Exporter, eventually};

/// A gateway behind TLS that answers every request with the same running task, and its certificate
/// in PEM. Its thread ends with the process.
fn serve() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
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
    (address, pem)
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

#[test]
fn a_certificate_is_trusted_only_where_the_configuration_says_so() {
    let (address, certificate) = serve();
    let port = address.port();
    let dir = Dir::new();
    let certificate = dir.write("localhost.pem", &certificate);
    let provider = |name: &str, host: &str, tls: &str| {
        format!(
            "{{ name: {name}, preset: mjdjourney, base_url: \"https://{host}:{port}\", \
             tls_config: {{ {tls} }} }}"
        )
    };
    let ca = format!("ca_file: \"{}\"", certificate.display());
    let providers = [
        provider("system", "localhost", ""),
        provider("ours", "localhost", &ca),
        // The certificate is for `localhost` alone.
        provider("misnamed", "127.0.0.1", &ca),
        provider("careless", "127.0.0.1", "insecure_skip_verify: true"),
    ];
    let names = ["system", "ours", "misnamed", "careless"];
    let tasks = names.map(|name| format!("{{ id: a, provider: {name} }}"));
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    ));
    let samples = eventually("all have been polled", || {
        let samples = exporter.scrape();
        (samples.find("aitask_up", &[]).len() == 4).then_some(samples)
    });
    let reason = |name| samples.label("aitask_error", &[("provider", name)], "reason");
    assert_eq!(names.map(reason), [Some("tls"), None, Some("tls"), None]);
    assert_eq!(
        samples.value("aitask_tasks", &[("provider", "ours"), ("state", "running")]),
        Some(1.0)
    );
}

/// A reload reads certificate authorities again, though the configuration is the same: those of a
/// file that it names, and the system's.
#[test]
fn a_reload_takes_on_other_certificates() {
    let (address, right) = serve();
    let wrong = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    for (tls, name) in [("ca_file: ca.pem", "ca.pem"), ("", "system.pem")] {
        let config = format!(
            "global: {{ poll_interval: 200ms }}\n\
             providers: [{{ name: mj, preset: mjdjourney, tls_config: {{ {tls} }}, \
             base_url: \"https://localhost:{}\" }}]\ntasks: [a]\n",
            address.port()
        );
        let dir = Dir::with(&config);
        dir.write(name, &wrong);
        let system = dir.path("system.pem");
        let exporter = Exporter::start_with(dir, "SSL_CERT_FILE", system);
        exporter.await_value("aitask_error", &[("reason", "tls")], 1.0);
        exporter.process.dir.write(name, &right);
        assert_eq!(exporter.reload(&config).status, 200);
        exporter.await_state("a", "running");
    }
}
