//! A directory in which the commands of the documents run as their readers run them: the program and
//! what others have installed are on the path, and `localhost:10054` leads to the exporter that the
//! session has started.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use crate::harness::tools::pipe;
use crate::harness::{Dir, PROGRAM, Process, root};

/// The program, on another port than in the documents, which may be in use. `PROGRAM` is its path.
const WRAPPER: &str = "#!/bin/sh
case \"${1-}\" in
'' | demo | simulate | --web.*) exec 'PROGRAM' \"$@\" --web.listen-address=127.0.0.1:0 ;;
*) exec 'PROGRAM' \"$@\" ;;
esac
";

/// Cargo has built the program already.
const CARGO: &str = "#!/bin/sh
[ \"$1 $2 $3\" = 'run --release --' ] || { echo \"unexpected: cargo $*\" >&2; exit 1; }
shift 3
exec aitask_exporter \"$@\"
";

/// Commands that run until they are stopped.
const SERVERS: [&str; 5] = [
    "cargo run --release -- demo",
    "aitask_exporter",
    "aitask_exporter demo",
    "aitask_exporter simulate",
    "aitask_exporter --web.enable-task-receiver --storage.path=data",
];

pub struct Session {
    pub dir: Dir,
    variables: Vec<(&'static str, String)>,
    server: Option<Process>,
}

impl Session {
    pub fn new() -> Self {
        let session = Self { dir: Dir::new(), variables: Vec::new(), server: None };
        session.install("aitask_exporter", &WRAPPER.replace("PROGRAM", PROGRAM));
        session.install("cargo", CARGO);
        // Where commands are run that name files of the repository.
        for folder in ["config", "dashboards", "docs", "tests"] {
            symlink(root(folder), session.dir.path(folder)).unwrap();
        }
        session
    }

    /// Puts a program on the path.
    pub fn install(&self, name: &str, script: &str) {
        let path = self.dir.write(&format!("bin/{name}"), script);
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    pub fn set_variable(&mut self, name: &'static str, value: String) {
        self.variables.push((name, value));
    }

    /// Lets `localhost:10054` in commands with `curl` lead to an address. A status from 400 on makes
    /// them fail.
    pub fn lead_to(&self, address: SocketAddr) {
        let rule = format!("fail\nconnect-to = \"localhost:10054:{address}\"\n");
        self.dir.write(".curlrc", &rule);
    }

    /// Runs a command, which must succeed, and returns its output; starts it if it is a server.
    pub fn run(&mut self, command: &str, input: &str) -> String {
        if SERVERS.contains(&command) {
            self.serve(command);
            return String::new();
        }
        let Output { status, stdout, stderr } = pipe(&mut self.shell(command), input.as_bytes());
        let (stdout, stderr) =
            (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{command}\n{status}: {stdout}{stderr}");
        stdout
    }

    fn serve(&mut self, command: &str) {
        self.server = None;
        let mut server = Process::start(Dir::new(), &mut self.shell(&format!("exec {command}")));
        self.lead_to(server.addresses(1)[0]);
        self.server = Some(server);
    }

    fn shell(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-euc", command]).current_dir(self.dir.path(""));
        shell.env("PATH", format!("{}:{path}:/usr/sbin", self.dir.path("bin").display()));
        shell.env("HOME", self.dir.path(""));
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            shell.env_remove(name);
        }
        shell
    }
}

/// Returns the commands of a block, one by one, unless it has a text for a command (`<<`).
pub fn commands(block: &str) -> Vec<String> {
    if block.contains("<<") {
        return vec![block.trim_end().to_owned()];
    }
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block.lines() {
        command += line;
        if line.ends_with('\\') {
            command.push('\n');
        } else {
            commands.extend(Some(std::mem::take(&mut command)).filter(|whole| !whole.is_empty()));
        }
    }
    assert!(command.is_empty(), "a command goes on: {command}");
    commands
}
