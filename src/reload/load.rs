//! Loading: files are read and clients are built, while nothing that is in force changes.

use std::sync::Arc;

use super::{Built, ConfigSource, ProviderClients};
use crate::config::{self, ConfigFiles, Provider, ProviderDiagnostic};
use crate::fetch::resolver::Resolver;
use crate::poll::ProviderClient;
use crate::yaml::diagnostic::Diagnostics;

/// Reads the files, including secrets and certificates, and builds the clients that cannot be taken
/// over from `before`. A start, a check and a reload all use it. `files` are the files of the
/// configuration in force, if there is one. Blocks on the file system.
///
/// # Errors
/// All diagnostics of all files.
pub fn load(
    source: &ConfigSource,
    before: &ProviderClients,
    files: &ConfigFiles,
    resolver: &Resolver,
) -> Result<Built, Diagnostics> {
    config::load_after(source.input(), files, |provider| {
        let before = before.get(&provider.name).map(|before| &**before);
        build_client(provider, before, resolver)
    })
}

/// Reads the files as [`load`] does at a start, without the providers that have errors of their own.
///
/// # Errors
/// All other diagnostics of all files.
pub fn load_valid_providers(
    source: &ConfigSource,
    resolver: &Resolver,
) -> Result<Built, Diagnostics> {
    let make = |provider: &_| build_client(provider, None, resolver);
    config::load_valid_providers(source.input(), make)
}

fn build_client(
    provider: &Arc<Provider>,
    before: Option<&ProviderClient>,
    resolver: &Resolver,
) -> Result<Arc<ProviderClient>, ProviderDiagnostic> {
    Ok(Arc::new(ProviderClient::new(Arc::clone(provider), before, resolver)?))
}
