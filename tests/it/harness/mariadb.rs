//! A MariaDB of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;

use super::database::{ServerDir, ServerProcess, free_port};
use super::tools::{pipe, said};
use super::{Dir, until};

/// Flag of servers that share the locked memory of their user.
const NO_NATIVE_AIO: &str = "--innodb-use-native-aio=0";

pub struct MariaDb {
    pub port: u16,
    server: ServerProcess,
    /// Holds its data and its socket.
    dir: ServerDir,
}

impl MariaDb {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server that speaks TLS with the certificate and the key in `name.pem` and `name.key`.
    pub fn start_with_tls(from: &Dir, name: &str) -> Self {
        let read = |ending: &str| fs::read(from.path(&format!("{name}.{ending}"))).unwrap();
        Self::start_with(&[("ssl-cert", read("pem")), ("ssl-key", read("key"))])
    }

    fn start_with(files: &[(&str, Vec<u8>)]) -> Self {
        let (dir, port) = (ServerDir::new("mariadb"), free_port());
        let data = format!("--datadir={}", dir.path("data").display());
        let mut create = dir.command(Path::new("mariadb-install-db"));
        create.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
        create.args(["--skip-test-db", "--skip-name-resolve", NO_NATIVE_AIO, &data]);
        {
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            said(&mut create);
        }
        let mut start = dir.command(&program());
        start.args([
            "--no-defaults",
            NO_NATIVE_AIO,
            &data,
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]);
        start.arg(format!("--port={port}"));
        start.arg(format!("--socket={}", dir.path("socket").display()));
        start.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]);
        // A zone of its own, so that times would be wrong in it.
        start.arg("--default-time-zone=+05:30");
        for (name, content) in files {
            start.arg(format!("--{name}={}", dir.write(name, content).display()));
        }
        let mariadb = Self { port, server: dir.start(&mut start), dir };
        until("MariaDB accepts connections", || {
            let mut client = mariadb.client("mysql");
            client.args(["--execute", "CREATE DATABASE shop"]).output().unwrap().status.success()
        });
        mariadb
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path("socket")
    }

    /// Runs statements in the database `shop`; returns what the client prints.
    pub fn execute(&self, statements: &str) -> String {
        let output = pipe(&mut self.client("shop"), statements.as_bytes());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the client as the administrator.
    pub fn client(&self, database: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--skip-column-names", "--batch"]);
        client.arg(format!("--socket={}", self.socket().display()));
        client.args(["--default-character-set=utf8mb4", database]);
        client
    }

    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.end(Signal::KILL);
    }
}

/// Returns the path of the server, which Debian does not put on the path of every user.
fn program() -> PathBuf {
    let path = PathBuf::from("/usr/sbin/mariadbd");
    if path.exists() { path } else { PathBuf::from("mariadbd") }
}
