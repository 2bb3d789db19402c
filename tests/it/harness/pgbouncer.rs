//! A PgBouncer of its own before a PostgreSQL.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::database::{ServerDir, ServerProcess, free_port};
use super::http::connect;
use super::postgres::Postgres;
use super::until;

pub struct PgBouncer {
    pub port: u16,
    server: ServerProcess,
    dir: ServerDir,
}

impl PgBouncer {
    /// Starts one with these users and passwords, in a mode of pooling; all else is the default.
    pub fn start(postgres: &Postgres, pool_mode: &str, users: &[(&str, &str)]) -> Self {
        let (dir, port) = (ServerDir::new("pgbouncer"), free_port());
        let users = users.iter().map(|(user, password)| format!("\"{user}\" \"{password}\"\n"));
        let users = dir.write("users.txt", users.collect::<String>());
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_file = {}\npool_mode = {pool_mode}\n\
             auth_type = plain\n",
            postgres.port,
            users.display()
        );
        let config = dir.write("pgbouncer.ini", config);
        let server = dir.start(dir.command(&program()).arg(config));
        let mut bouncer = Self { port, server, dir };
        until("PgBouncer accepts connections", || {
            assert!(bouncer.server.is_running(), "{}", bouncer.dir.log());
            connect(([127, 0, 0, 1], bouncer.port).into()).is_ok()
        });
        bouncer
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.server.end(Signal::KILL);
    }
}

/// Returns the path of the program, which Debian does not put on the path of every user.
fn program() -> PathBuf {
    let path = Path::new("/usr/sbin/pgbouncer");
    if path.exists() { path.to_owned() } else { PathBuf::from("pgbouncer") }
}
