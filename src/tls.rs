//! The cryptography that TLS uses.

/// Installs it for the process, before any client is built. A second call changes nothing.
pub fn install() {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
