//! The advice of the runbooks on asking a provider by hand: with a refused configuration on disk, for a
//! paused provider, and with TLS and users.

use std::process::{Command, Output};

use serde_json::json;

use crate::harness::tools::{pipe, present};
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, http};
use crate::web_config::{Authority, users};

fn probe(exporter: &Exporter, id: &str) -> String {
    let target = format!("/probe?provider=mj&task_id={id}&debug=true");
    exporter.get(&target).text().to_owned()
}

/// Runs `poll`, as a reader does in the directory of the configuration.
fn poll(exporter: &Exporter, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("poll").args(args).current_dir(exporter.process.dir.path(""));
    let Output { status, stdout, stderr } = pipe(&mut command, b"");
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A probe asks with the configuration in force. `poll` refuses the file that the exporter has refused,
/// or, if the error is elsewhere, asks with its settings.
#[test]
fn a_probe_does_not_read_a_refused_configuration() {
    let (gateway, new) = (Gateway::start(), Gateway::start());
    let config = |gateway: &Gateway| {
        format!("providers: [{}]\ntasks: [running-1]\n", gateway.provider("mj", ""))
    };
    let exporter = Exporter::start(&config(&gateway));
    let in_force = format!("GET http://{}/", gateway.address);
    let dir = &exporter.process.dir;
    dir.write("before.yml", &config(&gateway));

    assert_eq!(exporter.reload("providers: [").status, 500);
    let shown = probe(&exporter, "running-1");
    assert!(shown.contains(&in_force) && shown.contains("state: running"), "{shown}");
    let (code, said) = poll(&exporter, &["running-1"]);
    assert!(code == Some(2) && said.contains("aitask.yml:1:"), "{said}");
    let (code, said) = poll(&exporter, &["--config.file=before.yml", "running-1"]);
    assert!(code == Some(0) && said.contains(&in_force), "{said}");

    // The error is about another provider, and the address of this one is new.
    let two = config(&new).replace("]\ntasks", ", { name: other, preset: odd }]\ntasks");
    assert_eq!(exporter.reload(&two).status, 500);
    let (code, said) = poll(&exporter, &["--provider=mj", "running-1"]);
    let elsewhere = format!("GET http://{}/", new.address);
    assert!(code == Some(0) && said.contains(&elsewhere), "{said}");
    let shown = probe(&exporter, "running-1");
    assert!(shown.contains(&in_force), "{shown}");
}

/// A paused provider is asked by `poll` only.
#[test]
fn poll_asks_a_paused_provider() {
    let gateway = Gateway::start();
    gateway.put("a", &json!({ "fault": { "kind": "status", "status": 401 } }));
    let provider = gateway.provider("mj", "");
    let exporter = Exporter::start(&format!("providers: [{provider}]\ntasks: [a]\n"));
    exporter.await_value("aitask_poll_failures_total", &[("reason", "auth")], 1.0);
    let before = gateway.requests("running-1");
    let shown = probe(&exporter, "running-1");
    assert!(shown.contains("the provider rejects the credentials"), "{shown}");
    assert_eq!(gateway.requests("running-1"), before);
    let (code, said) = poll(&exporter, &["running-1"]);
    assert!(code == Some(0) && said.contains("state: running"), "{said}");
}

/// The flags of curl that the runbooks name are enough, and needed.
#[test]
fn curl_needs_the_authority_and_a_user() {
    let gateway = Gateway::start();
    let dir = Dir::with(&format!("providers: [{}]\n", gateway.provider("mj", "")));
    let authority = Authority::new("ours");
    authority.issue(&dir, "server", &["localhost"]);
    let ca = dir.write("ca.pem", &authority.pem());
    let tls = "tls_server_config: { cert_file: server.pem, key_file: server.key }\n";
    let web = dir.write("web.yml", &(tls.to_owned() + &users::file(&[("alice", "pass")])));
    dir.write(".netrc", "machine localhost login alice password pass\n");
    let home = dir.path("");
    let flag = format!("--web.config.file={}", web.display());
    let exporter = Exporter::start_in(dir, &[&flag]);
    let path = http::encode("running-1");
    let url = format!(
        "https://localhost:{}/probe?provider=mj&task_id={path}&debug=true",
        exporter.address.port()
    );
    let asked = |flags: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail"]).args(flags).arg(&url).env("HOME", &home);
        let output = present(&mut curl, Command::output);
        output.status.success()
            && String::from_utf8_lossy(&output.stdout).contains("state: running")
    };
    let trusted = ["--cacert", ca.to_str().unwrap()];
    assert!(asked(&[&trusted[..], &["-u", "alice:pass"]].concat()));
    assert!(asked(&[&trusted[..], &["--netrc"]].concat()));
    assert!(!asked(&trusted));
    assert!(!asked(&["--netrc"]));
}
