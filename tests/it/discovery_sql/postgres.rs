//! Queries of PostgreSQL.

use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{Source, rejected};
use crate::harness::postgres::Postgres;
use crate::harness::{Dir, eventually, until};

const JOBS: &str = "
CREATE TYPE quality AS ENUM ('draft', 'final');
CREATE TABLE jobs (
    task_id text PRIMARY KEY, provider text, kind text, customer text, quality quality,
    submitted_at timestamptz, finished_at timestamptz
);
CREATE ROLE exporter LOGIN PASSWORD 'hunter2-of-exporter';
GRANT SELECT ON jobs TO exporter;
INSERT INTO jobs VALUES
    ('a1', 'kling', 'text2video', 'acme', 'final', '2026-11-30 08:00:00.25+01', NULL),
    ('b2', NULL, NULL, NULL, NULL, NULL, NULL),
    ('c3', 'mj', NULL, 'globex', 'draft', NULL, now());";

const OPEN: &str = "SELECT provider, task_id, kind AS \"__param_kind\", customer, quality,
    submitted_at AS \"__enqueue_time__\", 7 AS __ignored
    FROM jobs WHERE finished_at IS NULL ORDER BY task_id; -- the open ones; no others";

/// Returns a server with jobs, and a directory with a data source name for it.
fn server() -> (Postgres, Dir) {
    let (postgres, dir) = (Postgres::start(), Dir::new());
    postgres.execute(JOBS);
    dir.write("dsn", &dsn(&postgres, "exporter:hunter2-of-exporter"));
    (postgres, dir)
}

fn dsn(postgres: &Postgres, user: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{}/shop", postgres.port)
}

#[test]
fn rows_are_tasks_by_the_names_of_their_columns() {
    let (postgres, dir) = server();
    let source = Source::new(&dir, OPEN, "labels: { app: studio, customer: nobody }");
    let expected = [
        "kling/a1 app=studio customer=acme quality=final kind:text2video @1796022000250000",
        "mj/b2 app=studio customer=nobody",
    ];
    assert_eq!(source.tasks().unwrap(), expected);
    // Through the socket, without a password.
    let socket =
        format!("postgres://exporter@/shop?host={}&port={}", postgres.socket_dir(), postgres.port);
    dir.write("dsn", &socket);
    assert_eq!(source.tasks().unwrap(), expected);
    // An empty result is an empty list.
    postgres.execute("UPDATE jobs SET finished_at = now()");
    assert_eq!(source.tasks().unwrap(), [""; 0]);
}

#[test]
fn values_are_as_postgresql_writes_them() {
    let (_postgres, dir) = server();
    let query = "SELECT 42::bigint AS task_id, true AS yes, false AS no, 1.50::numeric AS price,
        0.1::float8 AS share, 'NaN'::float4 AS nan, DATE '2026-11-30' AS day,
        TIMESTAMP '2026-11-30 07:00:00' AS plain, TIMESTAMPTZ '2026-11-30 07:00:00+05' AS zoned,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid, ARRAY[1, 2] AS list,
        '{\"a\": 1}'::jsonb AS json, '\\x00ff'::bytea AS bytes, interval '90 minutes' AS span,
        NULL AS nothing, '' AS empty, 'é' AS text, 1796022000.5 AS __enqueue_time__";
    let expected = "mj/42 bytes=\\x00ff day=2026-11-30 empty= json={\"a\": 1} list={1,2} nan=NaN \
        no=false plain=2026-11-30 07:00:00 price=1.50 share=0.1 span=01:30:00 text=é \
        uuid=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 yes=true zoned=2026-11-30 02:00:00+00 \
        @1796022000500000";
    assert_eq!(Source::new(&dir, query, "").tasks().unwrap(), [expected]);
    // A time without a zone is UTC.
    let query = "SELECT 'a' AS task_id, TIMESTAMP '2026-11-30 07:00:00' AS __enqueue_time__";
    assert_eq!(Source::new(&dir, query, "").tasks().unwrap(), ["mj/a @1796022000000000"]);
}

#[test]
fn rows_that_are_no_tasks_are_rejected_one_by_one() {
    let (_postgres, dir) = server();
    let query = "SELECT * FROM (VALUES
        ('good', 'mj', NULL, NULL), (NULL, 'mj', NULL, NULL), ('none', 'udio', NULL, NULL),
        ('late', 'mj', 'infinity', NULL), ('wide', 'mj', NULL, repeat('x', 2000)),
        ('no-kind', 'kling', NULL, NULL), ('', 'mj', NULL, NULL), ('good', 'mj', NULL, 'second')
        ) AS jobs (task_id, provider, __enqueue_time__, customer)";
    let source = Source::new(&dir, query, "limit: 5");
    assert_eq!(source.tasks().unwrap(), ["mj/good"]);
    let list = source.refresh().unwrap();
    let found = rejected(&list).join("\n");
    for expected in [
        "null: id: row 2: a task ID must be text, not null",
        "none: provider: row 3: unknown provider: \"udio\"",
        "late: time: row 4: the enqueue time is invalid",
        "wide: labels: row 5: label \"customer\": a label value of more than 1024 bytes",
        "no-kind: params: row 6: the param \"kind\" is missing",
        ": id: row 7: ",
    ] {
        assert!(found.contains(expected), "{expected} is not in\n{found}");
    }
    assert_eq!(list.rejected.total(), 6);
}

#[test]
fn columns_that_make_no_tasks_are_an_error() {
    let (_postgres, dir) = server();
    for (columns, expected) in [
        ("1 AS id, 'x' AS a", "query: the result has no column task_id, only id, a"),
        ("1 AS task_id, 2 AS a, 3 AS a", "query: two columns are called \"a\": give one"),
        ("1 AS task_id, 2", "query: the column \"?column?\" is not a label name"),
        ("1 AS task_id, 'x' AS status", "query: the column \"status\" is a label name that"),
    ] {
        let error = Source::new(&dir, &format!("SELECT {columns}"), "").error();
        assert!(error.starts_with(expected), "{columns}: {error}");
    }
}

#[test]
fn only_one_statement_that_reads_is_run() {
    let (postgres, dir) = server();
    dir.write("dsn", &dsn(&postgres, "owner:hunter2-of-owner"));
    postgres.execute("CREATE ROLE owner SUPERUSER LOGIN PASSWORD 'hunter2-of-owner'");
    postgres.execute(
        "CREATE FUNCTION burn() RETURNS text AS 'DELETE FROM jobs; SELECT ''x''' LANGUAGE sql",
    );
    for (query, expected) in [
        ("SELECT task_id FROM jobs; DELETE FROM jobs", "cannot insert multiple commands"),
        (
            "SELECT task_id FROM jobs; COMMIT; DELETE FROM jobs; --",
            "cannot insert multiple commands",
        ),
        ("DELETE FROM jobs RETURNING task_id", "syntax error at or near \"DELETE\""),
        ("WITH gone AS (DELETE FROM jobs RETURNING task_id) SELECT * FROM gone", "data-modifying"),
        ("SELECT burn() AS task_id", "cannot execute DELETE in a read-only transaction"),
        ("SELECT nextval('s') AS task_id", "cannot execute nextval() in a read-only transaction"),
        ("SELECT task_id FROM jobs FOR UPDATE", "cannot execute SELECT FOR UPDATE in a read-only"),
        ("COMMIT", "syntax error at or near \"COMMIT\""),
        ("SELECT nothing FROM jobs", "column \"nothing\" does not exist (SQLSTATE 42703)"),
        ("SELECT $1 AS task_id", "bind message supplies 0 parameters"),
    ] {
        postgres.execute("CREATE SEQUENCE IF NOT EXISTS s");
        let error = Source::new(&dir, query, "").error();
        assert!(error.starts_with("query: ") && error.contains(expected), "{query}: {error}");
        assert_eq!(postgres.execute("SELECT count(*) FROM jobs").trim(), "3", "{query}");
    }
}

#[test]
fn rights_and_passwords_are_those_of_the_database() {
    let (postgres, dir) = server();
    let source = Source::new(&dir, OPEN, "");
    assert_eq!(source.tasks().unwrap().len(), 2);
    postgres.execute("REVOKE SELECT ON jobs FROM exporter");
    let error = source.error();
    assert_eq!(error, "query: permission denied for table jobs (SQLSTATE 42501)");
    // One view is enough.
    postgres.execute(
        "CREATE VIEW open_jobs AS SELECT task_id FROM jobs; GRANT SELECT ON open_jobs TO exporter",
    );
    let view = Source::new(&dir, "TABLE open_jobs", "");
    assert_eq!(view.tasks().unwrap().len(), 3);
    // A password changes at the server, and then in the file.
    postgres.execute("ALTER ROLE exporter PASSWORD 'hunter3-of-exporter'");
    let error = view.error();
    assert!(error.starts_with("auth: password authentication failed"), "{error}");
    assert!(!error.contains("\"exporter\"") && !error.contains("hunter"), "{error}");
    dir.write("dsn", &dsn(&postgres, "exporter:hunter3-of-exporter\n"));
    let error = view.error();
    assert!(error.starts_with("read: ") && !error.contains("hunter"), "{error}");
    dir.write("dsn", &dsn(&postgres, "exporter:hunter3-of-exporter"));
    assert_eq!(view.tasks().unwrap().len(), 3);
    dir.write("dsn", &dsn(&postgres, "nobody-there:hunter2"));
    assert!(view.error().starts_with("auth: "), "{}", view.error());
    std::fs::remove_file(dir.path("dsn")).unwrap();
    assert!(view.error().starts_with("read: cannot read "), "{}", view.error());
}

#[test]
fn a_slow_query_ends_at_the_server_too() {
    let (postgres, dir) = server();
    let active = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aitask_exporter'";
    let query = "SELECT task_id, pg_sleep(600) FROM jobs";
    let error = Source::new(&dir, query, "timeout: 1s").error();
    assert!(error.starts_with("timeout: "), "{error}");
    until("the server has no session of the exporter", || postgres.execute(active).trim() == "0");
}

#[test]
fn a_server_that_stops_is_noticed() {
    let (mut postgres, dir) = server();
    let slow = Source::new(&dir, "SELECT task_id, pg_sleep(600) FROM jobs", "timeout: 30s");
    let outcome = thread::scope(|scope| {
        let refresh = scope.spawn(|| slow.error());
        let session = eventually("the query runs", || {
            let session = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'FETCH%'
                AND application_name = 'aitask_exporter'";
            postgres.execute(session).trim().parse().ok()
        });
        kill_process(Pid::from_raw(session).unwrap(), Signal::KILL).unwrap();
        refresh.join().unwrap()
    });
    assert!(outcome.starts_with("connect: "), "{outcome}");
    // One that accepts connections and says nothing.
    let source = Source::new(&dir, OPEN, "timeout: 1s");
    until("the server has recovered", || source.tasks().is_ok());
    postgres.signal(Signal::STOP);
    assert_eq!(source.error(), "timeout: no complete result within 1s");
    postgres.signal(Signal::CONT);
    until("the server goes on", || source.tasks().is_ok());
    postgres.kill();
    let error = source.error();
    assert!(error.starts_with("connect: Connection refused"), "{error}");
    postgres.restart();
    assert_eq!(source.tasks().unwrap().len(), 2);
}

#[test]
fn many_rows_are_read_up_to_the_limits() {
    let (_postgres, dir) = server();
    let rows = |count: usize, value: &str| {
        let query =
            format!("SELECT 'job-' || n AS task_id, {value} FROM generate_series(1, {count}) AS n");
        Source::new(&dir, &query, "refresh_interval: 2m, timeout: 2m")
    };
    let list = rows(100_000, "'c' || n % 100 AS customer").refresh().unwrap();
    assert_eq!((list.tasks.len(), list.rejected.total()), (100_000, 0));
    assert_eq!(&*list.tasks[99_999].task.id, "job-100000");
    let error = rows(40_000, "repeat('x', 1000) AS customer").error();
    assert_eq!(error, "too_large: more than 32 MiB");
    assert_eq!(rows(1_000_001, "1 AS n").error(), "too_large: more than 1000000 rows");
}
