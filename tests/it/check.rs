//! `--config.check`, the start and a reload: all of them read the files of both configurations in
//! the same way, and report all errors.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
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

/// Returns what a check prints of a configuration that is valid, with file names relative to the
/// directory.
fn noted(dir: &Dir) -> String {
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let Output { status, stdout, stderr } = run(["--config.check", &file]);
    assert_eq!((status.code(), &*stderr), (Some(0), &[][..]));
    String::from_utf8(stdout).unwrap().replace(&dir.path("").display().to_string(), "")
}

#[test]
fn what_is_valid_but_odd_is_noted() {
    let dir = Dir::with(
        "providers:\n\
         - { name: none, preset: mjdjourney }\n\
         - { name: token, preset: bfl-flux, authorization: { credentials_file: token } }\n\
         - { name: header, preset: mjdjourney, http_headers: { Mj-Api-Secret: { files: [private] } } }\n\
         - { name: user, preset: luma, base_url: 'http://u:p@127.0.0.1' }\n\
         - { name: basic, preset: luma, basic_auth: { username: u, password: p } }\n\
         - { name: keys, preset: kling, authorization: { type: kling-jwt, access_key: aaa, secret_key: bbb } }\n\
         - name: own\n  base_url: http://127.0.0.1\n  request: { path: '/{task_id}' }\n\
         \x20 response: { status: /s, states: { running: [run] } }\n\
         tasks:\n\
         - { id: 'a b', provider: none, labels: { job: x, customer: acme } }\n\
         - { id: '\"c\"', provider: none, labels: { instance: x } } # not-shown\n\
         - { id: \"it's\", provider: none }\n\
         - { id: plain, provider: none, labels: { jobs: x } }\n\
         task_files:\n\
         - { files: 'lists/*.txt', provider: none }\n\
         - { files: 'gone/*.yml', provider: none }\n\
         - { files: 'none/*.yml', provider: none }\n\
         file_sd_configs:\n\
         - { name: cron, files: ['lists/*.txt', '*.json'], provider: none, labels: { job: y } }\n",
    );
    dir.write("lists/a.txt", "d\n# a comment\n  e f \n");
    fs::create_dir(dir.path("none")).unwrap();
    let permit = |name: &str, mode| {
        dir.write(name, "zq1zq2zq3");
        fs::set_permissions(dir.path(name), Permissions::from_mode(mode)).unwrap();
    };
    permit("token", 0o644);
    permit("private", 0o600);
    // Whether others reach the file depends on the directories around it.
    let reachable = dir
        .path("token")
        .ancestors()
        .skip(1)
        .all(|directory| fs::metadata(directory).unwrap().permissions().mode() & 0o001 != 0);
    let said = noted(&dir);
    assert!(said.starts_with("aitask.yml is valid: providers 7, tasks 6, sources 1\n"), "{said}");
    let notes: Vec<_> = said.lines().skip(1).filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "aitask.yml:2:25: note: the provider has no credentials, which APIs of its preset usually need: \"mjdjourney\"",
        "aitask.yml:3:71: note: other users can read the secret file: token",
        "aitask.yml:13:9: note: the task ID contains white space: \"a b\"",
        "aitask.yml:13:42: note: the label has the name of a label of the scrape target: \"job\"",
        "aitask.yml:14:9: note: the task ID contains a quote: \"\\\"c\\\"\"",
        "aitask.yml:14:42: note: the label has the name of a label of the scrape target: \"instance\"",
        "aitask.yml:15:9: note: the task ID contains a quote: \"it's\"",
        "aitask.yml:19:12: note: no file matches: \"gone/*.yml\"",
        "aitask.yml:20:12: note: no file matches: \"none/*.yml\"",
        "aitask.yml:22:77: note: the label has the name of a label of the scrape target: \"job\"",
        "lists/a.txt:3:3: note: the task ID contains white space: \"e f\"",
        "aitask.yml: note: no file matches \"*.json\" of the source \"cron\"",
    ];
    let without_labels: Vec<_> =
        expected.into_iter().filter(|note| reachable || !note.contains("secret file")).collect();
    assert_eq!(notes, without_labels, "{said}");
    assert!(said.contains("    hint: there is no directory gone\n"), "{said}");
    for secret in ["zq1zq2zq3", "aaa", "bbb", "not-shown"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

/// A line that has both a secret and something to note.
#[test]
fn no_note_shows_a_secret() {
    let dir = Dir::with(
        "providers: [{ name: mj, preset: luma, authorization: { credentials: zq1zq2zq3 } }, \
         { name: b, preset: luma }]\ntasks: []\n",
    );
    let said = noted(&dir);
    assert!(said.contains("aitask.yml:1:103: note: the provider has no credentials"), "{said}");
    assert!(said.contains("(line not shown: it may contain a secret)"), "{said}");
    assert!(!said.contains("zq1zq2zq3"), "{said}");
    assert!(
        said.ends_with("aitask.yml: note: there is no task and no source of tasks\n"),
        "{said}"
    );

    // A million of them would help no reader.
    let ids: String = (0..1_000).map(|n| format!("a {n}\n")).collect();
    let dir = Dir::with(
        "providers: [{ name: mj, preset: luma, authorization: { credentials: zq1zq2zq3 } }]\n\
         task_files: [ids.txt]\n",
    );
    dir.write("ids.txt", &ids);
    let said = noted(&dir);
    assert!(said.ends_with("\n… and 950 more\n"), "{said}");
}

#[test]
fn a_start_and_a_reload_log_what_was_loaded() {
    let empty = "providers: [{ name: a, preset: luma, base_url: 'http://127.0.0.1:1' }]\n";
    let dir = Dir::with(&format!(
        "{empty}tasks: [x, y]\nfile_sd_configs: [{{ name: s, files: [l.txt] }}]\n"
    ));
    let exporter = Exporter::start_in(dir, &[]);
    let warning =
        "level=warn msg=\"no task and no source of tasks is configured: nothing new is polled\"";
    let log = exporter.process.log();
    assert!(log.contains("msg=\"configuration loaded\" providers=1 tasks=2 sources=1\n"), "{log}");
    assert!(!log.contains(warning), "{log}");
    assert_eq!(exporter.reload(&format!("{empty}tasks: [x]\n")).status, 200);
    let log = exporter.process.log();
    assert!(
        log.contains("msg=\"configuration reloaded\" providers=1 tasks=1 sources=0\n"),
        "{log}"
    );
    assert!(!log.contains(warning), "{log}");
    assert_eq!(exporter.reload(empty).status, 200);
    let log = exporter.process.log();
    assert!(
        log.contains("msg=\"configuration reloaded\" providers=1 tasks=0 sources=0\n"),
        "{log}"
    );
    assert!(log.contains(warning), "{log}");

    let exporter = Exporter::start(empty);
    assert!(exporter.process.log().contains(warning), "{}", exporter.process.log());
}
