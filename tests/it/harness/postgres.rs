//! A PostgreSQL of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use super::database::{ServerDir, ServerProcess, free_port};
use super::tools::said;
use super::{Dir, until};

/// Everybody who reaches the socket is trusted; over TCP every user has a password.
const ACCESS: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

pub struct Postgres {
    pub port: u16,
    server: ServerProcess,
    /// Holds its data and its socket.
    dir: ServerDir,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server that speaks TLS with the certificate and the key in `name.pem` and `name.key`.
    pub fn start_with_tls(from: &Dir, name: &str) -> Self {
        let read = |ending: &str| fs::read(from.path(&format!("{name}.{ending}"))).unwrap();
        Self::start_with(&[("server.crt", read("pem")), ("server.key", read("key"))])
    }

    fn start_with(files: &[(&str, Vec<u8>)]) -> Self {
        let (dir, port) = (ServerDir::new("postgres"), free_port());
        let data = dir.path("data");
        let mut create = dir.command(&program("initdb"));
        said(create.args(["-A", "trust", "-U", "shop", "--no-sync", "-D"]).arg(&data));
        dir.write("data/pg_hba.conf", ACCESS);
        for (name, content) in files {
            dir.write(&format!("data/{name}"), content);
        }
        let server = start_server(&dir, port, !files.is_empty());
        let postgres = Self { port, server, dir };
        let accepts = || {
            let mut client = Command::new("psql");
            client.args(["-d", "postgres", "-c", "CREATE DATABASE shop"]);
            client.envs(postgres.variables()).output().unwrap().status.success()
        };
        until("PostgreSQL accepts connections", accepts);
        postgres
    }

    /// Returns the variables with which `psql` finds the server.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("PGHOST", self.socket_dir()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", "shop".to_owned()),
        ]
    }

    /// Returns the directory of the socket.
    pub fn socket_dir(&self) -> String {
        self.dir.path("").to_str().unwrap().trim_end_matches('/').to_owned()
    }

    /// Runs statements in the database `shop`; returns what `psql` prints, without decoration.
    pub fn execute(&self, statements: &str) -> String {
        let mut client = Command::new("psql");
        client.args(["-v", "ON_ERROR_STOP=1", "-qAt", "-d", "shop", "-c", statements]);
        said(client.envs(self.variables()))
    }

    /// Stops the processes of the server that work for a client, and those that accept one.
    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// Ends the server at once.
    pub fn kill(&mut self) {
        self.server.end(Signal::QUIT);
    }

    /// Starts the server after its end.
    pub fn restart(&mut self) {
        self.server = start_server(&self.dir, self.port, false);
        until("PostgreSQL accepts connections again", || {
            let mut client = Command::new("psql");
            client.args(["-d", "shop", "-c", "SELECT 1"]).envs(self.variables());
            client.output().unwrap().status.success()
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast shutdown, which leaves no shared memory behind.
        self.server.end(Signal::INT);
    }
}

fn start_server(dir: &ServerDir, port: u16, has_tls: bool) -> ServerProcess {
    let mut start = dir.command(&program("postgres"));
    start.arg("-D").arg(dir.path("data")).arg("-k").arg(dir.path(""));
    let (port, ssl) = (format!("port={port}"), if has_tls { "ssl=on" } else { "ssl=off" });
    for setting in [&*port, ssl, "listen_addresses=127.0.0.1", "fsync=off", "log_statement=all"] {
        start.args(["-c", setting]);
    }
    dir.start(&mut start)
}

/// Returns the path of a program of the server, which Debian does not put on the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut paths = versions.map(|version| version.path().join("bin").join(name));
    paths.find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}
