//! The commands of the documents, in blocks and between backticks, are run as they are written.

use std::collections::BTreeSet;
use std::process::Command;

use super::EXCLUDED;
use super::markdown::{blocks, spans};
use super::session::{Session, commands};
use crate::harness::tools::{Alertmanager, Webhook, said};
use crate::harness::{Dir, Exporter, Gateway, PROGRAM, Process, root, until};
use crate::web_config;

/// The texts that a reader puts in the place of the gaps in the documents.
const PLACEHOLDERS: [(&str, &str); 10] = [
    ("provider=…", "provider=suno"),
    ("task_id=…", "task_id=running-1"),
    ("poll ID…", "poll running-1"),
    ("poll ID", "poll running-1"),
    ("--list NAME", "--list midjourney"),
    ("discover [NAME]", "discover cron"),
    ("discover NAME", "discover cron"),
    ("completions SHELL", "completions bash"),
    // Another port than the one that may be in use.
    ("http://localhost:9093", "http://$ALERTMANAGER"),
    ("cargo test --test it NAME", "cargo test --test it documents"),
];

/// Programs with which code between backticks begins if it is a command.
const PROGRAMS: [&str; 20] = [
    "aitask_exporter",
    "amtool",
    "apt",
    "cargo",
    "chmod",
    "chromium",
    "curl",
    "df",
    "docker",
    "htpasswd",
    "jsonnet",
    "jsonnetfmt",
    "kill",
    "kubectl",
    "make",
    "node",
    "openssl",
    "prometheus",
    "promtool",
    "psql",
];

/// Names of commands, which lack what they need to run.
const NAMES: [&str; 6] = [
    "aitask_exporter poll",
    "cargo test",
    "chmod 600",
    "jsonnetfmt -i",
    "kill -9",
    "openssl req -x509",
];

/// The conditions that must hold after a command that begins with this.
const AFTERWARDS: [(&str, &str); 6] = [
    ("aitask_exporter schema >", "jq -e .properties.providers aitask.schema.json"),
    (
        "curl -X POST localhost:10054/-/reload",
        "curl localhost:10054/metrics | grep -x 'aitask_exporter_config_last_reload_successful 1'",
    ),
    (
        "openssl req",
        "openssl x509 -in gateway.pem -noout -checkhost gateway.example | grep 'does match'",
    ),
    (
        "cat > mine.libsonnet",
        "promtool check rules mine/aitask.rules.json\n\
         grep wiki.example.com mine/aitask.rules.json\n\
         jq -e .panels mine/fleet.json mine/task.json mine/exporter.json",
    ),
    ("list-open-jobs", "aitask_exporter discover cron | grep 'suno ok-from-a-command'"),
    ("kubectl", "aitask_exporter discover cron | grep 'suno running-in-kubernetes'"),
];

const CONFIGURATION: &str = "
global: { poll_interval: 1s }
providers:
- { name: midjourney, preset: midjourney-proxy, base_url: 'http://GATEWAY/midjourney-proxy' }
- { name: suno, preset: new-api-task, base_url: 'http://GATEWAY/new-api-task' }
file_sd_configs:
- { name: cron, files: [lists/*.json], provider: suno }
tasks:
- { id: stuck-1, provider: suno }
- { id: running-1, provider: suno }
- { id: queued-1, provider: midjourney }
";

/// The flags with which the exporter takes registrations.
const RECEIVER: [&str; 2] = ["--web.enable-task-receiver", "--storage.path=state"];

/// TLS, and a user with the password `carol123`.
const WEB_CONFIGURATION: &str = "
tls_server_config: { cert_file: server.pem, key_file: server.key }
basic_auth_users: { prometheus: $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu }
";

/// Resources of which one is open.
const RESOURCES: &str = r#"{"items": [
    {"status": {"taskId": "running-in-kubernetes", "finished": false}},
    {"status": {"taskId": "done-in-kubernetes", "finished": true}}
]}"#;

/// Runs a command on a terminal, types a password whenever it is asked for one, and prints the last
/// line of the command.
const TYPIST: &str = r#"
import os, pty, sys
process, terminal = pty.fork()
if process == 0:
    os.execvp("sh", ["sh", "-c", sys.argv[1].replace("QUOTE", chr(39))])
said = b""
try:
    while piece := os.read(terminal, 1024):
        said += piece
        if said.endswith(b"assword: "):
            os.write(terminal, b"carol123\n")
except OSError:
    pass
print(said.decode().split()[-1], end="")
"#;

/// A machine with an exporter, as the documents assume it.
struct Machine {
    session: Session,
    exporter: Exporter,
    _gateway: Gateway,
    _alertmanager: Alertmanager,
}

impl Machine {
    /// Starts an exporter with these flags; `prepare` writes the files that they name.
    fn start(flags: &[&str], prepare: impl FnOnce(&Dir)) -> Self {
        let gateway = Gateway::start();
        let mut session = Session::new();
        let address = gateway.address.to_string();
        session.dir.write("aitask.yml", &CONFIGURATION.replace("GATEWAY", &address));
        session.dir.write("lists/jobs.json", "[]");
        session.install("list-open-jobs", "#!/bin/sh\necho '[\"ok-from-a-command\"]'\n");
        session.install("kubectl", &format!("#!/bin/sh\ncat <<'END'\n{RESOURCES}\nEND\n"));
        let webhook = Webhook::start();
        let alertmanager = Alertmanager::telling(webhook.address);
        session.set_variable("ALERTMANAGER", alertmanager.address.to_string());
        let mut command = Command::new(PROGRAM);
        prepare(&session.dir);
        command
            .current_dir(session.dir.path(""))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags);
        let exporter = Exporter::listening(Process::start(Dir::new(), &mut command));
        session.lead_to(exporter.address);
        Self { session, exporter, _gateway: gateway, _alertmanager: alertmanager }
    }

    fn run(&mut self, command: &str) {
        if EXCLUDED.iter().any(|(excluded, _)| *excluded == command) {
            return;
        }
        let filled = fill(command);
        if is_for_developers(&filled) {
            return;
        }
        if filled.starts_with("htpasswd ") {
            let hash = self
                .session
                .run(&format!("python3 -c '{TYPIST}' '{}'", filled.replace('\'', "QUOTE")), "");
            assert!(hash.starts_with("$2y$10$") && hash.len() == 60, "{command}: {hash}");
            return;
        }
        self.session.run(&filled, "");
        // A server of the documents may have started.
        self.session.lead_to(self.exporter.address);
        for (start, check) in AFTERWARDS {
            if filled.starts_with(start) {
                self.session.run(check, "");
            }
        }
    }
}

/// Puts something in the place of what a command leaves open.
fn fill(command: &str) -> String {
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    let filled = PLACEHOLDERS.iter().fold(command.to_owned(), fill);
    assert!(!filled.contains('…'), "nothing is known for the … of: {command}");
    filled
}

/// Checks a command that builds or tests, which would take too long, and reports whether it is one.
fn is_for_developers(command: &str) -> bool {
    let words: Vec<_> = command.split_whitespace().collect();
    match &words[..] {
        ["make", target] => {
            said(Command::new("make").args(["--dry-run", target]).current_dir(root("")));
        }
        [.., "cargo", "test", "--test", "it", name] | [.., "cargo", "test", "--lib", name] => {
            let folder = if words.contains(&"it") { "tests/it" } else { "src" };
            let last = name.rsplit("::").next().unwrap();
            let mut search = Command::new("grep");
            search.args(["-rlE", &format!("(fn|mod) .*{last}")]).arg(root(folder));
            assert!(search.output().unwrap().status.success(), "{command}");
        }
        _ => return false,
    }
    true
}

#[test]
fn every_command_runs() {
    let mut machine = Machine::start(&RECEIVER, |_| {});
    machine.exporter.await_state("stuck-1", "queued");
    let mut count = 0;
    // `story` follows the READMEs.
    let is_elsewhere = |path: &str| path.starts_with("README");
    for block in blocks().into_iter().filter(|block| block.kind == "sh") {
        if !is_elsewhere(&block.path) {
            count += 1;
            for command in commands(&block.text) {
                machine.run(&command);
            }
        }
    }
    assert!(count > 9, "{count} blocks");
    let between_backticks = between_backticks();
    assert!(between_backticks.len() > 25, "{between_backticks:?}");
    for command in between_backticks {
        machine.run(&command);
    }
}

/// Returns the commands between backticks, each once.
fn between_backticks() -> BTreeSet<String> {
    let is_command = |text: &String| {
        let program = text.split(' ').next().unwrap();
        PROGRAMS.contains(&program) && text.contains(' ') && !NAMES.contains(&&**text)
    };
    spans().into_iter().map(|span| span.text).filter(is_command).collect()
}

/// The commands that ask the exporter, as docs/runbooks.md says to change them for TLS and users.
#[test]
fn every_request_works_with_tls_and_users() {
    let flags = [&RECEIVER[..], &["--web.config.file=web.yml"]].concat();
    let mut machine = Machine::start(&flags, |dir| {
        let (made, _) = web_config::prepare();
        for name in ["ca.pem", "server.pem", "server.key"] {
            dir.write(name, &made.read(name));
        }
        dir.write("web.yml", WEB_CONFIGURATION);
        dir.write(".netrc", "machine localhost login prometheus password carol123\n");
    });
    let in_blocks = blocks().into_iter().filter(|block| block.kind == "sh");
    let in_blocks = in_blocks.flat_map(|block| commands(&block.text));
    let asks = |command: &String| command.starts_with("curl ");
    let requests: BTreeSet<_> =
        between_backticks().into_iter().chain(in_blocks).filter(asks).collect();
    assert!(requests.len() > 5, "{requests:?}");
    until("the exporter answers", || {
        let ready = "curl --cacert ca.pem --netrc https://localhost:10054/metrics | grep -c stuck-1 || true";
        machine.session.run(ready, "").trim() != "0"
    });
    for request in requests {
        for user in ["-u prometheus:carol123", "--netrc"] {
            let here = request.replace("localhost:10054", "https://localhost:10054");
            machine
                .session
                .run(&fill(&here.replacen("curl", &format!("curl --cacert ca.pem {user}"), 1)), "");
        }
    }
}
