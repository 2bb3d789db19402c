//! A PostgreSQL of its own, for the snippets that read a database.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::harness::tools::{present, said};
use crate::harness::until;

/// The user as whom it runs if the tests run as root, as whom it refuses to run.
const NOBODY: u32 = 65_534;

pub struct Postgres {
    /// Holds its data and its socket, at a path that every user can reach.
    dir: PathBuf,
    server: Child,
}

impl Postgres {
    pub fn start() -> Self {
        let name =
            format!("aitask-postgres-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        fs::create_dir(&dir).unwrap();
        if geteuid().is_root() {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = dir.join("data");
        let mut create = program("initdb");
        said(
            create
                .current_dir(&dir)
                .args(["-A", "trust", "-U", "shop", "--no-sync", "-D"])
                .arg(&data),
        );
        let mut start = program("postgres");
        start.current_dir(&dir).arg("-D").arg(&data).arg("-k").arg(&dir);
        start.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = present(&mut start, Command::spawn);
        let postgres = Self { dir, server };
        let accepts = || {
            let mut client = Command::new("psql");
            client.args(["-d", "postgres", "-c", "CREATE DATABASE shop"]);
            client.envs(postgres.variables()).output().unwrap().status.success()
        };
        until("PostgreSQL accepts connections", accepts);
        postgres
    }

    /// Returns the variables with which `psql` finds the server.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [("PGHOST", self.dir.to_str().unwrap().to_owned()), ("PGUSER", "shop".to_owned())]
    }

    /// Runs statements in the database `shop`.
    pub fn execute(&self, statements: &str) {
        let mut client = Command::new("psql");
        client.args(["-v", "ON_ERROR_STOP=1", "-d", "shop", "-c", statements]);
        said(client.envs(self.variables()));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A fast shutdown, which leaves no shared memory behind.
        let _ = kill_process(Pid::from_child(&self.server), Signal::INT);
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Returns a command with a program of the server, which Debian does not put on the path.
fn program(name: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut paths = versions.map(|version| version.path().join("bin").join(name));
    let path = paths.find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name));
    if !geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(path);
    command
}
