//! Client certificates.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

use super::{Authority, FILE, TLS, prepare, showing, start, status};
use crate::harness::certificates::{make, openssl_req};
use crate::harness::host::Host;
use crate::harness::{Dir, Exporter, http};

/// An exporter with a policy; clients with names `monitor` and `10.0.0.7`, with the same of another
/// authority, and with none.
fn under(policy: &str) -> Exporter {
    let (dir, authority) = prepare();
    authority.issue(&dir, "client", &["monitor", "10.0.0.7"]);
    Authority::new("theirs").issue(&dir, "stranger", &["monitor", "10.0.0.7"]);
    start(dir, &TLS.replace(" }", &format!(", {policy} }}")))
}

/// Returns whether a client with a certificate of ours, one with a certificate of another
/// authority, and one without a certificate are served.
fn served(policy: &str) -> [bool; 3] {
    let exporter = under(policy);
    let with = |name| {
        let args = showing(&exporter, name);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        status(&exporter, &args) == 200
    };
    [with("client"), with("stranger"), status(&exporter, &[]) == 200]
}

#[test]
fn each_policy_lets_in_whom_it_names() {
    const CA: &str = "client_ca_file: ca.pem, ";
    for (policy, expected) in [
        ("client_auth_type: NoClientCert".to_owned(), [true, true, true]),
        ("client_auth_type: RequestClientCert".to_owned(), [true, true, true]),
        ("client_auth_type: RequireAnyClientCert".to_owned(), [true, true, false]),
        (format!("{CA}client_auth_type: VerifyClientCertIfGiven"), [true, false, true]),
        (format!("{CA}client_auth_type: RequireAndVerifyClientCert"), [true, false, false]),
    ] {
        assert_eq!(served(&policy), expected, "{policy}");
        // The signature of the certificate's key is looked at in both versions.
        assert_eq!(served(&format!("{policy}, max_version: TLS12")), expected, "{policy}");
    }
}

#[test]
fn a_name_in_the_certificate_must_be_allowed() {
    let allowed = |names: &str| {
        served(&format!(
            "client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert, \
             client_allowed_sans: [{names}]"
        ))
    };
    assert_eq!(allowed("other, monitor"), [true, false, false]);
    assert_eq!(allowed("10.0.0.7"), [true, false, false]);
    assert_eq!(allowed("other, 10.0.0.8, 'spiffe://monitor'"), [false, false, false]);
}

/// `openssl req -x509` makes an authority's certificate, which Go takes for a client's.
#[test]
fn a_certificate_that_is_itself_in_client_ca_file_is_taken() {
    let served = |ca: &str, more: &str, version: &str| {
        let (dir, _) = prepare();
        let names = ["-addext", "subjectAltName=DNS:monitor"];
        openssl_req(&dir, "client", &names);
        openssl_req(&dir, "stranger", &names);
        make(&dir, "expired", &["monitor"], true, (2020, 2021));
        let policy = format!(
            "client_ca_file: {ca}.pem, client_auth_type: RequireAndVerifyClientCert{more}{version}"
        );
        let exporter = start(dir, &TLS.replace(" }", &format!(", {policy} }}")));
        ["client", "stranger", "expired"].map(|name| {
            let args = showing(&exporter, name);
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            status(&exporter, &args) == 200
        })
    };
    for version in ["", ", max_version: TLS12"] {
        assert_eq!(served("client", "", version), [true, false, false]);
        assert_eq!(served("expired", "", version), [false, false, false]);
        let allowed =
            |name: &str| served("client", &format!(", client_allowed_sans: [{name}]"), version);
        assert_eq!(allowed("monitor"), [true, false, false]);
        assert_eq!(allowed("other"), [false, false, false]);
    }
}

/// Clients that show the certificate in `client.pem` and keep their sessions, of both versions of TLS.
fn resuming_clients(dir: &Dir, authority: &Authority) -> [Arc<ClientConfig>; 2] {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate.der().to_vec())).unwrap();
    [&version::TLS12, &version::TLS13].map(|version| {
        let chain = CertificateDer::from_pem_file(dir.path("client.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.path("client.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(roots.clone());
        Arc::new(builder.with_client_auth_cert(vec![chain], key).unwrap())
    })
}

/// Reports whether a client is served on a connection of its own.
fn is_served(exporter: &Exporter, client: &Arc<ClientConfig>) -> bool {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut stream = StreamOwned::new(session, http::connect(exporter.address).unwrap());
    let mut answer = Vec::new();
    // One who is refused cannot read.
    let _ = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 200 OK")
}

#[test]
fn no_session_outlives_the_certificate_of_its_client() {
    let (host, (dir, authority)) = (Host::new(), prepare());
    authority.issue_for(&dir, "client", &["monitor"], Duration::from_secs(3_600));
    let clients = resuming_clients(&dir, &authority);
    let policy = "client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert";
    let file = dir.write(FILE, &TLS.replace(" }", &format!(", {policy} }}")));
    let flag = format!("--web.config.file={}", file.display());
    let exporter = Exporter::start_in_on(&host, dir, &[&flag, "--log.level=debug"]);
    for client in &clients {
        assert_eq!([is_served(&exporter, client), is_served(&exporter, client)], [true; 2]);
    }
    host.set_clock(2);
    assert_eq!(clients.map(|client| is_served(&exporter, &client)), [false; 2]);
    assert!(exporter.process.log().contains("the client's certificate expired at"));
}
