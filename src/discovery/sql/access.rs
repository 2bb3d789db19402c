//! The data source name of a query and the files that it names, as they are at a refresh.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};

use crate::bounded_file;
use crate::config::data_source::{DataSourceName, DatabaseTlsMode};
use crate::config::secret::Secret;
use crate::config::sql_discovery::SqlSourceConfig;
use crate::config::tls::MAX_PEM_BYTES;
use crate::discovery::list::{RefreshError, RefreshReason};
use crate::fetch::redact::Redactor;

/// Everything that a connection to a database needs.
pub struct DatabaseAccess {
    /// The data source name.
    pub name: DataSourceName,
    /// Certificates of authorities.
    pub authorities: Option<Vec<u8>>,
    /// Certificate and key of the client.
    pub identity: Option<(Vec<u8>, SecretSlice<u8>)>,
    redactor: Redactor,
}

impl fmt::Debug for DatabaseAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

impl DatabaseAccess {
    /// Reads the files of a source. Blocks on the file system.
    ///
    /// # Errors
    /// Fails when a file cannot be read, or holds no data source name.
    pub fn read(sql: &SqlSourceConfig) -> Result<Arc<Self>, RefreshError> {
        let text = sql.data_source.read().map_err(|error| match &sql.data_source {
            Secret::File(file) => cannot_read(&file.path, &error),
            _ => RefreshError::new(RefreshReason::Read, error.to_string()),
        })?;
        let name = DataSourceName::parse(text.expose_secret()).map_err(|error| {
            let message = format!("the data source name cannot be used: {}", error.message);
            RefreshError::new(RefreshReason::Read, message)
        })?;
        let read = |path: &Option<PathBuf>| {
            let path = path.as_ref().filter(|_| name.tls.mode != DatabaseTlsMode::Disable);
            let path = path.map(|path| sql.dir.join(path));
            let read = path.map(|path| {
                let content = bounded_file::read(&path, MAX_PEM_BYTES);
                content.map_err(|error| cannot_read(&path, &error))
            });
            read.transpose()
        };
        let authorities = read(&name.tls.authorities)?;
        let identity = read(&name.tls.certificate)?.zip(read(&name.tls.key)?);
        let identity = identity.map(|(certificate, key)| (certificate, key.into()));
        let redactor = redactor(text.expose_secret(), &name);
        Ok(Arc::new(Self { name, authorities, identity, redactor }))
    }

    /// Masks the data source name, the password and the quoted name of the user in a message.
    pub fn redact(&self, message: &str) -> String {
        let masked = self.redactor.mask_text(message).unwrap_or_else(|| message.to_owned());
        let user = &self.name.user;
        masked
            .replace(&format!("\"{user}\""), "\"<secret>\"")
            .replace(&format!("'{user}'@"), "'<secret>'@")
    }
}

fn redactor(text: &str, name: &DataSourceName) -> Redactor {
    let password = name.password.as_ref().map(ExposeSecret::expose_secret);
    Redactor::new([text].into_iter().chain(password))
}

fn cannot_read(path: &Path, error: &io::Error) -> RefreshError {
    let message = format!("cannot read {}: {error}", path.display());
    RefreshError::new(RefreshReason::Read, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_masked_in_messages() {
        let text = "postgres://app:hunter2-of-app@db/shop";
        let name = DataSourceName::parse(text).unwrap();
        let redactor = redactor(text, &name);
        let access = DatabaseAccess { name, authorities: None, identity: None, redactor };
        for (message, expected) in [
            (
                "role \"app\" is not permitted to log in",
                "role \"<secret>\" is not permitted to log in",
            ),
            ("denied to user 'app'@'localhost'", "denied to user '<secret>'@'localhost'"),
            ("near hunter2-of-app", "near <secret>"),
            ("an app without a mask", "an app without a mask"),
        ] {
            assert_eq!(access.redact(message), expected);
        }
        assert!(!access.redact(text).contains("hunter2"));
        assert_eq!(format!("{access:?}"), "<secret>");
    }
}
