//! TLS, as far as the clients of providers and the web side share it: the cryptography, certificates
//! that are trusted themselves, and errors as sentences.

pub mod explain;
pub mod trust;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Installs the cryptography for the process, before any client is built. A second call changes
/// nothing.
pub fn install() {
    // An error says that it is installed already.
    let _ = ring::default_provider().install_default();
}

/// Returns the cryptography of this process.
pub fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(provider) => Arc::clone(provider),
        None => Arc::new(ring::default_provider()),
    }
}
