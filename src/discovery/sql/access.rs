//! The data source name of a query and the files that it names, as they are at a refresh.

use std::fmt;
use std::io;
use std::path::Path;

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
    pub fn read(sql: &SqlSourceConfig) -> Result<std::sync::Arc<Self>, RefreshError> {
        let text = sql.data_source.read().map_err(|error| match &sql.data_source {
            Secret::File(file) => cannot_read(&file.path, &error),
            _ => RefreshError::new(RefreshReason::Read, error.to_string()),
        })?;
        let name = DataSourceName::parse(text.expose_secret()).map_err(|error| {
            let message = format!("the data source name cannot be used: {}", error.message);
            RefreshError::new(RefreshReason::Read, message)
        })?;
        let read = |path: &Option<std::path::PathBuf>| {
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
        let password = name.password.as_ref().map(ExposeSecret::expose_secret);
        let redactor = Redactor::new([text.expose_secret()].into_iter().chain(password));
        Ok(std::sync::Arc::new(Self { name, authorities, identity, redactor }))
    }

    /// Masks user and password in a message of a server.
    pub fn redact(&self, message: &str) -> String {
        let masked = self.redactor.mask_text(message).unwrap_or_else(|| message.to_owned());
        let user = &self.name.user;
        masked
            .replace(&format!("\"{user}\""), "\"<secret>\"")
            .replace(&format!("'{user}'@"), "'<secret>'@")
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> RefreshError {
    let message = format!("cannot read {}: {error}", path.display());
    RefreshError::new(RefreshReason::Read, message)
}
