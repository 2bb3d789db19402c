//! Which certificates of clients are taken.

use super::{Authority, TLS, prepare, showing, start, status};
use crate::harness::Exporter;
use crate::harness::certificates::{make, openssl_req};

/// An exporter with a policy; clients with names `monitor` and `10.0.0.7`, with the same of another
/// authority, and with none.
fn under(policy: &str) -> Exporter {
    let (dir, authority) = prepare();
    authority.issue(&dir, "client", &["monitor", "10.0.0.7"]);
    Authority::new("theirs").issue(&dir, "stranger", &["monitor", "10.0.0.7"]);
    start(dir, &TLS.replace(" }", &format!(", {policy} }}")))
}

/// Whether a client with a certificate of ours, one with another's, and one without get an answer.
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
