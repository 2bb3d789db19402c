//! Certificates and keys in PEM, and whether they belong together.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The largest PEM file, in bytes: several times the bundle of all public authorities.
pub const MAX_PEM_BYTES: usize = 4 << 20;

/// Which of two a mistake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The certificate.
    Certificate,
    /// The private key.
    Key,
}

/// Returns the certificates of a text, at least one.
///
/// # Errors
/// What is wrong with it.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate in PEM"),
        Ok(all) => Ok(all),
        Err(_) => Err("not valid PEM"),
    }
}

/// Returns the private key of a text.
///
/// # Errors
/// What is wrong with it.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let is_encrypted = memchr::memmem::find(pem, b"ENCRYPTED").is_some();
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| match is_encrypted {
        true => "the private key is encrypted, which is not supported",
        false => "no private key in PEM",
    })
}

/// Checks that a key can be used and is that of the first certificate of a chain.
///
/// # Errors
/// Which of the two is wrong, and how.
pub fn check_pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), (Half, &'static str)> {
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err((Half::Key, "the certificate and the key do not belong together"))
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            Err((Half::Certificate, "the certificate cannot be read"))
        }
        Err(_) => Err((Half::Key, "the private key is of no kind that TLS can use here")),
    }
}
