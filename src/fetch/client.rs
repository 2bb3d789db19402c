//! The HTTP client of one server: its settings, their fingerprint, and its errors. It takes nothing
//! from its environment: no redirects, and only the proxy of the configuration.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;
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
use crate::config::{self, HttpClientConfig, Provider, ProviderDiagnostic, TlsConfig, TlsVersion};
use crate::observation::Reason;
use crate::printable::excerpt;
use crate::task::stable_hash;
use crate::tls;
use crate::tls::explain::{Peer, explain};
use crate::tls::{AcceptAnyServer, server_verifier};

/// Maximum number of headers of a response: more than twice as many as gateways behind several
/// proxies are known to send. Over HTTP/2 their size is limited instead.
const MAX_HEADERS: usize = 256;
/// Size of a response's headers over HTTP/2, in bytes: room for the same number.
const MAX_HEADER_BYTES: u32 = 256 << 10;
/// Idle time after which an HTTP/2 connection that is used again is sent a ping, and the time for the
/// reply. A connection that a firewall has dropped is noticed within the default timeout of a poll,
/// with time left for another one.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// Age from which a connection takes no further requests: a name may have moved to another address
/// although the server at the old one still responds, and certificates expire. Such changes are noticed
/// within minutes, and one more handshake in that time costs nothing.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// Maximum number of characters of an error's text that are shown; a proxy's may contain data from
/// a peer.
const MAX_CHARS: usize = 200;

/// Error codes with which an HTTP/2 server abandons a request that it has not responded to, as it does
/// with all requests when it stops.
const ABANDONED: [h2::Reason; 3] =
    [h2::Reason::NO_ERROR, h2::Reason::REFUSED_STREAM, h2::Reason::CANCEL];

/// Error of a client that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of `tls_config` cannot be read.
    #[error("cannot read {}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    /// A secret cannot be read or used.
    #[error("{0}")]
    Secret(String),
    /// A certificate or the proxy cannot be used: its key in the configuration, with dots between its
    /// parts, and its name. The text of the cause is left out, since it may contain the proxy's
    /// password.
    #[error("cannot use {1}")]
    Unusable(&'static str, &'static str),
}

impl From<BuildError> for ProviderDiagnostic {
    fn from(error: BuildError) -> Self {
        let key = match &error {
            BuildError::Unusable(key, _) => key,
            BuildError::File(..) => "tls_config",
            BuildError::Secret(_) => "",
        };
        Self { key, message: error.to_string() }
    }
}

/// The server that a client is for, and the configuration of the client.
#[derive(Clone, Copy, Debug)]
pub struct ClientSpec<'c> {
    /// Name of the server in the configuration, different for each one.
    pub name: &'c str,
    /// URL below which all requests are.
    pub url: &'c Url,
    /// Key of the URL in the configuration.
    pub url_key: &'static str,
    /// The client block.
    pub config: &'c HttpClientConfig,
    /// Total time of one request.
    pub timeout: Duration,
    /// Maximum number of requests in flight at once.
    pub max_in_flight: usize,
}

impl ClientSpec<'_> {
    /// Reports whether the server itself is reached over TLS.
    fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl<'c> From<&'c Provider> for ClientSpec<'c> {
    fn from(provider: &'c Provider) -> Self {
        Self {
            name: &provider.name,
            url: &provider.base_url,
            url_key: "base_url",
            config: &provider.client,
            timeout: provider.limits.poll_timeout,
            max_in_flight: provider.limits.max_in_flight,
        }
    }
}

/// Settings that all clients of one server share.
pub struct ClientSettings {
    tls: ClientConfig,
    proxy: Option<Proxy>,
    http2: bool,
    resolver: Resolver,
    /// Total time of one request.
    pub timeout: Duration,
    /// Maximal age of connections.
    pub lifetime: Duration,
    max_in_flight: usize,
}

impl ClientSettings {
    /// Reads the certificates of a client. Host names are resolved by `resolver`.
    ///
    /// # Errors
    /// Fails when a certificate, a key or the proxy cannot be used.
    pub fn read(spec: &ClientSpec<'_>, resolver: Resolver) -> Result<Self, BuildError> {
        let config = spec.config;
        let proxy = config.proxy.as_ref().map(proxy_url).transpose()?;
        let uses_tls =
            spec.is_https() || proxy.as_ref().is_some_and(|proxy| proxy.scheme() == "https");
        let unusable = |_| BuildError::Unusable("proxy_url", "the proxy URL");
        Ok(Self {
            tls: client_config(spec, uses_tls)?,
            proxy: proxy.map(Proxy::all).transpose().map_err(unusable)?,
            http2: config.http2,
            resolver,
            timeout: spec.timeout,
            lifetime: lifetime(spec.name),
            max_in_flight: spec.max_in_flight,
        })
    }

    /// Builds a client with connections of its own, which are kept idle for at most `idle`, or not at
    /// all if that is zero.
    ///
    /// # Errors
    /// Fails when the settings contradict each other.
    pub fn build(&self, idle: Duration) -> Result<Client, BuildError> {
        let kept = if idle.is_zero() { 0 } else { self.max_in_flight };
        let mut builder = Client::builder()
            // A redirect would send credentials in custom headers to another origin.
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("aitask_exporter/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(idle)
            .pool_max_idle_per_host(kept)
            .connect_timeout(self.timeout)
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

/// Fingerprint of a client's settings and of the contents of the files that they name. A reload builds
/// another client only if the fingerprint has changed, since a client takes its open connections with
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFingerprint {
    /// Hash of the certificates, the private key, the trusted authorities and the proxy.
    pub transport: u64,
    max_in_flight: usize,
    timeout: Duration,
}

impl ClientFingerprint {
    /// Computes the fingerprint that a client would have now.
    ///
    /// # Errors
    /// Fails when a certificate, a key or the proxy's URL cannot be read.
    pub fn of(spec: &ClientSpec<'_>) -> Result<Self, BuildError> {
        // Every field by name, so that no new one can be forgotten.
        let HttpClientConfig { auth: _, headers: _, tls, proxy, http2, url_secrets: _ } =
            spec.config;
        let TlsConfig { ca_file, identity, insecure_skip_verify, min_version } = tls;
        let mut parts =
            vec![format!("{insecure_skip_verify} {min_version:?} {http2}").into_bytes()];
        // One part for each file, also without one, so that two cannot be swapped unnoticed.
        let cert = identity.as_ref().map(|(cert, _)| cert);
        let key = identity.as_ref().map(|(_, key)| key);
        for file in [ca_file.as_ref(), cert, key] {
            parts.push(file.map(|path| read(path)).transpose()?.unwrap_or_default());
        }
        if let Some(proxy) = proxy {
            parts.push(proxy_url(proxy)?.as_str().as_bytes().to_vec());
        }
        // The system's certificate authorities are read when a client is built; a reload uses new ones.
        if ca_file.is_none() && (spec.is_https() || proxy.is_some()) {
            let roots = rustls_native_certs::load_native_certs().certs;
            parts.extend(roots.into_iter().map(|root| root.to_vec()));
        }
        Ok(Self {
            transport: stable_hash(parts.iter().map(Vec::as_slice)),
            max_in_flight: spec.max_in_flight,
            timeout: spec.timeout,
        })
    }
}

/// Returns the maximal age of connections to the server `name`: up to a fifth less than [`MAX_AGE`],
/// different for each server, so that not all of them reconnect at once.
pub fn lifetime(name: &str) -> Duration {
    let sooner = stable_hash([name.as_bytes()]) % (MAX_AGE.as_secs() / 5);
    MAX_AGE.saturating_sub(Duration::from_secs(sooner))
}

/// Returns the URL of a proxy in reqwest's form.
///
/// # Errors
/// Fails when the URL cannot be read.
pub fn proxy_url(proxy: &config::Proxy) -> Result<Url, BuildError> {
    let unusable = || BuildError::Unusable("proxy_url", "the proxy URL");
    let text = proxy.url.read().map_err(|_| unusable())?;
    // As in Go, the proxy resolves names: they may not be known here.
    let text = match text.expose_secret().strip_prefix("socks5://") {
        Some(rest) => format!("socks5h://{rest}"),
        None => text.expose_secret().to_owned(),
    };
    Url::parse(&text).map_err(|_| unusable())
}

fn client_config(spec: &ClientSpec<'_>, uses_tls: bool) -> Result<ClientConfig, BuildError> {
    let HttpClientConfig { tls: config, http2, .. } = spec.config;
    let versions: &[&SupportedProtocolVersion] = match config.min_version {
        TlsVersion::Tls12 => &[&version::TLS12, &version::TLS13],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(tls::provider());
    let builder = builder.with_protocol_versions(versions);
    let builder =
        builder.map_err(|_| BuildError::Unusable("tls_config.min_version", "min_version"))?;
    let builder = match verifier(spec, uses_tls)? {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        // Plain HTTP has nothing to verify.
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
                        "key_file: not the key of the certificate in cert_file"
                    }
                    _ => "cert_file and key_file",
                };
                BuildError::Unusable("tls_config.key_file", what)
            })?
        }
        None => builder.with_no_client_auth(),
    };
    // A resumed session verifies no certificate, so that an expired one would still be accepted.
    // Connections are kept, and a full handshake for each costs half a millisecond.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = match *http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(client)
}

/// Returns the verifier of servers; `None` if TLS is not used.
fn verifier(
    spec: &ClientSpec<'_>,
    uses_tls: bool,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, BuildError> {
    let config = &spec.config.tls;
    if config.insecure_skip_verify {
        return Ok(Some(Arc::new(AcceptAnyServer)));
    }
    let (certificates, (key, what)) = match &config.ca_file {
        Some(path) => (certificates(path)?, ("tls_config.ca_file", "ca_file")),
        // Unreadable certificates of the system are left out.
        None if uses_tls => (
            rustls_native_certs::load_native_certs().certs,
            (
                spec.url_key,
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
/// Fails when it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let read = bounded_file::read(path, MAX_PEM_BYTES);
    read.map_err(|error| BuildError::File(path.to_owned(), error))
}

/// Classifies an error: returns the reason of the failure, and a description without the URL, which
/// contains an ID.
pub fn classify_error(error: &reqwest::Error) -> (Reason, String) {
    // The last one is the cause; the first one contains the URL.
    let cause = chain(error).skip(1).last();
    let cause = cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    if error.is_timeout() {
        return (Reason::Timeout, excerpt(&cause, MAX_CHARS));
    }
    if let Some(error) = find_tls_error(error) {
        return (Reason::Tls, explain(error, Peer::Server));
    }
    let invalid = chain(error).find_map(invalid_http).filter(|_| !error.is_connect());
    if let Some(what) = invalid {
        let what = excerpt(&what, MAX_CHARS);
        return (Reason::Decode, format!("the answer cannot be read as HTTP: {what}"));
    }
    let is_closed = |error| io_kind(error) == Some(io::ErrorKind::UnexpectedEof);
    if error.is_connect() && chain(error).any(is_closed) {
        let closed =
            "the server closed the connection instead of speaking TLS: is the port correct?";
        return (Reason::Connect, closed.to_owned());
    }
    (Reason::Connect, excerpt(&cause, MAX_CHARS))
}

/// Returns the local address of a connection that broke before the head of a response arrived; `None`
/// for other errors.
pub fn broken_connection(error: &reqwest::Error) -> Option<SocketAddr> {
    let client = chain(error).find_map(|error| error.downcast_ref::<legacy::Error>())?;
    let is_other = |error: &(dyn Error + 'static)| {
        invalid_http(error).is_some()
            // The connection is alive; the server has failed at this request.
            || error.downcast_ref::<h2::Error>().is_some_and(|error| {
                error.is_reset() && !error.reason().is_some_and(|reason| ABANDONED.contains(&reason))
            })
    };
    if client.is_connect() || chain(error).any(is_other) {
        return None;
    }
    let mut extensions = Extensions::new();
    client.connect_info()?.get_extras(&mut extensions);
    extensions.get::<HttpInfo>().map(HttpInfo::local_addr)
}

/// Iterates over an error and its causes.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| Error::source(*error))
}

/// Returns the rustls error in an error: the error itself, or the content of I/O errors, which is not
/// their source.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let io = error.downcast_ref::<io::Error>();
    let io = io.or_else(|| error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io));
    match io.and_then(io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

/// Returns the TLS error that is the cause of an error.
pub fn find_tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    chain(error).find_map(tls_error)
}

/// Returns the kind of the innermost of nested I/O errors.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let io = error.downcast_ref::<io::Error>()?;
    io.get_ref().and_then(|inner| io_kind(inner)).or(Some(io.kind()))
}

/// Returns the description of invalid HTTP, if that is the error: an invalid head or frame, or a chunk
/// without a size.
fn invalid_http(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // An error without a cause that is none of these has no name in hyper: the server sent data
        // before the request.
        let is_other = error.source().is_some()
            || error.is_incomplete_message()
            || error.is_canceled()
            || error.is_closed()
            || error.is_shutdown()
            || error.is_timeout()
            || error.is_user();
        return (error.is_parse() || !is_other).then(|| error.to_string());
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.is_library().then(|| error.to_string());
    }
    let io = error.downcast_ref::<io::Error>()?;
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
    (kinds.contains(&io.kind()) && tls_error(error).is_none()).then(|| io.to_string())
}
