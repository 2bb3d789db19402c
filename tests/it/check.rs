//! `--config.check`, the start and a reload: all of them read the files of both configurations in
//! the same way, and report all errors.

use std::fs;
use std::process::Output;

use crate::harness::{Dir, Exporter, run};
use crate::web_config::{Authority, prepare};

const WEB: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// A configuration with a client certificate.
fn config(tls: &[&str]) -> String {
    let tls: String = tls.iter().map(|line| format!("      {line}\n")).collect();
    format!(
        "providers:\n  - name: mj\n    preset: mjdjourney\n    tls_config:\n{tls}tasks: [one, two]\n"
    )
}

/// A directory with both configurations, certificates and keys, good and bad.
fn dir(main: &str, web: &str) -> Dir {
    let (dir, _) = prepare();
    let (certificate, key) = Authority::new("theirs").sign(&["localhost"]);
    dir.write("other.pem", &certificate);
    dir.write("other.key", &key);
    dir.write("encrypted.key", &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    // Three bytes, which are no certificate.
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    dir.write("rubbish.pem", rubbish);
    dir.write("broken.pem", &rubbish.replace("AAAA", "?"));
    dir.write("rubbish.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    dir.write("aitask.yml", main);
    dir.write("web.yml", web);
    dir
}

/// Returns the exit code and the text on stderr, with file names relative to the directory.
fn said(dir: &Dir, flags: &[&str]) -> (Option<i32>, String) {
    let place = dir.path("").display().to_string();
    let files = [
        format!("--config.file={}", dir.path("aitask.yml").display()),
        format!("--web.config.file={}", dir.path("web.yml").display()),
    ];
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    let Output { status, stderr, .. } = run(files.into_iter().chain(flags));
    (status.code(), String::from_utf8(stderr).unwrap().replace(&place, ""))
}

/// Returns the errors of a check, after asserting that a start reports the same.
fn refused(dir: &Dir) -> String {
    let checked = said(dir, &["--config.check"]);
    let state = dir.path("state").into_os_string().into_string().unwrap();
    let started = said(dir, &["--web.listen-address=127.0.0.1:0", "--storage.path", &state]);
    assert_eq!(checked, started);
    assert_eq!(checked.0, Some(2), "{}", checked.1);
    // A start that fails leaves nothing behind.
    assert!(!fs::exists(state).unwrap());
    checked.1
}

/// Returns the positions in the errors.
fn places(said: &str) -> Vec<&str> {
    let lines = said.lines().filter(|line| !line.starts_with(' '));
    lines.map(|line| line.split(": ").next().unwrap()).collect()
}

#[test]
fn a_certificate_that_fits_is_right() {
    let main = config(&["ca_file: ca.pem", "cert_file: server.pem", "key_file: server.key"]);
    let dir = dir(&main, WEB);
    assert_eq!(said(&dir, &["--config.check"]), (Some(0), String::new()));
    let web = format!("--web.config.file={}", dir.path("web.yml").display());
    let exporter = Exporter::start_in(dir, &[&web]);
    assert!(exporter.process.log().contains("Listening on"));
}

#[test]
fn what_cannot_speak_tls_is_placed() {
    for (tls, expected) in [
        (
            &["ca_file: ca.pem", "cert_file: server.pem", "key_file: other.key"][..],
            "aitask.yml:7:17: the certificate and the key do not match\n",
        ),
        (
            &["cert_file: server.pem", "key_file: encrypted.key"],
            "aitask.yml:6:17: the private key is encrypted, which is not supported: encrypted.key\n",
        ),
        (
            &["cert_file: server.pem", "key_file: rubbish.key"],
            "aitask.yml:6:17: this kind of private key is not supported\n",
        ),
        (
            &["cert_file: rubbish.pem", "key_file: other.key"],
            "aitask.yml:5:18: the certificate cannot be read\n",
        ),
        (
            &["cert_file: other.key", "key_file: other.pem"],
            "aitask.yml:5:18: no certificate in PEM: other.key\n",
        ),
        (&["ca_file: broken.pem"], "aitask.yml:5:16: not valid PEM: broken.pem\n"),
        (&["ca_file: rubbish.pem"], "aitask.yml:5:16: a certificate in this file cannot be read\n"),
        (&["ca_file: server.key"], "aitask.yml:5:16: no certificate in PEM: server.key\n"),
    ] {
        let refused = refused(&dir(&config(tls), WEB));
        assert!(refused.starts_with(expected), "{expected}{refused}");
    }
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let main = "providers:\n  - name: mj\n    presett: mjdjourney\n  - name: other\n    \
                preset: mjdjourney\n    authorization: { credentials_file: gone }\n    tls_config: \
                { cert_file: server.pem, key_file: other.key }\ntasks:\n  - { id: a, provider: \
                none }\ntask_files:\n  - { files: lists/*, provider: other }\n  - lists/gone.txt\n  \
                - { files: lists/a.txt, provider: other }\n  - { files: lists/b.yml, provider: \
                other }\n";
    let web = "tls_server_config:\n  cert_file: server.pem\n  key_file: other.key\n  \
               client_ca_file: server.key\n  client_auth_type: Anybody\nbasic_auth_users:\n  alice: \
               hunter2\n";
    let dir = dir(main, web);
    dir.write("lists/a.txt", "x\nx\n");
    dir.write("lists/b.yml", "- y\n- { id: z, labels: { a-b: c } }\n");
    let refused = refused(&dir);
    let expected = [
        "aitask.yml:3:5",
        "aitask.yml:6:40",
        "aitask.yml:7:52",
        "aitask.yml:9:24",
        "aitask.yml:11:14",
        "aitask.yml:12:5",
        "lists/a.txt:2:1",
        "lists/b.yml:2:22",
        "web.yml:3:13",
        "web.yml:4:19",
        "web.yml:5:21",
        "web.yml:7:10",
    ];
    assert_eq!(places(&refused), expected, "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
fn a_reload_says_the_same() {
    let good = config(&["ca_file: ca.pem"]);
    let bad = config(&["cert_file: server.pem", "key_file: other.key"]);
    let exporter = Exporter::start_in(dir(&good, "{}"), &[]);
    let reply = exporter.reload(&bad);
    let place = exporter.process.dir.path("").display().to_string();
    assert_eq!(reply.status, 500);
    let refused = reply.text().replace(&place, "");
    assert!(refused.contains(&said(&exporter.process.dir, &["--config.check"]).1), "{refused}");
}
