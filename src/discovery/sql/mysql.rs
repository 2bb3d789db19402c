//! Queries of MySQL and MariaDB.
//!
//! The query is prepared first: the server accepts exactly one statement there, and names the columns
//! of its result. It is then run by the text protocol, in which the server converts every value to
//! text.

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Either, Executor, Row, SqlSafeStr, Statement,
};

use super::DatabaseQuery;
use super::access::DatabaseAccess;
use super::error::SqlError;
use super::rows::{SqlRows, SqlValue};
use crate::config::data_source::{DataSourceName, DatabaseAddress, DatabaseTlsMode};
use crate::discovery::list::{RefreshError, RefreshReason};

/// Runs the query and adds all rows of its result to `rows`.
pub async fn fetch(
    access: &DatabaseAccess,
    query: DatabaseQuery<'_>,
    rows: &mut SqlRows,
) -> Result<(), SqlError> {
    let mut connection = options(access).connect().await?;
    let version = sqlx::raw_sql("SELECT VERSION()").fetch_one(&mut connection).await?;
    let version: &[u8] = version.try_get_unchecked(0)?;
    let timeout = timeout_setting(version, query.milliseconds_left());
    // Also for what follows a COMMIT in a stored procedure.
    for statement in [&*timeout, "SET SESSION TRANSACTION READ ONLY", "START TRANSACTION READ ONLY"]
    {
        execute(&mut connection, statement).await?;
    }
    let text = || AssertSqlSafe(query.text.to_owned());
    let prepared = (&mut connection).prepare(text().into_sql_str()).await?;
    let is_call =
        query.text.trim_start().get(..4).is_some_and(|it| it.eq_ignore_ascii_case("call"));
    match prepared.columns() {
        // A call of a procedure has columns only when it runs.
        [] if is_call => {}
        // The result of another such statement would be a list of no tasks.
        [] => {
            let message = "the query is no statement that returns rows";
            return Err(RefreshError::new(RefreshReason::Query, message).into());
        }
        columns => rows.set_columns(columns.iter().map(Column::name))?,
    }
    let mut fetched = sqlx::raw_sql(text()).fetch_many(&mut connection);
    let mut has_ended = false;
    while let Some(next) = fetched.try_next().await? {
        match next {
            Either::Right(_) if has_ended => {
                let message = "the query returns more than one result";
                return Err(RefreshError::new(RefreshReason::Query, message).into());
            }
            Either::Right(row) => add(&row, rows)?,
            Either::Left(_) => has_ended = true,
        }
    }
    drop(fetched);
    // All rows are here.
    let _ = connection.close().await;
    Ok(())
}

/// Returns the statement that limits the time of the next ones.
fn timeout_setting(version: &[u8], milliseconds: u128) -> String {
    match version.windows(7).any(|part| part.eq_ignore_ascii_case(b"mariadb")) {
        true => {
            let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
            format!("SET SESSION max_statement_time = {seconds}.{rest:03}")
        }
        false => format!("SET SESSION max_execution_time = {milliseconds}"),
    }
}

async fn execute(connection: &mut MySqlConnection, statement: &str) -> Result<(), SqlError> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
    Ok(())
}

fn add(row: &MySqlRow, rows: &mut SqlRows) -> Result<(), SqlError> {
    if !rows.has_columns() {
        rows.set_columns(row.columns().iter().map(Column::name))?;
    }
    let values = (0..row.len()).map(|index| {
        let bytes: Option<&[u8]> = row.try_get_unchecked(index)?;
        Ok(match bytes.map(std::str::from_utf8) {
            None => SqlValue::Null,
            Some(Ok(text)) => SqlValue::Text(text),
            Some(Err(_)) => SqlValue::Bytes,
        })
    });
    let values = values.collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(rows.add(values.into_iter())?)
}

fn options(access: &DatabaseAccess) -> MySqlConnectOptions {
    let DataSourceName { address, user, password, database, tls, .. } = &access.name;
    let mut options = MySqlConnectOptions::new()
        .username(user)
        // The query means what it means to the application.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .ssl_mode(match tls.mode {
            DatabaseTlsMode::Disable => MySqlSslMode::Disabled,
            DatabaseTlsMode::Prefer => MySqlSslMode::Preferred,
            DatabaseTlsMode::Require => MySqlSslMode::Required,
            DatabaseTlsMode::VerifyCa => MySqlSslMode::VerifyCa,
            DatabaseTlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
        })
        .disable_statement_logging();
    options = match address {
        DatabaseAddress::Tcp(host, port) => options.host(host).port(*port),
        DatabaseAddress::Socket(path, _) => options.socket(path),
    };
    if let Some(password) = password {
        options = options.password(password.expose_secret());
    }
    if let Some(database) = database {
        options = options.database(database);
    }
    if let Some(authorities) = &access.authorities {
        options = options.ssl_ca_from_pem(authorities.clone());
    }
    if let Some((certificate, key)) = &access.identity {
        options = options.ssl_client_cert_from_pem(certificate);
        options = options.ssl_client_key_from_pem(key.expose_secret());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_setting_of_the_timeout() {
        for (version, expected) in [
            ("10.11.19-MariaDB-0+deb12u1", "SET SESSION max_statement_time = 9.050"),
            ("5.5.5-10.4.1-mariadb", "SET SESSION max_statement_time = 9.050"),
            ("8.4.3", "SET SESSION max_execution_time = 9050"),
            ("", "SET SESSION max_execution_time = 9050"),
        ] {
            assert_eq!(timeout_setting(version.as_bytes(), 9_050), expected, "{version}");
        }
    }
}
