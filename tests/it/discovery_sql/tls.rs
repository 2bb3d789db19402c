//! TLS to databases.

use super::Source;
use crate::harness::Dir;
use crate::harness::certificates::make;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Postgres;

const YEARS: (i32, i32) = (2020, 2040);

#[test]
fn certificates_are_verified_as_the_data_source_name_says() {
    let dir = Dir::new();
    for (name, names) in [("ours", ["localhost"]), ("theirs", ["localhost"]), ("named", ["db"])] {
        make(&dir, name, &names, false, YEARS);
    }
    let (postgres, mariadb) =
        (Postgres::start_with_tls(&dir, "ours"), MariaDb::start_with_tls(&dir, "ours"));
    postgres.execute("CREATE ROLE exporter LOGIN PASSWORD 'hunter2-of-exporter'");
    mariadb.execute("CREATE USER exporter IDENTIFIED BY 'hunter2-of-exporter' REQUIRE SSL");
    mariadb.execute("GRANT SELECT ON shop.* TO exporter");
    let source = Source::new(with(&dir, "postgres://app@localhost/x"), "SELECT 1 AS task_id", "");
    let modes = [
        ("prefer", "PREFERRED", "ours", None),
        ("require", "REQUIRED", "theirs", None),
        ("verify-ca", "VERIFY_CA", "ours", None),
        ("verify-full", "VERIFY_IDENTITY", "ours", None),
        ("verify-ca", "VERIFY_CA", "theirs", Some("tls: the server's certificate ")),
        ("verify-full", "VERIFY_IDENTITY", "theirs", Some("tls: the server's certificate ")),
        ("verify-full", "VERIFY_IDENTITY", "missing", Some("read: cannot read ")),
    ];
    for (postgres_mode, mysql_mode, authority, expected) in modes {
        for dsn in [
            format!(
                "postgres://exporter:hunter2-of-exporter@localhost:{}/shop?sslmode={postgres_mode}\
                 &sslrootcert={authority}.pem",
                postgres.port
            ),
            format!(
                "mysql://exporter:hunter2-of-exporter@localhost:{}/shop?ssl-mode={mysql_mode}\
                 &ssl-ca={authority}.pem",
                mariadb.port
            ),
        ] {
            dir.write("dsn", &dsn);
            match (source.tasks(), expected) {
                (Ok(tasks), None) => assert_eq!(tasks, ["mj/1"], "{dsn}"),
                (Err(error), Some(expected)) => {
                    assert!(error.starts_with(expected), "{dsn}: {error}");
                    assert!(!error.contains("hunter2"), "{error}");
                }
                (outcome, expected) => panic!("{dsn}: {outcome:?}, not {expected:?}"),
            }
        }
    }
    // Without TLS, MariaDB refuses this user.
    let port = mariadb.port;
    dir.write(
        "dsn",
        &format!("mysql://exporter:hunter2-of-exporter@localhost:{port}/shop?ssl-mode=DISABLED"),
    );
    assert!(source.error().starts_with("auth: "), "{}", source.error());
    // Another name.
    let postgres = Postgres::start_with_tls(&dir, "named");
    let port = postgres.port;
    let dsn =
        format!("postgres://shop@localhost:{port}/shop?sslmode=verify-full&sslrootcert=named.pem");
    dir.write("dsn", &dsn);
    let error = source.error();
    assert!(error.starts_with("tls: ") && error.contains("db"), "{error}");
    // A server without TLS.
    let plain = Postgres::start();
    let port = plain.port;
    dir.write("dsn", &format!("postgres://shop@localhost:{port}/shop?sslmode=require"));
    assert!(source.error().starts_with("tls: "), "{}", source.error());
}

/// Writes a data source name, so that the configuration is valid.
fn with<'d>(dir: &'d Dir, dsn: &str) -> &'d Dir {
    dir.write("dsn", dsn);
    dir
}
