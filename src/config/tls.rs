//! `tls_config`, and certificates and keys in PEM.

use super::http_client::{missing, reason};
use super::validate::Validator;
use super::{TlsConfig, raw};
use crate::bounded_file;
use crate::task::stable_hash;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::span::{Location, Spanned};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;

impl Validator<'_> {
    /// Validates the TLS settings of a provider.
    pub fn tls(&self, raw: &raw::RawTlsConfig) -> TlsConfig {
        let ca = self.pem(&raw.ca_file, certificates);
        if let Some((location, _, certificates)) = &ca {
            let mut authorities = RootCertStore::empty();
            if certificates.iter().any(|one| authorities.add(one.clone()).is_err()) {
                self.report(Diagnostic::new(
                    *location,
                    "a certificate in this file cannot be read",
                ));
            }
        }
        let cert = self.pem(&raw.cert_file, certificates);
        let key = self.pem(&raw.key_file, private_key);
        for (one, other, message) in [
            (&raw.cert_file, &raw.key_file, "cert_file needs key_file"),
            (&raw.key_file, &raw.cert_file, "key_file needs cert_file"),
        ] {
            if let (Some(location), true) = (one.location, other.is_absent()) {
                self.report(Diagnostic::new(location, message));
            }
        }
        let identity = cert.zip(key).map(|((cert_at, cert, chain), (key_at, path, key))| {
            let pair = check_pair(chain, key, &ring::default_provider());
            if let Err((half, message)) = pair {
                let location = if half == Half::Key { key_at } else { cert_at };
                self.report(Diagnostic::new(location, message));
            }
            (cert, path)
        });
        TlsConfig {
            ca_file: ca.map(|(_, path, _)| path),
            identity,
            insecure_skip_verify: raw.insecure_skip_verify.get().copied().unwrap_or_default(),
            min_version: raw.min_version.get().copied().unwrap_or_default(),
        }
    }

    /// Reads and parses a PEM file. Returns its location, path and content.
    fn pem<T>(
        &self,
        at: &Spanned<String>,
        parse: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Option<(Location, PathBuf, T)> {
        let (location, path) = self.path(at)?;
        let diagnostic = match bounded_file::read(&path, MAX_PEM_BYTES) {
            Ok(pem) => {
                self.pem_files.borrow_mut().push((path.clone(), stable_hash([&*pem])));
                match parse(&pem) {
                    Ok(parsed) => return Some((location, path, parsed)),
                    Err(wrong) => Diagnostic::new(location, wrong),
                }
            }
            Err(error) => {
                let diagnostic =
                    Diagnostic::new(location, format!("cannot read the file: {}", reason(&error)));
                missing(diagnostic, &error, &path)
            }
        };
        self.report(diagnostic.detail(path.display().to_string()));
        None
    }
}

/// Maximum size of a PEM file, in bytes: several times the bundle of all public authorities.
pub const MAX_PEM_BYTES: usize = 4 << 20;

/// The certificate or its key.
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
/// A message about the text.
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
/// A message about the text.
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
/// The wrong half, with a message.
pub fn check_pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), (Half, &'static str)> {
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err((Half::Key, "the certificate and the key do not match"))
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            Err((Half::Certificate, "the certificate cannot be read"))
        }
        Err(_) => Err((Half::Key, "this kind of private key is not supported")),
    }
}
