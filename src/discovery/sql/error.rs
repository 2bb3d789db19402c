//! The errors of databases, with their reasons, and without user and password.

use std::io;

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::access::DatabaseAccess;
use crate::discovery::list::{RefreshError, RefreshReason};
use crate::fetch::client::find_tls_error;
use crate::observation::Reason;
use crate::printable::excerpt;
use crate::tls::explain::{Peer, explain};

/// Maximum number of characters of a server's message that are shown.
const MAX_CHARS: usize = 400;

/// The error of a query.
#[derive(Debug)]
pub enum SqlError {
    /// An error of the driver or of the server.
    Driver(sqlx::Error),
    /// An error about the rows.
    Rows(RefreshError),
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<RefreshError> for SqlError {
    fn from(error: RefreshError) -> Self {
        Self::Rows(error)
    }
}

/// Returns the error of a refresh, with a message that shows neither user nor password.
pub fn describe(error: SqlError, access: &DatabaseAccess) -> RefreshError {
    let (reason, message) = match error {
        SqlError::Rows(error) => return error,
        SqlError::Driver(sqlx::Error::Database(error)) => of_server(&*error),
        SqlError::Driver(sqlx::Error::Io(error)) => of_connection(&error),
        SqlError::Driver(sqlx::Error::Tls(error)) => {
            (Reason::Tls.into(), format!("TLS failed: {error}"))
        }
        SqlError::Driver(sqlx::Error::Configuration(error)) => {
            (Reason::Tls.into(), error.to_string())
        }
        SqlError::Driver(error) => (Reason::Decode.into(), error.to_string()),
    };
    RefreshError::new(reason, excerpt(&access.redact(&message), MAX_CHARS))
}

fn of_connection(error: &io::Error) -> (RefreshReason, String) {
    if let Some(error) = find_tls_error(error) {
        return (Reason::Tls.into(), explain(error, Peer::Database));
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    };
    (Reason::Connect.into(), message)
}

/// Returns the reason and the message of an error that the server has sent.
fn of_server(error: &(dyn DatabaseError + 'static)) -> (RefreshReason, String) {
    let message = error.message();
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        let code = error.code();
        return (postgres_reason(code, message), format!("{message} (SQLSTATE {code})"));
    }
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        let number = error.number();
        return (mysql_reason(number), format!("{message} (error {number})"));
    }
    (RefreshReason::Query, message.to_owned())
}

/// Returns the reason for an SQLSTATE of PostgreSQL or a pooler before it.
fn postgres_reason(code: &str, message: &str) -> RefreshReason {
    match code {
        // `statement_timeout`, as well as an administrator's cancellation.
        "57014" => Reason::Timeout.into(),
        // PgBouncer's own errors have one code.
        "08P01" if message.contains("auth") || message.contains("no such user") => {
            Reason::Auth.into()
        }
        // A query with `$1`, which has no value.
        "08P01" if message.starts_with("bind message") => RefreshReason::Query,
        _ => match code.get(..2) {
            Some("28") => Reason::Auth.into(),
            // No connection, no resources, or a server that starts or stops.
            Some("08" | "53" | "57") => Reason::Connect.into(),
            _ => RefreshReason::Query,
        },
    }
}

/// Returns the reason for an error number of MySQL or MariaDB.
const fn mysql_reason(number: u16) -> RefreshReason {
    match number {
        // The password, the host, or the method is refused, or the password has expired.
        1045 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 | 2059 | 3118 | 4151 => {
            RefreshReason::Poll(Reason::Auth)
        }
        // Interrupted, or the limits of MariaDB and MySQL.
        1317 | 1969 | 3024 => RefreshReason::Poll(Reason::Timeout),
        // Too many connections, a blocked host, a server that stops, or a broken connection.
        1040 | 1053 | 1077..=1080 | 1129 | 1158..=1161 | 1203 | 1226 | 3169 => {
            RefreshReason::Poll(Reason::Connect)
        }
        _ => RefreshReason::Query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_postgresql_have_reasons() {
        for (code, message, expected) in [
            ("28P01", "password authentication failed for user \"a\"", "auth"),
            ("28000", "role \"a\" is not permitted to log in", "auth"),
            ("08P01", "no such user", "auth"),
            ("08P01", "SASL authentication failed", "auth"),
            ("08P01", "query_wait_timeout", "connect"),
            ("08P01", "bind message supplies 0 parameters", "query"),
            ("57014", "canceling statement due to statement timeout", "timeout"),
            ("57P01", "terminating connection due to administrator command", "connect"),
            ("57P03", "the database system is starting up", "connect"),
            ("53300", "sorry, too many clients already", "connect"),
            ("42501", "permission denied for table jobs", "query"),
            ("3D000", "database \"x\" does not exist", "query"),
            ("", "", "query"),
        ] {
            assert_eq!(postgres_reason(code, message).as_str(), expected, "{code} {message}");
        }
    }

    #[test]
    fn numbers_of_mysql_have_reasons() {
        for (number, expected) in [
            (1045, "auth"),
            (1698, "auth"),
            (1040, "connect"),
            (1053, "connect"),
            (1969, "timeout"),
            (3024, "timeout"),
            (1044, "query"),
            (1142, "query"),
            (1064, "query"),
        ] {
            assert_eq!(mysql_reason(number).as_str(), expected, "{number}");
        }
    }
}
