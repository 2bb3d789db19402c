//! Which files are right, and what is said of those that are not.

use std::process::Command;

use super::{Authority, FILE, TLS, prepare, users};
use crate::harness::tools::said;
use crate::harness::{Dir, run};

/// The exit code of a check, and what it says on stderr, with names as in the directory itself.
fn check(dir: &Dir, config: &str) -> (Option<i32>, String) {
    let file = dir.write(FILE, config);
    let place = format!("{}/", file.parent().unwrap().display());
    let main = dir.path("aitask.yml");
    let output = run([
        "--config.check".to_owned(),
        format!("--config.file={}", main.display()),
        format!("--web.config.file={}", file.display()),
    ]);
    let said = String::from_utf8(output.stderr).unwrap().replace(&place, "");
    (output.status.code(), said)
}

#[test]
fn promtool_and_we_agree_on_what_is_right() {
    let (dir, _) = prepare();
    let tls = |more: &str| TLS.replace(" }", &format!(", {more} }}"));
    for config in [
        "{}\n".to_owned(),
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n".to_owned(),
        TLS.to_owned(),
        tls("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"),
        tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem"),
        tls("client_auth_type: RequireAnyClientCert"),
        tls("client_auth_type: RequireClientCert"),
        tls("client_auth_type: RequestClientCert, client_ca_file: ca.pem"),
        tls("client_auth_type: NoClientCert, client_ca_file: ''"),
        tls("min_version: TLS12, max_version: TLS13"),
        tls("prefer_server_cipher_suites: false, cipher_suites: []"),
        tls("cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
        tls("curve_preferences: [X25519, CurveP256, CurveP384]"),
        "http_server_config: { http2: true, headers: { X-Frame-Options: sameorigin } }\n"
            .to_owned(),
        format!("{TLS}{}", users::file(&[("alice", "a"), ("bob", "b")])),
    ] {
        assert_eq!(check(&dir, &config), (Some(0), String::new()), "{config}");
        said(Command::new("promtool").args(["check", "web-config"]).arg(dir.path(FILE)));
    }
}

/// Keys that are younger than the promtool of the tests.
#[test]
fn certificates_can_stand_in_the_file() {
    let (dir, _) = prepare();
    let block = |name: &str| dir.read(name).replace('\n', "\n    ");
    let config = format!(
        "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n  client_ca: |\n    {}\n  \
         client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: ['spiffe://a@b/c']\n",
        block("server.pem"),
        block("server.key"),
        block("ca.pem")
    );
    assert_eq!(check(&dir, &config), (Some(0), String::new()));
}

/// What is wrong below `tls_server_config` beside a certificate and its key, and what is said.
const WRONG_TLS: &[(&str, &str)] = &[];

#[test]
fn mistakes_are_told_with_place_and_remedy() {
    let (dir, _) = prepare();
    let (_, other) = Authority::new("theirs").sign(&["localhost"]);
    dir.write("other.key", &other);
    dir.write("empty.pem", "");
    for (wrong, expected) in WRONG_TLS {
        let config = TLS.replace(" }", &format!(",\n  {wrong} }}"));
        assert_eq!(check(&dir, &config), (Some(2), format!("{FILE}:{expected}\n")), "{wrong}");
    }
}
