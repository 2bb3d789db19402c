//! An application that keeps its jobs in a table, and an exporter that follows the open ones.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::discovery::{Setup, await_ids, finished, ids, lost, timed, timeless};
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Postgres;
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, READ_TIMEOUT, run, until};

const JOBS: usize = 20;
/// Several refreshes long, also on a busy machine.
const LIFE: Duration = Duration::from_secs(10);
const TABLE: &str = "CREATE TABLE jobs (task_id varchar(64), provider varchar(64),
    submitted_at timestamp NULL, finished_at timestamp NULL)";
const QUERY: &str = "SELECT task_id, provider FROM jobs WHERE finished_at IS NULL";

/// Runs an application that marks each job some seconds after its end, and waits until all ends are
/// counted. `execute` runs a statement, and `earlier` is the time before so many seconds in its SQL.
fn assert_all_ends_are_counted(
    dsn: &str,
    execute: impl Fn(&str) -> String,
    earlier: impl Fn(u64) -> String,
) {
    execute(TABLE);
    let gateway = Gateway::start();
    let setup = Setup::new("")
        .provider(timed(&gateway, "timed"))
        .provider(timeless(&gateway, "timeless"))
        .and(&format!(
            "sql_sd_configs: [{{ name: jobs, data_source_name: '{dsn}', query: '{QUERY}', \
             refresh_interval: 1s }}]"
        ));
    let exporter = Exporter::start_in(Dir::with(&setup.text()), &["--log.level=debug"]);
    let mark = || {
        let earlier = earlier(LIFE.as_secs() + 5);
        execute(&format!(
            "UPDATE jobs SET finished_at = now() WHERE finished_at IS NULL AND submitted_at < {earlier}"
        ));
    };
    for number in 0..JOBS {
        for provider in ["timed", "timeless"] {
            let id = format!("{provider}-{number}");
            let steps = json!([
                { "status": "running", "seconds": LIFE.as_secs_f64() },
                { "status": "completed" },
            ]);
            gateway.put(&id, &json!({ "enqueued_seconds_ago": 0, "steps": steps }));
            execute(&format!("INSERT INTO jobs VALUES ('{id}', '{provider}', now(), NULL)"));
        }
        mark();
        thread::sleep(Duration::from_millis(200));
    }
    let of_both = |count: fn(&Samples, &str) -> f64| {
        let samples = exporter.scrape();
        ["timed", "timeless"].map(|provider| count(&samples, provider))
    };
    let (expected, deadline) = ([JOBS as f64; 2], Instant::now() + 2 * LIFE + READ_TIMEOUT);
    while of_both(finished) != expected {
        assert!(Instant::now() < deadline, "{:?} of {expected:?}", of_both(finished));
        mark();
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(of_both(lost), [0.0; 2]);
    let samples = exporter.scrape();
    let labels = [("mechanism", "sql"), ("config", "jobs")];
    assert!(samples.value("aitask_sd_refreshes_total", &labels).unwrap() >= 4.0);
    assert_eq!(samples.value("aitask_sd_discovered_tasks", &labels), Some(0.0));
    let (log, page) = (exporter.process.log(), exporter.get("/service-discovery"));
    assert!(page.text().contains("sql"), "{}", page.text());
    // Neither the statements nor the data source name.
    for said in [&*log, page.text(), exporter.get("/config").text()] {
        assert!(!said.contains("hunter2") && !said.contains("FETCH ALL"), "{said}");
    }
}

#[test]
fn each_end_of_the_jobs_of_a_postgresql_table_is_counted() {
    let postgres = Postgres::start();
    let dsn = format!(
        "postgres://shop:hunter2-unused@/shop?host={}&port={}",
        postgres.socket_dir(),
        postgres.port
    );
    let earlier = |seconds| format!("now() - interval '{seconds} seconds'");
    assert_all_ends_are_counted(&dsn, |statement| postgres.execute(statement), earlier);
}

#[test]
fn each_end_of_the_jobs_of_a_mariadb_table_is_counted() {
    let mariadb = MariaDb::start();
    mariadb
        .execute("CREATE USER app IDENTIFIED BY 'hunter2-of-app'; GRANT SELECT ON shop.* TO app");
    let dsn = format!("mysql://app:hunter2-of-app@127.0.0.1:{}/shop", mariadb.port);
    let earlier = |seconds| format!("now() - INTERVAL {seconds} SECOND");
    assert_all_ends_are_counted(&dsn, |statement| mariadb.execute(statement), earlier);
}

#[test]
fn a_failing_query_keeps_the_list_and_is_shown_without_the_secret() {
    let mut postgres = Postgres::start();
    postgres.execute(TABLE);
    postgres.execute("INSERT INTO jobs VALUES ('a', 'timed', now(), NULL)");
    postgres.execute("CREATE ROLE exporter LOGIN PASSWORD 'hunter2-of-exporter'");
    postgres.execute("GRANT SELECT ON jobs TO exporter");
    let gateway = Gateway::start();
    gateway.put("a", &json!({ "steps": [{ "status": "running" }] }));
    let setup = Setup::new("").provider(timed(&gateway, "timed")).and(&format!(
        "sql_sd_configs: [{{ name: jobs, data_source_name_file: dsn.txt, query: '{QUERY}', \
         refresh_interval: 1s }}]\n\
         file_sd_configs: [{{ name: files, files: ['*.txt'] }}]"
    ));
    let dir = Dir::with(&setup.text());
    let dsn = format!("postgres://exporter:hunter2-of-exporter@127.0.0.1:{}/shop", postgres.port);
    dir.write("dsn.txt", &dsn);
    let exporter = Exporter::start_in(dir, &["--log.level=debug"]);
    await_ids(&exporter, &["a"]);
    let failures = |reason: &str| {
        let labels = [("mechanism", "sql"), ("config", "jobs"), ("reason", reason)];
        exporter.scrape().value("aitask_sd_refresh_failures_total", &labels).unwrap()
    };
    assert_eq!((failures("query"), failures("auth"), failures("connect")), (0.0, 0.0, 0.0));
    postgres.execute("REVOKE SELECT ON jobs FROM exporter");
    until("the query fails", || failures("query") > 0.0);
    let page = exporter.get("/service-discovery").text().to_owned();
    assert!(page.contains("permission denied for table jobs"), "{page}");
    postgres.execute("ALTER ROLE exporter PASSWORD 'another'");
    until("the password is refused", || failures("auth") > 0.0);
    postgres.kill();
    until("there is no connection", || failures("connect") > 0.0);
    assert_eq!(ids(&exporter), ["a"]);
    let file = exporter.process.dir.path("aitask.yml");
    let asked = run(["discover", "jobs", "--config.file", file.to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(1));
    let asked = String::from_utf8([asked.stdout, asked.stderr].concat()).unwrap();
    assert!(asked.contains("connect: "), "{asked}");
    let mut said = vec![asked, page, exporter.process.log()];
    for target in ["/", "/metrics", "/tasks", "/config", "/service-discovery", "/api/v1/tasks"] {
        said.push(exporter.get(target).text().to_owned());
    }
    for said in said {
        assert!(!said.contains("hunter2") && !said.contains("\"exporter\""), "{said}");
    }
}
