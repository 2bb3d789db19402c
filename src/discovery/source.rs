//! A source of tasks, whatever its mechanism.

use std::sync::Arc;

use super::file::FileSource;
use super::http::HttpSource;
use super::list::{Refresh, RefreshError, RefreshReason};
use super::provider_list::{ListSource, ProviderAccess};
#[cfg(feature = "sql")]
use super::sql::SqlSource;
use crate::config::discovery::{SourceConfig, SourceKind};
use crate::config::{LabelLimits, Provider};
use crate::fetch::resolver::Resolver;
use crate::observation::Reason;

/// A source of tasks between two refreshes.
#[derive(Debug)]
pub enum Source {
    /// An HTTP endpoint.
    Http(Box<HttpSource>),
    /// Files.
    File(Box<FileSource>),
    /// The list of a provider.
    List(ListSource),
    /// A query of a database.
    #[cfg(feature = "sql")]
    Sql(Box<SqlSource>),
}

impl Source {
    /// Returns the source of a configuration. It takes over the last good lists of the files of
    /// `before`, if that is a source of the same name.
    ///
    /// # Errors
    /// A certificate or a secret cannot be used.
    pub fn new(
        config: &Arc<SourceConfig>,
        before: Option<Self>,
        resolver: &Resolver,
    ) -> Result<Self, RefreshError> {
        match &config.kind {
            SourceKind::Http(http) => {
                let source = HttpSource::new(config, http, resolver);
                let source = source
                    .map_err(|error| RefreshError::new(RefreshReason::Read, error.to_string()))?;
                Ok(Self::Http(Box::new(source)))
            }
            SourceKind::List(list) => {
                Ok(Self::List(ListSource::new(Arc::clone(config), Arc::clone(list))))
            }
            SourceKind::File(files) => {
                let (config, files) = (Arc::clone(config), Arc::clone(files));
                if let Some(Self::File(mut source)) = before {
                    source.reconfigure(config, files);
                    return Ok(Self::File(source));
                }
                Ok(Self::File(Box::new(FileSource::new(config, files))))
            }
            #[cfg(feature = "sql")]
            SourceKind::Sql(sql) => {
                Ok(Self::Sql(Box::new(SqlSource::new(Arc::clone(config), Arc::clone(sql)))))
            }
            #[cfg(not(feature = "sql"))]
            SourceKind::Sql(_) => {
                Err(RefreshError::new(RefreshReason::Query, "this build cannot query databases"))
            }
        }
    }

    /// Reads the list. That of a provider is requested through `access`.
    ///
    /// # Errors
    /// The list cannot be read as a whole; the last good one stays.
    pub async fn refresh(
        &mut self,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
        access: Option<&ProviderAccess>,
    ) -> Result<Refresh, RefreshError> {
        match self {
            Self::List(source) => match access {
                Some(access) => source.refresh(access, providers, limits).await,
                None => Err(RefreshError::new(Reason::Timeout, "the provider has been removed")),
            },
            Self::Http(source) => source.refresh(providers, limits).await,
            Self::File(source) => source.refresh(providers, limits).await,
            #[cfg(feature = "sql")]
            Self::Sql(source) => source.refresh(providers, limits).await,
        }
    }

    /// Waits until the list seems to have changed, where a source can know that. Safe to drop at any
    /// time.
    pub async fn changed(&self) {
        match self {
            Self::Http(_) | Self::List(_) => std::future::pending().await,
            Self::File(source) => source.changed().await,
            #[cfg(feature = "sql")]
            Self::Sql(_) => std::future::pending().await,
        }
    }

    /// Makes the next refresh return a list even if it has not changed.
    pub fn forget_validators(&mut self) {
        match self {
            Self::List(_) => {}
            Self::Http(source) => source.forget_validators(),
            Self::File(source) => source.forget_validators(),
            // It has none.
            #[cfg(feature = "sql")]
            Self::Sql(_) => {}
        }
    }
}
