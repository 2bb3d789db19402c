//! Which certificates of clients are taken.

use super::{Authority, TLS, prepare, showing, start, status};
use crate::harness::Exporter;

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
