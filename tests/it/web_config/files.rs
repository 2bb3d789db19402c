//! Validation of the web configuration.

use std::fs;
use std::process::Command;

use super::{Authority, FILE, TLS, prepare, users};
use crate::harness::tools::said;
use crate::harness::{Dir, root, run};

/// Returns the exit code of a check and the text on stderr, with file names relative to the
/// directory.
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
        "tls_server_config: {}\nhttp_server_config: {}\nbasic_auth_users: {}\n".to_owned(),
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
        assert_right(&dir, &config);
    }
}

/// Promtool and we find nothing wrong with a file.
fn assert_right(dir: &Dir, config: &str) {
    assert_eq!(check(dir, config), (Some(0), String::new()), "{config}");
    said(Command::new("promtool").args(["check", "web-config"]).arg(dir.path(FILE)));
}

/// The same for an example of the documents, which may name `server.pem`, `server.key` and `ca.pem`.
pub fn assert_is_right(config: &str) {
    assert_right(&prepare().0, config);
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

/// The invalid files and the reported errors, as `UPDATE_GENERATED=1` writes them.
#[test]
fn bad_files_say_what_is_wrong() {
    let (dir, _) = prepare();
    let (_, other) = Authority::new("theirs").sign(&["localhost"]);
    dir.write("other.key", &other);
    dir.write("empty.pem", "");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    let files = fs::read_dir(root("tests/data/web/bad")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "yml")).collect();
    assert!(files.len() > 15);
    for path in files {
        let (code, said) = check(&dir, &fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("err");
        if update {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!((code, said), (Some(2), expected), "{}", path.display());
    }
}

#[test]
fn a_wrong_file_ends_the_exporter_before_it_listens() {
    let dir = Dir::with("providers: []\n");
    let file = dir.path(FILE);
    let output = run([
        format!("--config.file={}", dir.path("aitask.yml").display()),
        format!("--web.config.file={}", file.display()),
        "--web.listen-address=127.0.0.1:0".to_owned(),
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = format!("{}: cannot read the file: No such file or directory\n", file.display());
    assert_eq!(said, expected);
}
