//! Data source names: the URLs of databases, with user, password and TLS mode. They are secrets.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::SecretString;

use crate::yaml::scalar::SECRET;

/// The protocol of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// PostgreSQL, or a pooler before it.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

/// The address of a database server.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// A host name or an IP address, and a port.
    Tcp(String, u16),
    /// A Unix socket: of PostgreSQL its directory and the port in its name, of MySQL the file.
    Socket(PathBuf, u16),
}

/// The use of TLS on a connection to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTlsMode {
    /// Without TLS.
    Disable,
    /// With TLS if the server offers it, without looking at its certificate.
    Prefer,
    /// With TLS, without looking at the certificate.
    Require,
    /// With TLS and a certificate of a trusted authority.
    VerifyCa,
    /// With TLS and a certificate of a trusted authority for the host.
    VerifyFull,
}

/// The TLS settings of a data source name. Files are relative to the directory of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The use of TLS.
    pub mode: DatabaseTlsMode,
    /// File with certificates of authorities, which are trusted in addition to the system's.
    pub authorities: Option<PathBuf>,
    /// File with the client's certificate.
    pub certificate: Option<PathBuf>,
    /// File with the key of the client's certificate.
    pub key: Option<PathBuf>,
}

/// A data source name, parsed.
#[derive(Clone)]
pub struct DataSourceName {
    /// The protocol.
    pub kind: DatabaseKind,
    /// The address of the server.
    pub address: DatabaseAddress,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Option<SecretString>,
    /// The database; if absent, that of the user's name, or none with MySQL.
    pub database: Option<String>,
    /// The TLS settings.
    pub tls: DatabaseTls,
}

impl fmt::Debug for DataSourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET)
    }
}

/// The reason why a text is no data source name. Contains nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSourceError {
    /// The error, with the text as its subject.
    pub message: &'static str,
    /// Advice.
    pub hint: &'static str,
}

/// Advice for a text that is no URL of a database.
const FORM: &str =
    "write postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE";
/// Advice for a text that may contain a character with a meaning in URLs.
const ENCODE: &str = "write special characters of user and password percent-encoded: @ is %40, : is \
                      %3A, / is %2F, ? is %3F, # is %23, % is %25";
/// Advice for an unknown parameter, by the protocol.
const POSTGRES_PARAMETERS: &str = "the parameters are host, port, user, password, dbname, sslmode, sslrootcert, sslcert and sslkey";
const MYSQL_PARAMETERS: &str = "the parameters are socket, ssl-mode, ssl-ca, ssl-cert and ssl-key";
/// Advice for an unknown TLS mode, by the protocol.
const POSTGRES_MODES: &str = "write disable, prefer, require, verify-ca or verify-full";
const MYSQL_MODES: &str = "write DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";

/// The parts of a data source name while it is parsed.
struct Parts {
    kind: DatabaseKind,
    host: String,
    port: u16,
    /// The file of a MySQL socket.
    socket: Option<PathBuf>,
    user: String,
    password: Option<String>,
    database: Option<String>,
    tls: DatabaseTls,
}

impl DataSourceName {
    /// Parses a data source name.
    ///
    /// # Errors
    /// Fails when the text is no URL of a database, or has parts that are not supported.
    pub fn parse(text: &str) -> Result<Self, DataSourceError> {
        let kind = DatabaseKind::of(text)?;
        let url = Url::parse(&with_host(text));
        let url = url.map_err(|_| error("it is not a URL", ENCODE))?;
        if url.fragment().is_some() {
            return Err(error("it contains `#`", ENCODE));
        }
        let mut parts = Parts::of(kind, &url)?;
        for (name, value) in url.query_pairs() {
            parts.set(&name, &value)?;
        }
        parts.finish()
    }
}

impl DatabaseKind {
    /// Returns the kind that the scheme of a data source name names.
    fn of(text: &str) -> Result<Self, DataSourceError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("mysql" | "mariadb") => Ok(Self::MySql),
            _ => Err(error("it is not the URL of a database", FORM)),
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }

    /// Returns the TLS mode of this name.
    fn tls_mode(self, name: &str) -> Option<DatabaseTlsMode> {
        use DatabaseTlsMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
        let modes = match self {
            Self::Postgres => ["disable", "prefer", "require", "verify-ca", "verify-full"],
            Self::MySql => ["disabled", "preferred", "required", "verify_ca", "verify_identity"],
        };
        let modes = modes.into_iter().zip([Disable, Prefer, Require, VerifyCa, VerifyFull]);
        let mut modes = modes.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        modes.next().map(|(_, mode)| mode)
    }
}

impl Parts {
    /// Returns the parts before the parameters of a URL.
    fn of(kind: DatabaseKind, url: &Url) -> Result<Self, DataSourceError> {
        let host = decode(url.host_str().unwrap_or_default())?.trim().to_owned();
        // An IPv6 address.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.map_or_else(|| host.clone(), str::to_owned);
        let database = decode(url.path().strip_prefix('/').unwrap_or(url.path()))?;
        let tls = DatabaseTls {
            mode: DatabaseTlsMode::Prefer,
            authorities: None,
            certificate: None,
            key: None,
        };
        Ok(Self {
            kind,
            host,
            port: url.port().unwrap_or(kind.port()),
            socket: None,
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?,
            database: Some(database).filter(|database| !database.is_empty()),
            tls,
        })
    }

    /// Sets the part that a parameter names.
    fn set(&mut self, name: &str, value: &str) -> Result<(), DataSourceError> {
        let value = || value.to_owned();
        match (self.kind, name) {
            (DatabaseKind::Postgres, "host") => self.host = value(),
            (DatabaseKind::Postgres, "port") => {
                let port = value().parse().ok().filter(|port| *port > 0);
                self.port = port.ok_or_else(|| error("its port is not valid", FORM))?;
            }
            (DatabaseKind::Postgres, "user") => self.user = value(),
            (DatabaseKind::Postgres, "password") => self.password = Some(value()),
            (DatabaseKind::Postgres, "dbname") => self.database = Some(value()),
            (DatabaseKind::Postgres, "sslmode") | (DatabaseKind::MySql, "ssl-mode") => {
                let hint = match self.kind {
                    DatabaseKind::Postgres => POSTGRES_MODES,
                    DatabaseKind::MySql => MYSQL_MODES,
                };
                let mode = self.kind.tls_mode(&value());
                self.tls.mode = mode.ok_or_else(|| error("its TLS mode is unknown", hint))?;
            }
            (DatabaseKind::Postgres, "sslrootcert") | (DatabaseKind::MySql, "ssl-ca") => {
                self.tls.authorities = Some(value().into());
            }
            (DatabaseKind::Postgres, "sslcert") | (DatabaseKind::MySql, "ssl-cert") => {
                self.tls.certificate = Some(value().into());
            }
            (DatabaseKind::Postgres, "sslkey") | (DatabaseKind::MySql, "ssl-key") => {
                self.tls.key = Some(value().into());
            }
            (DatabaseKind::MySql, "socket") => self.socket = Some(value().into()),
            (DatabaseKind::Postgres, _) => {
                return Err(error("it has an unknown parameter", POSTGRES_PARAMETERS));
            }
            (DatabaseKind::MySql, _) => {
                return Err(error("it has an unknown parameter", MYSQL_PARAMETERS));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<DataSourceName, DataSourceError> {
        if self.user.is_empty() {
            return Err(error("it names no user", FORM));
        }
        if self.port == 0 {
            return Err(error("its port is not valid", FORM));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(error(
                "it has a certificate of the client without its key, or the other way round",
                "name both files",
            ));
        }
        let texts = [&self.host, &self.user].into_iter().chain(&self.database);
        if texts.chain(&self.password).any(|text| text.contains('\0')) {
            return Err(error("it contains a zero byte", ENCODE));
        }
        let host = std::mem::take(&mut self.host);
        let socket = self.socket.or_else(|| host.starts_with('/').then(|| host.clone().into()));
        let address = match socket {
            Some(path) => DatabaseAddress::Socket(path, self.port),
            None if host.is_empty() => return Err(error("it names no host", FORM)),
            None if host.contains(',') => {
                return Err(error("it names more than one host", "name one host"));
            }
            None => DatabaseAddress::Tcp(host, self.port),
        };
        if matches!(address, DatabaseAddress::Socket(..)) {
            // A socket has no TLS, and nothing to protect from.
            self.tls.mode = DatabaseTlsMode::Disable;
        }
        Ok(DataSourceName {
            kind: self.kind,
            address,
            user: self.user,
            password: self.password.map(SecretString::from),
            database: self.database,
            tls: self.tls,
        })
    }
}

const fn error(message: &'static str, hint: &'static str) -> DataSourceError {
    DataSourceError { message, hint }
}

/// Returns a URL with a blank host if it has a user without a host, as libpq permits before `?host=`.
fn with_host(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.ends_with('@') {
        true => format!("{scheme}{authority}%20{path}"),
        false => text.to_owned(),
    }
}

fn decode(text: &str) -> Result<String, DataSourceError> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| error("it is not UTF-8 text", ENCODE))?.into_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// Returns the parts of a data source name in words, or the error.
    fn parts(text: &str) -> String {
        let name = match DataSourceName::parse(text) {
            Ok(name) => name,
            Err(error) => return error.message.to_owned(),
        };
        let address = match name.address {
            DatabaseAddress::Tcp(host, port) => format!("{host} {port}"),
            DatabaseAddress::Socket(path, port) => format!("{} {port}", path.display()),
        };
        let password = name.password.as_ref().map(ExposeSecret::expose_secret);
        let DatabaseTls { mode, authorities, .. } = &name.tls;
        let authorities = authorities.as_ref().map_or("", |path| path.to_str().unwrap());
        format!(
            "{:?} {address} {}:{} {} {mode:?} {authorities}",
            name.kind,
            name.user,
            password.unwrap_or("-"),
            name.database.as_deref().unwrap_or("-"),
        )
    }

    #[test]
    fn a_data_source_name_is_taken_apart() {
        for (text, expected) in [
            ("postgres://app:p@db/shop", "Postgres db 5432 app:p shop Prefer "),
            ("postgresql://app@db:6432", "Postgres db 6432 app:- - Prefer "),
            (
                "POSTGRES://a%40b:p%2F%3A%23%25@[::1]/x%20y",
                "Postgres ::1 5432 a@b:p/:#% x y Prefer ",
            ),
            (
                "postgres://app@db/s?sslmode=verify-full&sslrootcert=ca.pem",
                "Postgres db 5432 app:- s VerifyFull ca.pem",
            ),
            (
                "postgres://app@/shop?host=/run/postgresql",
                "Postgres /run/postgresql 5432 app:- shop Disable ",
            ),
            (
                "postgres:///shop?host=/run&user=app&password=p&port=1",
                "Postgres /run 1 app:p shop Disable ",
            ),
            ("postgres://app@%2Frun%2Fpg/s", "Postgres /run/pg 5432 app:- s Disable "),
            ("postgres:///?host=db&user=a&dbname=s", "Postgres db 5432 a:- s Prefer "),
            ("mysql://app:p@db/shop", "MySql db 3306 app:p shop Prefer "),
            (
                "mariadb://app:p@db:1/shop?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem",
                "MySql db 1 app:p shop VerifyFull /ca.pem",
            ),
            (
                "mysql://app@localhost/s?socket=/run/m.sock",
                "MySql /run/m.sock 3306 app:- s Disable ",
            ),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_data_source_name_is_an_error_without_it() {
        for (text, expected) in [
            ("", "it is not the URL of a database"),
            ("host=db user=app password=hunter2", "it is not the URL of a database"),
            ("http://app:hunter2@db/shop", "it is not the URL of a database"),
            ("app:hunter2@tcp(db)/shop", "it is not the URL of a database"),
            ("postgres://app:hunt/er2@db/shop", "it is not a URL"),
            ("postgres://app:hunt#er2@db/shop", "it is not a URL"),
            ("postgres://app:hunter2@db/shop#", "it contains `#`"),
            ("postgres://db/shop", "it names no user"),
            ("postgres://app:hunter2@/shop", "it names no host"),
            ("postgres://app:hunter2@a,b/shop", "it names more than one host"),
            ("postgres://app:hunter2@db:0/shop", "its port is not valid"),
            ("postgres://app:hunter2@db/?port=x", "its port is not valid"),
            ("postgres://app:hunter2@db/?sslmode=on", "its TLS mode is unknown"),
            ("postgres://app:hunter2@db/?ssl-mode=on", "it has an unknown parameter"),
            ("mysql://app:hunter2@db/?sslmode=on", "it has an unknown parameter"),
            ("mysql://app:hunter2@db/?ssl-mode=on", "its TLS mode is unknown"),
            ("postgres://app:hun%ffter2@db/shop", "it is not UTF-8 text"),
            ("postgres://app:hun%00ter2@db/shop", "it contains a zero byte"),
            (
                "postgres://app:hunter2@db/?sslkey=k",
                "it has a certificate of the client without its key, or the other way round",
            ),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        let name = DataSourceName::parse("postgres://app:hunter2@db/shop").unwrap();
        assert_eq!(format!("{name:?}"), "<secret>");
    }
}
