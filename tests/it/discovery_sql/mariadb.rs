//! Queries of MariaDB.

use rustix::process::Signal;

use super::{Source, rejected};
use crate::harness::mariadb::MariaDb;
use crate::harness::{Dir, until};

const JOBS: &str = "
CREATE TABLE jobs (
    task_id varchar(64) PRIMARY KEY, provider varchar(64), kind varchar(64), customer varchar(64),
    submitted_at timestamp NULL, finished_at datetime
);
CREATE USER exporter IDENTIFIED BY 'hunter2-of-exporter';
GRANT SELECT ON shop.jobs TO exporter;
SET time_zone = '+00:00';
INSERT INTO jobs VALUES
    ('a1', 'kling', 'text2video', 'acmé', '2026-11-30 07:00:00', NULL),
    ('b2', NULL, NULL, NULL, NULL, NULL),
    ('c3', 'mj', NULL, 'globex', NULL, now());";

const OPEN: &str = "SELECT provider, task_id, kind AS __param_kind, customer,
    submitted_at AS __enqueue_time__ FROM jobs WHERE finished_at IS NULL ORDER BY task_id;";

/// Returns a server with jobs, and a directory with a data source name for it.
fn server() -> (MariaDb, Dir) {
    let (mariadb, dir) = (MariaDb::start(), Dir::new());
    mariadb.execute(JOBS);
    dir.write("dsn", &dsn(&mariadb, "exporter:hunter2-of-exporter"));
    (mariadb, dir)
}

fn dsn(mariadb: &MariaDb, user: &str) -> String {
    format!("mysql://{user}@127.0.0.1:{}/shop", mariadb.port)
}

#[test]
fn rows_are_tasks_by_the_names_of_their_columns() {
    let (mariadb, dir) = server();
    let source = Source::new(&dir, OPEN, "labels: { app: studio }");
    let expected =
        ["kling/a1 app=studio customer=acmé kind:text2video @1796022000000000", "mj/b2 app=studio"];
    assert_eq!(source.tasks().unwrap(), expected);
    let socket = format!("mysql://root@localhost/shop?socket={}", mariadb.socket().display());
    dir.write("dsn", &socket);
    assert_eq!(source.tasks().unwrap(), expected);
    mariadb.execute("UPDATE jobs SET finished_at = now()");
    assert_eq!(source.tasks().unwrap(), [""; 0]);
}

#[test]
fn values_are_as_mariadb_writes_them() {
    let (_mariadb, dir) = server();
    let query = "SELECT 42 AS task_id, true AS yes, 1.50 AS price, 0.1e0 AS share,
        DATE '2026-11-30' AS day, TIMESTAMP '2026-11-30 07:00:00' AS plain, TIME '01:30:00' AS span,
        JSON_OBJECT('a', 1) AS json, NULL AS nothing, '' AS empty, 'é' AS text, X'6162' AS bytes,
        X'00ff' AS __raw, 1796022000.5 AS __enqueue_time__";
    let expected = "mj/42 bytes=ab day=2026-11-30 empty= json={\"a\": 1} \
        plain=2026-11-30 07:00:00 price=1.50 share=0.1 span=01:30:00 text=é yes=1 \
        @1796022000500000";
    assert_eq!(Source::new(&dir, query, "").tasks().unwrap(), [expected]);
    let source = Source::new(&dir, "SELECT X'00ff' AS task_id UNION SELECT 'b'", "");
    assert_eq!(source.tasks().unwrap(), ["mj/b"]);
    let rejected = rejected(&source.refresh().unwrap());
    assert!(rejected[0].contains("id: row 1: a task ID must be text, not bytes"), "{rejected:?}");
}

#[test]
fn only_one_statement_that_reads_is_run() {
    let (mariadb, dir) = server();
    mariadb.execute(
        "GRANT ALL ON *.* TO exporter;
         DELIMITER //
         CREATE PROCEDURE two() BEGIN SELECT task_id FROM jobs; SELECT 1 AS task_id; END //
         CREATE PROCEDURE burn() BEGIN COMMIT; DELETE FROM jobs; END //",
    );
    for (query, expected) in [
        ("SELECT task_id FROM jobs; DELETE FROM jobs", "near 'DELETE FROM jobs'"),
        ("DELETE FROM jobs RETURNING task_id", "in a READ ONLY transaction"),
        ("DROP TABLE jobs", "no statement that returns rows"),
        ("COMMIT", "no statement that returns rows"),
        ("SET autocommit = 1", "no statement that returns rows"),
        ("SELECT 'a' AS task_id INTO @task_id", "no statement that returns rows"),
        ("CALL burn()", "in a READ ONLY transaction"),
        ("CALL two()", "more than one result"),
        ("SELECT 1 AS id", "the result has no column task_id, only id"),
        ("SELECT nothing FROM jobs", "Unknown column 'nothing' in "),
        ("SELECT ? AS task_id", "near '? AS task_id'"),
    ] {
        let error = Source::new(&dir, query, "").error();
        assert!(error.starts_with("query: ") && error.contains(expected), "{query}: {error}");
        assert_eq!(mariadb.execute("SELECT count(*) FROM jobs").trim(), "3", "{query}");
    }
    // Even without a row.
    let error = Source::new(&dir, "SELECT customer FROM jobs WHERE false", "").error();
    assert_eq!(error, "query: the result has no column task_id, only customer");
}

#[test]
fn rights_and_passwords_are_those_of_the_database() {
    let (mariadb, dir) = server();
    let source = Source::new(&dir, OPEN, "");
    assert_eq!(source.tasks().unwrap().len(), 2);
    mariadb.execute("REVOKE SELECT ON shop.jobs FROM exporter");
    // It may not even use the database.
    assert!(source.error().starts_with("query: Access denied"), "{}", source.error());
    mariadb.execute(
        "CREATE VIEW open_jobs AS SELECT task_id FROM jobs;
         GRANT SELECT ON shop.open_jobs TO exporter",
    );
    let error = source.error();
    assert!(error.starts_with("query: SELECT command denied to user '<secret>'@"), "{error}");
    let view = Source::new(&dir, "SELECT * FROM open_jobs", "");
    assert_eq!(view.tasks().unwrap().len(), 3);
    mariadb.execute("SET PASSWORD FOR exporter = PASSWORD('hunter3-of-exporter')");
    let error = view.error();
    assert!(error.starts_with("auth: Access denied for user '<secret>'@"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
    dir.write("dsn", &dsn(&mariadb, "exporter:hunter3-of-exporter"));
    assert_eq!(view.tasks().unwrap().len(), 3);
}

#[test]
fn a_slow_query_ends_at_the_server_too() {
    let (mariadb, dir) = server();
    let source =
        Source::new(&dir, "SELECT task_id, SLEEP(600) AS __slept FROM jobs", "timeout: 1s");
    let error = source.error();
    assert!(error.starts_with("timeout: "), "{error}");
    let sleeping = "SELECT count(*) FROM information_schema.processlist WHERE user = 'exporter'";
    until("the server has no session of the exporter", || mariadb.execute(sleeping).trim() == "0");
    // Not only because the client has gone.
    let limit = "SELECT IF(@@max_statement_time BETWEEN 0.001 AND 7, 'limited', 'free') AS task_id";
    assert_eq!(Source::new(&dir, limit, "timeout: 7s").tasks().unwrap(), ["mj/limited"]);
    // One that says nothing.
    let source = Source::new(&dir, OPEN, "timeout: 1s");
    assert_eq!(source.tasks().unwrap().len(), 2);
    mariadb.signal(Signal::STOP);
    assert_eq!(source.error(), "timeout: no complete result within 1s");
    mariadb.signal(Signal::CONT);
    until("the server goes on", || source.tasks().is_ok());
}

#[test]
fn many_rows_are_read_up_to_the_limits() {
    let (mariadb, dir) = server();
    // The engine of sequences has no rights to grant.
    dir.write("dsn", &format!("mysql://root@/shop?socket={}", mariadb.socket().display()));
    let rows = |count: usize, value: &str| {
        let query = format!("SELECT CONCAT('job-', seq) AS task_id, {value} FROM seq_1_to_{count}");
        Source::new(&dir, &query, "refresh_interval: 2m, timeout: 2m")
    };
    let list = rows(100_000, "CONCAT('c', seq % 100) AS customer").refresh().unwrap();
    assert_eq!((list.tasks.len(), list.rejected.total()), (100_000, 0));
    let error = rows(40_000, "repeat('x', 1000) AS customer").error();
    assert_eq!(error, "too_large: more than 32 MiB");
}
