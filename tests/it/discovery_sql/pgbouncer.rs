//! Queries through PgBouncer with its defaults, in both modes of pooling.

use super::Source;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::{Dir, until};

const USER: (&str, &str) = ("exporter", "hunter2-of-exporter");

#[test]
fn queries_pass_through_a_pooler() {
    let postgres = Postgres::start();
    let (user, password) = USER;
    postgres.execute(&format!(
        "CREATE TABLE jobs AS SELECT 'job-' || n AS task_id FROM generate_series(1, 1000) AS n;
         CREATE ROLE {user} LOGIN PASSWORD '{password}'; GRANT SELECT ON jobs TO {user}"
    ));
    for pool_mode in ["session", "transaction"] {
        let bouncer = PgBouncer::start(&postgres, pool_mode, &[USER]);
        let dir = Dir::new();
        let write = |user: &str, password: &str| {
            let dsn = format!("postgres://{user}:{password}@127.0.0.1:{}/shop", bouncer.port);
            dir.write("dsn", &dsn);
        };
        write(user, password);
        let source = Source::new(&dir, "SELECT task_id FROM jobs", "timeout: 5s");
        // Several at a time and one after the other share the sessions of the server.
        for _ in 0..5 {
            std::thread::scope(|scope| {
                let refreshes: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| Source::new(&dir, "TABLE jobs", "").tasks().unwrap()))
                    .collect();
                assert_eq!(source.tasks().unwrap().len(), 1_000, "{pool_mode}");
                let tasks = refreshes.into_iter().map(|refresh| refresh.join().unwrap().len());
                assert!(tasks.eq([1_000; 4]), "{pool_mode}");
            });
        }
        // Neither a statement nor the limit of its time is left in them.
        let slow = Source::new(&dir, "SELECT task_id, pg_sleep(60) FROM jobs", "timeout: 1s");
        assert!(slow.error().starts_with("timeout: "), "{pool_mode}: {}", slow.error());
        let failed = Source::new(&dir, "SELECT 1; SELECT 2", "");
        assert!(failed.error().starts_with("query: "), "{pool_mode}: {}", failed.error());
        until("the sessions are free", || source.tasks().is_ok());
        write(user, "hunter3-of-exporter");
        assert!(source.error().starts_with("auth: "), "{pool_mode}: {}", source.error());
        write("stranger", password);
        assert!(source.error().starts_with("auth: "), "{pool_mode}: {}", source.error());
    }
}
