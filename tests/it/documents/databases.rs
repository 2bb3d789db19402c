//! The page on queries, word for word: the statements of an administrator, and the configuration.

use super::markdown::{Block, blocks};
use super::session::Session;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Postgres;

/// The table of the application: two jobs that belong on the list, and two that do not.
const JOBS: &str = "
CREATE TABLE jobs (task_id varchar(64), provider varchar(64), customer varchar(64),
  submitted_at timestamp NULL, finished_at timestamp NULL);
INSERT INTO jobs VALUES
  ('open', 'suno', 'acme', '2026-11-30 07:00:00', NULL),
  ('just-ended', 'suno', NULL, NULL, now()),
  ('long-ended', 'suno', 'globex', NULL, '2026-11-30 07:00:00'),
  ('elsewhere', 'kling', 'globex', NULL, NULL);";

/// The tasks as `discover` prints them, in order.
const EXPECTED: [&str; 3] = [
    "  suno just-ended",
    "  suno open labels{customer=\"acme\"} enqueued 2026-11-30T07:00:00Z",
    "sql orders: 2 tasks, 0 elements rejected",
];

/// Returns the blocks of the page.
fn page() -> Vec<Block> {
    let is_of_page =
        |block: &Block| block.path == "docs/discovery.md" && block.heading == "A query";
    blocks().into_iter().filter(is_of_page).collect()
}

/// Returns the only block of a kind that contains a text.
fn block(kind: &str, part: &str) -> String {
    let mut found = page().into_iter().filter(|it| it.kind == kind && it.text.contains(part));
    let block = found.next().unwrap_or_else(|| panic!("no {kind} with {part}"));
    assert!(found.next().is_none(), "several {kind} with {part}");
    block.text
}

/// Follows the page with the database of this data source name.
fn assert_tasks_are_discovered(dsn: &str) {
    let mut session = Session::new();
    session.dir.write("aitask.yml", &block("yaml", "sql_sd_configs"));
    session.dir.write("suno-token", "t0ken");
    session.dir.write("dsn", dsn);
    let said = session.run("aitask_exporter discover", "");
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, EXPECTED);
}

#[test]
fn the_page_on_queries_can_be_followed() {
    let of_database = ["CREATE ROLE", "CREATE USER"].map(|part| block("sql", part));
    assert_eq!(page().iter().filter(|block| block.kind == "sql").count(), of_database.len());
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    postgres.execute(JOBS);
    postgres.execute(&of_database[0]);
    let user = "exporter:change-me@127.0.0.1";
    assert_tasks_are_discovered(&format!("postgres://{user}:{}/shop", postgres.port));
    mariadb.execute(&format!("SET time_zone = '+00:00'; {JOBS}"));
    mariadb.execute(&of_database[1]);
    assert_tasks_are_discovered(&format!("mysql://{user}:{}/shop", mariadb.port));
}
