//! Queries of PostgreSQL, also through PgBouncer.
//!
//! The query is that of a cursor, which is declared by the extended protocol: the server accepts
//! exactly one statement there, and of a cursor only one that reads. The rows are fetched by the
//! simple protocol, in which the server converts every value to text.

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Row, TypeInfo};

use super::access::DatabaseAccess;
use super::error::SqlError;
use super::rows::{SqlRows, SqlValue};
use super::{APPLICATION, DatabaseQuery};
use crate::config::data_source::{DataSourceName, DatabaseAddress, DatabaseTlsMode};

/// Runs the query and adds all rows of its result to `rows`.
pub async fn fetch(
    access: &DatabaseAccess,
    query: DatabaseQuery<'_>,
    rows: &mut SqlRows,
) -> Result<(), SqlError> {
    let mut connection = options(access).connect().await?;
    // A pooler may give the next transaction another session. All rows are read, not the first ones.
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL cursor_tuple_fraction = 1",
        query.milliseconds_left()
    );
    execute(&mut connection, begin).await?;
    let declare = format!("DECLARE {APPLICATION} NO SCROLL CURSOR FOR {}", query.text);
    let declare = sqlx::query(AssertSqlSafe(declare));
    // Without a name, which another client of a pooler may have taken in the same session.
    declare.persistent(false).execute(&mut connection).await?;
    let fetch = sqlx::raw_sql(AssertSqlSafe(format!("FETCH ALL FROM {APPLICATION}")));
    let mut fetched = fetch.fetch(&mut connection);
    while let Some(row) = fetched.try_next().await? {
        add(&row, rows)?;
    }
    drop(fetched);
    // A pooler closes the session of a client that leaves within a transaction.
    execute(&mut connection, "COMMIT".to_owned()).await?;
    // All rows are here.
    let _ = connection.close().await;
    Ok(())
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), SqlError> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

fn add(row: &PgRow, rows: &mut SqlRows) -> Result<(), SqlError> {
    if !rows.has_columns() {
        rows.set_columns(row.columns().iter().map(Column::name))?;
    }
    let values = row.columns().iter().enumerate().map(|(index, column)| {
        let text: Option<&str> = row.try_get_unchecked(index)?;
        Ok(match (text, column.type_info().name()) {
            (None, _) => SqlValue::Null,
            (Some("t"), "BOOL") => SqlValue::Text("true"),
            (Some("f"), "BOOL") => SqlValue::Text("false"),
            (Some(text), _) => SqlValue::Text(text),
        })
    });
    let values = values.collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(rows.add(values.into_iter())?)
}

fn options(access: &DatabaseAccess) -> PgConnectOptions {
    let DataSourceName { address, user, password, database, tls, .. } = &access.name;
    let mut options = PgConnectOptions::new_without_pgpass()
        .username(user)
        .application_name(APPLICATION)
        // PgBouncer refuses it by default.
        .extra_float_digits(None)
        .ssl_mode(match tls.mode {
            DatabaseTlsMode::Disable => PgSslMode::Disable,
            DatabaseTlsMode::Prefer => PgSslMode::Prefer,
            DatabaseTlsMode::Require => PgSslMode::Require,
            DatabaseTlsMode::VerifyCa => PgSslMode::VerifyCa,
            DatabaseTlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .disable_statement_logging();
    options = match address {
        DatabaseAddress::Tcp(host, port) => options.host(host).port(*port),
        DatabaseAddress::Socket(path, port) => options.socket(path).port(*port),
    };
    options = options.database(database.as_deref().unwrap_or(user));
    if let Some(password) = password {
        options = options.password(password.expose_secret());
    }
    if let Some(authorities) = &access.authorities {
        options = options.ssl_root_cert_from_pem(authorities.clone());
    }
    if let Some((certificate, key)) = &access.identity {
        options = options.ssl_client_cert_from_pem(certificate);
        options = options.ssl_client_key_from_pem(key.expose_secret());
    }
    options
}
