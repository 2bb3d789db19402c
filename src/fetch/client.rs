//! The HTTP client of a provider, with nothing ambient: no redirects, no proxy of the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Proxy, tls};
use secrecy::ExposeSecret;

use crate::bounded_file;
use crate::config::pem::MAX_PEM_BYTES;
use crate::config::{self, Limits, Refusal, Tls, TlsVersion};

/// Below the minute after which most gateways close an idle connection, so that a poll seldom
/// meets one that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of `tls_config` cannot be read.
    #[error("cannot read {}: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    /// A secret cannot be read or used.
    #[error("{0}")]
    Secret(String),
    /// A certificate or the proxy is not usable: the key that names it. Not the source's text, which
    /// may hold the proxy's password.
    #[error("cannot use {0}")]
    Unusable(&'static str),
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        let key = match &error {
            BuildError::Unusable(key) => key,
            BuildError::File(..) => "tls_config",
            BuildError::Secret(_) => "",
        };
        Self { key, message: error.to_string() }
    }
}

/// A client with a connection pool of its own.
///
/// # Errors
/// When a certificate, a key or the proxy cannot be used.
pub fn build(config: &config::Client, limits: &Limits) -> Result<Client, BuildError> {
    let mut builder = Client::builder()
        // A redirect would carry credentials in headers of the user's own to another origin.
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("aitask_exporter/", env!("CARGO_PKG_VERSION")))
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(limits.max_in_flight)
        .connect_timeout(limits.poll_timeout)
        .tcp_nodelay(true);
    if let Some(proxy) = &config.proxy_url {
        let url = proxy.read().map_err(|_| BuildError::Unusable("proxy_url"))?;
        let proxy = Proxy::all(url.expose_secret());
        builder = builder.proxy(proxy.map_err(|_| BuildError::Unusable("proxy_url"))?);
    }
    builder = with_tls(builder, &config.tls)?;
    builder.build().map_err(|_| BuildError::Unusable("tls_config"))
}

fn with_tls(
    mut builder: reqwest::ClientBuilder,
    config: &Tls,
) -> Result<reqwest::ClientBuilder, BuildError> {
    builder = builder.min_tls_version(match config.min_version {
        TlsVersion::Tls12 => tls::Version::TLS_1_2,
        TlsVersion::Tls13 => tls::Version::TLS_1_3,
    });
    if let Some(path) = &config.ca_file {
        let bundle = Certificate::from_pem_bundle(&read(path)?);
        builder =
            builder.tls_certs_only(bundle.map_err(|_| BuildError::Unusable("tls_config.ca_file"))?);
    }
    if let Some((cert, key)) = &config.identity {
        let mut pem = read(cert)?;
        pem.extend(read(key)?);
        let identity = Identity::from_pem(&pem);
        builder =
            builder.identity(identity.map_err(|_| BuildError::Unusable("tls_config.cert_file"))?);
    }
    Ok(builder.tls_danger_accept_invalid_certs(config.insecure_skip_verify))
}

/// Reads a file of `tls_config`.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let read = bounded_file::read(path, MAX_PEM_BYTES);
    read.map_err(|error| BuildError::File(path.to_owned(), error))
}
