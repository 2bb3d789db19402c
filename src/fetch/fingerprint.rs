//! Fingerprints of the settings of a provider's client, so that a reload builds another client only
//! where something has changed: with a client go its open connections.

use std::time::Duration;

use super::client::{BuildError, proxy_url, read};
use crate::config::{self, Provider, TlsConfig};
use crate::task::stable_hash;

/// Fingerprint of the settings of a client and of the contents of the files that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFingerprint {
    /// Hash of the certificates, the private key, the trusted authorities and the proxy.
    pub transport: u64,
    max_in_flight: usize,
    poll_timeout: Duration,
}

impl ClientFingerprint {
    /// Computes the fingerprint that the client of `provider` would have now.
    ///
    /// # Errors
    /// When a certificate, a key or the proxy's URL cannot be read.
    pub fn of(provider: &Provider) -> Result<Self, BuildError> {
        // Every field by its name: one that is added later must be thought of here.
        let config::HttpClientConfig { auth: _, headers: _, tls, proxy, http2 } = &provider.client;
        let TlsConfig { ca_file, identity, insecure_skip_verify, min_version } = tls;
        let mut parts =
            vec![format!("{insecure_skip_verify} {min_version:?} {http2}").into_bytes()];
        // A part for each file, also where there is none: two must not change places unseen.
        let cert = identity.as_ref().map(|(cert, _)| cert);
        let key = identity.as_ref().map(|(_, key)| key);
        for file in [ca_file.as_ref(), cert, key] {
            parts.push(file.map(|path| read(path)).transpose()?.unwrap_or_default());
        }
        if let Some(proxy) = proxy {
            parts.push(proxy_url(proxy)?.as_str().as_bytes().to_vec());
        }
        // The system's authorities are read when a client is built, and a reload takes on new ones.
        if ca_file.is_none() && (provider.base_url.scheme() == "https" || proxy.is_some()) {
            let roots = rustls_native_certs::load_native_certs().certs;
            parts.extend(roots.into_iter().map(|root| root.to_vec()));
        }
        Ok(Self {
            transport: stable_hash(parts.iter().map(Vec::as_slice)),
            max_in_flight: provider.limits.max_in_flight,
            poll_timeout: provider.limits.poll_timeout,
        })
    }
}
