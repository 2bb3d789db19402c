//! The HTTP client of a provider, with nothing ambient: no redirects, and no proxy but that of the
//! configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Url};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use secrecy::ExposeSecret;

use super::resolver::Resolver;
use crate::bounded_file;
use crate::config::tls::MAX_PEM_BYTES;
use crate::config::{self, Provider, Refusal, TlsConfig, TlsVersion};
use crate::task::stable_hash;
use crate::tls;
use crate::tls::trust::{AnyServer, server_verifier};

/// The most headers of an answer: more than twice as many as gateways behind several proxies have
/// been seen to send. Over HTTP/2 their size counts instead.
const MAX_HEADERS: usize = 256;
/// The size of an answer's headers over HTTP/2, in bytes: room for as many as above.
const MAX_HEADER_BYTES: u32 = 256 << 10;
/// The silence after which a connection of HTTP/2 that is used again is sent a ping, and the time
/// for its answer. So a connection that a firewall has forgotten is found out within a poll of the
/// default timeout, and time is left for another.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// The age of a connection from which no further request goes by it: a name may have moved to another
/// address though the server at the old one goes on answering, and certificates expire. So what has
/// changed is noticed within minutes, and a handshake more in that time costs nothing.
pub const MAX_AGE: Duration = Duration::from_secs(300);

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
    /// With the key that it is about, with dots between its parts.
    #[error("cannot use {1}")]
    Unusable(&'static str, &'static str),
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        let key = match &error {
            BuildError::Unusable(key, _) => key,
            BuildError::File(..) => "tls_config",
            BuildError::Secret(_) => "",
        };
        Self { key, message: error.to_string() }
    }
}

/// All that clients of one provider have in common.
pub struct ClientSettings {
    tls: ClientConfig,
    proxy: Option<Proxy>,
    http2: bool,
    resolver: Resolver,
    /// The total time of one poll.
    pub poll_timeout: Duration,
    /// The age that connections reach.
    pub lifetime: Duration,
    max_in_flight: usize,
}

impl ClientSettings {
    /// Reads the certificates of a provider. Names are looked up by `resolver`.
    ///
    /// # Errors
    /// When a certificate, a key or the proxy cannot be used.
    pub fn read(provider: &Provider, resolver: Resolver) -> Result<Self, BuildError> {
        let config = &provider.client;
        let proxy = config.proxy.as_ref().map(proxy_url).transpose()?;
        let is_https = |url: &Url| url.scheme() == "https";
        let uses_tls = is_https(&provider.base_url) || proxy.as_ref().is_some_and(is_https);
        let unusable = |_| BuildError::Unusable("proxy_url", "the proxy's URL");
        Ok(Self {
            tls: client_config(&config.tls, config.http2, uses_tls)?,
            proxy: proxy.map(Proxy::all).transpose().map_err(unusable)?,
            http2: config.http2,
            resolver,
            poll_timeout: provider.limits.poll_timeout,
            lifetime: lifetime(&provider.name),
            max_in_flight: provider.limits.max_in_flight,
        })
    }

    /// Returns a client whose connections are its own, and are kept for at most `idle`: not at all
    /// where that is zero.
    ///
    /// # Errors
    /// When the settings do not go together.
    pub fn build(&self, idle: Duration) -> Result<Client, BuildError> {
        let kept = if idle.is_zero() { 0 } else { self.max_in_flight };
        let mut builder = Client::builder()
            // A redirect would carry credentials in headers of the user's own to another origin.
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("aitask_exporter/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(idle)
            .pool_max_idle_per_host(kept)
            .connect_timeout(self.poll_timeout)
            .dns_resolver(self.resolver.clone())
            .tcp_nodelay(true)
            .http1_max_headers(MAX_HEADERS)
            .tls_backend_preconfigured(self.tls.clone());
        builder = if self.http2 {
            builder
                .http2_max_header_list_size(MAX_HEADER_BYTES)
                .http2_keep_alive_interval(PING_AFTER)
                .http2_keep_alive_timeout(PING_TIMEOUT)
        } else {
            builder.http1_only()
        };
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build().map_err(|_| BuildError::Unusable("tls_config", "tls_config"))
    }
}

/// Returns the age that the connections of a provider reach: between [`MAX_AGE`] and a fifth less, for
/// each provider another, so that not all of them connect again at once.
pub fn lifetime(provider: &str) -> Duration {
    let sooner = stable_hash([provider.as_bytes()]) % (MAX_AGE.as_secs() / 5);
    MAX_AGE.saturating_sub(Duration::from_secs(sooner))
}

/// Returns the URL of a proxy as reqwest takes it.
///
/// # Errors
/// When the URL cannot be read.
pub fn proxy_url(proxy: &config::Proxy) -> Result<Url, BuildError> {
    let unusable = || BuildError::Unusable("proxy_url", "the proxy's URL");
    let text = proxy.url.read().map_err(|_| unusable())?;
    // As in Go, the proxy looks names up: here they may not be known.
    let text = match text.expose_secret().strip_prefix("socks5://") {
        Some(rest) => format!("socks5h://{rest}"),
        None => text.expose_secret().to_owned(),
    };
    Url::parse(&text).map_err(|_| unusable())
}

fn client_config(
    config: &TlsConfig,
    http2: bool,
    uses_tls: bool,
) -> Result<ClientConfig, BuildError> {
    let versions: &[&SupportedProtocolVersion] = match config.min_version {
        TlsVersion::Tls12 => &[&version::TLS12, &version::TLS13],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(tls::provider());
    let builder = builder.with_protocol_versions(versions);
    let builder =
        builder.map_err(|_| BuildError::Unusable("tls_config.min_version", "min_version"))?;
    let builder = match verifier(config, uses_tls)? {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        // Plain HTTP, and nothing to verify.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let mut client = match &config.identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key)?);
            let key = key.map_err(|_| BuildError::Unusable("tls_config.key_file", "key_file"))?;
            let client = builder.with_client_auth_cert(chain, key);
            client.map_err(|error| {
                let what = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        "key_file: it is not the key of the certificate in cert_file"
                    }
                    _ => "cert_file and key_file",
                };
                BuildError::Unusable("tls_config.key_file", what)
            })?
        }
        None => builder.with_no_client_auth(),
    };
    // A resumed session looks at no certificate, so that one would outlive its dates. Connections are
    // kept, and a whole handshake for each costs half a millisecond.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(client)
}

/// Returns what judges servers; `None` where there are none to judge.
fn verifier(
    config: &TlsConfig,
    uses_tls: bool,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, BuildError> {
    if config.insecure_skip_verify {
        return Ok(Some(Arc::new(AnyServer)));
    }
    let (certificates, (key, what)) = match &config.ca_file {
        Some(path) => (certificates(path)?, ("tls_config.ca_file", "ca_file")),
        // What of it cannot be read is left out, as it always is of the system's.
        None if uses_tls => (
            rustls_native_certs::load_native_certs().certs,
            (
                "base_url",
                "https: this system has no certificate authorities; name some in tls_config.ca_file",
            ),
        ),
        None => return Ok(None),
    };
    let verifier = server_verifier(certificates, tls::provider());
    verifier.map(Some).map_err(|_| BuildError::Unusable(key, what))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    all.map_err(|_| BuildError::Unusable("tls_config", "a certificate of tls_config"))
}

/// Reads a file of `tls_config`.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let read = bounded_file::read(path, MAX_PEM_BYTES);
    read.map_err(|error| BuildError::File(path.to_owned(), error))
}
